// Receivers whose connection is owed too much: they are passed over, and nothing is lost by it.

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

constexpr size_t kMark = 2000;

class PassedOverTest : public testing::Test {
 protected:
  PassedOverTest() : driver_(TestLimits()) {}
  ~PassedOverTest() override { driver_.ExpectNothingLeft(); }

  static Limits TestLimits() {
    Limits limits;
    limits.send_queue_mark_bytes = kMark;
    return limits;
  }

  // A request of its own client, which nobody has sent anything for before.
  void Request(uint64_t id, size_t body_bytes = 0, uint32_t timeout_ms = 0) {
    driver_.Joined("c").Send(StartFrame(flag::kRequest | flag::kFin, 1, Id(id),
                                        {.body = std::string(body_bytes, 'x'), .timeout_ms = timeout_ms}));
  }
  static void StallBehindTheMark(Peer& peer) {
    peer.Stall();
    while (peer.waiting_bytes() <= kMark) peer.Send(PingFrame());
  }
  // The ids of the requests that came since the last call.
  static std::vector<proto::Uuid> TakeRequests(Peer& peer) {
    std::vector<proto::Uuid> ids;
    for (const Seen& seen : peer.Take()) {
      if (seen.type == FrameType::kStart) ids.push_back(seen.id);
    }
    return ids;
  }
  static std::vector<proto::Uuid> Ids(uint64_t first, uint64_t count) {
    std::vector<proto::Uuid> ids;
    for (uint64_t i = 0; i < count; ++i) ids.push_back(Id(first + i));
    return ids;
  }

  Driver driver_;
};

TEST(PassedOver, AtTheMarkARequestIsStillHandedOut) {
  Limits limits;
  limits.send_queue_mark_bytes = kMark;
  for (const size_t unsent : {kMark - 1, kMark, kMark + 1}) {
    Driver driver(limits);
    Peer& receiver = driver.Joined("c");
    receiver.Send(ReceiveFrame(1));
    receiver.ReportUnsent(unsent);
    driver.Joined("c").Send(StartFrame(flag::kRequest, 1, Id(9)));
    EXPECT_EQ(receiver.is_quiet(), unsent > kMark) << unsent;
    EXPECT_EQ(driver.metrics().passed_over, unsent > kMark ? 1u : 0u) << unsent;
    driver.ExpectNothingLeft();
  }
}

TEST_F(PassedOverTest, TheNextInLineHasTheRequestInstead) {
  Peer& behind = driver_.Joined("c");
  behind.Send(ReceiveFrame(1));
  behind.ReportUnsent(kMark + 1);
  Peer& next = driver_.Joined("c");
  next.Send(ReceiveFrame(1));
  Request(9);
  EXPECT_TRUE(behind.is_quiet());
  EXPECT_EQ(TakeRequests(next), Ids(9, 1));
  EXPECT_EQ(driver_.metrics().passed_over, 1u);
}

TEST_F(PassedOverTest, WhatIsQueuedIsHandedOutOnceTheConnectionHasDrained) {
  Peer& behind = driver_.Joined("c");
  behind.ReportUnsent(kMark + 1);
  Request(9);
  behind.Send(ReceiveFrame(1));
  Request(10);
  EXPECT_TRUE(behind.is_quiet());
  behind.ReportUnsent(kMark + 1);
  EXPECT_TRUE(behind.is_quiet());
  behind.ReportUnsent(kMark);
  EXPECT_EQ(TakeRequests(behind), Ids(9, 1));
}

TEST_F(PassedOverTest, WhereNothingIsQueuedItStandsAtTheEndOfTheLine) {
  Peer& behind = driver_.Joined("c");
  behind.Send(ReceiveFrame(1));
  behind.ReportUnsent(kMark + 1);
  std::vector<Peer*> others = {&driver_.Joined("c"), &driver_.Joined("c")};
  for (Peer* const other : others) other->Send(ReceiveFrame(1));
  Request(1);  // the first of the others has it
  behind.ReportUnsent(0);
  Request(2);
  Request(3);
  EXPECT_EQ(TakeRequests(*others[0]), Ids(1, 1));
  EXPECT_EQ(TakeRequests(*others[1]), Ids(2, 1));
  EXPECT_EQ(TakeRequests(behind), Ids(3, 1));
}

// One that reads at full speed is not to be cut for what is queued.
TEST_F(PassedOverTest, NoTurnHandsOutManyQueuedRequestsToOneConnection) {
  constexpr uint16_t kClients = 100;
  constexpr size_t kBodyBytes = 1000;
  for (uint64_t id = 1; id <= kClients; ++id) Request(id, kBodyBytes);
  Peer& receiver = driver_.Joined("c", kClients);
  std::string receives;
  for (uint16_t slot = 1; slot <= kClients; ++slot) receives += ReceiveFrame(slot);
  receiver.Send(receives);
  std::vector<proto::Uuid> came;
  for (int turns = 0; came.size() < kClients; ++turns) {
    ASSERT_LT(turns, kClients);
    const std::vector<proto::Uuid> more = TakeRequests(receiver);
    // Until it has been given more than the mark.
    EXPECT_EQ(more.size(), 2u);
    came.insert(came.end(), more.begin(), more.end());
    driver_.Advance(absl::Milliseconds(1));
  }
  EXPECT_EQ(came, Ids(1, kClients));
  EXPECT_EQ(driver_.metrics().redeliveries, 0u);
}

TEST_F(PassedOverTest, WhatIsGivenBackGoesToNobodyWhoIsBehind) {
  Peer& worker = driver_.Joined("c");
  worker.Send(ReceiveFrame(1));
  Peer& sender = driver_.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kIdempotent}));
  EXPECT_EQ(worker.TakeOne().type, FrameType::kStart);
  Peer& behind = driver_.Joined("c");
  behind.Send(ReceiveFrame(1));
  behind.ReportUnsent(kMark + 1);
  worker.Send(ResetFrame(1, Id(9), absl::StatusCode::kUnavailable, /*requeue=*/true));
  EXPECT_TRUE(behind.is_quiet());
  EXPECT_TRUE(sender.is_quiet());
  behind.ReportUnsent(0);
  EXPECT_EQ(behind.TakeOne().block().attempt(), 2u);
}

TEST_F(PassedOverTest, ItsWaitEndsAsAnyOther) {
  Peer& behind = driver_.Joined("c", 3);
  StallBehindTheMark(behind);
  for (uint64_t id = 1; id <= 3; ++id) Request(id);
  behind.Send(ReceiveFrame(1, 0));
  behind.Send(ReceiveFrame(2, 100));
  behind.Send(ReceiveFrame(3));
  behind.Send(WithdrawFrame(3));
  EXPECT_EQ(driver_.metrics().passed_over, 3u);
  driver_.Advance(absl::Milliseconds(99));
  behind.Send(PingFrame());
  driver_.Advance(absl::Milliseconds(1));
  behind.Resume();
  std::vector<std::pair<FrameType, uint16_t>> came;
  for (const Seen& seen : behind.Take()) came.emplace_back(seen.type, seen.slot);
  using Came = std::vector<std::pair<FrameType, uint16_t>>;
  EXPECT_EQ(
      Came(came.end() - 4, came.end()),
      (Came{{FrameType::kReceive, 1}, {FrameType::kReceive, 3}, {FrameType::kPong, 0}, {FrameType::kReceive, 2}}));
  for (uint16_t slot = 1; slot <= 3; ++slot) behind.Send(ReceiveFrame(slot));
  EXPECT_EQ(TakeRequests(behind), Ids(1, 3));
}

TEST_F(PassedOverTest, AConnectionThatEndsTakesItsClientsAlong) {
  Peer& behind = driver_.Joined("c", 2);
  StallBehindTheMark(behind);
  Request(9);
  behind.Send(ReceiveFrame(1) + ReceiveFrame(2));
  behind.Send(LeaveFrame(1, Driver::ClientId(behind, 1)));
  EXPECT_EQ(driver_.metrics().passed_over, 2u);
  behind.Break();
  Peer& next = driver_.Joined("c");
  next.Send(ReceiveFrame(1));
  EXPECT_EQ(TakeRequests(next), Ids(9, 1));
}

// A turn reads before it looks at the time, so whoever comes anew could be given all that the turn may give.
TEST_F(PassedOverTest, WhoComesAnewStandsBehindThoseWhoWerePassedOver) {
  Peer& receiver = driver_.Joined("c");
  receiver.Send(JoinFrame(2, Id(77), "other"));
  for (uint64_t id = 1; id <= 20; ++id) Request(id, 2 * kMark);
  driver_.Joined("other").Send(StartFrame(flag::kRequest | flag::kFin, 1, Id(100), {.body = "small"}));
  receiver.Send(ReceiveFrame(1) + ReceiveFrame(2));
  EXPECT_EQ(TakeRequests(receiver), Ids(1, 1));
  driver_.InOneTurn([&] {
    receiver.Send(StartFrame(flag::kResponse | flag::kFin | flag::kReceive, 1, Id(1)));
    driver_.relay().OnTime(driver_.now() + absl::Milliseconds(2));
  });
  EXPECT_EQ(TakeRequests(receiver), (std::vector<proto::Uuid>{Id(100), Id(2)}));
}

TEST_F(PassedOverTest, ARequestWhoseTimeHasPassedMeanwhileIsNotHandedOut) {
  Peer& behind = driver_.Joined("c");
  behind.ReportUnsent(kMark + 1);
  Request(8, 0, 10);
  Request(9);
  behind.Send(ReceiveFrame(1));
  driver_.Advance(absl::Milliseconds(10));
  EXPECT_EQ(driver_.count(End::kDeadline), 1u);
  behind.ReportUnsent(0);
  EXPECT_EQ(TakeRequests(behind), Ids(9, 1));
}

}  // namespace
}  // namespace relay::server

// An idempotent request whose receiver is lost goes to another one (PROTOCOL.md, "Ends that are not END").

#include <gtest/gtest.h>

#include <string>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

constexpr uint32_t kWindow = 64 * kKiB;

Limits TestLimits() {
  Limits limits;
  limits.initial_window_bytes = kWindow;
  return limits;
}

class RedeliveryTest : public testing::Test {
 protected:
  RedeliveryTest() : driver_(TestLimits()) {
    first_ = &driver_.Joined("c");
    first_->Send(ReceiveFrame(1));
    sender_ = &driver_.Joined("c");
  }
  ~RedeliveryTest() override { driver_.ExpectNothingLeft(); }

  void Start(uint8_t flags = flag::kIdempotent, uint32_t timeout_ms = 0) {
    sender_->Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flags, .start = "S", .timeout_ms = timeout_ms}));
    EXPECT_EQ(first_->TakeOne().block().attempt(), 1);
  }
  Peer& NextReceiver() {
    Peer& next = driver_.Joined("c");
    next.Send(ReceiveFrame(1));
    return next;
  }
  void ExpectLost() {
    const Seen told = sender_->TakeOne();
    EXPECT_EQ(told.end(), "receiver_lost");
    EXPECT_TRUE(told.status().may_have_run());
    EXPECT_EQ(driver_.metrics().held_bytes, 0u);
  }

  Driver driver_;
  Peer* first_;
  Peer* sender_;
};

TEST_F(RedeliveryTest, AWaitingReceiverGetsItWhole) {
  Peer& second = NextReceiver();
  Start(flag::kIdempotent, 5000);
  sender_->Send(ChunkFrame(flag::kRequest, 1, Id(9), "one") + ChunkFrame(flag::kRequest | flag::kFin, 1, Id(9), "two"));
  driver_.Advance(absl::Milliseconds(100));
  first_->Break();
  EXPECT_TRUE(sender_->is_quiet());
  const std::vector<Seen> seen = second.Take();
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].type, FrameType::kStart);
  EXPECT_EQ(seen[0].block().attempt(), 2);
  EXPECT_EQ(seen[0].block().other_client(), Driver::ClientId(*sender_));
  EXPECT_EQ(seen[0].block().timeout_ms(), 4900u);
  EXPECT_EQ(seen[0].block().queue_wait_us(), 100000u);
  EXPECT_EQ(seen[0].block().start(), "S");
  EXPECT_EQ(seen[1].payload + seen[2].payload, "onetwo");
  second.Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = flag::kFin}));
  const Seen answer = sender_->TakeOne();
  EXPECT_EQ(answer.block().attempt(), 2);
  EXPECT_EQ(answer.block().other_client(), Driver::ClientId(second));
  EXPECT_EQ(driver_.metrics().redeliveries, 1u);
  EXPECT_EQ(driver_.metrics().assignments, 2u);
}

TEST_F(RedeliveryTest, WithoutAReceiverItWaitsAtTheHeadOfTheQueue) {
  Start();
  Peer& other = driver_.Joined("c");
  other.Send(StartFrame(flag::kRequest, 1, Id(10)));
  first_->Break();
  EXPECT_EQ(NextReceiver().TakeOne().id, Id(9));
  EXPECT_EQ(NextReceiver().TakeOne().id, Id(10));
}

TEST_F(RedeliveryTest, TheHeadOfTheQueueIsOpenWhateverItsBounds) {
  Limits limits = TestLimits();
  limits.queue_count = 1;
  Driver driver(limits);
  Peer& first = driver.Joined("c");
  first.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c", 3);
  sender.Send(StartFrame(flag::kRequest, 1, Id(1), {.flags = flag::kIdempotent}) +
              StartFrame(flag::kRequest, 2, Id(2)));
  first.Break();
  EXPECT_TRUE(sender.is_quiet());
  sender.Send(StartFrame(flag::kRequest, 3, Id(3)));
  EXPECT_EQ(sender.TakeOne().end(), "queue_count");
  driver.ExpectNothingLeft();
}

TEST_F(RedeliveryTest, AResetWithRequeueGivesItBack) {
  Start();
  first_->Send(ResetFrame(1, Id(9), absl::StatusCode::kUnavailable, /*requeue=*/true));
  EXPECT_TRUE(sender_->is_quiet());
  EXPECT_TRUE(first_->is_quiet());
  first_->Send(ReceiveFrame(1));  // it may even have it again
  EXPECT_EQ(first_->TakeOne().block().attempt(), 2);
}

TEST_F(RedeliveryTest, AResetWithoutRequeueEndsIt) {
  Start();
  first_->Send(ResetFrame(1, Id(9), absl::StatusCode::kAborted));
  EXPECT_EQ(sender_->TakeOne().code(), absl::StatusCode::kAborted);
}

TEST_F(RedeliveryTest, ARequestThatIsNotIdempotentNeverMoves) {
  Start(0);
  EXPECT_EQ(driver_.metrics().held_bytes, 0u);
  first_->Break();
  ExpectLost();
}

TEST_F(RedeliveryTest, RequeueOfARequestThatIsNotIdempotentEndsItWithTheStatus) {
  Start(0);
  first_->Send(ResetFrame(1, Id(9), absl::StatusCode::kAborted, /*requeue=*/true));
  EXPECT_EQ(sender_->TakeOne().code(), absl::StatusCode::kAborted);
}

TEST_F(RedeliveryTest, OnceAResponseFrameHasPassedItNeverMoves) {
  Start();
  first_->Send(StartFrame(flag::kResponse, 1, Id(9)));
  EXPECT_EQ(driver_.metrics().held_bytes, 0u);
  EXPECT_EQ(sender_->TakeOne().type, FrameType::kStart);
  first_->Break();
  ExpectLost();
}

TEST_F(RedeliveryTest, ItIsHandedOutMaxAttemptsTimes) {
  Start();
  first_->Break();
  for (uint16_t attempt = 2; attempt <= 3; ++attempt) {  // the default
    EXPECT_TRUE(sender_->is_quiet());
    Peer& next = NextReceiver();
    EXPECT_EQ(next.TakeOne().block().attempt(), attempt);
    next.Break();
  }
  ExpectLost();
  EXPECT_EQ(driver_.metrics().assignments, 3u);
}

TEST_F(RedeliveryTest, OneAttemptMeansNone) {
  Limits limits = TestLimits();
  limits.attempts = 1;
  Driver driver(limits);
  Peer& first = driver.Joined("c");
  first.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kIdempotent}));
  EXPECT_EQ(driver.metrics().held_bytes, 0u);
  first.Break();
  EXPECT_EQ(sender.TakeOne().end(), "receiver_lost");
  driver.ExpectNothingLeft();
}

TEST_F(RedeliveryTest, ItMovesUpToHalfAWindowOfCostAndNoFurther) {
  for (const uint64_t cost : {uint64_t{kWindow / 2 - 1}, uint64_t{kWindow / 2}, uint64_t{kWindow / 2 + 1}}) {
    Driver driver(TestLimits());
    Peer& first = driver.Joined("c");
    first.Send(ReceiveFrame(1));
    Peer& sender = driver.Joined("c");
    sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kIdempotent}));
    sender.Send(ChunkFrame(flag::kRequest, 1, Id(9), std::string(static_cast<size_t>(cost - 24), 'x')));
    const bool moves = cost <= kWindow / 2;
    EXPECT_EQ(driver.metrics().held_bytes > 0, moves);
    first.Break();
    EXPECT_EQ(sender.is_quiet(), moves);
    driver.ExpectNothingLeft();
  }
}

TEST_F(RedeliveryTest, WindowsOfTheRequestAreKeptBackUntilItCannotMove) {
  Start();
  first_->Send(WindowFrame(flag::kRequest, 1, Id(9), kWindow + 500) +
               WindowFrame(flag::kRequest, 1, Id(9), kWindow + 1000) +
               WindowFrame(flag::kRequest, 1, Id(9), kWindow + 800));
  EXPECT_TRUE(sender_->is_quiet());
  sender_->Send(ChunkFrame(flag::kRequest, 1, Id(9), std::string(kWindow / 2 - 24, 'x')));
  EXPECT_TRUE(sender_->is_quiet());
  sender_->Send(ChunkFrame(flag::kRequest, 1, Id(9), ""));
  EXPECT_EQ(sender_->TakeOne().window(), kWindow + 1000u);  // the newest, once
  first_->Send(WindowFrame(flag::kRequest, 1, Id(9), kWindow + 2000));
  EXPECT_EQ(sender_->TakeOne().window(), kWindow + 2000u);
}

TEST_F(RedeliveryTest, AResponseFrameReleasesTheWindowThatWasKeptBack) {
  Start();
  first_->Send(WindowFrame(flag::kRequest, 1, Id(9), kWindow + 500));
  EXPECT_TRUE(sender_->is_quiet());
  first_->Send(StartFrame(flag::kResponse, 1, Id(9)));
  const std::vector<Seen> seen = sender_->Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].type, FrameType::kWindow);
  EXPECT_EQ(seen[0].window(), kWindow + 500u);
  EXPECT_EQ(seen[1].type, FrameType::kStart);
}

TEST_F(RedeliveryTest, WindowsOfALostReceiverAreForgotten) {
  Start();
  first_->Send(WindowFrame(flag::kRequest, 1, Id(9), kWindow + 500));
  first_->Break();
  Peer& second = NextReceiver();
  EXPECT_EQ(second.TakeOne().type, FrameType::kStart);
  second.Send(StartFrame(flag::kResponse, 1, Id(9)));
  EXPECT_EQ(sender_->TakeOne().type, FrameType::kStart);
}

TEST_F(RedeliveryTest, TheWindowOfTheResponseIsToldToEachReceiver) {
  Start();
  sender_->Send(WindowFrame(flag::kResponse, 1, Id(9), kWindow + 500));
  EXPECT_EQ(first_->TakeOne().window(), kWindow + 500u);
  first_->Break();
  const std::vector<Seen> seen = NextReceiver().Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[1].type, FrameType::kWindow);
  EXPECT_EQ(seen[1].window(), kWindow + 500u);
}

TEST_F(RedeliveryTest, ItGrowsInTheQueueAndIsStillWhole) {
  Start();
  sender_->Send(ChunkFrame(flag::kRequest, 1, Id(9), "one"));
  EXPECT_EQ(first_->TakeOne().payload, "one");
  first_->Break();
  sender_->Send(ChunkFrame(flag::kRequest, 1, Id(9), std::string(kWindow / 2, 'x')) +
                EndFrame(flag::kRequest, 1, Id(9)));
  Peer& second = NextReceiver();
  const std::vector<Seen> seen = second.Take();
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[1].payload, "one");
  EXPECT_EQ(seen[2].payload.size(), kWindow / 2);
  EXPECT_EQ(driver_.metrics().held_bytes, 0u);  // too large to move again
  second.Break();
  ExpectLost();
}

TEST_F(RedeliveryTest, OlderOnesAreHandedOutFirstWhateverOrderTheirReceiversDieIn) {
  Driver driver(TestLimits());
  Peer& receivers = driver.Joined("c", 3);
  receivers.Send(ReceiveFrame(3) + ReceiveFrame(1) + ReceiveFrame(2));
  Peer& sender = driver.Joined("c", 3);
  for (uint16_t i = 1; i <= 3; ++i) {
    sender.Send(StartFrame(flag::kRequest, i, Id(i), {.flags = flag::kIdempotent}));
  }
  receivers.Break();
  for (uint64_t i = 1; i <= 3; ++i) {
    Peer& next = driver.Joined("c");
    next.Send(ReceiveFrame(1));
    EXPECT_EQ(next.TakeOne().id, Id(i));
  }
  driver.ExpectNothingLeft();
}

TEST_F(RedeliveryTest, ADyingConnectionGivesNothingToItself) {
  Driver driver(TestLimits());
  Peer& worker = driver.Joined("c", 3);
  worker.Send(ReceiveFrame(1) + ReceiveFrame(2) + ReceiveFrame(3));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kIdempotent}));
  worker.Break();
  EXPECT_EQ(driver.metrics().assignments, 1u);
  EXPECT_TRUE(sender.is_quiet());
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

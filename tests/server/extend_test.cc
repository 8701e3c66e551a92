// More time for a receiver: PROTOCOL.md, "Time".

#include <gtest/gtest.h>

#include <optional>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

uint32_t Remains(const Seen& seen) {
  EXPECT_EQ(seen.type, FrameType::kExtend);
  EXPECT_EQ(seen.payload.size(), proto::kExtendBytes);
  return proto::LoadBig<uint32_t>(reinterpret_cast<const uint8_t*>(seen.payload.data()));
}

// A sender and a receiver, each on slot 1 of a connection, and request 7 between them.
class ExtendTest : public ::testing::Test {
 protected:
  // The receiver waits and is handed the request.
  Seen Begin(uint32_t timeout_ms, uint32_t max_extension_ms, uint8_t flags = 0) {
    receiver_.Send(JoinFrame(1, Id(2), "jobs") + ReceiveFrame(1));
    sender_.Send(JoinFrame(1, Id(1), "jobs") + StartFrame(flag::kRequest, 1, Id(7),
                                                          {.flags = static_cast<uint8_t>(flag::kFin | flags),
                                                           .timeout_ms = timeout_ms,
                                                           .max_extension_ms = max_extension_ms}));
    return receiver_.TakeOne();
  }
  // What remains, by the server's answer to EXTEND.
  uint32_t Extend(uint32_t ms) {
    receiver_.Send(ExtendFrame(1, Id(7), ms));
    return Remains(receiver_.TakeOne());
  }
  void ExpectOver() {
    for (Peer* const peer : {&sender_, &receiver_}) {
      const Seen seen = peer->TakeOne();
      EXPECT_EQ(seen.type, FrameType::kReset);
      EXPECT_EQ(seen.end(), "deadline");
    }
  }

  Driver driver_;
  Peer& sender_ = driver_.Open();
  Peer& receiver_ = driver_.Open();
};

TEST_F(ExtendTest, MovesTheDeadlineAndSaysWhatRemains) {
  const Seen start = Begin(1000, 5000);
  EXPECT_EQ(start.block().timeout_ms(), 1000u);
  EXPECT_EQ(start.block().max_extension_ms(), 5000u);
  driver_.Advance(absl::Milliseconds(400));
  EXPECT_EQ(Extend(2000), 2000u);
  EXPECT_TRUE(sender_.is_quiet());
  driver_.Advance(absl::Milliseconds(1999));
  EXPECT_TRUE(sender_.is_quiet());
  EXPECT_TRUE(receiver_.is_quiet());
  driver_.Advance(absl::Milliseconds(1));
  ExpectOver();
  EXPECT_EQ(driver_.metrics().extensions, 1u);
}

TEST_F(ExtendTest, ReachesNoFurtherThanTheSenderAllowed) {
  Begin(1000, 4000);
  EXPECT_EQ(Extend(3999), 3999u);
  EXPECT_EQ(Extend(4000), 4000u);
  EXPECT_EQ(Extend(4001), 4000u);
  driver_.Advance(absl::Milliseconds(3000));
  EXPECT_EQ(Extend(UINT32_MAX), 1000u);
  driver_.Advance(absl::Milliseconds(1000));
  ExpectOver();
}

TEST_F(ExtendTest, NeverMovesTheDeadlineEarlier) {
  Begin(1000, 5000);
  EXPECT_EQ(Extend(10), 1000u);
  EXPECT_EQ(Extend(0), 1000u);
  EXPECT_EQ(driver_.metrics().extensions, 0u);
}

TEST_F(ExtendTest, GivesNothingWhereTheSenderAllowedNothing) {
  EXPECT_EQ(Begin(1000, 0).block().max_extension_ms(), 0u);
  EXPECT_EQ(Extend(5000), 1000u);
  driver_.Advance(absl::Milliseconds(1000));
  ExpectOver();
}

TEST_F(ExtendTest, AnExtensionThatIsNoLongerThanTheTimeoutIsNone) {
  EXPECT_EQ(Begin(1000, 1000).block().max_extension_ms(), 0u);
  EXPECT_EQ(Extend(5000), 1000u);
}

TEST_F(ExtendTest, SaysZeroWhereThereIsNoTimeout) {
  EXPECT_EQ(Begin(0, 5000).block().max_extension_ms(), 0u);
  EXPECT_EQ(Extend(5000), 0u);
}

TEST_F(ExtendTest, ReachesNoFurtherThanTheServersLongestTime) {
  Limits limits;
  limits.max_request_time = absl::Milliseconds(3000);
  Driver driver(limits);
  Peer& sender = driver.Open();
  Peer& receiver = driver.Open();
  receiver.Send(JoinFrame(1, Id(2), "jobs") + ReceiveFrame(1));
  sender.Send(
      JoinFrame(1, Id(1), "jobs") +
      StartFrame(flag::kRequest, 1, Id(7), {.flags = flag::kFin, .timeout_ms = 1000, .max_extension_ms = 9000}));
  EXPECT_EQ(receiver.TakeOne().block().max_extension_ms(), 3000u);
  receiver.Send(ExtendFrame(1, Id(7), 9000));
  EXPECT_EQ(Remains(receiver.TakeOne()), 3000u);
}

TEST_F(ExtendTest, ASuccessorGetsTheTimeAsItWasMoved) {
  Begin(1000, 5000, flag::kIdempotent);
  EXPECT_EQ(Extend(4000), 4000u);
  driver_.Advance(absl::Milliseconds(1500));
  receiver_.Break();
  Peer& successor = driver_.Open();
  successor.Send(JoinFrame(1, Id(3), "jobs") + ReceiveFrame(1));
  const Seen start = successor.TakeOne();
  EXPECT_EQ(start.block().attempt(), 2u);
  EXPECT_EQ(start.block().timeout_ms(), 2500u);
  EXPECT_EQ(start.block().max_extension_ms(), 3500u);
}

TEST_F(ExtendTest, IsTheReceiversAloneToAsk) {
  Begin(1000, 5000);
  sender_.Send(ExtendFrame(1, Id(7), 3000));
  receiver_.Send(ExtendFrame(1, Id(8), 3000));
  EXPECT_TRUE(sender_.is_quiet());
  EXPECT_TRUE(receiver_.is_quiet());
  EXPECT_EQ(driver_.metrics().late_frames, 2u);
  driver_.Advance(absl::Milliseconds(1000));
  ExpectOver();
}

TEST_F(ExtendTest, OfAnotherSizeIsAFault) {
  for (const size_t bytes : {size_t{0}, proto::kExtendBytes - 1, proto::kExtendBytes + 1}) {
    Driver driver;
    Peer& sender = driver.Open();
    Peer& receiver = driver.Open();
    receiver.Send(JoinFrame(1, Id(2), "jobs") + ReceiveFrame(1));
    sender.Send(JoinFrame(1, Id(1), "jobs") + StartFrame(flag::kRequest, 1, Id(7), {.flags = flag::kFin}));
    receiver.Take();
    receiver.Send(FrameOf(FrameType::kExtend, 0, 1, Id(7), std::string(bytes, 'x')));
    receiver.ExpectRefused(End::kMalformed);
    EXPECT_EQ(sender.TakeOne().end(), "receiver_lost");
  }
}

TEST_F(ExtendTest, AnswersAreCountedAsOwed) {
  Limits limits;
  limits.control_frames_owed = 3;
  Driver driver(limits);
  Peer& sender = driver.Joined("c");
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  sender.Send(StartFrame(flag::kRequest, 1, Id(7)));
  receiver.Stall();
  receiver.ReportUnsent(1);
  for (int i = 0; i < 3; ++i) receiver.Send(ExtendFrame(1, Id(7), 10));
  EXPECT_FALSE(receiver.was_shut());
  receiver.Send(ExtendFrame(1, Id(7), 10));
  EXPECT_EQ(driver.count(End::kControlFramesOwed), 1u);
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

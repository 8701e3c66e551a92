// The server drains: nothing begins, what is assigned runs on to the drain limit.

#include <gtest/gtest.h>

#include <string>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

Limits TestLimits() {
  Limits limits;
  limits.drain_timeout = absl::Seconds(3);
  limits.linger_time = absl::Milliseconds(200);
  return limits;
}

void ExpectStopping(const Seen& seen, FrameType type) {
  EXPECT_EQ(seen.type, type);
  EXPECT_EQ(seen.end(), "stopping");
  EXPECT_EQ(seen.code(), absl::StatusCode::kUnavailable);
}

TEST(Drain, TellsEverybodyAndClosesWhoHasNothingToDo) {
  Driver driver(TestLimits());
  Peer& idle = driver.Joined("c");
  Peer& waiting = driver.Joined("c");
  waiting.Send(ReceiveFrame(1));
  driver.Drain();
  for (Peer* const peer : {&idle, &waiting}) ExpectStopping(peer->TakeOne(), FrameType::kGoaway);
  driver.Advance(absl::Milliseconds(400));
  driver.Advance(absl::Milliseconds(400));
  EXPECT_TRUE(idle.was_closed());
  EXPECT_TRUE(waiting.was_closed());
  EXPECT_EQ(driver.relay().connection_count(), 0u);
}

TEST(Drain, RefusesWhatHasNotSaidHelloAndWhatComes) {
  Driver driver(TestLimits());
  Peer& silent = driver.Connect();
  driver.Drain();
  silent.ExpectRefused(End::kStopping);
  driver.Connect().ExpectRefused(End::kStopping);
}

// With each JOIN comes a RECEIVE for a slot that is not joined then.
TEST(Drain, JoinsThatCrossItAreNobodysFault) {
  Limits limits = TestLimits();
  limits.reset_burst = 10;
  Driver driver(limits);
  Peer& worker = driver.Joined("c");
  worker.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest | flag::kFin, 1, Id(9)));
  EXPECT_EQ(worker.TakeOne().type, FrameType::kStart);
  driver.Drain();
  ExpectStopping(sender.TakeOne(), FrameType::kGoaway);
  std::string crossing;
  for (uint16_t slot = 2; slot < 100; ++slot) {
    crossing += JoinFrame(slot, Id(5000 + slot), "c");
    crossing += slot % 2 == 0 ? ReceiveFrame(slot) : StartFrame(flag::kRequest | flag::kFin, slot, Id(6000 + slot));
  }
  worker.Send(crossing);
  ExpectStopping(worker.Take().back(), FrameType::kReset);
  EXPECT_EQ(driver.count(End::kResetsPerSecond), 0u);
  EXPECT_TRUE(sender.is_quiet());
}

TEST(Drain, EndsWhatIsQueuedAtOnce) {
  Driver driver(TestLimits());
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kIdempotent}));
  driver.Drain();
  const std::vector<Seen> seen = sender.Take();
  ASSERT_EQ(seen.size(), 2u);
  ExpectStopping(seen[0], FrameType::kReset);
  EXPECT_FALSE(seen[0].status().may_have_run());
  ExpectStopping(seen[1], FrameType::kGoaway);
  EXPECT_EQ(driver.metrics().held_bytes, 0u);
}

TEST(Drain, LetsWhatIsAssignedRunToItsEnd) {
  Driver driver(TestLimits());
  Peer& receiver = driver.Joined("c", 2);
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c", 2);
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  receiver.Take();
  driver.Drain();
  ExpectStopping(sender.TakeOne(), FrameType::kGoaway);
  ExpectStopping(receiver.TakeOne(), FrameType::kGoaway);
  // Nothing begins.
  sender.Send(StartFrame(flag::kRequest, 2, Id(10)) + JoinFrame(3, Id(3), "c"));
  const std::vector<Seen> refused = sender.Take();
  ASSERT_EQ(refused.size(), 2u);
  ExpectStopping(refused[0], FrameType::kReset);
  EXPECT_FALSE(refused[0].status().may_have_run());
  ExpectStopping(refused[1], FrameType::kLeave);
  receiver.Send(ReceiveFrame(2));
  ExpectStopping(receiver.TakeOne(), FrameType::kReset);
  // What runs goes on.
  driver.Advance(absl::Seconds(2));
  sender.Send(ChunkFrame(flag::kRequest | flag::kFin, 1, Id(9), "rest"));
  EXPECT_EQ(receiver.TakeOne().payload, "rest");
  receiver.Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = flag::kFin, .body = "answer"}));
  EXPECT_EQ(sender.TakeOne().body(), "answer");
  EXPECT_FALSE(sender.was_closed());
  driver.Advance(absl::Milliseconds(200));
  driver.Advance(absl::Milliseconds(200));
  EXPECT_EQ(driver.relay().connection_count(), 0u);
  EXPECT_EQ(driver.count(End::kCompleted), 1u);
}

TEST(Drain, EndsWhatStillRunsAtTheLimitAndNotBefore) {
  Driver driver(TestLimits());
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  driver.Drain();
  receiver.Take();
  sender.Take();
  driver.Advance(absl::Milliseconds(2999));
  EXPECT_TRUE(sender.is_quiet());
  EXPECT_TRUE(receiver.is_quiet());
  driver.Advance(absl::Milliseconds(1));
  for (Peer* const peer : {&sender, &receiver}) {
    const std::vector<Seen> seen = peer->Take();
    ASSERT_EQ(seen.size(), 2u);
    ExpectStopping(seen[0], FrameType::kReset);
    EXPECT_TRUE(seen[0].status().may_have_run());
    ExpectStopping(seen[1], FrameType::kGoaway);
    EXPECT_TRUE(peer->was_shut());
  }
  EXPECT_EQ(driver.count(End::kStopping), 3u);  // an exchange and two connections
  driver.Advance(absl::Milliseconds(200));
  EXPECT_EQ(driver.relay().connection_count(), 0u);
  EXPECT_EQ(driver.relay().channel_count(), 0u);
}

TEST(Drain, HandsNothingOutAgain) {
  Driver driver(TestLimits());
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kIdempotent}));
  driver.Drain();
  sender.Take();
  receiver.Break();
  EXPECT_EQ(sender.TakeOne().end(), "receiver_lost");
  EXPECT_EQ(driver.metrics().held_bytes, 0u);
}

TEST(Drain, EndsAtItsLimitForAPeerThatDoesNotRead) {
  Driver driver(TestLimits());
  Peer& peer = driver.Joined("c");
  peer.Stall();
  peer.Send(PingFrame());
  driver.Drain();
  for (int i = 0; i < 40; ++i) driver.Advance(absl::Milliseconds(100));
  EXPECT_TRUE(peer.was_closed());
  EXPECT_EQ(driver.relay().connection_count(), 0u);
}

}  // namespace
}  // namespace relay::server

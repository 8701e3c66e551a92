// Peers that do not read: what is queued toward them, and what waits until they do.

#include <gtest/gtest.h>

#include <string>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

TEST(SendQueue, HoldsSendQueueBytesAndNotOneMore) {
  Limits limits;
  limits.send_queue_bytes = 10000;
  const std::string chunk = ChunkFrame(flag::kRequest, 1, Id(9), std::string(1000, 'x'));
  for (const size_t unsent : {10000 - chunk.size() - 1, 10000 - chunk.size(), 10000 - chunk.size() + 1}) {
    Driver driver(limits);
    Peer& receiver = driver.Joined("c");
    receiver.Send(ReceiveFrame(1));
    Peer& sender = driver.Joined("c");
    sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
    receiver.ReportUnsent(unsent);
    EXPECT_FALSE(receiver.was_closed());
    sender.Send(chunk);
    if (unsent + chunk.size() > 10000) {
      EXPECT_TRUE(receiver.was_closed());
      EXPECT_EQ(driver.count(End::kSendQueue), 1u);
      EXPECT_EQ(sender.TakeOne().end(), "receiver_lost");
    } else {
      EXPECT_FALSE(receiver.was_closed());
      EXPECT_TRUE(sender.is_quiet());
    }
    driver.ExpectNothingLeft();
  }
}

TEST(SendQueue, IsJudgedWhenTheTransportReportsIt) {
  Limits limits;
  limits.send_queue_bytes = 10000;
  for (const size_t unsent : {9999u, 10000u, 10001u}) {
    Driver driver(limits);
    Peer& peer = driver.Joined("c");
    peer.ReportUnsent(unsent);
    EXPECT_EQ(peer.was_closed(), unsent > 10000);
    EXPECT_EQ(driver.count(End::kSendQueue), unsent > 10000 ? 1u : 0u);
    driver.ExpectNothingLeft();
  }
}

TEST(SendQueue, AllTogetherHoldSendQueueBytesTotal) {
  Limits limits;
  limits.send_queue_bytes_total = 10000;
  for (const size_t unsent : {3999u, 4000u, 4001u}) {
    Driver driver(limits);
    Peer& first = driver.Joined("c");
    Peer& second = driver.Joined("c");
    first.Stall();
    second.Stall();
    first.ReportUnsent(6000);
    second.ReportUnsent(unsent);
    EXPECT_EQ(driver.relay().unsent_bytes(), unsent > 4000 ? unsent : 6000 + unsent);
    EXPECT_EQ(driver.count(End::kSendQueueBytesTotal), unsent > 4000 ? 1u : 0u);
    EXPECT_EQ(first.was_closed(), unsent > 4000);
    EXPECT_FALSE(second.was_closed());
    driver.ExpectNothingLeft();
  }
}

TEST(SendQueue, WhoIsOwedMostIsCutAndNotWhoCameLast) {
  Limits limits;
  limits.send_queue_bytes_total = 10000;
  Driver driver(limits);
  Peer& small = driver.Joined("c");
  Peer& large = driver.Joined("c");
  Peer& late = driver.Joined("c");
  small.ReportUnsent(1000);
  large.ReportUnsent(100);
  large.ReportUnsent(8000);
  late.ReportUnsent(1001);
  EXPECT_FALSE(small.was_closed());
  EXPECT_TRUE(large.was_closed());
  EXPECT_FALSE(late.was_closed());
  late.ReportUnsent(0);
  small.ReportUnsent(0);
  EXPECT_EQ(driver.relay().unsent_bytes(), 0u);
  driver.ExpectNothingLeft();
}

TEST(SendQueue, WhatLingersCountsInTheTotalToo) {
  Limits limits;
  limits.send_queue_bytes_total = 10000;
  Driver driver(limits);
  Peer& lingering = driver.Joined("c");
  lingering.Stall();
  lingering.Send(HelloFrame());
  lingering.ReportUnsent(9000);
  EXPECT_TRUE(lingering.was_shut());
  EXPECT_FALSE(lingering.was_closed());
  Peer& late = driver.Joined("c");
  late.ReportUnsent(2000);
  EXPECT_TRUE(lingering.was_closed());
  EXPECT_FALSE(late.was_closed());
  driver.ExpectNothingLeft();
}

TEST(SendQueue, ASlowReaderHoldsUpNobodyElse) {
  Driver driver;
  Peer& slow = driver.Joined("c");
  slow.Send(ReceiveFrame(1));
  Peer& fast = driver.Joined("c");
  fast.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c", 2);
  sender.Send(StartFrame(flag::kRequest, 1, Id(1)) + StartFrame(flag::kRequest, 2, Id(2)));
  slow.Take();
  fast.Take();
  slow.Stall();
  for (int i = 0; i < 10; ++i) {
    sender.Send(ChunkFrame(flag::kRequest, 1, Id(1), std::string(10000, 's')) +
                ChunkFrame(flag::kRequest, 2, Id(2), "f"));
    EXPECT_EQ(fast.TakeOne().payload, "f");
  }
  EXPECT_TRUE(slow.is_quiet());
  slow.Resume();
  EXPECT_EQ(slow.Take().size(), 10u);
  driver.ExpectNothingLeft();
}

TEST(SendQueue, ControlFramesOwedAreBounded) {
  Limits limits;
  limits.control_frames_owed = 5;
  for (const int pings : {4, 5, 6}) {
    Driver driver(limits);
    Peer& peer = driver.Joined("c");
    peer.Stall();
    peer.ReportUnsent(1);
    for (int i = 0; i < pings; ++i) peer.Send(PingFrame());
    if (pings > 5) {
      EXPECT_TRUE(peer.was_shut());
      EXPECT_EQ(driver.count(End::kControlFramesOwed), 1u);
    } else {
      EXPECT_FALSE(peer.was_shut());
      EXPECT_EQ(driver.count(End::kControlFramesOwed), 0u);
    }
    driver.ExpectNothingLeft();
  }
}

TEST(SendQueue, EveryAnswerCountsAsOwed) {
  Limits limits;
  limits.control_frames_owed = 3;
  const std::string nil_refused = ReceiveFrame(9);
  const std::string echo = WithdrawFrame(1);
  const std::string nothing_came = ReceiveFrame(1, 0);
  const std::string joins_refused = JoinFrame(2, Id((1 << 16) + 1), "c");
  for (const std::string& asks : {PingFrame(), nil_refused, echo, nothing_came, joins_refused}) {
    Driver driver(limits);
    Peer& peer = driver.Joined("c");
    peer.Stall();
    peer.ReportUnsent(1);
    for (int i = 0; i < 3; ++i) peer.Send(asks);
    EXPECT_FALSE(peer.was_shut());
    peer.Send(asks);
    EXPECT_EQ(driver.count(End::kControlFramesOwed), 1u);
    driver.ExpectNothingLeft();
  }
}

TEST(SendQueue, APeerThatReadsOwesNothing) {
  Limits limits;
  limits.control_frames_owed = 5;
  Driver driver(limits);
  Peer& peer = driver.Joined("c");
  for (int i = 0; i < 100; ++i) peer.Send(PingFrame());
  EXPECT_FALSE(peer.was_shut());
  for (int i = 0; i < 100; ++i) {
    peer.Stall();
    peer.ReportUnsent(1);
    for (int k = 0; k < 5; ++k) peer.Send(PingFrame());
    peer.Resume();
  }
  EXPECT_FALSE(peer.was_shut());
  // One that reads all the time, though what is queued toward it never falls to nothing.
  peer.Stall();
  for (size_t i = 0; i < 100; ++i) {
    peer.ReportUnsent(1000 + 10 * (i % 2));
    peer.Send(PingFrame());
  }
  EXPECT_FALSE(peer.was_shut());
  driver.ExpectNothingLeft();
}

class WindowsOwedTest : public testing::Test {
 protected:
  WindowsOwedTest() : driver_(TestLimits()) {
    receiver_ = &driver_.Joined("c");
    receiver_->Send(ReceiveFrame(1));
    sender_ = &driver_.Joined("c");
    sender_->Send(StartFrame(flag::kRequest, 1, Id(9)));
    receiver_->Take();
  }
  ~WindowsOwedTest() override { driver_.ExpectNothingLeft(); }

  static Limits TestLimits() {
    Limits limits;
    limits.send_queue_mark_bytes = 2000;
    limits.initial_window_bytes = 64 * kKiB;
    return limits;
  }
  void Raise(uint64_t more) { receiver_->Send(WindowFrame(flag::kRequest, 1, Id(9), 64 * kKiB + more)); }

  Driver driver_;
  Peer* receiver_;
  Peer* sender_;
};

TEST_F(WindowsOwedTest, AtTheMarkAWindowStillGoesOut) {
  sender_->ReportUnsent(1999);
  Raise(1);
  EXPECT_EQ(sender_->TakeOne().window(), 64 * kKiB + 1);
  sender_->ReportUnsent(2000);
  Raise(2);
  EXPECT_EQ(sender_->TakeOne().window(), 64 * kKiB + 2);
}

TEST_F(WindowsOwedTest, OverTheMarkOnlyTheNewestGoesOutAndAfterwards) {
  sender_->ReportUnsent(2001);
  for (uint64_t i = 1; i <= 100; ++i) Raise(i);
  EXPECT_TRUE(sender_->is_quiet());
  sender_->ReportUnsent(2001);
  EXPECT_TRUE(sender_->is_quiet());
  sender_->ReportUnsent(2000);
  EXPECT_EQ(sender_->TakeOne().window(), 64 * kKiB + 100);
  sender_->ReportUnsent(0);
  EXPECT_TRUE(sender_->is_quiet());
  Raise(101);
  EXPECT_EQ(sender_->TakeOne().window(), 64 * kKiB + 101);
}

TEST_F(WindowsOwedTest, WhatIsOwedCanBeSpentOnceItIsTold) {
  sender_->ReportUnsent(2001);
  Raise(1000);
  sender_->ReportUnsent(0);
  EXPECT_EQ(sender_->TakeOne().type, FrameType::kWindow);
  sender_->Send(ChunkFrame(flag::kRequest, 1, Id(9), std::string(64 * kKiB + 1000 - 24, 'x')));
  EXPECT_EQ(receiver_->TakeOne().type, FrameType::kChunk);
  EXPECT_TRUE(sender_->is_quiet());
}

TEST_F(WindowsOwedTest, OneOfAnExchangeThatHasEndedIsForgotten) {
  sender_->ReportUnsent(2001);
  Raise(1000);
  sender_->Send(ResetFrame(1, Id(9), absl::StatusCode::kCancelled));
  sender_->ReportUnsent(0);
  EXPECT_TRUE(sender_->is_quiet());
}

TEST_F(WindowsOwedTest, OnesTowardAReceiverGoWithIt) {
  receiver_->ReportUnsent(2001);
  sender_->Send(WindowFrame(flag::kResponse, 1, Id(9), 64 * kKiB + 7));
  EXPECT_TRUE(receiver_->is_quiet());
  receiver_->Break();
  EXPECT_EQ(sender_->TakeOne().end(), "receiver_lost");
}

TEST_F(WindowsOwedTest, OnesTowardAReceiverThatGaveTheRequestBackAreForgotten) {
  Peer& next = driver_.Joined("d");
  Peer& worker = driver_.Joined("d");
  worker.Send(ReceiveFrame(1));
  next.Send(StartFrame(flag::kRequest, 1, Id(10), {.flags = flag::kIdempotent}));
  worker.Take();
  worker.ReportUnsent(2001);
  next.Send(WindowFrame(flag::kResponse, 1, Id(10), 64 * kKiB + 7));
  worker.Send(ResetFrame(1, Id(10), absl::StatusCode::kUnavailable, /*requeue=*/true));
  worker.ReportUnsent(0);
  EXPECT_TRUE(worker.is_quiet());
  worker.Send(ReceiveFrame(1));  // it is told to whoever has the request next
  const std::vector<Seen> seen = worker.Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[1].window(), 64 * kKiB + 7);
}

// The turn itself writes more than the mark, and the system takes all of it at once: nothing is ever unsent.
TEST_F(WindowsOwedTest, AWindowBesideALargeTurnIsNotLost) {
  driver_.InOneTurn([&] {
    receiver_->Send(StartFrame(flag::kResponse, 1, Id(9)) +
                    ChunkFrame(flag::kResponse, 1, Id(9), std::string(5000, 'x')));
    Raise(1000);
  });
  sender_->Send(PingFrame());
  size_t windows = 0;
  for (const Seen& seen : sender_->Take()) windows += seen.type == FrameType::kWindow ? 1 : 0;
  EXPECT_EQ(windows, 1u);
}

// Neither is handed what the other one gives back: no attempt is lost on it, whichever the turn met first.
TEST(SendQueue, ThoseThatAreCutTogetherDieTogether) {
  Limits limits;
  limits.send_queue_bytes = 10000;
  limits.attempts = 2;
  for (const bool worker_is_first : {true, false}) {
    Driver driver(limits);
    Peer& worker = driver.Joined("c");
    worker.Send(ReceiveFrame(1));
    Peer& waiting = driver.Joined("c");
    waiting.Send(ReceiveFrame(1));
    Peer& sender = driver.Joined("c");
    sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kIdempotent}));
    EXPECT_EQ(worker.TakeOne().type, FrameType::kStart);
    driver.InOneTurn([&] {
      (worker_is_first ? worker : waiting).ReportUnsent(10001);
      (worker_is_first ? waiting : worker).ReportUnsent(10001);
    });
    EXPECT_EQ(driver.count(End::kSendQueue), 2u);
    EXPECT_TRUE(worker.was_closed() && waiting.was_closed());
    EXPECT_TRUE(sender.is_quiet());
    EXPECT_TRUE(waiting.is_quiet());
    Peer& next = driver.Joined("c");
    next.Send(ReceiveFrame(1));
    EXPECT_EQ(next.TakeOne().block().attempt(), 2u);
    driver.ExpectNothingLeft();
  }
}

// The session that is cut at the turn's end is the last thing that another one, judged before it, waited for.
TEST(SendQueue, OneThatIsCutLetsAPeerThatLeavesGo) {
  Limits limits;
  limits.send_queue_bytes = 10000;
  Driver driver(limits);
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)) + GoawayFrame());
  EXPECT_FALSE(sender.was_shut());
  driver.InOneTurn([&] {
    sender.Send(PingFrame());  // the sender's connection is the first in the turn
    receiver.ReportUnsent(9990);
    sender.Send(ChunkFrame(flag::kRequest, 1, Id(9), "the last straw"));
  });
  EXPECT_TRUE(receiver.was_closed());
  EXPECT_EQ(sender.Take().back().end(), "receiver_lost");
  EXPECT_TRUE(sender.was_shut());
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

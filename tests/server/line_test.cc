// Who is next: waiting, withdrawing, the order of requests and of receivers, and what a slow receiver's share is.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

TEST(Line, TheReceiverThatHasWaitedLongestIsNext) {
  Driver driver;
  Peer& a = driver.Joined("c", 2);
  Peer& b = driver.Joined("c");
  a.Send(ReceiveFrame(2));
  b.Send(ReceiveFrame(1));
  a.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c", 3);
  for (uint16_t i = 1; i <= 3; ++i) sender.Send(StartFrame(flag::kRequest, i, Id(i)));
  const std::vector<Seen> seen = a.Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].slot, 2);
  EXPECT_EQ(seen[0].id, Id(1));
  EXPECT_EQ(b.TakeOne().id, Id(2));
  EXPECT_EQ(seen[1].slot, 1);
  EXPECT_EQ(seen[1].id, Id(3));
  driver.ExpectNothingLeft();
}

TEST(Line, RequestsAreHandedOutInTheOrderTheyArrived) {
  Driver driver;
  Peer& sender = driver.Joined("c", 50);
  Peer& other = driver.Joined("c", 50);
  for (uint16_t i = 1; i <= 50; ++i) {
    sender.Send(StartFrame(flag::kRequest, i, Id(2u * i)));
    other.Send(StartFrame(flag::kRequest, i, Id(2u * i + 1)));
  }
  Peer& receiver = driver.Joined("c");
  for (uint64_t i = 2; i <= 101; ++i) {
    receiver.Send(ReceiveFrame(1));
    EXPECT_EQ(receiver.TakeOne().id, Id(i));
    receiver.Send(StartFrame(flag::kResponse, 1, Id(i), {.flags = flag::kFin}));
  }
  driver.ExpectNothingLeft();
}

TEST(Line, AWaitOfNothingIsAnsweredAtOnce) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1, 0));
  const Seen nothing = receiver.TakeOne();
  EXPECT_EQ(nothing.type, FrameType::kReceive);
  EXPECT_EQ(nothing.slot, 1);
  EXPECT_EQ(nothing.payload, "");
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  EXPECT_TRUE(receiver.is_quiet());
  receiver.Send(ReceiveFrame(1, 0));
  EXPECT_EQ(receiver.TakeOne().type, FrameType::kStart);
  driver.ExpectNothingLeft();
}

TEST(Line, AWaitEndsAtItsTimeAndNotBefore) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1, 50));
  driver.Advance(absl::Milliseconds(49));
  EXPECT_TRUE(receiver.is_quiet());
  driver.Advance(absl::Milliseconds(1));
  EXPECT_EQ(receiver.TakeOne().type, FrameType::kReceive);
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  EXPECT_TRUE(receiver.is_quiet());
  driver.ExpectNothingLeft();
}

TEST(Line, AWaitIsOverWithItsRequest) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1, 50));
  Peer& sender = driver.Joined("c");
  driver.Advance(absl::Milliseconds(49));
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  EXPECT_EQ(receiver.TakeOne().type, FrameType::kStart);
  driver.Advance(absl::Milliseconds(100));
  EXPECT_TRUE(receiver.is_quiet());
  driver.ExpectNothingLeft();
}

TEST(Line, AWaitWithoutEndHasNone) {
  Limits limits;
  limits.heartbeat_interval = absl::Hours(24 * 365);
  Driver driver(limits);
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  driver.Advance(absl::Hours(24 * 60));
  EXPECT_TRUE(receiver.is_quiet());
  Peer& longest = driver.Joined("d");
  longest.Send(ReceiveFrame(1, 0xffffffff));
  driver.Advance(absl::Milliseconds(0xfffffffe));
  EXPECT_TRUE(longest.is_quiet());
  driver.Advance(absl::Milliseconds(1));
  EXPECT_EQ(longest.TakeOne().type, FrameType::kReceive);
  driver.ExpectNothingLeft();
}

TEST(Line, AWithdrawalIsAlwaysEchoedAndNeverHandsOut) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  const auto expect_echo = [](const Seen& seen) {
    v1::Receive echo;
    ASSERT_TRUE(proto::ParseMessage(seen.payload, echo));
    EXPECT_EQ(seen.type, FrameType::kReceive);
    EXPECT_EQ(seen.slot, 1);
    EXPECT_TRUE(echo.withdraw());
  };
  receiver.Send(WithdrawFrame(1));  // idle
  expect_echo(receiver.TakeOne());
  receiver.Send(ReceiveFrame(1) + WithdrawFrame(1));  // waiting
  expect_echo(receiver.TakeOne());
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  EXPECT_TRUE(receiver.is_quiet());
  receiver.Send(WithdrawFrame(1));  // a request is there, and stays
  expect_echo(receiver.TakeOne());
  receiver.Send(ReceiveFrame(1) + WithdrawFrame(1));  // a START that crosses it comes first
  std::vector<Seen> seen = receiver.Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].type, FrameType::kStart);
  expect_echo(seen[1]);
  receiver.Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = flag::kFin}));  // it is to be worked on
  EXPECT_EQ(sender.TakeOne().type, FrameType::kStart);
  driver.ExpectNothingLeft();
}

// A request that arrives as the wait runs out is delivered or stays queued: every order of the three events in a turn.
TEST(Line, ARequestInTheMomentTheWaitRunsOutIsNeitherLostNorDoubled) {
  std::array<int, 3> order = {0, 1, 2};
  do {
    Driver driver;
    Peer& receiver = driver.Joined("c");
    Peer& sender = driver.Joined("c");
    receiver.Send(ReceiveFrame(1, 50));
    driver.InOneTurn([&] {
      for (const int event : order) {
        if (event == 0) sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
        if (event == 1) driver.Advance(absl::Milliseconds(25));
        if (event == 2) driver.Advance(absl::Milliseconds(25));
      }
    });
    const Seen first = receiver.TakeOne();
    if (first.type == FrameType::kReceive) {
      receiver.Send(ReceiveFrame(1, 0));
      EXPECT_EQ(receiver.TakeOne().type, FrameType::kStart);
    } else {
      EXPECT_EQ(first.type, FrameType::kStart);
    }
    EXPECT_EQ(driver.metrics().assignments, 1u);
    driver.ExpectNothingLeft();
  } while (std::next_permutation(order.begin(), order.end()));
}

// One receiver of 50 ms among three of 1 ms, requests always waiting. Work goes to whoever asks, so in a second the
// slow one takes 20 and each fast one 1000.
TEST(Line, ASlowReceiverGetsItsShareAndNoMore) {
  Driver driver;
  Peer& sender = driver.Joined("c", 8);
  uint64_t next_id = 1;
  const auto ask = [&](uint16_t slot) {
    sender.Send(StartFrame(flag::kRequest, slot, Id(next_id++), {.flags = flag::kFin}));
  };
  struct Worker {
    Peer* peer;
    int64_t work_ms;
    int64_t free_at_ms = 0;
    proto::Uuid id = {};
    int done = 0;
  };
  std::vector<Worker> workers;
  for (const int64_t work_ms : {50, 1, 1, 1}) {
    Peer& peer = driver.Joined("c");
    peer.Send(ReceiveFrame(1));
    workers.push_back({&peer, work_ms});
  }
  for (uint16_t slot = 1; slot <= 8; ++slot) ask(slot);
  for (int64_t now_ms = 0; now_ms < 1000; ++now_ms) {
    for (Worker& worker : workers) {
      for (const Seen& seen : worker.peer->Take()) {
        if (seen.type != FrameType::kStart) continue;
        worker.id = seen.id;
        worker.free_at_ms = now_ms + worker.work_ms;
      }
    }
    driver.Advance(absl::Milliseconds(1));
    for (Worker& worker : workers) {
      if (worker.id == proto::kNilUuid || worker.free_at_ms > now_ms + 1) continue;
      worker.peer->Send(StartFrame(flag::kResponse, 1, std::exchange(worker.id, proto::kNilUuid),
                                   {.flags = flag::kFin | flag::kReceive}));
      ++worker.done;
    }
    for (const Seen& seen : sender.Take()) {
      if (seen.type == FrameType::kStart) ask(seen.slot);
    }
    sender.Send(PingFrame());
  }
  EXPECT_EQ(workers[0].done, 20);
  for (size_t i = 1; i < 4; ++i) EXPECT_EQ(workers[i].done, 1000) << i;
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

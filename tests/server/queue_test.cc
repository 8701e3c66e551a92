// The bounds of the queues: count, bytes of a channel, bytes in all.

#include <gtest/gtest.h>

#include <string>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

// A START that takes `bytes` in a queue.
std::string StartOf(size_t bytes, uint16_t slot, const proto::Uuid& id, uint8_t flags = 0) {
  return StartFrame(flag::kRequest, slot, id, {.flags = flags, .body = std::string(bytes - 64, 'x')});
}

void ExpectFull(Peer& peer, uint16_t slot, const proto::Uuid& id, End end) {
  const Seen told = peer.TakeOne();
  EXPECT_EQ(told.type, FrameType::kReset);
  EXPECT_EQ(told.slot, slot);
  EXPECT_EQ(told.id, id);
  EXPECT_EQ(told.end(), InfoOf(end).name);
  EXPECT_EQ(told.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(told.status().may_have_run());
}

TEST(Queue, HoldsQueueCountRequests) {
  Limits limits;
  limits.queue_count = 3;
  Driver driver(limits);
  Peer& sender = driver.Joined("c", 5);
  for (uint16_t i = 1; i <= 3; ++i) sender.Send(StartFrame(flag::kRequest, i, Id(i)));
  EXPECT_TRUE(sender.is_quiet());
  sender.Send(StartFrame(flag::kRequest, 4, Id(4)));
  ExpectFull(sender, 4, Id(4), End::kQueueCount);
  EXPECT_EQ(driver.count(End::kQueueCount), 1u);
  EXPECT_EQ(driver.metrics().requests_accepted, 3u);
  EXPECT_EQ(driver.metrics().requests_refused, 1u);
  // Another channel has a queue of its own.
  sender.Send(LeaveFrame(5, Driver::ClientId(sender, 5)) + JoinFrame(6, Id(6), "d") +
              StartFrame(flag::kRequest, 6, Id(6)));
  EXPECT_EQ(sender.TakeOne().type, FrameType::kLeave);
  // What was refused is never delivered; a place that falls free is taken again.
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  EXPECT_EQ(receiver.TakeOne().id, Id(1));
  sender.Send(StartFrame(flag::kRequest, 4, Id(4)));
  EXPECT_TRUE(sender.is_quiet());
  sender.Send(StartFrame(flag::kRequest, 4, Id(4)));  // a second START, not a fifth request
  EXPECT_EQ(sender.TakeOne().end(), "second_start");
  driver.ExpectNothingLeft();
}

TEST(Queue, ARequestForAWaitingReceiverIsNotQueued) {
  Limits limits;
  limits.queue_count = 1;
  limits.queue_bytes = 1024;
  Driver driver(limits);
  Peer& receiver = driver.Joined("c", 3);
  receiver.Send(ReceiveFrame(1) + ReceiveFrame(2) + ReceiveFrame(3));
  Peer& sender = driver.Joined("c", 3);
  for (uint16_t i = 1; i <= 3; ++i) sender.Send(StartOf(2000, i, Id(i)));
  EXPECT_TRUE(sender.is_quiet());
  EXPECT_EQ(receiver.Take().size(), 3u);
  driver.ExpectNothingLeft();
}

TEST(Queue, HoldsQueueBytesAndNotOneMore) {
  Limits limits;
  limits.queue_bytes = 2000;
  for (const size_t second : {999u, 1000u, 1001u}) {
    Driver driver(limits);
    Peer& sender = driver.Joined("c", 2);
    sender.Send(StartOf(1000, 1, Id(1)));
    sender.Send(StartOf(second, 2, Id(2)));
    if (second > 1000) {
      ExpectFull(sender, 2, Id(2), End::kQueueBytes);
      EXPECT_EQ(driver.metrics().held_bytes, 1000u);
    } else {
      EXPECT_TRUE(sender.is_quiet());
      EXPECT_EQ(driver.metrics().held_bytes, 1000 + second);
    }
    EXPECT_EQ(driver.count(End::kQueueBytes), second > 1000 ? 1u : 0u);
    EXPECT_EQ(driver.metrics().requests_refused, second > 1000 ? 1u : 0u);
    driver.ExpectNothingLeft();
  }
}

TEST(Queue, AFrameThatTakesItOverItsBytesEndsTheYoungest) {
  Limits limits;
  limits.queue_bytes = 2000;
  for (const size_t more : {399u, 400u, 401u}) {
    Driver driver(limits);
    Peer& sender = driver.Joined("c", 3);
    sender.Send(StartOf(1000, 1, Id(1)) + StartOf(500, 2, Id(2)) + StartOf(100, 3, Id(3)));
    sender.Send(ChunkFrame(flag::kRequest, 1, Id(1), std::string(more - 24, 'x')));  // of the oldest
    if (more > 400) {
      ExpectFull(sender, 3, Id(3), End::kQueueBytes);
      EXPECT_EQ(driver.metrics().held_bytes, 1500 + more);
      EXPECT_EQ(driver.count(End::kQueueBytes), 1u);
    } else {
      EXPECT_TRUE(sender.is_quiet());
      EXPECT_EQ(driver.metrics().held_bytes, 1600 + more);
    }
    driver.ExpectNothingLeft();
  }
}

TEST(Queue, AsManyOfTheYoungestEndAsItTakes) {
  Limits limits;
  limits.queue_bytes = 2000;
  Driver driver(limits);
  Peer& sender = driver.Joined("c", 4);
  for (uint16_t i = 1; i <= 4; ++i) sender.Send(StartOf(500, i, Id(i)));
  sender.Send(ChunkFrame(flag::kRequest, 1, Id(1), std::string(901 - 24, 'x')));
  const std::vector<Seen> seen = sender.Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].id, Id(4));
  EXPECT_EQ(seen[1].id, Id(3));
  EXPECT_EQ(driver.metrics().held_bytes, 1901u);
  driver.ExpectNothingLeft();
}

TEST(Queue, ARequestThatOutgrowsTheQueueAloneEnds) {
  Limits limits;
  limits.queue_bytes = 2000;
  Driver driver(limits);
  Peer& sender = driver.Joined("c");
  sender.Send(StartOf(1000, 1, Id(1)) + ChunkFrame(flag::kRequest, 1, Id(1), std::string(1001 - 24, 'x')));
  ExpectFull(sender, 1, Id(1), End::kQueueBytes);
  EXPECT_EQ(driver.metrics().held_bytes, 0u);
  sender.Send(EndFrame(flag::kRequest, 1, Id(1)));  // late
  EXPECT_TRUE(sender.is_quiet());
  driver.ExpectNothingLeft();
}

TEST(Queue, EmptyChunksAreNotFree) {
  Limits limits;
  limits.queue_bytes = 2000;
  Driver driver(limits);
  Peer& sender = driver.Joined("c");
  sender.Send(StartOf(1040, 1, Id(1)));
  for (int i = 0; i < 40; ++i) sender.Send(ChunkFrame(flag::kRequest, 1, Id(1), ""));
  EXPECT_TRUE(sender.is_quiet());
  sender.Send(ChunkFrame(flag::kRequest, 1, Id(1), ""));
  ExpectFull(sender, 1, Id(1), End::kQueueBytes);
  driver.ExpectNothingLeft();
}

TEST(Queue, AllQueuesHoldQueueBytesTotalAndNotOneMore) {
  Limits limits;
  limits.queue_bytes_total = 3000;
  for (const size_t third : {999u, 1000u, 1001u}) {
    Driver driver(limits);
    Peer& sender = driver.Open();
    for (uint16_t i = 1; i <= 3; ++i) sender.Send(JoinFrame(i, Id(i), "channel" + std::to_string(i)));
    sender.Send(StartOf(1000, 1, Id(1)) + StartOf(1000, 2, Id(2)));
    sender.Send(StartOf(third, 3, Id(3)));
    if (third > 1000) {
      ExpectFull(sender, 3, Id(3), End::kQueueBytesTotal);
    } else {
      EXPECT_TRUE(sender.is_quiet());
      EXPECT_EQ(driver.metrics().held_bytes, 2000 + third);
    }
    EXPECT_EQ(driver.count(End::kQueueBytesTotal), third > 1000 ? 1u : 0u);
    EXPECT_EQ(driver.metrics().requests_refused, third > 1000 ? 1u : 0u);
    driver.ExpectNothingLeft();
  }
}

TEST(Queue, AFrameThatTakesAllQueuesOverTheirBytesEndsTheYoungestOfItsChannel) {
  Limits limits;
  limits.queue_bytes_total = 3000;
  for (const size_t more : {499u, 500u, 501u}) {
    Driver driver(limits);
    Peer& sender = driver.Open();
    sender.Send(JoinFrame(1, Id(1), "a") + JoinFrame(2, Id(2), "a") + JoinFrame(3, Id(3), "b"));
    sender.Send(StartOf(1000, 1, Id(1)) + StartOf(500, 2, Id(2)) + StartOf(1000, 3, Id(3)));
    sender.Send(ChunkFrame(flag::kRequest, 1, Id(1), std::string(more - 24, 'x')));
    if (more > 500) {
      ExpectFull(sender, 2, Id(2), End::kQueueBytesTotal);
      EXPECT_EQ(driver.count(End::kQueueBytesTotal), 1u);
    } else {
      EXPECT_TRUE(sender.is_quiet());
    }
    driver.ExpectNothingLeft();
  }
}

TEST(Queue, CopiesForRedeliveryCountInAllBytesAndGiveWay) {
  Limits limits;
  limits.queue_bytes_total = 1000;
  for (const size_t bytes : {999u, 1000u, 1001u}) {
    Driver driver(limits);
    Peer& receiver = driver.Joined("c");
    receiver.Send(ReceiveFrame(1));
    Peer& sender = driver.Joined("c");
    sender.Send(StartOf(bytes, 1, Id(1), flag::kIdempotent));
    EXPECT_EQ(driver.metrics().held_bytes, bytes <= 1000 ? bytes : 0);
    EXPECT_TRUE(sender.is_quiet());
    receiver.Take();
    receiver.Break();
    if (bytes <= 1000) {
      EXPECT_TRUE(sender.is_quiet());  // queued again
    } else {
      EXPECT_EQ(sender.TakeOne().end(), "receiver_lost");
    }
    driver.ExpectNothingLeft();
  }
}

// Serves the oldest of `queued` requests, on slots 1 and up, every 100 ms.
void ServeEvery100Ms(Driver& driver, Peer& receiver, size_t requests, uint64_t first_id) {
  for (uint64_t i = 0; i < requests; ++i) {
    driver.Advance(absl::Milliseconds(100));
    receiver.Send(ReceiveFrame(1));
    receiver.Send(StartFrame(flag::kResponse, 1, Id(first_id + i), {.flags = flag::kFin}));
  }
}

TEST(Queue, ARefusalSaysWhenThereWillBeRoom) {
  Limits limits;
  limits.queue_count = 20;
  limits.heartbeat_interval = absl::Minutes(1);
  Driver driver(limits);
  Peer& sender = driver.Joined("c", 40);
  Peer& receiver = driver.Joined("c");
  for (uint16_t i = 1; i <= 20; ++i) sender.Send(StartFrame(flag::kRequest, i, Id(i), {.flags = flag::kFin}));
  sender.Send(StartFrame(flag::kRequest, 21, Id(21)));
  EXPECT_EQ(sender.TakeOne().status().retry_after_ms(), 0u);  // nothing is known yet
  ServeEvery100Ms(driver, receiver, 12, 1);
  for (uint16_t i = 21; i <= 32; ++i) sender.Send(StartFrame(flag::kRequest, i, Id(i), {.flags = flag::kFin}));
  sender.Take();
  for (const uint32_t retry_after_ms : {100u, 200u, 300u}) {
    sender.Send(StartFrame(flag::kRequest, 33, Id(33)));
    const Seen told = sender.TakeOne();
    EXPECT_EQ(told.end(), "queue_count");
    EXPECT_EQ(told.status().retry_after_ms(), retry_after_ms);
  }
  ServeEvery100Ms(driver, receiver, 1, 13);
  sender.Take();
  sender.Send(StartFrame(flag::kRequest, 33, Id(33), {.flags = flag::kFin}));
  EXPECT_TRUE(sender.is_quiet());
}

TEST(Queue, ARefusalForItsBytesSaysWhenThereWillBeRoomForThem) {
  Limits limits;
  limits.queue_bytes = 20 * 1000;
  limits.heartbeat_interval = absl::Minutes(1);
  Driver driver(limits);
  Peer& sender = driver.Joined("c", 40);
  Peer& receiver = driver.Joined("c");
  for (uint16_t i = 1; i <= 20; ++i) sender.Send(StartOf(1000, i, Id(i), flag::kFin));
  ServeEvery100Ms(driver, receiver, 12, 1);
  for (uint16_t i = 21; i <= 32; ++i) sender.Send(StartOf(1000, i, Id(i), flag::kFin));
  sender.Take();
  sender.Send(StartOf(2500, 33, Id(33)));
  Seen told = sender.TakeOne();
  EXPECT_EQ(told.end(), "queue_bytes");
  EXPECT_EQ(told.status().retry_after_ms(), 300u);
  sender.Send(StartOf(20 * 1000 + 1, 33, Id(33)));
  told = sender.TakeOne();
  EXPECT_EQ(told.end(), "queue_bytes");
  EXPECT_EQ(told.status().retry_after_ms(), 0u);  // there will never be
}

}  // namespace
}  // namespace relay::server

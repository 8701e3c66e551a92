// Bytes stay where they were read: what is forwarded is a view, what is held is a copy, neighbours are one slice.

#include <gtest/gtest.h>

#include <string>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

class ForwardingTest : public testing::Test {
 protected:
  ForwardingTest() {
    receiver_ = &driver_.Joined("c", 2);
    receiver_->Send(ReceiveFrame(1) + ReceiveFrame(2));
    sender_ = &driver_.Joined("c", 2);
  }
  ~ForwardingTest() override { driver_.ExpectNothingLeft(); }

  Driver driver_;
  Peer* receiver_;
  Peer* sender_;
};

TEST_F(ForwardingTest, AFrameIsWrittenFromTheBytesThatWereRead) {
  const std::string start = StartFrame(flag::kRequest, 1, Id(9), {.body = "body"});
  sender_->Send(start);
  ASSERT_EQ(receiver_->last_slices().size(), 1u);
  EXPECT_EQ(receiver_->last_slices()[0].begin, sender_->last_given().begin);
  EXPECT_EQ(receiver_->last_slices()[0].size, start.size());
  EXPECT_EQ(receiver_->TakeOne().body(), "body");

  receiver_->Send(StartFrame(flag::kResponse, 1, Id(9)) + ChunkFrame(flag::kResponse, 1, Id(9), "answer"));
  ASSERT_EQ(sender_->last_slices().size(), 1u);
  EXPECT_EQ(sender_->last_slices()[0].begin, receiver_->last_given().begin);
  EXPECT_EQ(sender_->last_slices()[0].size, receiver_->last_given().size);
}

TEST_F(ForwardingTest, NeighboursAreOneSlice) {
  std::string all = StartFrame(flag::kRequest, 1, Id(9));
  for (int i = 0; i < 100; ++i) all += ChunkFrame(flag::kRequest, 1, Id(9), "x");
  sender_->Send(all);
  EXPECT_EQ(receiver_->last_slices().size(), 1u);
  EXPECT_EQ(receiver_->Take().size(), 101u);
}

TEST_F(ForwardingTest, NeighboursOfTwoExchangesToOneConnectionAreOneSlice) {
  sender_->Send(StartFrame(flag::kRequest, 1, Id(8)) + StartFrame(flag::kRequest, 2, Id(9)));
  EXPECT_EQ(receiver_->last_slices().size(), 1u);
  EXPECT_EQ(receiver_->Take().size(), 2u);
}

TEST_F(ForwardingTest, WhatStoodApartStaysApart) {
  const std::string start = StartFrame(flag::kRequest, 1, Id(9));
  const std::string late = ChunkFrame(flag::kRequest, 1, Id(77), "nobody's");
  const std::string chunk = ChunkFrame(flag::kRequest, 1, Id(9), "x");
  sender_->Send(start + late + chunk);
  const auto& slices = receiver_->last_slices();
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[0].begin, sender_->last_given().begin);
  EXPECT_EQ(slices[1].begin, sender_->last_given().begin + start.size() + late.size());
  EXPECT_EQ(receiver_->Take().size(), 2u);
}

TEST_F(ForwardingTest, WhatTheServerSaysItselfIsNotInThoseBytes) {
  sender_->Send(StartFrame(flag::kRequest, 1, Id(9)) + PingFrame());
  ASSERT_EQ(sender_->last_slices().size(), 1u);
  EXPECT_FALSE(sender_->last_given().contains(sender_->last_slices()[0]));
}

TEST_F(ForwardingTest, TheRestOfAFrameIsForwardedOnceItIsWhole) {
  const std::string start = StartFrame(flag::kRequest, 1, Id(9), {.body = std::string(1000, 'x')});
  sender_->Send(start.substr(0, 700));
  EXPECT_TRUE(receiver_->is_quiet());
  sender_->Send(start.substr(700));
  EXPECT_TRUE(sender_->last_given().contains(receiver_->last_slices()[0]));
  EXPECT_EQ(receiver_->TakeOne().body().size(), 1000u);
}

TEST(Forwarding, WhatIsHeldIsACopyAndLeavesAsOneSlice) {
  Driver driver;
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)) + ChunkFrame(flag::kRequest, 1, Id(9), "one"));
  const Peer::Place first = sender.last_given();
  sender.Send(ChunkFrame(flag::kRequest, 1, Id(9), "two"));
  Peer& receiver = driver.Joined("c");
  driver.InOneTurn([&] {
    receiver.Send(ReceiveFrame(1));
    sender.Send(ChunkFrame(flag::kRequest, 1, Id(9), "three"));
  });
  const auto& slices = receiver.last_slices();
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_FALSE(first.contains(slices[0]));
  EXPECT_FALSE(sender.last_given().contains(slices[0]));
  EXPECT_TRUE(sender.last_given().contains(slices[1]));
  const std::vector<Seen> seen = receiver.Take();
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[1].payload + seen[2].payload + seen[3].payload, "onetwothree");
  driver.ExpectNothingLeft();
}

// The copy that is kept for another receiver is another one than what the first receiver is sent.
TEST(Forwarding, ARedeliverableFrameIsForwardedWithoutACopy) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kIdempotent, .body = "x"}));
  EXPECT_TRUE(sender.last_given().contains(receiver.last_slices()[0]));
  EXPECT_GT(driver.metrics().held_bytes, 0u);
  driver.ExpectNothingLeft();
}

TEST(Forwarding, OneWriteCarriesAllThatATurnHasForAConnection) {
  Driver driver;
  Peer& receiver = driver.Joined("c", 3);
  receiver.Send(ReceiveFrame(1) + ReceiveFrame(2) + ReceiveFrame(3));
  std::vector<Peer*> senders;
  for (int i = 0; i < 3; ++i) senders.push_back(&driver.Joined("c"));
  driver.InOneTurn([&] {
    uint64_t id = 10;
    for (Peer* const sender : senders) sender->Send(StartFrame(flag::kRequest, 1, Id(id++)));
  });
  EXPECT_EQ(receiver.last_slices().size(), 3u);
  EXPECT_EQ(receiver.Take().size(), 3u);
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

// Those who leave in the middle: what they gave back keeps its order, what cannot end is ended, and nobody else pays.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

TEST(Departure, RequestsGivenBackTogetherAreHandedOutOldestFirst) {
  Driver driver;
  Peer& dying = driver.Joined("c", 2);
  dying.Send(ReceiveFrame(1) + ReceiveFrame(2));
  Peer& sender = driver.Joined("c", 2);
  sender.Send(StartFrame(flag::kRequest, 1, Id(1), {.flags = flag::kFin | flag::kIdempotent}) +
              StartFrame(flag::kRequest, 2, Id(2), {.flags = flag::kFin | flag::kIdempotent}));
  Peer& other = driver.Joined("c");
  other.Send(ReceiveFrame(1));
  dying.Break();
  EXPECT_EQ(other.TakeOne().id, Id(1));
}

TEST(Departure, ReceiverThatEndsItsInputBehindGoawayIsLostToItsSender) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(1), {.flags = flag::kFin}));
  receiver.Send(GoawayFrame());
  receiver.CloseInput();
  EXPECT_EQ(sender.TakeOne().end(), "receiver_lost");
  EXPECT_TRUE(receiver.was_closed());
  driver.ExpectNothingLeft();
}

TEST(Departure, SenderThatEndsItsInputInTheMiddleOfARequestIsLostBehindGoawayToo) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(1)) + GoawayFrame());
  EXPECT_EQ(receiver.TakeOne().type, FrameType::kStart);
  sender.CloseInput();
  EXPECT_EQ(receiver.TakeOne().end(), "sender_lost");
  EXPECT_TRUE(sender.was_closed());
  driver.ExpectNothingLeft();
}

// Both sides of a request go: nobody else is to begin with it.
TEST(Departure, RequestOfWhoeverEndsTheInputOfItsReceiverTooGoesToNobodyElse) {
  Driver driver;
  Peer& peer = driver.Joined("c", 2);
  peer.Send(ReceiveFrame(1));
  peer.Send(StartFrame(flag::kRequest, 2, Id(1), {.flags = flag::kIdempotent}));
  Peer& other = driver.Joined("c");
  other.Send(ReceiveFrame(1));
  peer.Take();
  peer.Send(GoawayFrame());
  peer.CloseInput();
  EXPECT_TRUE(other.Take().empty());
  EXPECT_EQ(driver.count(End::kSenderLost), 1u);
  EXPECT_TRUE(peer.was_closed());
}

TEST(Departure, HalfClosedSenderThatBreaksIsLostToItsReceiverAtOnce) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(1), {.flags = flag::kFin}) + GoawayFrame());
  EXPECT_EQ(receiver.TakeOne().type, FrameType::kStart);
  sender.CloseInput();
  EXPECT_TRUE(receiver.Take().empty());
  sender.Break();
  EXPECT_EQ(receiver.TakeOne().end(), "sender_lost");
  EXPECT_TRUE(sender.was_closed());
  EXPECT_EQ(driver.count(End::kPeerLost), 1u);
  driver.ExpectNothingLeft();
}

TEST(Departure, HalfClosedPeerThatDoesNotReadDies) {
  Driver driver;
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(1), {.flags = flag::kFin}) + GoawayFrame());
  sender.CloseInput();
  sender.Stall();
  for (int i = 0; i < 10; ++i) driver.Advance(Limits().heartbeat_interval);
  EXPECT_TRUE(sender.was_closed());
  EXPECT_EQ(driver.count(End::kHeartbeat), 1u);
  driver.ExpectNothingLeft();
}

TEST(Departure, WordsOfAResetAreCutBeforeTheyAreHandedOn) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(1), {.flags = flag::kFin}));
  receiver.Take();
  sender.Send(
      ResetFrame(1, Id(1), absl::StatusCode::kCancelled, false, std::string(Limits().max_payload_bytes - 100, 'x')));
  EXPECT_EQ(receiver.TakeOne().status().message(), std::string(1024, 'x'));
}

TEST(Departure, RefusalsOfADrainingServerAreNotThePeersDoing) {
  Limits limits;
  limits.reset_burst = 5;
  Driver driver(limits);
  Peer& receiver = driver.Joined("c", 2);
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(1), {.flags = flag::kFin}));
  driver.Drain();
  receiver.Take();
  for (int i = 0; i < 100; ++i) receiver.Send(ReceiveFrame(2));
  EXPECT_EQ(receiver.Take().size(), 100u);
  EXPECT_FALSE(receiver.was_shut());
}

TEST(Departure, IdleTimeIsPaidOutOnce) {
  Limits limits;
  limits.reset_burst = 100;
  limits.heartbeat_interval = absl::Hours(1);
  Driver driver(limits);
  Peer& peer = driver.Joined("c");
  driver.Advance(absl::Minutes(10));
  for (int i = 0; i < 100; ++i) peer.Send(ReceiveFrame(9));
  EXPECT_FALSE(peer.was_shut());
  peer.Send(ReceiveFrame(9));
  EXPECT_TRUE(peer.was_shut());
  EXPECT_EQ(driver.count(End::kResetsPerSecond), 1u);
}

TEST(Departure, GoawayIsHeardOnce) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(1), {.flags = flag::kFin}) + GoawayFrame() + GoawayFrame());
  EXPECT_FALSE(sender.was_shut());
  receiver.Send(StartFrame(flag::kResponse, 1, Id(1), {.flags = flag::kFin}));
  EXPECT_EQ(sender.TakeOne().type, FrameType::kStart);
  EXPECT_TRUE(sender.was_shut());
}

}  // namespace
}  // namespace relay::server

// Clients join, leave and are taken over; how many may, and on how many channels.

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

TEST(Joins, ClientsOfAConnectionAreBounded) {
  Limits limits;
  limits.max_clients_per_connection = 3;
  Driver driver(limits);
  Peer& peer = driver.Joined("c", 3);
  EXPECT_EQ(driver.relay().client_count(), 3u);
  peer.Send(JoinFrame(4, Id(4), "c"));
  const Seen refusal = peer.TakeOne();
  EXPECT_EQ(refusal.type, FrameType::kLeave);
  EXPECT_EQ(refusal.slot, 4);
  EXPECT_EQ(refusal.id, Id(4));
  EXPECT_EQ(refusal.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(refusal.end(), "client_limit");
  EXPECT_EQ(driver.count(End::kClientLimit), 1u);
  peer.Send(LeaveFrame(2, Driver::ClientId(peer, 2)));
  EXPECT_EQ(peer.TakeOne().end(), "left");
  peer.Send(JoinFrame(4, Id(4), "c"));
  EXPECT_TRUE(peer.is_quiet());
  EXPECT_EQ(driver.relay().client_count(), 3u);
  driver.ExpectNothingLeft();
}

TEST(Joins, ChannelsAreBounded) {
  Limits limits;
  limits.max_channels = 2;
  Driver driver(limits);
  Peer& peer = driver.Open();
  peer.Send(JoinFrame(1, Id(1), "a") + JoinFrame(2, Id(2), "b"));
  EXPECT_TRUE(peer.is_quiet());
  peer.Send(JoinFrame(3, Id(3), "c"));
  EXPECT_EQ(peer.TakeOne().end(), "channel_limit");
  peer.Send(JoinFrame(3, Id(3), "a"));  // one that is there already
  EXPECT_TRUE(peer.is_quiet());
  EXPECT_EQ(driver.relay().channel_count(), 2u);
  peer.Send(LeaveFrame(2, Id(2)));
  EXPECT_EQ(driver.relay().channel_count(), 1u);
  peer.Take();
  peer.Send(JoinFrame(4, Id(4), "c"));
  EXPECT_TRUE(peer.is_quiet());
  EXPECT_EQ(driver.count(End::kChannelLimit), 1u);
  driver.ExpectNothingLeft();
}

TEST(Joins, SlotsFromOneTo65535AreBoundAlike) {
  Driver driver;
  Peer& peer = driver.Open();
  uint64_t number = 1;
  for (const uint16_t slot : std::initializer_list<uint16_t>{1, 2, 1023, 1024, 1025, 65535}) {
    peer.Send(JoinFrame(slot, Id(number++), "c") + ReceiveFrame(slot, 0));
    const Seen seen = peer.TakeOne();
    EXPECT_EQ(seen.type, FrameType::kReceive);
    EXPECT_EQ(seen.slot, slot);
  }
  EXPECT_EQ(driver.relay().client_count(), 6u);
  driver.ExpectNothingLeft();
}

TEST(Joins, AMillionNamesLeaveNothingBehind) {
  Driver driver;
  Peer& peer = driver.Open();
  for (int i = 0; i < 1000; ++i) {
    peer.Send(JoinFrame(1, Id(1), "name" + std::to_string(i)) + LeaveFrame(1, Id(1)));
    EXPECT_EQ(peer.TakeOne().type, FrameType::kLeave);
    EXPECT_EQ(driver.relay().channel_count(), 0u);
  }
  driver.ExpectNothingLeft();
}

TEST(Joins, ALiveClientIdIsTakenOverWithItsKeyAndNotWithout) {
  Driver driver;
  Peer& older = driver.Open();
  older.Send(JoinFrame(1, Id(1), "c", "secret") + ReceiveFrame(1));
  Peer& newer = driver.Open();
  for (const std::string_view key : {"", "Secret", "secre", "secret1"}) {
    newer.Send(JoinFrame(5, Id(1), "c", key));
    const Seen refusal = newer.TakeOne();
    EXPECT_EQ(refusal.type, FrameType::kLeave);
    EXPECT_EQ(refusal.end(), "client_live");
    EXPECT_EQ(refusal.code(), absl::StatusCode::kAlreadyExists);
    EXPECT_TRUE(older.is_quiet());
  }
  newer.Send(JoinFrame(5, Id(1), "c", "secret"));
  EXPECT_TRUE(newer.is_quiet());
  const Seen told = older.TakeOne();
  EXPECT_EQ(told.type, FrameType::kLeave);
  EXPECT_EQ(told.slot, 1);
  EXPECT_EQ(told.id, Id(1));
  EXPECT_EQ(told.end(), "taken_over");
  EXPECT_EQ(told.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(driver.relay().client_count(), 1u);
  older.Send(JoinFrame(1, Id(2), "c"));  // the slot is free
  EXPECT_TRUE(older.is_quiet());
  driver.ExpectNothingLeft();
}

TEST(Joins, AClientWithoutAKeyIsNeverTakenOver) {
  Driver driver;
  Peer& older = driver.Open();
  older.Send(JoinFrame(1, Id(1), "c"));
  Peer& newer = driver.Open();
  newer.Send(JoinFrame(1, Id(1), "c", "") + JoinFrame(2, Id(1), "c", "k"));
  for (const Seen& seen : newer.Take()) EXPECT_EQ(seen.end(), "client_live");
  EXPECT_EQ(driver.count(End::kClientLive), 2u);
  driver.ExpectNothingLeft();
}

TEST(Joins, ATakeoverEndsWhatTheOlderOneDid) {
  Driver driver;
  Peer& sender = driver.Joined("c");
  Peer& worker = driver.Open();
  worker.Send(JoinFrame(1, Id(1), "c", "k") + ReceiveFrame(1));
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  EXPECT_EQ(worker.TakeOne().type, FrameType::kStart);
  Peer& again = driver.Open();
  again.Send(JoinFrame(1, Id(1), "c", "k"));
  EXPECT_EQ(sender.TakeOne().end(), "receiver_lost");
  EXPECT_EQ(worker.TakeOne().end(), "taken_over");
  driver.ExpectNothingLeft();
}

TEST(Joins, LeaveIsEchoedAndTheSlotIsFree) {
  Driver driver;
  Peer& peer = driver.Joined("c");
  peer.Send(LeaveFrame(1, Driver::ClientId(peer)));
  const Seen echo = peer.TakeOne();
  EXPECT_EQ(echo.type, FrameType::kLeave);
  EXPECT_EQ(echo.slot, 1);
  EXPECT_EQ(echo.id, Driver::ClientId(peer));
  EXPECT_EQ(echo.code(), absl::StatusCode::kOk);
  peer.Send(LeaveFrame(1, Driver::ClientId(peer)) + LeaveFrame(3, Id(3)));  // late
  EXPECT_TRUE(peer.is_quiet());
  EXPECT_EQ(driver.metrics().late_frames, 2u);
  peer.Send(JoinFrame(1, Id(5), "c") + LeaveFrame(1, Id(6)));  // another client's id: not this one
  EXPECT_TRUE(peer.is_quiet());
  EXPECT_EQ(driver.relay().client_count(), 1u);
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

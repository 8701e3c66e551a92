// PING when nothing was sent, and death when nothing was read.

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;

TEST(Heartbeat, PingIsAnsweredWithTheSameBytes) {
  Driver driver;
  Peer& peer = driver.Open();
  peer.Send(PingFrame(0x0102030405060708));
  const Seen pong = peer.TakeOne();
  EXPECT_EQ(pong.type, FrameType::kPong);
  EXPECT_EQ(pong.payload, PingFrame(0x0102030405060708).substr(24));
  driver.ExpectNothingLeft();
}

TEST(Heartbeat, ASilentServerPingsAtTheInterval) {
  Limits limits;
  limits.heartbeat_interval = absl::Milliseconds(1000);
  Driver driver(limits);
  Peer& peer = driver.Open();
  driver.Advance(absl::Milliseconds(999));
  EXPECT_TRUE(peer.is_quiet());
  driver.Advance(absl::Milliseconds(1));
  EXPECT_EQ(peer.TakeOne().type, FrameType::kPing);
  peer.Send(FrameOf(FrameType::kPong, 0, 0, proto::kNilUuid, std::string(8, '\0')));
  driver.Advance(absl::Milliseconds(500));
  peer.Send(PingFrame());  // the PONG counts as something sent
  EXPECT_EQ(peer.TakeOne().type, FrameType::kPong);
  driver.Advance(absl::Milliseconds(999));
  EXPECT_TRUE(peer.is_quiet());
  driver.Advance(absl::Milliseconds(1));
  EXPECT_EQ(peer.TakeOne().type, FrameType::kPing);
  driver.ExpectNothingLeft();
}

TEST(Heartbeat, PingsOfManyConnectionsAreDueTogether) {
  Limits limits;
  limits.heartbeat_interval = absl::Seconds(64);
  Driver driver(limits);
  std::vector<Peer*> peers;
  for (int i = 0; i < 90; ++i) {
    peers.push_back(&driver.Open());
    driver.Advance(absl::Milliseconds(10));
  }
  const absl::Time opened = driver.now();
  std::set<absl::Duration> due;
  size_t pings = 0;
  while (pings < peers.size()) {
    driver.Advance(absl::Milliseconds(10));
    ASSERT_LE(driver.now() - opened, limits.heartbeat_interval) << "none of them is late";
    for (Peer* const peer : peers) {
      for (const Seen& frame : peer->Take()) {
        EXPECT_EQ(frame.type, FrameType::kPing);
        due.insert(driver.now() - opened);
        ++pings;
      }
    }
  }
  EXPECT_LE(due.size(), 2u) << "a second of them, and 64 times in 64 seconds";
  EXPECT_GE(*due.begin(), absl::Seconds(62) - absl::Milliseconds(900));
}

TEST(Heartbeat, SilenceIsDeathOnlyWhenASecondTurnFindsIt) {
  Limits limits;
  limits.heartbeat_interval = absl::Milliseconds(1000);
  limits.heartbeat_misses = 3;
  Driver driver(limits);
  Peer& peer = driver.Joined("c");
  driver.Advance(absl::Milliseconds(2999));
  EXPECT_FALSE(peer.was_closed());
  driver.Advance(absl::Milliseconds(1));  // suspect
  EXPECT_FALSE(peer.was_closed());
  driver.Advance(absl::ZeroDuration());
  EXPECT_FALSE(peer.was_closed());
  driver.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(peer.was_closed());
  EXPECT_EQ(driver.count(End::kHeartbeat), 1u);
  driver.ExpectNothingLeft();
}

TEST(Heartbeat, OneByteBetweenTheTwoTurnsSavesThePeer) {
  Limits limits;
  limits.heartbeat_interval = absl::Milliseconds(1000);
  limits.heartbeat_misses = 2;
  Driver driver(limits);
  Peer& peer = driver.Open();
  driver.Advance(absl::Hours(1));  // the loop slept: whatever the peer sent is not read yet
  EXPECT_FALSE(peer.was_closed());
  peer.Send(PingFrame().substr(0, 1));
  driver.Advance(absl::Milliseconds(1));
  EXPECT_FALSE(peer.was_closed());
  driver.Advance(absl::Milliseconds(1999));  // two intervals behind the byte: suspect
  EXPECT_FALSE(peer.was_closed());
  driver.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(peer.was_closed());
  driver.ExpectNothingLeft();
}

TEST(Heartbeat, AnyByteCounts) {
  Limits limits;
  limits.heartbeat_interval = absl::Milliseconds(1000);
  limits.heartbeat_misses = 2;
  Driver driver(limits);
  Peer& peer = driver.Open();
  const std::string ping = PingFrame();
  for (size_t i = 0; i + 1 < ping.size(); ++i) {
    driver.Advance(absl::Milliseconds(1900));
    peer.Send(ping.substr(i, 1));
    ASSERT_FALSE(peer.was_closed());
  }
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

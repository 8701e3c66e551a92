// The beginning of a connection: preface, HELLO, WELCOME, and the bounds of those that have not said HELLO.

#include <gtest/gtest.h>

#include <string>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;

const std::string kOpening = std::string(proto::kPreface) + HelloFrame();

TEST(Handshake, WelcomeTellsTheLimits) {
  Limits limits;
  limits.max_payload_bytes = 65537;
  limits.initial_window_bytes = 65538;
  limits.max_window_bytes = 65539;
  limits.max_clients_per_connection = 7;
  limits.max_start_bytes = 4097;
  limits.heartbeat_interval = absl::Milliseconds(1234);
  limits.heartbeat_misses = 5;
  limits.attempts = 6;
  Driver driver(limits);
  Peer& peer = driver.Connect();
  peer.Send(kOpening);
  const Seen seen = peer.TakeOne();
  EXPECT_EQ(seen.type, FrameType::kWelcome);
  v1::Welcome welcome;
  ASSERT_TRUE(proto::ParseMessage(seen.payload, welcome));
  EXPECT_EQ(welcome.server_id(), proto::BytesOf(Id(0x5e)));
  EXPECT_EQ(welcome.agent().substr(0, 7), "relayd/");
  EXPECT_EQ(welcome.max_payload_bytes(), 65537u);
  EXPECT_EQ(welcome.initial_window_bytes(), 65538u);
  EXPECT_EQ(welcome.max_window_bytes(), 65539u);
  EXPECT_EQ(welcome.max_clients_per_connection(), 7u);
  EXPECT_EQ(welcome.max_start_bytes(), 4097u);
  EXPECT_EQ(welcome.heartbeat_interval_ms(), 1234u);
  EXPECT_EQ(welcome.heartbeat_misses(), 5u);
  EXPECT_EQ(welcome.max_attempts(), 6u);
  driver.ExpectNothingLeft();
}

TEST(Handshake, IsTheSameByteByByte) {
  Driver driver;
  Peer& peer = driver.Connect();
  const std::string all = kOpening + JoinFrame(1, Id(1), "c") + ReceiveFrame(1, 0);
  for (const char byte : all) peer.Send(std::string(1, byte));
  const std::vector<Seen> seen = peer.Take();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].type, FrameType::kWelcome);
  EXPECT_EQ(seen[1].type, FrameType::kReceive);
  driver.ExpectNothingLeft();
}

TEST(Handshake, FramesRightBehindHelloCount) {
  Driver driver;
  Peer& receiver = driver.Connect();
  receiver.Send(kOpening + JoinFrame(1, Id(1), "c") + ReceiveFrame(1));
  Peer& sender = driver.Connect();
  sender.Send(kOpening + JoinFrame(1, Id(2), "c") + StartFrame(proto::flag::kRequest, 1, Id(9)));
  EXPECT_EQ(receiver.Take().back().type, FrameType::kStart);
  driver.ExpectNothingLeft();
}

TEST(Handshake, AWrongPrefaceIsToldSo) {
  const std::string_view openings[] = {
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      std::string_view("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11),
      "RELAY/2\n",
      "relay/1\n",
      "RELAY/1\r\n",
      "\n",
      std::string_view("\0", 1),
      "\xff\xfe\xfd",
  };
  Driver driver;
  for (const std::string_view opening : openings) {
    Peer& peer = driver.Connect();
    peer.Send(opening);
    peer.ExpectRefused(End::kBadPreface);
    ASSERT_EQ(driver.notices().size(), 1u);
    EXPECT_EQ(driver.notices()[0].end, End::kBadPreface);
    EXPECT_EQ(driver.notices()[0].event, "connection_end");
  }
  EXPECT_EQ(driver.count(End::kBadPreface), std::size(openings));
  driver.ExpectNothingLeft();
}

TEST(Handshake, AWrongPrefaceIsSeenAtItsFirstWrongByte) {
  for (size_t good = 0; good < proto::kPreface.size(); ++good) {
    Driver driver;
    Peer& peer = driver.Connect();
    peer.Send(proto::kPreface.substr(0, good));
    EXPECT_TRUE(peer.is_quiet());
    EXPECT_FALSE(peer.was_shut());
    peer.Send("?");
    peer.ExpectRefused(End::kBadPreface);
    driver.ExpectNothingLeft();
  }
}

TEST(Handshake, NothingGoesBeforeHello) {
  for (int type = 0; type < 256; ++type) {
    if (type == static_cast<int>(FrameType::kHello)) continue;
    Driver driver;
    Peer& peer = driver.Connect();
    peer.Send(std::string(proto::kPreface) +
              FrameOf(static_cast<FrameType>(type), 0, 0, proto::kNilUuid, std::string(8, '\0')));
    peer.ExpectRefused(End::kBeforeHello);
    driver.ExpectNothingLeft();
  }
}

TEST(Handshake, HelloComesOnce) {
  Driver driver;
  Peer& peer = driver.Open();
  peer.Send(HelloFrame());
  peer.ExpectRefused(End::kSecondHello);
  driver.ExpectNothingLeft();
}

TEST(Handshake, OtherVersionsAreUnimplemented) {
  for (const uint32_t version : {0u, 2u, 0xffffffffu}) {
    Driver driver;
    Peer& peer = driver.Connect();
    peer.Send(std::string(proto::kPreface) + HelloFrame(version));
    peer.ExpectRefused(End::kBadVersion);
    EXPECT_EQ(InfoOf(End::kBadVersion).code, absl::StatusCode::kUnimplemented);
    driver.ExpectNothingLeft();
  }
}

TEST(Handshake, ObserversAndWhatDoesNotParseAreRefused) {
  Driver driver;
  v1::Hello hello;
  hello.set_version(1);
  hello.set_observer(true);
  Peer& observer = driver.Connect();
  observer.Send(std::string(proto::kPreface) + FrameOf(FrameType::kHello, 0, proto::kNilUuid, hello));
  observer.ExpectRefused(End::kObserver);
  Peer& noise = driver.Connect();
  noise.Send(std::string(proto::kPreface) + FrameOf(FrameType::kHello, 0, 0, proto::kNilUuid, "\xff\xff"));
  noise.ExpectRefused(End::kMalformed);
  driver.ExpectNothingLeft();
}

// HELLO with its header, of exactly so many bytes.
std::string HelloOf(size_t bytes) {
  v1::Hello hello;
  hello.set_version(1);
  for (size_t token_bytes = bytes - proto::kHeaderBytes - 2; token_bytes > 0; --token_bytes) {
    hello.set_token(std::string(token_bytes, 't'));
    std::string frame = FrameOf(FrameType::kHello, 0, proto::kNilUuid, hello);
    if (frame.size() == bytes) return frame;
  }
  ADD_FAILURE() << bytes;
  return "";
}

TEST(Handshake, HelloHasAtMostHelloBytes) {
  Limits limits;
  limits.hello_bytes = 512;
  Driver driver(limits);
  for (const size_t bytes : {511u, 512u}) {
    Peer& peer = driver.Connect();
    peer.Send(std::string(proto::kPreface) + HelloOf(bytes));
    EXPECT_EQ(peer.TakeOne().type, FrameType::kWelcome) << bytes;
  }
  Peer& peer = driver.Connect();
  peer.Send(std::string(proto::kPreface) + HelloOf(513).substr(0, 4));  // its declared length is enough
  peer.ExpectRefused(End::kPayloadTooLarge);
  driver.ExpectNothingLeft();
}

TEST(Handshake, HelloComesInTimeWhateverTricklesIn) {
  Limits limits;
  limits.hello_timeout = absl::Seconds(10);
  for (const bool in_time : {true, false}) {
    Driver driver(limits);
    Peer& slow = driver.Connect();
    // A byte a second, the last but one at 9 s.
    const std::string most = kOpening.substr(0, kOpening.size() - 1);
    for (int second = 1; second <= 9; ++second) {
      driver.Advance(absl::Seconds(1));
      slow.Send(second == 1 ? most.substr(0, most.size() - 8)
                            : most.substr(most.size() - 10 + static_cast<size_t>(second), 1));
    }
    EXPECT_TRUE(slow.is_quiet());
    driver.Advance(absl::Milliseconds(in_time ? 999 : 1000));
    slow.Send(kOpening.substr(kOpening.size() - 1));
    if (in_time) {
      EXPECT_EQ(slow.TakeOne().type, FrameType::kWelcome);
      driver.Advance(absl::Milliseconds(1));
      EXPECT_FALSE(slow.was_shut());
    } else {
      slow.ExpectRefused(End::kHelloTimeout);
    }
    driver.ExpectNothingLeft();
  }
}

TEST(Handshake, ConnectionsAreAtMostMaxConnections) {
  Limits limits;
  limits.max_connections = 3;
  Driver driver(limits);
  driver.Open();
  driver.Open();
  Peer& third = driver.Open();
  EXPECT_FALSE(third.was_shut());
  Peer& fourth = driver.Connect();
  fourth.ExpectRefused(End::kMaxConnections);
  third.Break();
  driver.Advance(limits.linger_time);
  EXPECT_TRUE(fourth.was_closed());
  EXPECT_FALSE(driver.Open().was_shut());
  driver.Connect().ExpectRefused(End::kMaxConnections);
  EXPECT_EQ(driver.count(End::kMaxConnections), 2u);
  driver.ExpectNothingLeft();
}

TEST(Handshake, RefusedConnectionsThatLingerAreBoundedAndTakeNobodysPlace) {
  Limits limits;
  limits.max_connections = 2;
  Driver driver(limits);
  Peer& first = driver.Open();
  driver.Open();
  driver.Connect().ExpectRefused(End::kMaxConnections);
  driver.Connect().ExpectRefused(End::kMaxConnections);
  Peer& fifth = driver.Connect();  // twice max_connections are there: no last words
  EXPECT_TRUE(fifth.was_closed());
  EXPECT_TRUE(fifth.is_quiet());
  EXPECT_EQ(driver.count(End::kMaxConnections), 3u);
  EXPECT_EQ(driver.relay().connection_count(), 4u);
  first.Break();
  EXPECT_FALSE(driver.Open().was_shut());
  driver.ExpectNothingLeft();
}

TEST(Handshake, ConnectionsWithoutHelloAreAtMostMaxUnauthenticated) {
  Limits limits;
  limits.max_unauthenticated = 2;
  Driver driver(limits);
  Peer& first = driver.Connect();
  driver.Connect();
  EXPECT_TRUE(first.is_quiet());
  driver.Connect().ExpectRefused(End::kMaxUnauthenticated);
  first.Send(kOpening);  // HELLO frees its place
  EXPECT_EQ(first.TakeOne().type, FrameType::kWelcome);
  Peer& next = driver.Connect();
  EXPECT_TRUE(next.is_quiet());
  driver.Connect().ExpectRefused(End::kMaxUnauthenticated);
  next.Break();  // so does going
  EXPECT_TRUE(driver.Connect().is_quiet());
  EXPECT_EQ(driver.count(End::kMaxUnauthenticated), 2u);
  driver.ExpectNothingLeft();
}

TEST(Handshake, APeerThatGoesBeforeHelloLeavesNothing) {
  Driver driver;
  driver.Connect().CloseInput();
  Peer& part = driver.Connect();
  part.Send(kOpening.substr(0, 20));
  part.CloseInput();
  EXPECT_TRUE(part.was_closed());
  EXPECT_EQ(driver.count(End::kPeerClosed), 2u);
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

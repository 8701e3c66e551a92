// A connection from WELCOME to its end: rates, lingering, GOAWAY.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

// ---- Rates ---------------------------------------------------------------------------------------------------------

TEST(Rates, FramesPerSecondAreBounded) {
  Limits limits;
  limits.frames_per_second = 10;
  for (const int frames : {9, 10, 11}) {
    Driver driver(limits);
    Peer& peer = driver.Open();  // HELLO is the first frame
    std::string all;
    for (int i = 1; i < frames; ++i) all += FrameOf(FrameType::kPong, 0, 0, proto::kNilUuid, std::string(8, 'x'));
    peer.Send(all);
    if (frames <= 10) {
      EXPECT_FALSE(peer.was_shut()) << frames;
      EXPECT_EQ(driver.count(End::kFramesPerSecond), 0u);
    } else {
      peer.ExpectRefused(End::kFramesPerSecond);
    }
    driver.ExpectNothingLeft();
  }
}

TEST(Rates, FramesOfUnknownTypesCountToo) {
  Limits limits;
  limits.frames_per_second = 10;
  Driver driver(limits);
  Peer& peer = driver.Open();
  std::string all;
  for (int i = 0; i < 9; ++i) all += FrameOf(static_cast<FrameType>(200), 0xff, 3, Id(1), "?");
  peer.Send(all);
  EXPECT_FALSE(peer.was_shut());
  EXPECT_EQ(driver.metrics().unknown_frames, 9u);
  peer.Send(FrameOf(static_cast<FrameType>(200), 0, 0, proto::kNilUuid));
  peer.ExpectRefused(End::kFramesPerSecond);
  driver.ExpectNothingLeft();
}

TEST(Rates, TimeEarnsFramesBackUpToASecondsWorth) {
  Limits limits;
  limits.frames_per_second = 10;
  Driver driver(limits);
  Peer& peer = driver.Open();
  const auto pongs = [](int count) {
    std::string all;
    for (int i = 0; i < count; ++i) all += FrameOf(FrameType::kPong, 0, 0, proto::kNilUuid, std::string(8, 'x'));
    return all;
  };
  peer.Send(pongs(9));
  for (int i = 0; i < 20; ++i) {
    driver.Advance(absl::Milliseconds(200));
    peer.Send(pongs(2));
  }
  EXPECT_FALSE(peer.was_shut());
  driver.Advance(absl::Seconds(5));
  peer.Take();
  peer.Send(pongs(10));
  EXPECT_FALSE(peer.was_shut());
  peer.Send(pongs(10));
  peer.ExpectRefused(End::kFramesPerSecond);
  driver.ExpectNothingLeft();
}

TEST(Rates, ResetsAreBoundedByBurstAndRate) {
  Limits limits;
  limits.reset_burst = 20;
  limits.resets_per_second = 5;
  for (const int resets : {19, 20, 21}) {
    Driver driver(limits);
    Peer& peer = driver.Joined("c");
    std::string all;
    for (int i = 0; i < resets; ++i) all += ResetFrame(1, Id(7), absl::StatusCode::kCancelled);
    peer.Send(all);
    if (resets <= 20) {
      EXPECT_FALSE(peer.was_shut()) << resets;
      driver.Advance(absl::Seconds(1));
      peer.Take();
      peer.Send(all.substr(0, all.size() / static_cast<size_t>(resets) * (resets == 19 ? 6 : 5)));
      EXPECT_FALSE(peer.was_shut()) << resets;
      peer.Send(ResetFrame(1, Id(7), absl::StatusCode::kCancelled));
      peer.ExpectRefused(End::kResetsPerSecond);
    } else {
      peer.ExpectRefused(End::kResetsPerSecond);
    }
    driver.ExpectNothingLeft();
  }
}

TEST(Rates, ResetsPerSecondOfZeroIsNoBound) {
  Limits limits;
  limits.resets_per_second = 0;
  limits.reset_burst = 2;
  Driver driver(limits);
  Peer& peer = driver.Joined("c");
  for (int i = 0; i < 5000; ++i) peer.Send(ResetFrame(1, Id(9), absl::StatusCode::kCancelled));
  EXPECT_FALSE(peer.was_shut());
  EXPECT_TRUE(peer.is_quiet());
  driver.ExpectNothingLeft();
}

TEST(Rates, TimeEarnsResetsBack) {
  Limits limits;
  limits.reset_burst = 20;
  limits.resets_per_second = 5;
  Driver driver(limits);
  Peer& peer = driver.Joined("c");
  const std::string reset = ResetFrame(1, Id(7), absl::StatusCode::kCancelled);
  for (int i = 0; i < 20; ++i) peer.Send(reset);
  for (int i = 0; i < 5; ++i) {
    driver.Advance(absl::Milliseconds(250));  // 1.25 each, of which 0.25 stays
    peer.Send(reset);
    EXPECT_FALSE(peer.was_shut());
  }
  driver.Advance(absl::Milliseconds(250));
  peer.Send(reset + reset);
  EXPECT_FALSE(peer.was_shut());
  peer.Take();
  peer.Send(reset);
  peer.ExpectRefused(End::kResetsPerSecond);
  driver.ExpectNothingLeft();
}

TEST(Rates, StartAndResetAtWireSpeedIsCutAndReceiversAreFreedAgain) {
  Limits limits;
  limits.reset_burst = 100;
  Driver driver(limits);
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  std::string all;
  for (uint64_t i = 1; i <= 200; ++i) {
    all += StartFrame(flag::kRequest, 1, Id(i)) + ResetFrame(1, Id(i), absl::StatusCode::kCancelled);
  }
  sender.Send(all);
  sender.ExpectRefused(End::kResetsPerSecond);
  EXPECT_EQ(driver.metrics().requests_accepted, 101u);
  EXPECT_EQ(driver.metrics().exchanges_live, 0u);
  receiver.Take();
  receiver.Send(ReceiveFrame(1, 0));
  EXPECT_EQ(receiver.TakeOne().type, FrameType::kReceive);
  driver.ExpectNothingLeft();
}

TEST(Rates, ErrorsThatAPeerDrawsCountAsResets) {
  Limits limits;
  limits.reset_burst = 10;
  const auto draw = [&](const std::string& error) {
    Driver driver(limits);
    Peer& other = driver.Joined("c");
    other.Send(StartFrame(flag::kRequest, 1, Id(99)));
    Peer& peer = driver.Joined("c");
    for (int i = 0; i < 10; ++i) peer.Send(error);
    EXPECT_FALSE(peer.was_shut());
    peer.Send(error);
    peer.ExpectRefused(End::kResetsPerSecond);
    EXPECT_FALSE(other.was_shut());
    driver.ExpectNothingLeft();
  };
  draw(ReceiveFrame(5));                        // slot not joined
  draw(StartFrame(flag::kRequest, 5, Id(1)));   // the same
  draw(StartFrame(flag::kRequest, 1, Id(99)));  // id live on another slot
  draw(JoinFrame(2, Id((1 << 16) + 1), "c"));   // the id of the first connection's client on slot 1
}

TEST(Rates, RefusalsThatAreNobodysFaultCountLikeWhatIsDropped) {
  for (const uint8_t flags : {uint8_t{0}, static_cast<uint8_t>(flag::kRequireReceiver)}) {
    Limits limits;
    limits.reset_burst = 1;
    limits.control_frame_burst = 3;  // HELLO, of which nothing counts, and a JOIN before
    limits.queue_count = 1;
    Driver driver(limits);
    Peer& other = driver.Joined("full");
    other.Send(StartFrame(flag::kRequest, 1, Id(99)));
    Peer& peer = driver.Joined(flags == 0 ? "full" : "empty");
    for (uint64_t i = 1; i <= 16; ++i) {
      peer.Send(StartFrame(static_cast<uint8_t>(flag::kRequest | flags), 1, Id(i)));
      EXPECT_FALSE(peer.was_shut()) << i;
      peer.Take();
    }
    peer.Send(StartFrame(static_cast<uint8_t>(flag::kRequest | flags), 1, Id(17)));
    peer.ExpectRefused(End::kControlFramesPerSecond);
    EXPECT_FALSE(other.was_shut());
    driver.ExpectNothingLeft();
  }
}

// ---- Ends ----------------------------------------------------------------------------------------------------------

TEST(Linger, LastsItsTimeAndNoLonger) {
  Limits limits;
  limits.linger_time = absl::Milliseconds(500);
  Driver driver(limits);
  Peer& peer = driver.Connect();
  peer.Send("nonsense");
  EXPECT_TRUE(peer.was_shut());
  driver.Advance(absl::Milliseconds(499));
  EXPECT_FALSE(peer.was_closed());
  driver.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(peer.was_closed());
  driver.ExpectNothingLeft();
}

TEST(Linger, ThrowsAwayItsBytesAndNoMore) {
  Limits limits;
  limits.linger_bytes = 100;
  for (const size_t bytes : {99u, 100u, 101u}) {
    Driver driver(limits);
    Peer& peer = driver.Connect();
    peer.Send("!");  // the one byte that is refused counts
    EXPECT_TRUE(peer.was_shut());
    peer.Send(std::string(bytes - 1, 'x'));
    EXPECT_EQ(peer.was_closed(), bytes > 100) << bytes;
    driver.ExpectNothingLeft();
  }
}

TEST(Linger, EndsWithThePeersInput) {
  Driver driver;
  Peer& peer = driver.Connect();
  peer.Send("nonsense");
  EXPECT_FALSE(peer.was_closed());
  peer.CloseInput();
  EXPECT_TRUE(peer.was_closed());
  EXPECT_EQ(driver.count(End::kBadPreface), 1u);
  EXPECT_EQ(driver.count(End::kPeerClosed), 0u);
  driver.ExpectNothingLeft();
}

TEST(Linger, IsOverWhenAPeerThatHasClosedItsSideHasReadTheLastWords) {
  Driver driver;
  Peer& peer = driver.Connect();
  peer.Stall();
  peer.Send("nonsense");
  EXPECT_TRUE(peer.was_shut());
  ASSERT_GT(peer.waiting_bytes(), 1u);
  peer.CloseInput();
  EXPECT_FALSE(peer.was_closed()) << "the last words are on their way";
  peer.ReportUnsent(1);
  EXPECT_FALSE(peer.was_closed());
  peer.Resume();
  EXPECT_TRUE(peer.was_closed());
  EXPECT_EQ(peer.Take().back().type, FrameType::kGoaway);
  driver.ExpectNothingLeft();
}

TEST(Linger, LastWordsThatHaveLeftDoNotEndItWhileThePeersInputIsOpen) {
  Driver driver;
  Peer& peer = driver.Connect();
  peer.Stall();
  peer.Send("nonsense");
  peer.Resume();
  EXPECT_FALSE(peer.was_closed()) << "the peer may still be sending, and would lose the words to a reset";
  peer.CloseInput();
  EXPECT_TRUE(peer.was_closed());
  driver.ExpectNothingLeft();
}

TEST(Goaway, EndsAnIdleConnection) {
  Driver driver;
  Peer& peer = driver.Joined("c");
  peer.Send(ReceiveFrame(1));
  peer.Send(GoawayFrame());
  EXPECT_TRUE(peer.was_shut());
  EXPECT_EQ(driver.count(End::kGoaway), 1u);
  EXPECT_EQ(driver.relay().client_count(), 0u);
  peer.CloseInput();
  EXPECT_TRUE(peer.was_closed());
  driver.ExpectNothingLeft();
}

TEST(Goaway, WhatRunsGoesOnAndNothingBegins) {
  Driver driver;
  Peer& receiver = driver.Joined("c", 2);
  receiver.Send(ReceiveFrame(1) + ReceiveFrame(2));
  Peer& sender = driver.Joined("c", 2);
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kFin}) + GoawayFrame());
  sender.CloseInput();  // a half-close behind GOAWAY
  EXPECT_FALSE(sender.was_shut());
  EXPECT_EQ(receiver.TakeOne().slot, 1);
  receiver.Send(GoawayFrame());  // its second client leaves the line
  EXPECT_FALSE(receiver.was_shut());
  Peer& other = driver.Joined("c");
  other.Send(StartFrame(flag::kRequest, 1, Id(10)));
  EXPECT_TRUE(receiver.is_quiet());
  receiver.Send(ReceiveFrame(2) + StartFrame(flag::kRequest, 2, Id(11)) + JoinFrame(3, Id(3), "c"));
  const std::vector<Seen> refused = receiver.Take();
  ASSERT_EQ(refused.size(), 3u);
  for (const Seen& seen : refused) EXPECT_EQ(seen.end(), "connection_leaving");
  receiver.Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = flag::kFin, .body = "done"}));
  EXPECT_EQ(sender.TakeOne().body(), "done");
  EXPECT_TRUE(sender.was_closed());
  EXPECT_TRUE(receiver.was_shut());
  EXPECT_EQ(driver.count(End::kCompleted), 1u);
  driver.ExpectNothingLeft();
}

TEST(Goaway, TheTailOfAResponseArrivesBehindAHalfClose) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  sender.Stall();
  receiver.Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = flag::kFin, .body = "tail"}));
  ASSERT_GT(sender.waiting_bytes(), 0u);
  sender.Send(GoawayFrame());
  sender.CloseInput();
  EXPECT_FALSE(sender.was_closed()) << "bytes that were on their way are lost";
  sender.Resume();
  EXPECT_EQ(sender.TakeOne().body(), "tail");
  driver.Advance(absl::Minutes(1));
  EXPECT_TRUE(sender.was_closed());
  driver.ExpectNothingLeft();
}

TEST(InputEnd, WithoutGoawayIsDeath) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
  EXPECT_EQ(receiver.TakeOne().type, FrameType::kStart);
  sender.CloseInput();
  EXPECT_TRUE(sender.was_closed());
  EXPECT_EQ(driver.count(End::kPeerClosed), 1u);
  const Seen told = receiver.TakeOne();
  EXPECT_EQ(told.type, FrameType::kReset);
  EXPECT_EQ(told.end(), "sender_lost");
  EXPECT_EQ(told.code(), absl::StatusCode::kCancelled);
  driver.ExpectNothingLeft();
}

TEST(InputEnd, BrokenIsDeathEvenBehindGoaway) {
  Driver driver;
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kFin}) + GoawayFrame());
  sender.CloseInput();
  EXPECT_FALSE(sender.was_closed());
  sender.Break();
  EXPECT_TRUE(sender.was_closed());
  EXPECT_EQ(driver.count(End::kPeerLost), 1u);
  EXPECT_EQ(driver.count(End::kSenderLost), 1u);
  driver.ExpectNothingLeft();
}

TEST(InputEnd, BothSidesInOneTurnEndTheExchangeOnce) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  Peer& sender = driver.Joined("c");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kIdempotent}));
  driver.InOneTurn([&] {
    receiver.Break();
    sender.Break();
  });
  EXPECT_EQ(driver.metrics().requests_ended, 1u);
  driver.ExpectNothingLeft();
}

TEST(InputEnd, WhatComesInTheSameTurnBehindItIsNothing) {
  Driver driver;
  Peer& receiver = driver.Joined("c");
  Peer& sender = driver.Joined("c");
  receiver.Send(ReceiveFrame(1));
  driver.InOneTurn([&] {
    sender.Break();
    sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kFin}));
    sender.CloseInput();
    sender.Break();
  });
  EXPECT_TRUE(sender.was_closed());
  EXPECT_TRUE(receiver.is_quiet());
  EXPECT_EQ(driver.count(End::kPeerLost), 1u);
  EXPECT_EQ(driver.metrics().requests_offered, 0u);
  driver.ExpectNothingLeft();
}

TEST(InputEnd, MoreRequestsThanAreKeptForReuseEndAtOnce) {
  Limits limits;
  limits.resets_per_second = 0;
  Driver driver(limits);
  constexpr uint16_t kClients = 1100;
  Peer& sender = driver.Joined("c", kClients);
  for (int round = 0; round < 2; ++round) {
    for (uint16_t slot = 1; slot <= kClients; ++slot) {
      sender.Send(StartFrame(flag::kRequest, slot, Id(slot), {.flags = flag::kFin, .body = "b"}));
    }
    EXPECT_EQ(driver.metrics().exchanges_live, kClients);
    driver.InOneTurn([&] {
      for (uint16_t slot = 1; slot <= kClients; ++slot)
        sender.Send(ResetFrame(slot, Id(slot), absl::StatusCode::kCancelled));
    });
    EXPECT_EQ(driver.metrics().exchanges_live, 0u);
    EXPECT_EQ(driver.metrics().held_bytes, 0u);
  }
  driver.ExpectNothingLeft();
}

TEST(Connection, CallsForOneThatIsGoneDoNothing) {
  Driver driver;
  Peer& peer = driver.Joined("c");
  const ConnectionId id = peer.connection();
  peer.Break();
  uint8_t bytes[] = {1, 2, 3};
  EXPECT_EQ(driver.relay().OnBytes(id, bytes, driver.now()), 3u);
  driver.relay().OnInputEnd(id, true, driver.now());
  driver.relay().OnUnsent(id, 99, driver.now());
  EXPECT_FALSE(driver.relay().has_effects());
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

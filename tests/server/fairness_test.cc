// What one connection may make the core do before others have their turn.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "driver.h"

namespace relay::server {
namespace {

using proto::FrameType;
using proto::Uuid;

std::string Pong() { return FrameOf(FrameType::kPong, 0, 0, proto::kNilUuid, "12345678"); }

// Gives `frames` with `work`; what was taken, in bytes. `work` becomes what is left.
size_t Give(Driver& driver, const Peer& peer, std::string& frames, uint32_t& work) {
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(frames.data()), frames.size());
  const size_t taken = driver.relay().OnBytes(peer.connection(), bytes, driver.now(), work);
  driver.InOneTurn([] {});
  return taken;
}

TEST(Fairness, NoMoreFramesAreTakenThanTheWorkAllows) {
  for (const uint32_t count : {9u, 10u, 11u}) {
    Driver driver;
    Peer& peer = driver.Open();
    std::string frames;
    for (uint32_t i = 0; i < count; ++i) frames += Pong();
    uint32_t work = 10;
    EXPECT_EQ(Give(driver, peer, frames, work), std::min(count, 10u) * Pong().size()) << count;
    EXPECT_EQ(work, 10 - std::min(count, 10u)) << count;
    EXPECT_EQ(driver.metrics().put_off, count > 9 ? 1u : 0u) << count;
    if (count == 11) {
      frames.erase(0, 10 * Pong().size());
      work = 10;
      EXPECT_EQ(Give(driver, peer, frames, work), Pong().size());
      EXPECT_EQ(work, 9u);
    }
    driver.ExpectNothingLeft();
  }
}

TEST(Fairness, AFrameThatMakesMoreWorkCountsForMore) {
  Driver driver;
  Peer& peer = driver.Open();
  std::string frames = JoinFrame(1, Id(1), "c") + JoinFrame(2, Id(2), "c") + JoinFrame(3, Id(3), "c");
  uint32_t work = 13;  // a JOIN counts twelve
  EXPECT_EQ(Give(driver, peer, frames, work), 2 * JoinFrame(1, Id(1), "c").size());
  EXPECT_EQ(work, 0u);
  EXPECT_EQ(driver.relay().client_count(), 2u);
  driver.ExpectNothingLeft();
}

TEST(Fairness, AnErrorThatIsDrawnCountsBesideItsFrame) {
  Driver driver;
  Peer& peer = driver.Open();
  const std::string refused = ReceiveFrame(1);  // nobody has joined there
  std::string frames = refused + refused + refused + refused;
  uint32_t work = 2 * (1 + Session::kWorkOfError) + 1;
  EXPECT_EQ(Give(driver, peer, frames, work), 3 * refused.size());
  EXPECT_EQ(work, 0u);
  std::string last = refused;
  work = 100;
  EXPECT_EQ(Give(driver, peer, last, work), refused.size());
  EXPECT_EQ(work, 100 - 1 - Session::kWorkOfError);
  driver.ExpectNothingLeft();
}

TEST(Fairness, OfWhatIsDueNoMoreIsDoneThanTheWorkAllows) {
  Limits limits;
  limits.hello_timeout = absl::Seconds(1);
  Driver driver(limits);
  for (int i = 0; i < 3; ++i) driver.Connect();
  const absl::Time due = driver.now() + limits.hello_timeout;
  for (uint64_t ended = 1; ended <= 3; ++ended) {
    uint32_t work = 1;
    driver.relay().OnTime(due, work);
    EXPECT_EQ(work, 0u);
    EXPECT_EQ(driver.count(End::kHelloTimeout), ended);
    EXPECT_EQ(*driver.relay().next_deadline() <= due, ended < 3);
  }
  uint32_t work = 1;
  driver.relay().OnTime(due, work);
  EXPECT_EQ(work, 1u);
  driver.InOneTurn([] {});
  driver.ExpectNothingLeft();
}

TEST(Fairness, AConnectionThatIsRefusedCountsAsFiveThatAreSentPing) {
  const Limits limits;
  Driver driver(limits);
  std::vector<Peer*> peers;
  for (int i = 0; i < 3; ++i) peers.push_back(&driver.Open());
  uint32_t work = 10000;
  driver.relay().OnTime(driver.now() + limits.heartbeat_interval, work);
  EXPECT_EQ(work, 10000 - 3 * 64u);
  driver.InOneTurn([] {});
  for (Peer* const peer : peers) EXPECT_EQ(peer->TakeOne().type, FrameType::kPing);
  for (int i = 0; i < 3; ++i) driver.Connect();
  const absl::Time due = driver.now() + limits.hello_timeout;
  for (Peer* const peer : peers) peer->Send(Pong());
  work = 10000;
  driver.relay().OnTime(due, work);
  EXPECT_EQ(driver.count(End::kHelloTimeout), 3u);
  EXPECT_EQ(work, 10000 - 3 * 64u - 3 * 5 * 64u);
  driver.InOneTurn([] {});
  driver.ExpectNothingLeft();
}

TEST(Fairness, TheLastFrameOfAConnectionIsAnsweredWhateverWorkIsLeft) {
  Driver driver;
  Peer& peer = driver.Open();
  std::string frames = FrameOf(FrameType::kPing, 0, 0, proto::kNilUuid, "short") + Pong();
  uint32_t work = 1;
  EXPECT_EQ(Give(driver, peer, frames, work), frames.size());
  peer.ExpectRefused(End::kMalformed);
  driver.ExpectNothingLeft();
}

// ---- Ends of connections with many clients -------------------------------------------------------------------------

constexpr uint16_t kMany = 300;
constexpr uint32_t kWorkOfTen = 40;  // of ten clients that leave
// Each leaves ten behind, until no more than 128 are left, which end together.
constexpr int kPieces = 18;

std::string Malformed() { return FrameOf(FrameType::kPing, 0, 0, proto::kNilUuid, "short"); }

// A peer with many clients: the last two wait and work for a sender, the others are idle.
class Crowd : public testing::Test {
 protected:
  Crowd() : host_(driver_.Joined("c", kMany)), sender_(driver_.Joined("c")) {
    host_.Send(ReceiveFrame(kMany));
    sender_.Send(StartFrame(proto::flag::kRequest, 1, Id(7777)));
    host_.Send(ReceiveFrame(kMany - 1));
    host_.Take();
  }

  // By a wrong frame; ten leave at once.
  void Doom() {
    std::string frames = Malformed();
    uint32_t work = kWorkOfTen + 1;
    EXPECT_EQ(Give(driver_, host_, frames, work), 0u);
  }
  void ExpectLeft(uint32_t clients) {
    EXPECT_EQ(driver_.relay().client_count(), 1 + kMany - clients);
    EXPECT_TRUE(sender_.is_quiet());
    EXPECT_TRUE(host_.is_quiet());
    EXPECT_EQ(driver_.relay().Check(), "");
  }
  void ExpectOver(End end) {
    EXPECT_EQ(driver_.relay().client_count(), 1u);
    EXPECT_EQ(driver_.count(end), 1u);
    EXPECT_EQ(sender_.TakeOne().type, FrameType::kReset);
    EXPECT_EQ(driver_.count(End::kReceiverLost), 1u);
    driver_.ExpectNothingLeft();
  }

  Driver driver_;
  Peer& host_;
  Peer& sender_;
};

TEST_F(Crowd, IsRefusedOnceThoseWhoAreIdleHaveLeft) {
  std::string frames = Malformed() + Pong();
  for (uint32_t left = 1; left <= kPieces; ++left) {
    uint32_t work = kWorkOfTen + (left == 1 ? 1 : 0);  // the frame itself is worked on once
    EXPECT_EQ(Give(driver_, host_, frames, work), 0u);
    EXPECT_EQ(work, 0u);
    ExpectLeft(10 * left);
  }
  uint32_t work = 1000;
  EXPECT_EQ(Give(driver_, host_, frames, work), frames.size());
  EXPECT_EQ(work, 1000 - 4 * (kMany - 10 * kPieces));
  host_.ExpectRefused(End::kMalformed);
  ExpectOver(End::kMalformed);
}

TEST_F(Crowd, OfWhichTheInputHasEndedIsTornDownInPieces) {
  for (uint32_t left = 1; left <= kPieces; ++left) {
    uint32_t work = kWorkOfTen;
    EXPECT_FALSE(driver_.relay().OnInputEnd(host_.connection(), /*is_broken=*/true, driver_.now(), work));
    EXPECT_EQ(work, 0u);
    driver_.InOneTurn([] {});
    ExpectLeft(10 * left);
  }
  uint32_t work = 1;
  EXPECT_TRUE(driver_.relay().OnInputEnd(host_.connection(), /*is_broken=*/true, driver_.now(), work));
  EXPECT_EQ(work, 0u);
  driver_.InOneTurn([] {});
  EXPECT_TRUE(host_.was_closed());
  ExpectOver(End::kPeerLost);
}

TEST_F(Crowd, ThatIsDeadStaysDeadWhateverItSaysThen) {
  const Limits limits;
  const absl::Duration silence = limits.heartbeat_interval * limits.heartbeat_misses;
  for (absl::Duration passed; passed < silence; passed += limits.heartbeat_interval) {
    driver_.Advance(limits.heartbeat_interval);
    sender_.Send(Pong());
  }
  host_.Take();
  sender_.Take();
  const absl::Time judged = driver_.now() + absl::Milliseconds(1);
  uint32_t work = kWorkOfTen + 64;  // and a deadline's own
  driver_.relay().OnTime(judged, work);
  EXPECT_EQ(work, 0u);
  ExpectLeft(10);
  std::string pong = Pong();
  work = kWorkOfTen;
  EXPECT_EQ(Give(driver_, host_, pong, work), 0u);
  ExpectLeft(20);
  work = 10000;
  driver_.relay().OnTime(judged + absl::Milliseconds(1), work);
  driver_.InOneTurn([] {});
  EXPECT_TRUE(host_.was_closed());
  ExpectOver(End::kHeartbeat);
}

TEST_F(Crowd, WhoseInputEndsMeanwhileEndsAsItWasToEnd) {
  Doom();
  uint32_t work = kWorkOfTen;
  EXPECT_FALSE(driver_.relay().OnInputEnd(host_.connection(), /*is_broken=*/false, driver_.now(), work));
  driver_.InOneTurn([] {});
  ExpectLeft(20);
  host_.CloseInput();
  EXPECT_EQ(host_.TakeOne().end(), InfoOf(End::kMalformed).name);
  EXPECT_TRUE(host_.was_closed());
  ExpectOver(End::kMalformed);
}

TEST_F(Crowd, IsHandedNothingMore) {
  Doom();
  Peer& other = driver_.Joined("c");
  other.Send(StartFrame(proto::flag::kRequest, 1, Id(7778)));
  EXPECT_TRUE(host_.is_quiet());
  driver_.ExpectNothingLeft();
}

TEST_F(Crowd, EndsByTheSmallestSteps) {
  std::string frames = Malformed();
  uint32_t work = 2;
  for (uint32_t left = 1; left <= 3; ++left, work = 1) {
    EXPECT_EQ(Give(driver_, host_, frames, work), 0u);
    ExpectLeft(left);
  }
  driver_.ExpectNothingLeft();
}

TEST(ManyIdleClients, OfAConnectionThatIsStoppedMeanwhileEndByThat) {
  Limits limits;
  limits.drain_timeout = absl::Milliseconds(1);
  Driver driver(limits);
  Peer& peer = driver.Joined("c", kMany);
  std::string frames = Malformed();
  uint32_t work = kWorkOfTen + 1;
  EXPECT_EQ(Give(driver, peer, frames, work), 0u);
  driver.Drain();
  driver.Advance(absl::Milliseconds(1));
  peer.ExpectRefused(End::kStopping);
  EXPECT_EQ(driver.count(End::kStopping), 1u);
  driver.Advance(limits.linger_time / 2);
  work = 1000;
  EXPECT_EQ(Give(driver, peer, frames, work), frames.size());
  EXPECT_EQ(driver.count(End::kMalformed), 0u);
  EXPECT_FALSE(peer.was_closed());
  driver.Advance(limits.linger_time / 2);
  EXPECT_TRUE(peer.was_closed());
  driver.ExpectNothingLeft();
}

TEST(ManyIdleClients, OfAConnectionThatSaysGoawayAndAWrongFrameEndByTheFrame) {
  Driver driver;
  Peer& peer = driver.Joined("c", kMany);
  std::string frames = GoawayFrame() + Malformed();
  uint32_t work = kWorkOfTen + 2;
  EXPECT_EQ(Give(driver, peer, frames, work), GoawayFrame().size());
  EXPECT_EQ(driver.relay().client_count(), kMany - 10u);
  peer.Send(Malformed());
  peer.ExpectRefused(End::kMalformed);
  EXPECT_EQ(driver.count(End::kGoaway), 0u);
  driver.ExpectNothingLeft();
}

TEST(FewClients, EndAtOnce) {
  for (const uint16_t clients : {uint16_t{128}, uint16_t{129}}) {
    Driver driver;
    Peer& peer = driver.Joined("c", clients);
    uint32_t work = 1;
    EXPECT_EQ(driver.relay().OnInputEnd(peer.connection(), /*is_broken=*/true, driver.now(), work), clients == 128);
    EXPECT_EQ(work, 0u);
    driver.InOneTurn([] {});
    EXPECT_EQ(driver.relay().client_count(), clients == 128 ? 0u : 128u);
    driver.ExpectNothingLeft();
  }
}

// ---- Control frames ------------------------------------------------------------------------------------------------

Limits FewControlFrames() {
  Limits limits;
  limits.control_frame_burst = 10;
  limits.control_frames_per_second = 5;
  return limits;
}

std::string Times(int count, const std::string& frames) {
  std::string all;
  for (int i = 0; i < count; ++i) all += frames;
  return all;
}

TEST(ControlFrames, AreBoundedWhateverTheyAre) {
  const Uuid client = Id(1);
  const std::string join = JoinFrame(1, client, "c");
  v1::Status status;
  const std::string leave = FrameOf(FrameType::kLeave, 1, client, status);
  const std::string ping = FrameOf(FrameType::kPing, 0, 0, proto::kNilUuid, "12345678");
  const std::string unknown = FrameOf(static_cast<FrameType>(200), 0, 0, proto::kNilUuid);
  const std::string late = ChunkFrame(proto::flag::kRequest, 1, Id(9), "late");
  const std::string request = StartFrame(proto::flag::kRequest, 1, Id(9));
  const std::string empty = ChunkFrame(proto::flag::kRequest, 1, Id(9), "");
  struct Case {
    std::string first;
    std::string within;
    std::string over;
  };
  for (const Case& c : {
           Case{"", Times(10, ping), ping},
           Case{"", Times(5, join + leave), join},
           Case{join, ReceiveFrame(1) + Times(9, WithdrawFrame(1)), WithdrawFrame(1)},
           Case{join, Times(9, ReceiveFrame(1) + WithdrawFrame(1)), WithdrawFrame(1)},
           Case{"", Times(80, unknown), unknown},
           Case{"", Times(80, late), late},
           Case{"", Times(80, Pong()), Pong()},
           Case{join + request, Times(72, empty + ChunkFrame(proto::flag::kRequest, 1, Id(9), "x")), empty},
           Case{join, Times(9, ReceiveFrame(1, 0)), ReceiveFrame(1, 0)},
       }) {
    Driver driver(FewControlFrames());
    Peer& peer = driver.Open();
    peer.Send(c.first);
    peer.Send(c.within);
    EXPECT_FALSE(peer.was_shut());
    peer.Send(c.over);
    peer.ExpectRefused(End::kControlFramesPerSecond);
    driver.ExpectNothingLeft();
  }
}

TEST(ControlFrames, AreEarnedBackWithTime) {
  const std::string ping = FrameOf(FrameType::kPing, 0, 0, proto::kNilUuid, "12345678");
  Driver driver(FewControlFrames());
  Peer& peer = driver.Open();
  peer.Send(Times(10, ping));
  driver.Advance(absl::Seconds(1));
  peer.Send(Times(5, ping));
  EXPECT_FALSE(peer.was_shut());
  peer.Send(ping);
  peer.ExpectRefused(End::kControlFramesPerSecond);
  driver.ExpectNothingLeft();
}

TEST(ControlFrames, AHostOfManyClientsMayWithdrawLeaveAndJoinAgainAtOnce) {
  const Limits limits;
  std::string joins;
  std::string receives;
  std::string withdrawals;
  std::string leaves;
  const v1::Status status;
  for (uint16_t slot = 1; slot <= limits.max_clients_per_connection; ++slot) {
    joins += JoinFrame(slot, Id(slot), "c");
    receives += ReceiveFrame(slot);
    withdrawals += WithdrawFrame(slot);
    leaves += FrameOf(FrameType::kLeave, slot, Id(slot), status);
  }
  Driver driver(limits);
  Peer& peer = driver.Open();
  peer.Send(joins + receives + withdrawals + leaves + joins + receives);
  EXPECT_FALSE(peer.was_shut());
  EXPECT_EQ(driver.relay().client_count(), limits.max_clients_per_connection);
  driver.ExpectNothingLeft();
}

TEST(MaxClients, BoundsThoseOfAllConnectionsTogether) {
  Limits limits;
  limits.max_clients = 3;
  Driver driver(limits);
  Peer& first = driver.Open();
  first.Send(JoinFrame(1, Id(1), "c", "key") + JoinFrame(2, Id(2), "c"));
  Peer& second = driver.Open();
  second.Send(JoinFrame(1, Id(3), "d"));
  EXPECT_EQ(driver.relay().client_count(), 3u);
  second.Send(JoinFrame(2, Id(4), "c"));
  EXPECT_EQ(driver.relay().client_count(), 3u);
  EXPECT_EQ(driver.count(End::kMaxClients), 1u);
  // Taking over needs no more room.
  second.Send(JoinFrame(3, Id(1), "c", "key"));
  EXPECT_EQ(driver.count(End::kTakenOver), 1u);
  EXPECT_EQ(driver.relay().client_count(), 3u);
  first.Break();
  second.Send(JoinFrame(4, Id(4), "c"));
  EXPECT_EQ(driver.relay().client_count(), 3u);
  EXPECT_EQ(driver.count(End::kMaxClients), 1u);
  driver.ExpectNothingLeft();
}

}  // namespace
}  // namespace relay::server

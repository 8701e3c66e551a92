// Two cores that share channels, and what they say to each other. What they do together the simulation compares with
// what one core does (simulation --cores 4); here is what it does not look at.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <list>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "driver.h"
#include "proto/channel_name.h"
#include "proto/mirror_block.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

// A channel that the core has.
std::string ChannelOf(uint32_t core) {
  const Place place = {.core = core, .cores = 2};
  for (int i = 0;; ++i) {
    std::string name = "channel-" + std::to_string(i);
    if (place.OwnerOf(proto::ChannelId(name)) == core) return name;
  }
}

class Cores : public testing::Test {
 protected:
  explicit Cores(const Limits& limits = {}) {
    const auto totals = std::make_shared<Totals>();
    for (uint32_t core = 0; core < 2; ++core) {
      relays_[core] = std::make_unique<Relay>(limits, Id(1), now_, Place{core, 2}, totals);
    }
  }
  ~Cores() override {
    for (const auto& relay : relays_) EXPECT_EQ(relay->Check(), "");
  }

  Relay& relay(size_t core) { return *relays_[core]; }

  // A connection that has said HELLO to the first core.
  ConnectionId Open() {
    const ConnectionId id = relay(0).OnOpen("peer", now_);
    Give(0, id, "RELAY/1\n" + HelloFrame());
    EndTurn(0);
    return id;
  }

  // How many bytes were taken.
  size_t Give(size_t core, ConnectionId id, const std::string& bytes) {
    given_.push_back(bytes);
    std::string& kept = given_.back();
    return relay(core).OnBytes(id, {reinterpret_cast<uint8_t*>(kept.data()), kept.size()}, now_);
  }

  // What one core has to say is heard by the other.
  void Carry(uint32_t from) {
    CrossingBatch batch = relay(from).TakeCrossings(1 - from);
    if (!batch.empty()) relay(1 - from).OnCrossings(from, std::move(batch), now_);
  }

  std::vector<Effect> EndTurn(uint32_t core) {
    std::vector<Effect> effects;
    for (const Effect& effect : relay(core).TakeEffects()) {
      effects.push_back(effect);
      std::string& written = written_[effect.connection];
      for (const std::span<const uint8_t> slice : effect.write) written.append(slice.begin(), slice.end());
    }
    relay(core).EndTurn();
    return effects;
  }

  // Turns of both, until neither has more to say.
  void Settle() {
    for (int i = 0; i < 4; ++i) {
      for (const uint32_t core : {0u, 1u}) {
        EndTurn(core);
        Carry(core);
      }
    }
  }

  // The frames that the connection was written since the last call.
  std::vector<Seen> Take(ConnectionId id) {
    std::vector<Seen> frames;
    std::string bytes = std::exchange(written_[id], {});
    std::span<uint8_t> rest(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
    for (proto::Frame frame; proto::DecodeFrame(rest, UINT32_MAX, frame) == proto::Decoded::kFrame;) {
      frames.push_back({frame.type(), frame.flags(), frame.slot(), frame.id(), std::string(frame.payload_text())});
      rest = rest.subspan(frame.bytes().size());
    }
    EXPECT_TRUE(rest.empty());
    return frames;
  }

  const absl::Time now_ = absl::UnixEpoch() + absl::Hours(1000);

 private:
  std::array<std::unique_ptr<Relay>, 2> relays_;
  std::map<ConnectionId, std::string> written_;
  std::list<std::string> given_;  // stays where it is
};

TEST_F(Cores, AConnectionMovesToTheCoreOfItsFirstChannel) {
  const ConnectionId id = relay(0).OnOpen("peer", now_);
  const std::string hello = "RELAY/1\n" + HelloFrame();
  const std::string join = JoinFrame(1, Id(2), ChannelOf(1));
  EXPECT_EQ(Give(0, id, hello + join), hello.size());
  EXPECT_TRUE(relay(0).Waits(id));
  const std::vector<Effect> effects = EndTurn(0);
  ASSERT_EQ(effects.size(), 1u);
  EXPECT_EQ(effects[0].home, 1u);
  EXPECT_EQ(Take(id).at(0).type, FrameType::kWelcome);  // written before it moves
  EXPECT_EQ(relay(0).connection_count(), 0u);
  Carry(0);
  EXPECT_EQ(relay(1).connection_count(), 1u);
  EXPECT_EQ(Give(1, id, join + PingFrame()), join.size() + PingFrame().size());
  EXPECT_EQ(relay(1).client_count(), 1u);
  Settle();
  EXPECT_EQ(Take(id).at(0).type, FrameType::kPong);
}

TEST_F(Cores, AConnectionThatHasAClientStaysAndCrosses) {
  const ConnectionId id = Open();
  Give(0, id,
       JoinFrame(1, Id(2), ChannelOf(0)) + JoinFrame(2, Id(3), ChannelOf(1)) + JoinFrame(3, Id(4), ChannelOf(1)));
  Settle();
  EXPECT_EQ(relay(0).client_count(), 1u);
  EXPECT_EQ(relay(1).client_count(), 2u);
  EXPECT_EQ(relay(1).connection_count(), 0u);  // it is a guest there
  Take(id);
  Give(0, id, ReceiveFrame(2) + StartFrame(flag::kRequest, 3, Id(9), {.body = "body"}));
  Settle();
  const std::vector<Seen> frames = Take(id);
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].slot, 2);
  EXPECT_EQ(frames[0].body(), "body");
  EXPECT_EQ(relay(0).metrics().frames_crossed, 4u);
  relay(0).OnInputEnd(id, /*is_broken=*/true, now_);
  Settle();
  EXPECT_EQ(relay(1).client_count(), 0u);
}

TEST_F(Cores, AJoinOfASlotThatAnotherCoreHasWaitsUntilThatSaysWhetherItIsFree) {
  const ConnectionId id = Open();
  Give(0, id, JoinFrame(1, Id(2), ChannelOf(0)) + JoinFrame(2, Id(3), ChannelOf(1)));
  Settle();
  Take(id);
  const std::string leave = LeaveFrame(2, Id(3));
  const std::string join = JoinFrame(2, Id(4), ChannelOf(0));
  EXPECT_EQ(Give(0, id, leave + join + PingFrame()), leave.size());
  EXPECT_TRUE(relay(0).Waits(id));
  Settle();
  EXPECT_FALSE(relay(0).Waits(id));
  EXPECT_EQ(Give(0, id, join + PingFrame()), join.size() + PingFrame().size());
  EXPECT_EQ(relay(0).client_count(), 2u);
  Settle();
  const std::vector<Seen> frames = Take(id);
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].end(), "left");
  EXPECT_EQ(frames[1].type, FrameType::kPong);
}

TEST_F(Cores, AJoinOfASlotThatAnotherCoreHasIsAFaultWhereItIsNotFree) {
  const ConnectionId id = Open();
  Give(0, id, JoinFrame(1, Id(2), ChannelOf(0)) + JoinFrame(2, Id(3), ChannelOf(1)));
  Settle();
  EXPECT_EQ(Give(0, id, JoinFrame(2, Id(4), ChannelOf(0))), 0u);
  Settle();
  EXPECT_EQ(Take(id).back().end(), "slot_bound");
  EXPECT_EQ(relay(1).client_count(), 0u);
}

TEST_F(Cores, APongIsBehindWhatAnotherCoreHasSaid) {
  const ConnectionId id = Open();
  Give(0, id, JoinFrame(1, Id(2), ChannelOf(0)) + JoinFrame(2, Id(3), ChannelOf(1)));
  Settle();
  Take(id);
  Give(0, id, LeaveFrame(2, Id(3)) + PingFrame(7) + PingFrame(8));
  EndTurn(0);
  EXPECT_TRUE(Take(id).empty());
  Settle();
  const std::vector<Seen> frames = Take(id);
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[0].type, FrameType::kLeave);
  EXPECT_EQ(frames[1].payload.back(), 7);
  EXPECT_EQ(frames[2].payload.back(), 8);
}

TEST_F(Cores, AStopOfOneCoreIsToldAsOneToThoseOfAnother) {
  const ConnectionId receiver = Open();  // at home on the first core, with a client on the second
  Give(0, receiver, JoinFrame(1, Id(2), ChannelOf(0)) + JoinFrame(2, Id(3), ChannelOf(1)) + ReceiveFrame(2));
  const ConnectionId sender = Open();
  const std::string join = JoinFrame(1, Id(4), ChannelOf(1));
  Give(0, sender, join);
  Settle();
  Give(1, sender, join + StartFrame(flag::kRequest, 1, Id(9)));
  Settle();
  for (const uint32_t core : {0u, 1u}) relay(core).Drain(now_);
  Settle();
  Take(sender);
  relay(0).OnTime(now_ + Limits().drain_timeout + absl::Milliseconds(1));  // the other one is late
  Settle();
  EXPECT_EQ(Take(sender).at(0).end(), "stopping");
}

class CoresThatDrain : public Cores, public testing::WithParamInterface<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(First, CoresThatDrain, testing::Values(0u, 1u));

// Behind GOAWAY nothing new comes, whichever core drains first.
TEST_P(CoresThatDrain, SayGoawayWhenTheLastOneDoes) {
  const uint32_t first = GetParam();
  const ConnectionId receiver = Open();  // at home on the first core, with a client on the second
  Give(0, receiver, JoinFrame(1, Id(2), ChannelOf(0)) + JoinFrame(2, Id(3), ChannelOf(1)) + ReceiveFrame(2));
  const ConnectionId sender = Open();
  Give(0, sender, JoinFrame(1, Id(4), ChannelOf(0)) + JoinFrame(2, Id(5), ChannelOf(1)));
  Settle();
  Take(receiver);
  relay(first).Drain(now_);
  Settle();
  EXPECT_TRUE(Take(receiver).empty());
  Give(0, sender, StartFrame(flag::kRequest, 2, Id(9)));
  EndTurn(0);
  Carry(0);
  relay(1 - first).Drain(now_);
  Settle();
  std::vector<FrameType> came;
  for (const Seen& seen : Take(receiver)) came.push_back(seen.type);
  if (first == 0) {
    EXPECT_EQ(came, (std::vector<FrameType>{FrameType::kStart, FrameType::kGoaway}));
  } else {
    EXPECT_EQ(came, std::vector<FrameType>{FrameType::kGoaway});
  }
}

class CoresWithWideWindows : public Cores {
 protected:
  static Limits Wide() {
    Limits limits;
    limits.initial_window_bytes = limits.max_window_bytes = 16 * kMiB;
    return limits;
  }
  CoresWithWideWindows() : Cores(Wide()) {}
};

TEST_F(CoresWithWideWindows, WhatIsOnItsWayIsBoundedAndTheConnectionReadsOnBehindIt) {
  const ConnectionId id = Open();
  Give(0, id, JoinFrame(1, Id(2), ChannelOf(0)) + JoinFrame(2, Id(3), ChannelOf(1)));
  Settle();
  const std::string chunk = ChunkFrame(flag::kRequest, 2, Id(9), std::string(1000, 'x'));
  size_t given = JoinFrame(2, Id(3), ChannelOf(1)).size();  // taken there, but that is not worth a word yet
  const auto give = [&](const std::string& frame) {
    if (Give(0, id, frame) == 0) return false;
    given += frame.size();
    return true;
  };
  ASSERT_TRUE(give(StartFrame(flag::kRequest, 2, Id(9))));
  // Up to one byte less than the bound, and one frame more.
  while (given + chunk.size() < Crossings::kMostBytes) ASSERT_TRUE(give(chunk));
  const size_t rest = Crossings::kMostBytes - 1 - given;
  ASSERT_GT(rest, proto::kHeaderBytes);
  ASSERT_TRUE(give(ChunkFrame(flag::kRequest, 2, Id(9), std::string(rest - proto::kHeaderBytes, 'y'))));
  EXPECT_EQ(given, Crossings::kMostBytes - 1);
  EXPECT_TRUE(give(chunk));
  EXPECT_FALSE(give(chunk));
  EXPECT_TRUE(relay(0).Waits(id));

  EndTurn(0);
  Carry(0);
  EndTurn(1);
  Carry(1);  // it was taken
  EXPECT_FALSE(relay(0).Waits(id));
  const std::vector<Effect> effects = EndTurn(0);
  EXPECT_TRUE(std::any_of(effects.begin(), effects.end(), [](const Effect& effect) { return effect.reads_on; }));
  EXPECT_TRUE(give(chunk));
}

class CoresWithALowMark : public Cores {
 protected:
  CoresWithALowMark() : Cores(LowMark()) {}

  static Limits LowMark() {
    Limits limits;
    limits.send_queue_mark_bytes = 40000;
    return limits;
  }
};

// A guest is owed what its home has not sent, and what its home has not taken yet.
TEST_F(CoresWithALowMark, AGuestIsPassedOverForWhatWaitsAtHome) {
  constexpr uint16_t kRequests = 3;
  const ConnectionId sender = Open();
  const ConnectionId receiver = Open();
  std::string joins = JoinFrame(1, Id(2), ChannelOf(0));
  std::string starts;
  std::string receiver_joins = JoinFrame(1, Id(3), ChannelOf(0));
  std::string receives;
  for (uint16_t slot = 2; slot < 2 + kRequests; ++slot) {
    joins += JoinFrame(slot, Id(10 + slot), ChannelOf(1));
    starts += StartFrame(flag::kRequest | flag::kFin, slot, Id(100 + slot), {.body = std::string(30000, 'x')});
    receiver_joins += JoinFrame(slot, Id(20 + slot), ChannelOf(1));
    receives += ReceiveFrame(slot);
  }
  Give(0, sender, joins + starts);
  Give(0, receiver, receiver_joins);
  Settle();
  Take(receiver);
  Give(0, receiver, receives);
  EndTurn(0);
  Carry(0);
  EXPECT_EQ(relay(1).metrics().assignments, 2u);  // more than the mark in one turn
  EXPECT_EQ(relay(1).metrics().passed_over, 1u);
  EndTurn(1);
  relay(1).OnTime(now_ + absl::Milliseconds(1));
  EXPECT_EQ(relay(1).metrics().assignments, 2u);
  Carry(1);
  relay(0).OnUnsent(receiver, 40001, now_);
  EndTurn(0);
  Carry(0);
  EndTurn(1);
  relay(1).OnTime(now_ + absl::Milliseconds(2));
  EXPECT_EQ(relay(1).metrics().assignments, 2u);
  relay(0).OnUnsent(receiver, 40000, now_);
  Settle();
  EXPECT_EQ(relay(1).metrics().assignments, 3u);
  EXPECT_EQ(Take(receiver).size(), 3u);
}

class CoresThatAreObserved : public Cores {
 protected:
  static Limits Observed() {
    Limits limits;
    limits.allow_observers = true;
    return limits;
  }
  CoresThatAreObserved() : Cores(Observed()) {}
};

TEST_F(CoresThatAreObserved, AnObserverIsShownEachFrameOnceWhicheverCoreItPasses) {
  v1::Hello hello;
  hello.set_version(proto::kVersion);
  hello.set_observer(true);
  const ConnectionId observer = relay(0).OnOpen("observer", now_);
  Give(0, observer, "RELAY/1\n" + FrameOf(FrameType::kHello, 0, proto::kNilUuid, hello));
  v1::Observe observe;
  observe.set_snap_bytes(100);
  Give(0, observer, FrameOf(FrameType::kObserve, 0, proto::kNilUuid, observe));
  Settle();
  const ConnectionId near = Open();
  Give(0, near, JoinFrame(1, Id(2), ChannelOf(0)) + JoinFrame(2, Id(3), ChannelOf(1)) + ReceiveFrame(2));
  const ConnectionId far = Open();
  const std::string join = JoinFrame(1, Id(4), ChannelOf(1));
  Give(0, far, join);
  Settle();
  Give(1, far, join + StartFrame(flag::kRequest, 1, Id(9), {.body = "body"}));
  Settle();

  std::multiset<std::string> shown;
  for (const Seen& seen : Take(observer)) {
    if (seen.type != FrameType::kMirror) continue;
    std::string payload = seen.payload;
    const proto::MirrorBlock block({reinterpret_cast<uint8_t*>(payload.data()), payload.size()});
    if (payload.size() < proto::kMirrorBlockBytes + proto::kHeaderBytes) continue;
    const auto type = static_cast<FrameType>(payload[proto::kMirrorBlockBytes + 4]);
    if (type != FrameType::kJoin && type != FrameType::kReceive && type != FrameType::kStart) continue;
    const bool is_far = block.channel() == proto::ChannelId(ChannelOf(1));
    shown.insert(std::to_string(block.connection()) +
                 (block.kind() == proto::MirrorKind::kRead ? " reads " : " writes ") +
                 std::string(proto::NameOf(type)) + (is_far ? " of far" : " of near"));
  }
  const std::string a = std::to_string(near);
  const std::string b = std::to_string(far);
  EXPECT_EQ(shown, (std::multiset<std::string>{a + " reads JOIN of near", a + " reads JOIN of far",
                                               a + " reads RECEIVE of far", b + " reads JOIN of far",
                                               b + " reads START of far", a + " writes START of far"}));
}

}  // namespace
}  // namespace relay::server

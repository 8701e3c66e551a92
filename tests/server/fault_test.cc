// The table of faults (PROTOCOL.md, "Bytes on the connection"): each fault has its answer, and everybody else goes on.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "driver.h"
#include "proto/channel_name.h"

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

// A bystander's exchange across each fault.
class FaultTest : public testing::Test {
 protected:
  explicit FaultTest(const Limits& limits = {}) : driver_(limits) {
    bystander_receiver_ = &driver_.Joined("bystanders");
    bystander_receiver_->Send(ReceiveFrame(1));
    bystander_sender_ = &driver_.Joined("bystanders");
    bystander_sender_->Send(StartFrame(flag::kRequest, 1, Id(1)));
    EXPECT_EQ(bystander_receiver_->TakeOne().type, FrameType::kStart);
  }

  ~FaultTest() override {
    bystander_sender_->Send(ChunkFrame(flag::kRequest | flag::kFin, 1, Id(1), "untouched"));
    EXPECT_EQ(bystander_receiver_->TakeOne().payload, "untouched");
    bystander_receiver_->Send(StartFrame(flag::kResponse, 1, Id(1), {.flags = flag::kFin, .body = "indeed"}));
    EXPECT_EQ(bystander_sender_->TakeOne().body(), "indeed");
    driver_.ExpectNothingLeft();
  }

  // A running exchange Id(9) between slot 1 of sender_ and slot 1 of receiver_.
  void Run(uint8_t flags = 0) {
    receiver_ = &driver_.Joined("c", 2);
    receiver_->Send(ReceiveFrame(1));
    sender_ = &driver_.Joined("c", 2);
    sender_->Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flags}));
    EXPECT_EQ(receiver_->TakeOne().type, FrameType::kStart);
  }

  // `bytes` of a peer that has joined slot 1 end its connection.
  void ExpectConnectionFault(const std::string& bytes, End end) {
    Peer& peer = driver_.Joined("c");
    peer.Send(bytes + JoinFrame(7, Id(7), "c") + PingFrame());  // nothing behind it counts
    peer.ExpectRefused(end);
    peer.CloseInput();
    EXPECT_TRUE(peer.was_closed());
  }

  // Both sides of the exchange hear of `end`, once.
  void ExpectBothReset(End end) {
    for (Peer* const peer : {sender_, receiver_}) {
      const Seen told = peer->TakeOne();
      EXPECT_EQ(told.type, FrameType::kReset);
      EXPECT_EQ(told.slot, 1);
      EXPECT_EQ(told.id, Id(9));
      EXPECT_EQ(told.end(), InfoOf(end).name);
      EXPECT_EQ(told.code(), InfoOf(end).code);
      EXPECT_LE(told.status().message().size(), 100u);
      EXPECT_FALSE(peer->was_shut());
    }
    EXPECT_EQ(driver_.count(end), 1u);
    EXPECT_EQ(driver_.metrics().exchanges_live, 1u);  // the bystanders'
  }

  Driver driver_;
  Peer* bystander_receiver_;
  Peer* bystander_sender_;
  Peer* receiver_ = nullptr;
  Peer* sender_ = nullptr;
};

// ---- Of the connection ---------------------------------------------------------------------------------------------

TEST_F(FaultTest, HeadersOutOfOrderEndTheConnection) {
  ExpectConnectionFault(FrameOf(FrameType::kPing, 0x40, 0, proto::kNilUuid, std::string(8, 'x')), End::kBadHeader);
  ExpectConnectionFault(FrameOf(FrameType::kPing, flag::kFin, 0, proto::kNilUuid, std::string(8, 'x')),
                        End::kBadHeader);
  ExpectConnectionFault(FrameOf(FrameType::kPing, 0, 1, proto::kNilUuid, std::string(8, 'x')), End::kBadHeader);
  ExpectConnectionFault(FrameOf(FrameType::kPing, 0, 0, Id(1), std::string(8, 'x')), End::kBadHeader);
  ExpectConnectionFault(FrameOf(FrameType::kChunk, 0, 1, Id(1)), End::kBadHeader);
  ExpectConnectionFault(FrameOf(FrameType::kChunk, flag::kRequest, 0, Id(1)), End::kBadHeader);
  ExpectConnectionFault(FrameOf(FrameType::kChunk, flag::kRequest, 1, proto::kNilUuid), End::kBadHeader);
  ExpectConnectionFault(FrameOf(FrameType::kReset, 0, 1, proto::kNilUuid), End::kBadHeader);
}

// Late frames are checked by their header, too.
TEST_F(FaultTest, HeadersOutOfOrderAreFaultsOnUnknownIdsAndSlots) {
  ExpectConnectionFault(FrameOf(FrameType::kEnd, flag::kRequest | flag::kFin, 500, Id(12345)), End::kBadHeader);
}

TEST_F(FaultTest, EveryRuleOfTheHeaderIsSaidInItsOwnWords) {
  Peer& a = driver_.Open();
  a.Send(FrameOf(FrameType::kPing, 0x80, 0, proto::kNilUuid));
  Peer& b = driver_.Open();
  b.Send(FrameOf(FrameType::kJoin, 0, 0, proto::kNilUuid));
  const std::string a_words = a.TakeOne().status().message();
  const std::string b_words = b.TakeOne().status().message();
  EXPECT_EQ(a_words, proto::RuleOf(proto::HeaderFault::kUnknownFlag));
  EXPECT_EQ(b_words, proto::RuleOf(proto::HeaderFault::kSlotMissing));
}

TEST_F(FaultTest, WelcomeIsTheServersToSend) {
  ExpectConnectionFault(FrameOf(FrameType::kWelcome, 0, 0, proto::kNilUuid), End::kServerFrame);
}

TEST_F(FaultTest, PayloadsThatDoNotParseEndTheConnection) {
  for (const FrameType type : {FrameType::kJoin, FrameType::kReceive}) {
    ExpectConnectionFault(FrameOf(type, 0, 2, proto::kNilUuid, "\xff\xff\xff"), End::kMalformed);
  }
  ExpectConnectionFault(FrameOf(FrameType::kGoaway, 0, 0, proto::kNilUuid, "\xff\xff\xff"), End::kMalformed);
  for (const size_t bytes : {0u, 7u, 9u}) {
    ExpectConnectionFault(FrameOf(FrameType::kPing, 0, 0, proto::kNilUuid, std::string(bytes, 'x')), End::kMalformed);
    ExpectConnectionFault(FrameOf(FrameType::kPong, 0, 0, proto::kNilUuid, std::string(bytes, 'x')), End::kMalformed);
  }
}

TEST_F(FaultTest, PayloadsOfALiveExchangeThatDoNotParseEndTheConnection) {
  for (const size_t bytes : {0u, 7u, 9u}) {
    Run();
    sender_->Send(FrameOf(FrameType::kWindow, flag::kResponse, 1, Id(9), std::string(bytes, '\0')));
    sender_->ExpectRefused(End::kMalformed);
    EXPECT_EQ(receiver_->TakeOne().end(), "sender_lost");
  }
  Run();
  receiver_->Send(FrameOf(FrameType::kReset, 0, 1, Id(9), "\xff\xff"));
  receiver_->ExpectRefused(End::kMalformed);
  EXPECT_EQ(sender_->TakeOne().end(), "receiver_lost");
}

TEST_F(FaultTest, LateFramesAreCheckedByTheirHeaderAlone) {
  Peer& peer = driver_.Joined("c");
  const uint64_t late = driver_.metrics().late_frames;
  peer.Send(FrameOf(FrameType::kWindow, flag::kRequest, 1, Id(50), "x") +
            FrameOf(FrameType::kReset, 0, 1, Id(50), "\xff\xff") +
            FrameOf(FrameType::kStart, flag::kResponse, 1, Id(50), "short") +
            FrameOf(FrameType::kEnd, flag::kResponse, 1, Id(50), std::string(60000, 'x')) +
            FrameOf(FrameType::kChunk, flag::kRequest, 99, Id(50)));
  EXPECT_TRUE(peer.is_quiet());
  EXPECT_EQ(driver_.metrics().late_frames - late, 5u);
}

TEST_F(FaultTest, StartBlocksOutOfOrderEndTheConnection) {
  for (const size_t bytes : {0u, 1u, 39u}) {
    ExpectConnectionFault(FrameOf(FrameType::kStart, flag::kRequest, 1, Id(9), std::string(bytes, '\0')),
                          End::kBadStart);
  }
  std::string less(40, '\0');
  less[27] = 1;  // a Start of 1 byte that is not there
  ExpectConnectionFault(FrameOf(FrameType::kStart, flag::kRequest, 1, Id(9), less), End::kBadStart);
  for (const size_t servers : {0u, 15u, 20u, 23u, 24u, 25u}) {
    std::string payload(40, '\0');
    payload[servers] = 1;
    ExpectConnectionFault(FrameOf(FrameType::kStart, flag::kRequest, 1, Id(9), payload), End::kBadStart);
  }
}

TEST_F(FaultTest, StartBlocksOfAResponseOutOfOrderEndTheConnection) {
  for (const size_t wrong : {0u, 16u, 19u, 24u, 28u}) {
    Run();
    std::string payload(40, '\0');
    payload[wrong] = 1;
    receiver_->Send(FrameOf(FrameType::kStart, flag::kResponse, 1, Id(9), payload));
    receiver_->ExpectRefused(End::kBadStart);
    EXPECT_EQ(sender_->TakeOne().end(), "receiver_lost");
  }
}

TEST_F(FaultTest, ASlotIsBoundOnce) { ExpectConnectionFault(JoinFrame(1, Id(77), "c"), End::kSlotBound); }

std::string JoinOf(const std::string& client, const std::string& channel, const std::string& name,
                   const std::string& key = "") {
  v1::Join join;
  join.set_client_id(client);
  join.set_channel_id(channel);
  join.set_channel_name(name);
  join.set_key(key);
  return FrameOf(FrameType::kJoin, 5, proto::kNilUuid, join);
}

TEST_F(FaultTest, IdsOfJoinHaveSixteenBytes) {
  const std::string good(16, 'i');
  for (const size_t bytes : {0u, 15u, 17u, 32u}) {
    ExpectConnectionFault(JoinOf(std::string(bytes, 'x'), good, ""), End::kMalformed);
    ExpectConnectionFault(JoinOf(good, std::string(bytes, 'x'), ""), End::kMalformed);
  }
  ExpectConnectionFault(JoinOf(std::string(16, '\0'), good, ""), End::kMalformed);
  ExpectConnectionFault(JoinOf(good, good, "", std::string(65, 'k')), End::kMalformed);
  Peer& peer = driver_.Open();
  peer.Send(JoinOf(good, good, "", std::string(64, 'k')));
  EXPECT_TRUE(peer.is_quiet());
}

TEST_F(FaultTest, ANameGivesItsChannelId) {
  const std::string client(16, 'i');
  const proto::Uuid c = proto::ChannelId("c");
  const std::string channel(proto::BytesOf(c));
  ExpectConnectionFault(JoinOf(client, channel, "d"), End::kChannelName);
  const std::string long_name(256, 'x');
  const proto::Uuid long_id = proto::ChannelId(long_name);
  ExpectConnectionFault(JoinOf(client, std::string(proto::BytesOf(long_id)), long_name), End::kChannelName);
  const std::string nul_name("a\0b", 3);
  const proto::Uuid nul_id = proto::ChannelId(nul_name);
  ExpectConnectionFault(JoinOf(client, std::string(proto::BytesOf(nul_id)), nul_name), End::kChannelName);
  Peer& peer = driver_.Open();
  peer.Send(JoinOf(client, channel, "c"));
  EXPECT_TRUE(peer.is_quiet());
}

TEST_F(FaultTest, ANameThatIsNotUtf8EndsTheConnection) {
  proto::SilenceProtobuf();
  const std::string payload =
      std::string("\x0a\x10") + std::string(16, 'i') + "\x12\x10" + std::string(16, 'c') + "\x1a\x02\xc3\x28";
  ExpectConnectionFault(FrameOf(FrameType::kJoin, 0, 5, proto::kNilUuid, payload), End::kMalformed);
}

TEST(Faults, APayloadHasAtMostMaxPayloadBytes) {
  Limits limits;
  limits.max_payload_bytes = 64 * kKiB;
  for (const uint32_t bytes : {65535u, 65536u}) {
    Driver driver(limits);
    Peer& peer = driver.Joined("c");
    peer.Send(ChunkFrame(flag::kRequest, 1, Id(5), std::string(bytes, 'x')));  // late, but whole
    EXPECT_TRUE(peer.is_quiet());
    EXPECT_EQ(driver.metrics().late_frames, 1u);
    driver.ExpectNothingLeft();
  }
  for (const uint32_t bytes : {65537u, 0x80000000u, 0xffffffffu}) {
    Driver driver(limits);
    Peer& peer = driver.Joined("c");
    std::string header(24, '\0');
    proto::WriteHeader(reinterpret_cast<uint8_t*>(header.data()), bytes, FrameType::kChunk, flag::kRequest, 1, Id(5));
    peer.Send(header.substr(0, 4));  // refused on its length alone
    peer.ExpectRefused(End::kPayloadTooLarge);
    driver.ExpectNothingLeft();
  }
}

TEST_F(FaultTest, UnknownTypesAreDroppedAndCounted) {
  Peer& peer = driver_.Joined("c");
  for (const int type : {0, 17, 100, 255}) {
    peer.Send(FrameOf(static_cast<FrameType>(type), 0xff, 9, Id(3), "whatever"));
  }
  EXPECT_TRUE(peer.is_quiet());
  EXPECT_EQ(driver_.metrics().unknown_frames, 4u);
  peer.Send(PingFrame());
  EXPECT_EQ(peer.TakeOne().type, FrameType::kPong);
}

// ---- Of an exchange ------------------------------------------------------------------------------------------------

TEST_F(FaultTest, ASecondStartOfTheRequest) {
  Run();
  sender_->Send(StartFrame(flag::kRequest, 1, Id(9)));
  ExpectBothReset(End::kSecondStart);
}

TEST_F(FaultTest, ASecondStartOfTheResponse) {
  Run();
  receiver_->Send(StartFrame(flag::kResponse, 1, Id(9)));
  EXPECT_EQ(sender_->TakeOne().type, FrameType::kStart);
  receiver_->Send(StartFrame(flag::kResponse, 1, Id(9)));
  ExpectBothReset(End::kSecondStart);
}

TEST_F(FaultTest, AResponseChunkBeforeItsStart) {
  Run();
  receiver_->Send(ChunkFrame(flag::kResponse, 1, Id(9), "x"));
  ExpectBothReset(End::kNotStarted);
}

TEST_F(FaultTest, AResponseEndBeforeItsStart) {
  Run();
  receiver_->Send(EndFrame(flag::kResponse, 1, Id(9)));
  ExpectBothReset(End::kNotStarted);
}

TEST_F(FaultTest, AChunkBehindTheEndOfTheRequest) {
  Run();
  sender_->Send(EndFrame(flag::kRequest, 1, Id(9)));
  receiver_->Take();
  sender_->Send(ChunkFrame(flag::kRequest, 1, Id(9), "x"));
  ExpectBothReset(End::kAfterEnd);
}

TEST_F(FaultTest, AnEndBehindFinOfAChunk) {
  Run();
  sender_->Send(ChunkFrame(flag::kRequest | flag::kFin, 1, Id(9), "x"));
  receiver_->Take();
  sender_->Send(EndFrame(flag::kRequest, 1, Id(9)));
  ExpectBothReset(End::kAfterEnd);
}

TEST_F(FaultTest, AnEndBehindFinOfTheStart) {
  Run(flag::kFin);
  sender_->Send(EndFrame(flag::kRequest, 1, Id(9)));
  ExpectBothReset(End::kAfterEnd);
}

TEST_F(FaultTest, AFaultOfAQueuedRequestIsToldToItsSenderAlone) {
  Peer& sender = driver_.Joined("queued");
  sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.flags = flag::kFin}) + ChunkFrame(flag::kRequest, 1, Id(9), "x"));
  const Seen told = sender.TakeOne();
  EXPECT_EQ(told.end(), "after_end");
  EXPECT_FALSE(told.status().may_have_run());
  EXPECT_EQ(driver_.metrics().held_bytes, 0u);
}

TEST_F(FaultTest, TheReceiveFlagCountsEvenWhereItsFrameIsAFault) {
  Run();
  receiver_->Send(EndFrame(flag::kResponse | flag::kReceive, 1, Id(9)));  // no START before it
  ExpectBothReset(End::kNotStarted);
  sender_->Send(StartFrame(flag::kRequest, 2, Id(10)));
  EXPECT_EQ(receiver_->TakeOne().id, Id(10));
}

TEST_F(FaultTest, TheReceiveFlagCountsEvenWhereItsFrameIsLate) {
  Run();
  sender_->Send(ResetFrame(1, Id(9), absl::StatusCode::kCancelled));
  EXPECT_EQ(receiver_->TakeOne().type, FrameType::kReset);
  receiver_->Send(StartFrame(flag::kResponse, 1, Id(9), {.flags = flag::kFin | flag::kReceive}));
  sender_->Send(StartFrame(flag::kRequest, 2, Id(10)));
  EXPECT_EQ(receiver_->TakeOne().id, Id(10));
}

TEST(Faults, AStartHasAtMostMaxStartBytes) {
  Limits limits;
  limits.max_start_bytes = 4096;
  for (const size_t bytes : {4095u, 4096u, 4097u}) {
    Driver driver(limits);
    Peer& receiver = driver.Joined("c");
    receiver.Send(ReceiveFrame(1));
    Peer& sender = driver.Joined("c", 2);
    sender.Send(StartFrame(flag::kRequest, 1, Id(9), {.start = std::string(bytes, 's')}));
    if (bytes > 4096) {
      const Seen refused = sender.TakeOne();
      EXPECT_EQ(refused.end(), "start_too_large");
      EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_TRUE(receiver.is_quiet());
      EXPECT_EQ(driver.metrics().requests_refused, 1u);
      sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
    }
    EXPECT_EQ(receiver.TakeOne().type, FrameType::kStart);
    receiver.Send(StartFrame(flag::kResponse, 1, Id(9), {.start = std::string(bytes, 's')}));
    if (bytes > 4096) {
      EXPECT_EQ(sender.TakeOne().end(), "start_too_large");
      EXPECT_EQ(receiver.TakeOne().end(), "start_too_large");
    } else {
      EXPECT_EQ(sender.TakeOne().block().start().size(), bytes);
    }
    EXPECT_EQ(driver.count(End::kStartTooLarge), bytes > 4096 ? 2u : 0u);
    driver.ExpectNothingLeft();
  }
}

TEST(Faults, AnEndHasAtMostMaxStartBytes) {
  Limits limits;
  limits.max_start_bytes = 4096;
  for (const uint8_t direction : {flag::kRequest, flag::kResponse}) {
    for (const size_t bytes : {4095u, 4096u, 4097u}) {
      Driver driver(limits);
      Peer& receiver = driver.Joined("c");
      receiver.Send(ReceiveFrame(1));
      Peer& sender = driver.Joined("c");
      sender.Send(StartFrame(flag::kRequest, 1, Id(9)));
      receiver.Take();
      receiver.Send(StartFrame(flag::kResponse, 1, Id(9)));
      sender.Take();
      const bool is_request = direction == flag::kRequest;
      Peer& from = is_request ? sender : receiver;
      Peer& to = is_request ? receiver : sender;
      from.Send(EndFrame(direction, 1, Id(9), std::string(bytes, 'e')));
      if (bytes > 4096) {
        EXPECT_EQ(from.TakeOne().end(), "end_too_large");
        EXPECT_EQ(to.TakeOne().end(), "end_too_large");
      } else {
        EXPECT_EQ(to.TakeOne().payload.size(), bytes);
      }
      EXPECT_EQ(driver.count(End::kEndTooLarge), bytes > 4096 ? 1u : 0u);
      driver.ExpectNothingLeft();
    }
  }
}

// ---- Of a slot -----------------------------------------------------------------------------------------------------

void ExpectSlotFault(Peer& peer, uint16_t slot, const proto::Uuid& id, std::string_view end) {
  const Seen told = peer.TakeOne();
  EXPECT_EQ(told.type, FrameType::kReset);
  EXPECT_EQ(told.slot, slot);
  EXPECT_EQ(told.id, id);
  EXPECT_EQ(told.end(), end);
  EXPECT_EQ(told.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(told.status().may_have_run());
}

TEST_F(FaultTest, OperationsOnASlotThatIsNotJoined) {
  Peer& peer = driver_.Joined("c");
  peer.Send(ReceiveFrame(2));
  ExpectSlotFault(peer, 2, proto::kNilUuid, "slot_not_joined");
  peer.Send(WithdrawFrame(2));
  ExpectSlotFault(peer, 2, proto::kNilUuid, "slot_not_joined");
  peer.Send(StartFrame(flag::kRequest, 2, Id(9)));
  ExpectSlotFault(peer, 2, Id(9), "slot_not_joined");
  EXPECT_EQ(driver_.count(End::kSlotNotJoined), 3u);
}

TEST_F(FaultTest, OperationsOnASlotThatWaits) {
  Peer& peer = driver_.Joined("c");
  peer.Send(ReceiveFrame(1));
  peer.Send(ReceiveFrame(1));
  ExpectSlotFault(peer, 1, proto::kNilUuid, "slot_busy");
  peer.Send(StartFrame(flag::kRequest, 1, Id(9)));
  ExpectSlotFault(peer, 1, Id(9), "slot_busy");
  Peer& sender = driver_.Joined("c");  // it waits on
  sender.Send(StartFrame(flag::kRequest, 1, Id(10)));
  EXPECT_EQ(peer.TakeOne().id, Id(10));
}

TEST_F(FaultTest, OperationsOnASlotThatIsBusy) {
  Run();
  for (Peer* const peer : {sender_, receiver_}) {
    peer->Send(ReceiveFrame(1));
    ExpectSlotFault(*peer, 1, proto::kNilUuid, "slot_busy");
    peer->Send(StartFrame(flag::kRequest, 1, Id(11)));
    ExpectSlotFault(*peer, 1, Id(11), "slot_busy");
  }
  EXPECT_EQ(driver_.count(End::kSlotBusy), 4u);
  sender_->Send(ChunkFrame(flag::kRequest, 1, Id(9), "goes on"));
  EXPECT_EQ(receiver_->TakeOne().payload, "goes on");
}

// ---- Of an id ------------------------------------------------------------------------------------------------------

TEST_F(FaultTest, AnIdThatIsLiveOnAnotherSlot) {
  Run();
  Peer& stranger = driver_.Joined("c");
  for (Peer* const newcomer : {sender_, receiver_, &stranger}) {
    const uint16_t slot = newcomer == &stranger ? 1 : 2;
    newcomer->Send(StartFrame(flag::kRequest, slot, Id(9)));
    const Seen told = newcomer->TakeOne();
    EXPECT_EQ(told.type, FrameType::kReset);
    EXPECT_EQ(told.slot, slot);
    EXPECT_EQ(told.end(), "id_live");
    EXPECT_EQ(told.code(), absl::StatusCode::kAlreadyExists);
  }
  // The receiver of an id is another slot than its sender's, too.
  receiver_->Send(StartFrame(flag::kRequest, 1, Id(9)));
  EXPECT_EQ(receiver_->TakeOne().end(), "id_live");
  EXPECT_EQ(driver_.count(End::kIdLive), 4u);
  sender_->Send(ChunkFrame(flag::kRequest, 1, Id(9), "goes on"));
  EXPECT_EQ(receiver_->TakeOne().payload, "goes on");
}

// ---- Of nobody: another's id has exactly the effect of an unknown one ----------------------------------------------

TEST_F(FaultTest, FramesOfAnothersExchangeAreDropped) {
  Run();
  Peer& stranger = driver_.Joined("c");
  for (Peer* const peer : {sender_, receiver_, &stranger}) {
    const uint16_t slot = peer == &stranger ? 1 : 2;
    const uint64_t late = driver_.metrics().late_frames;
    peer->Send(ChunkFrame(flag::kRequest, slot, Id(9), "x") + ChunkFrame(flag::kResponse, slot, Id(9), "x") +
               EndFrame(flag::kRequest, slot, Id(9)) + StartFrame(flag::kResponse, slot, Id(9)) +
               WindowFrame(flag::kRequest, slot, Id(9), 1 << 20) + WindowFrame(flag::kResponse, slot, Id(9), 1 << 20) +
               ResetFrame(slot, Id(9), absl::StatusCode::kCancelled));
    EXPECT_EQ(driver_.metrics().late_frames - late, 7u);
  }
  for (Peer* const peer : {sender_, receiver_, &stranger}) EXPECT_TRUE(peer->is_quiet());
}

TEST_F(FaultTest, FramesOfTheOtherDirectionAreDropped) {
  Run();
  const uint64_t late = driver_.metrics().late_frames;
  sender_->Send(ChunkFrame(flag::kResponse, 1, Id(9), "x") + EndFrame(flag::kResponse, 1, Id(9)) +
                StartFrame(flag::kResponse, 1, Id(9)) + WindowFrame(flag::kRequest, 1, Id(9), 1 << 20));
  receiver_->Send(ChunkFrame(flag::kRequest, 1, Id(9), "x") + EndFrame(flag::kRequest, 1, Id(9)) +
                  WindowFrame(flag::kResponse, 1, Id(9), 1 << 20));
  EXPECT_EQ(driver_.metrics().late_frames - late, 7u);
  EXPECT_TRUE(sender_->is_quiet());
  EXPECT_TRUE(receiver_->is_quiet());
}

}  // namespace
}  // namespace relay::server

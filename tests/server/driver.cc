#include "driver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "proto/channel_name.h"

namespace relay::server {

using proto::FrameType;
using proto::Uuid;
namespace flag = proto::flag;

Uuid Id(uint64_t number) {
  Uuid id = {};
  proto::StoreBig<uint64_t>(id.data + 8, number);
  id.data[0] = 0xaa;
  return id;
}

v1::Status Seen::status() const {
  if (type == FrameType::kReset) {
    v1::Reset reset;
    EXPECT_TRUE(proto::ParseMessage(payload, reset));
    return reset.status();
  }
  v1::Status status;
  EXPECT_TRUE(proto::ParseMessage(payload, status));
  return status;
}

proto::StartBlock Seen::block() const {
  static std::string copy;
  copy = payload;
  return proto::StartBlock({reinterpret_cast<uint8_t*>(copy.data()), copy.size()});
}

std::string Seen::body() const {
  if (type != FrameType::kStart) return payload;
  return payload.substr(proto::kStartBlockBytes + block().start_bytes());
}

uint64_t Seen::window() const {
  EXPECT_EQ(payload.size(), 8u);
  return payload.size() == 8 ? proto::LoadBig<uint64_t>(payload.data()) : 0;
}

// ---- Frames --------------------------------------------------------------------------------------------------------

std::string FrameOf(FrameType type, uint8_t flags, uint16_t slot, const Uuid& id, std::string_view payload) {
  std::string out;
  proto::AppendFrame(out, type, flags, slot, id, payload);
  return out;
}

std::string FrameOf(FrameType type, uint16_t slot, const Uuid& id, const google::protobuf::MessageLite& message) {
  std::string out;
  proto::AppendMessage(out, type, 0, slot, id, message);
  return out;
}

std::string HelloFrame(uint32_t version) {
  v1::Hello hello;
  hello.set_version(version);
  hello.set_agent("test");
  return FrameOf(FrameType::kHello, 0, proto::kNilUuid, hello);
}

std::string JoinFrame(uint16_t slot, const Uuid& client, std::string_view channel, std::string_view key) {
  v1::Join join;
  join.set_client_id(client.data, proto::kUuidBytes);
  const Uuid channel_id = proto::ChannelId(channel);
  join.set_channel_id(channel_id.data, proto::kUuidBytes);
  join.set_channel_name(std::string(channel));
  join.set_key(std::string(key));
  return FrameOf(FrameType::kJoin, slot, proto::kNilUuid, join);
}

std::string ReceiveFrame(uint16_t slot, std::optional<uint32_t> wait_ms) {
  v1::Receive receive;
  if (wait_ms.has_value()) receive.set_wait_ms(*wait_ms);
  return FrameOf(FrameType::kReceive, slot, proto::kNilUuid, receive);
}

std::string WithdrawFrame(uint16_t slot) {
  v1::Receive receive;
  receive.set_withdraw(true);
  return FrameOf(FrameType::kReceive, slot, proto::kNilUuid, receive);
}

std::string StartFrame(uint8_t direction, uint16_t slot, const Uuid& id, const StartOptions& options) {
  std::string payload(proto::kStartBlockBytes, '\0');
  proto::StartBlock block({reinterpret_cast<uint8_t*>(payload.data()), payload.size()});
  block.set_timeout_ms(options.timeout_ms);
  block.set_max_extension_ms(options.max_extension_ms);
  block.set_start_bytes(static_cast<uint16_t>(options.start.size()));
  payload += options.start;
  payload += options.body;
  return FrameOf(FrameType::kStart, static_cast<uint8_t>(direction | options.flags), slot, id, payload);
}

std::string ChunkFrame(uint8_t flags, uint16_t slot, const Uuid& id, std::string_view body) {
  return FrameOf(FrameType::kChunk, flags, slot, id, body);
}

std::string EndFrame(uint8_t flags, uint16_t slot, const Uuid& id, std::string_view payload) {
  return FrameOf(FrameType::kEnd, flags, slot, id, payload);
}

std::string WindowFrame(uint8_t flags, uint16_t slot, const Uuid& id, uint64_t window) {
  char payload[8];
  proto::StoreBig<uint64_t>(payload, window);
  return FrameOf(FrameType::kWindow, flags, slot, id, {payload, sizeof(payload)});
}

std::string ExtendFrame(uint16_t slot, const Uuid& id, uint32_t ms) {
  char payload[proto::kExtendBytes];
  proto::StoreBig<uint32_t>(payload, ms);
  return FrameOf(FrameType::kExtend, 0, slot, id, {payload, sizeof(payload)});
}

std::string ResetFrame(uint16_t slot, const Uuid& id, absl::StatusCode code, bool requeue, std::string_view message) {
  v1::Reset reset;
  reset.mutable_status()->set_code(static_cast<uint32_t>(code));
  reset.mutable_status()->set_message(std::string(message));
  reset.set_requeue(requeue);
  return FrameOf(FrameType::kReset, slot, id, reset);
}

std::string LeaveFrame(uint16_t slot, const Uuid& client) {
  return FrameOf(FrameType::kLeave, slot, client, v1::Status());
}

std::string PingFrame(uint64_t number) {
  char payload[8];
  proto::StoreBig<uint64_t>(payload, number);
  return FrameOf(FrameType::kPing, 0, 0, proto::kNilUuid, {payload, sizeof(payload)});
}

std::string GoawayFrame() { return FrameOf(FrameType::kGoaway, 0, proto::kNilUuid, v1::Status()); }

// ---- Peer ----------------------------------------------------------------------------------------------------------

void Peer::Send(std::string_view bytes) {
  rest_ += bytes;
  if (!was_closed_) {
    auto given = std::make_unique<uint8_t[]>(rest_.size());
    std::memcpy(given.get(), rest_.data(), rest_.size());
    given_ = {reinterpret_cast<uintptr_t>(given.get()), rest_.size()};
    const size_t taken = driver_.relay_.OnBytes(connection_, {given.get(), rest_.size()}, driver_.now_);
    driver_.turn_bytes_.push_back(std::move(given));
    ASSERT_LE(taken, rest_.size());
    rest_.erase(0, taken);
  }
  driver_.EndTurn();
}

void Peer::CloseInput() {
  driver_.relay_.OnInputEnd(connection_, /*is_broken=*/false, driver_.now_);
  driver_.EndTurn();
}

void Peer::Break() {
  driver_.relay_.OnInputEnd(connection_, /*is_broken=*/true, driver_.now_);
  driver_.EndTurn();
}

void Peer::Resume() {
  is_stalled_ = false;
  inbox_ += std::exchange(waiting_, {});
  ReportUnsent(0);
}

void Peer::ReportUnsent(size_t bytes) {
  reported_unsent_ = bytes;
  driver_.relay_.OnUnsent(connection_, bytes, driver_.now_);
  driver_.EndTurn();
}

std::vector<Seen> Peer::Take() {
  std::vector<Seen> frames;
  std::string bytes = std::exchange(inbox_, {});
  std::span<uint8_t> rest(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
  proto::Frame frame;
  while (proto::DecodeFrame(rest, UINT32_MAX, frame) == proto::Decoded::kFrame) {
    frames.push_back({frame.type(), frame.flags(), frame.slot(), frame.id(), std::string(frame.payload_text())});
    rest = rest.subspan(frame.bytes().size());
  }
  EXPECT_TRUE(rest.empty()) << "the relay wrote a part of a frame";
  return frames;
}

Seen Peer::TakeOne() {
  std::vector<Seen> frames = Take();
  EXPECT_EQ(frames.size(), 1u);
  if (frames.size() == 1) return frames[0];
  for (const Seen& seen : frames) ADD_FAILURE() << "came: " << proto::NameOf(seen.type);
  return {FrameType::kHello, 0, 0, proto::kNilUuid, ""};
}

void Peer::ExpectRefused(End end) {
  const std::vector<Seen> frames = Take();
  ASSERT_FALSE(frames.empty()) << "no GOAWAY for " << InfoOf(end).name;
  const Seen& last = frames.back();
  ASSERT_EQ(last.type, FrameType::kGoaway);
  EXPECT_EQ(last.end(), InfoOf(end).name);
  EXPECT_EQ(last.code(), InfoOf(end).code);
  EXPECT_FALSE(last.status().message().empty());
  EXPECT_LE(last.status().message().size(), 100u);
  EXPECT_FALSE(last.status().may_have_run());
  EXPECT_TRUE(was_shut_);
  EXPECT_GE(driver_.count(end), 1u);
}

// ---- Driver --------------------------------------------------------------------------------------------------------

Driver::Driver(const Limits& limits) : relay_(limits, Id(0x5e), now_) {}

Peer* Driver::Find(ConnectionId id) {
  for (const auto& peer : peers_) {
    if (peer->connection_ == id) return peer.get();
  }
  return nullptr;
}

Peer& Driver::Connect() {
  const ConnectionId id = relay_.OnOpen("test", now_);
  peers_.push_back(std::unique_ptr<Peer>(new Peer(*this, id)));
  Peer& peer = *peers_.back();
  EndTurn();
  return peer;
}

Peer& Driver::Open() {
  Peer& peer = Connect();
  peer.Send(std::string(proto::kPreface) + HelloFrame());
  EXPECT_EQ(peer.TakeOne().type, FrameType::kWelcome);
  return peer;
}

Uuid Driver::ClientId(const Peer& peer, uint16_t slot) { return Id((peer.connection_ << 16) + slot); }

Peer& Driver::Joined(std::string_view channel, uint16_t clients) {
  Peer& peer = Open();
  for (uint16_t slot = 1; slot <= clients; ++slot) peer.Send(JoinFrame(slot, ClientId(peer, slot), channel));
  EXPECT_TRUE(peer.is_quiet());
  return peer;
}

void Driver::InOneTurn(const std::function<void()>& events) {
  is_in_turn_ = true;
  events();
  is_in_turn_ = false;
  EndTurn();
}

void Driver::Advance(absl::Duration time) {
  now_ += time;
  EndTurn();
}

void Driver::AdvanceAlive(absl::Duration time, absl::Duration step, std::span<Peer* const> peers) {
  for (const absl::Time end = now_ + time; now_ < end;) {
    now_ = std::min(now_ + step, end);
    InOneTurn([&] {
      for (Peer* const peer : peers) peer->Send(PingFrame());
    });
    for (Peer* const peer : peers) {
      std::string kept;
      for (const Seen& seen : peer->Take()) {
        if (seen.type == FrameType::kPong || seen.type == FrameType::kPing) continue;
        kept += FrameOf(seen.type, seen.flags, seen.slot, seen.id, seen.payload);
      }
      peer->inbox_ = kept;
    }
  }
}

void Driver::Drain() {
  relay_.Drain(now_);
  EndTurn();
}

void Driver::EndTurn() {
  if (is_in_turn_) return;
  relay_.OnTime(now_);
  std::vector<Peer*> written;
  while (relay_.has_effects()) {
    const std::span<const Effect> effects = relay_.TakeEffects();
    const std::span<const Notice> notices = relay_.notices();
    if (!notices.empty()) notices_.assign(notices.begin(), notices.end());
    written.clear();
    for (const Effect& effect : effects) CarryOut(effect, written);
    relay_.EndTurn();
    turn_bytes_.clear();
    for (Peer* const peer : written) {
      const size_t unsent = peer->waiting_.size();
      if (peer->was_closed_ || unsent == peer->reported_unsent_) continue;
      peer->reported_unsent_ = unsent;
      relay_.OnUnsent(peer->connection_, unsent, now_);
    }
  }
  turn_bytes_.clear();
  const std::string broken = relay_.Check();
  EXPECT_EQ(broken, "");
}

void Driver::CarryOut(const Effect& effect, std::vector<Peer*>& written) {
  Peer* const peer = Find(effect.connection);
  ASSERT_NE(peer, nullptr);
  ASSERT_FALSE(peer->was_closed_) << "an effect for a closed connection";
  if (!effect.write.empty()) {
    ASSERT_FALSE(peer->was_shut_) << "a write behind the shut of that side";
    peer->slices_.clear();
  }
  for (const std::span<const uint8_t> slice : effect.write) {
    peer->slices_.push_back({reinterpret_cast<uintptr_t>(slice.data()), slice.size()});
    std::string& to = peer->is_stalled_ ? peer->waiting_ : peer->inbox_;
    to.append(reinterpret_cast<const char*>(slice.data()), slice.size());
  }
  if (effect.shut) peer->was_shut_ = true;
  if (effect.close) {
    peer->was_closed_ = true;
    return;
  }
  written.push_back(peer);
}

void Driver::ExpectNothingLeft() {
  for (const auto& peer : peers_) {
    if (!peer->was_closed_) peer->Break();
    EXPECT_TRUE(peer->was_closed_);
  }
  EXPECT_EQ(relay_.connection_count(), 0u);
  EXPECT_EQ(relay_.client_count(), 0u);
  EXPECT_EQ(relay_.channel_count(), 0u);
  EXPECT_EQ(metrics().exchanges_live, 0u);
  EXPECT_EQ(metrics().held_bytes, 0u);
  EXPECT_EQ(relay_.next_deadline(), std::nullopt);
}

}  // namespace relay::server

#include "client/protocol.h"

#include <algorithm>
#include <cassert>

#include "client/wire.h"
#include "proto/messages.h"
#include "proto/start_block.h"

namespace relay::client {
namespace {

using proto::FrameType;
using proto::Uuid;
namespace flag = proto::flag;

// Times travel as milliseconds; what is not zero stays so.
uint32_t Milliseconds(absl::Duration duration) {
  if (duration <= absl::ZeroDuration()) return 0;
  const int64_t ms = absl::ToInt64Milliseconds(absl::Ceil(duration, absl::Milliseconds(1)));
  return static_cast<uint32_t>(std::clamp<int64_t>(ms, 1, UINT32_MAX));
}

}  // namespace

Protocol::Protocol(std::string_view agent, absl::Time now)
    : slots_(1), output_(proto::kPreface), last_read_(now), last_sent_(now) {
  v1::Hello hello;
  hello.set_version(proto::kVersion);
  hello.set_agent(std::string(agent));
  proto::AppendMessage(output_, FrameType::kHello, 0, 0, proto::kNilUuid, hello);
}

uint16_t Protocol::Join(const Uuid& client, const Uuid& channel, std::string_view channel_name, std::string_view key) {
  if (bound_slots_ >= limits_.max_clients) return 0;
  uint16_t number = 0;
  if (!free_slots_.empty()) {
    number = free_slots_.front();
    free_slots_.pop_front();
  } else {
    if (slots_.size() > UINT16_MAX) return 0;
    number = static_cast<uint16_t>(slots_.size());
    slots_.emplace_back();
  }
  ++bound_slots_;
  Slot& slot = slots_[number];
  slot = Slot{};
  slot.state = State::kIdle;
  slot.client = client;
  v1::Join join;
  join.set_client_id(std::string(proto::BytesOf(client)));
  join.set_channel_id(std::string(proto::BytesOf(channel)));
  join.set_channel_name(std::string(channel_name));
  join.set_key(std::string(key));
  proto::AppendMessage(output_, FrameType::kJoin, 0, number, proto::kNilUuid, join);
  return number;
}

void Protocol::Leave(uint16_t number) {
  Slot* slot = Find(number);
  if (slot == nullptr) return;
  slot->state = State::kLeaving;
  --bound_slots_;  // the server reads this before any JOIN that follows
  proto::AppendFrame(output_, FrameType::kLeave, 0, number, slot->client, {});
}

bool Protocol::Receive(uint16_t number, std::optional<absl::Duration> wait) {
  Slot* slot = Find(number);
  if (slot == nullptr || slot->state != State::kIdle || slot->is_withdrawing) return false;
  slot->state = State::kWaiting;
  v1::Receive receive;
  if (wait.has_value()) receive.set_wait_ms(Milliseconds(*wait));
  proto::AppendMessage(output_, FrameType::kReceive, 0, number, proto::kNilUuid, receive);
  return true;
}

bool Protocol::Withdraw(uint16_t number) {
  Slot* slot = Find(number);
  if (slot == nullptr || slot->state != State::kWaiting || slot->is_withdrawing) return false;
  slot->is_withdrawing = true;
  v1::Receive receive;
  receive.set_withdraw(true);
  proto::AppendMessage(output_, FrameType::kReceive, 0, number, proto::kNilUuid, receive);
  return true;
}

std::optional<size_t> Protocol::Start(uint16_t number, const Uuid& id, const RequestStart& start, std::string_view body,
                                      bool is_whole) {
  Slot* slot = Find(number);
  if (slot == nullptr || slot->state != State::kIdle || slot->is_withdrawing) return std::nullopt;
  BeginExchange(*slot, State::kSending, id);
  uint8_t flags = flag::kRequest;
  if (start.is_idempotent) flags |= flag::kIdempotent;
  if (start.requires_receiver) flags |= flag::kRequireReceiver;
  return AppendStart(*slot, number, flags, start.head, &start, body, is_whole, false);
}

std::optional<size_t> Protocol::Respond(uint16_t number, const Uuid& id, std::string_view head, std::string_view body,
                                        bool is_whole, bool goes_on) {
  Slot* slot = FindLive(number, id);
  if (slot == nullptr || slot->state != State::kServing || slot->out_is_open) return std::nullopt;
  return AppendStart(*slot, number, flag::kResponse, head, nullptr, body, is_whole, goes_on && MayGoOn(*slot));
}

size_t Protocol::AppendStart(Slot& slot, uint16_t number, uint8_t flags, std::string_view head,
                             const RequestStart* request, std::string_view body, bool is_whole, bool goes_on) {
  assert(head.size() <= limits_.max_start_bytes);
  const size_t room = limits_.max_payload_bytes - proto::kStartBlockBytes - head.size();
  const size_t taken = std::min({body.size(), room, static_cast<size_t>(credit(number))});
  const bool completes = is_whole && taken == body.size();
  if (completes) flags |= flag::kFin;
  if (completes && goes_on) flags |= flag::kReceive;

  const size_t payload_bytes = proto::kStartBlockBytes + head.size() + taken;
  uint8_t bytes[proto::kHeaderBytes + proto::kStartBlockBytes] = {};
  proto::WriteHeader(bytes, static_cast<uint32_t>(payload_bytes), FrameType::kStart, flags, number, slot.exchange);
  proto::StartBlock block(std::span(bytes + proto::kHeaderBytes, proto::kStartBlockBytes));
  block.set_start_bytes(static_cast<uint16_t>(head.size()));
  if (request != nullptr) {
    block.set_timeout_ms(Milliseconds(request->timeout));
    block.set_max_extension_ms(Milliseconds(request->max_extension));
  }
  output_.append(reinterpret_cast<const char*>(bytes), sizeof(bytes)).append(head).append(body.substr(0, taken));

  slot.out_is_open = true;
  slot.out_cost += proto::StartCost(taken);
  if (completes) CompleteOutput(slot, goes_on);
  return taken;
}

size_t Protocol::Write(uint16_t number, const Uuid& id, std::string_view bytes, bool is_whole, bool goes_on,
                       size_t max_bytes) {
  Slot* slot = FindLive(number, id);
  if (slot == nullptr || !slot->out_is_open || slot->out_is_complete) return 0;
  const uint8_t direction = slot->state == State::kSending ? flag::kRequest : flag::kResponse;
  goes_on = goes_on && MayGoOn(*slot);
  const uint8_t receive = goes_on ? flag::kReceive : 0;
  if (bytes.empty()) {
    if (!is_whole) return 0;
    proto::AppendFrame(output_, FrameType::kEnd, direction | receive, number, id, {});
    CompleteOutput(*slot, goes_on);
    return 0;
  }
  const size_t size_before = output_.size();
  size_t taken = 0;
  while (taken < bytes.size() && output_.size() - size_before < max_bytes) {
    const auto room = static_cast<size_t>(std::min<uint64_t>(credit(number), limits_.max_payload_bytes));
    const std::string_view part = bytes.substr(taken, room);
    if (part.empty()) break;
    taken += part.size();
    const bool completes = is_whole && taken == bytes.size();
    const uint8_t last = completes ? flag::kFin | receive : 0;
    proto::AppendFrame(output_, FrameType::kChunk, static_cast<uint8_t>(direction | last), number, id, part);
    slot->out_cost += proto::ChunkCost(part.size());
    if (completes) CompleteOutput(*slot, goes_on);
  }
  return taken;
}

void Protocol::End(uint16_t number, const Uuid& id, const v1::End& end, bool goes_on) {
  Slot* slot = FindLive(number, id);
  if (slot == nullptr || slot->state != State::kServing || !slot->out_is_open) return;
  goes_on = goes_on && MayGoOn(*slot);
  const uint8_t receive = goes_on ? flag::kReceive : 0;
  proto::AppendMessage(output_, FrameType::kEnd, flag::kResponse | receive, number, id, end);
  CompleteOutput(*slot, goes_on);
}

void Protocol::Consumed(uint16_t number, const Uuid& id, uint64_t cost) {
  Slot* slot = FindLive(number, id);
  if (slot == nullptr) return;
  slot->in_consumed += cost;
  const uint64_t window = limits_.initial_window_bytes;
  const uint64_t limit = slot->in_consumed + window;
  if (slot->in_is_complete || limit < slot->in_limit + window / 2) return;
  slot->in_limit = limit;
  uint8_t payload[sizeof(limit)];
  proto::StoreBig(payload, limit);
  const uint8_t direction = slot->state == State::kSending ? flag::kResponse : flag::kRequest;
  proto::AppendFrame(output_, FrameType::kWindow, direction, number, id,
                     {reinterpret_cast<const char*>(payload), sizeof(payload)});
}

void Protocol::Extend(uint16_t number, const Uuid& id, absl::Duration time) {
  const Slot* slot = FindLive(number, id);
  if (slot == nullptr || slot->state != State::kServing) return;
  uint8_t payload[proto::kExtendBytes];
  proto::StoreBig<uint32_t>(payload, Milliseconds(time));
  proto::AppendFrame(output_, FrameType::kExtend, 0, number, id,
                     {reinterpret_cast<const char*>(payload), sizeof(payload)});
}

void Protocol::Reset(uint16_t number, const Uuid& id, const Status& status, bool requeue) {
  Slot* slot = FindLive(number, id);
  if (slot == nullptr) return;
  AppendReset(number, id, status, requeue);
  EndExchange(*slot, false);
}

void Protocol::Goaway(const Status& status) {
  v1::Status wire;
  ToWire(status, wire);
  proto::AppendMessage(output_, FrameType::kGoaway, 0, 0, proto::kNilUuid, wire);
}

void Protocol::OnRead(absl::Time now) {
  last_read_ = now;
  is_suspect_ = false;
}

void Protocol::TakeOutput(std::string& buffer, absl::Time now) {
  if (!output_.empty()) last_sent_ = now;
  taken_bytes_ += output_.size();
  output_.swap(buffer);
}

void Protocol::SetNextTime() {
  next_time_ = std::min(last_sent_ + limits_.heartbeat_interval,
                        last_read_ + limits_.heartbeat_interval * limits_.heartbeat_misses);
}

bool Protocol::OnTime(absl::Time now) {
  if (!is_welcome_) return true;
  if (now - last_read_ >= limits_.heartbeat_interval * limits_.heartbeat_misses) {
    if (is_suspect_) return false;
    is_suspect_ = true;
    next_time_ = now;  // behind the next poll
    return true;
  }
  if (now - last_sent_ >= limits_.heartbeat_interval) {
    static constexpr std::string_view kToken("client\0\0", 8);
    proto::AppendFrame(output_, FrameType::kPing, 0, 0, proto::kNilUuid, kToken);
    last_sent_ = now;
  }
  SetNextTime();
  return true;
}

uint64_t Protocol::credit(uint16_t number) const {
  if (number >= slots_.size()) return 0;
  const Slot& slot = slots_[number];
  const uint64_t spent = slot.out_cost + proto::kChunkOverheadBytes;
  return slot.out_limit > spent ? slot.out_limit - spent : 0;
}

bool Protocol::IsLive(uint16_t number, const Uuid& id) const {
  if (number >= slots_.size()) return false;
  const Slot& slot = slots_[number];
  return (slot.state == State::kSending || slot.state == State::kServing) && slot.exchange == id;
}

bool Protocol::IsWaiting(uint16_t number) const {
  return number < slots_.size() && slots_[number].state == State::kWaiting;
}

Protocol::Slot* Protocol::Find(uint16_t number) {
  if (number >= slots_.size()) return nullptr;
  Slot& slot = slots_[number];
  return slot.state == State::kFree || slot.state == State::kLeaving ? nullptr : &slot;
}

Protocol::Slot* Protocol::FindLive(uint16_t number, const Uuid& id) {
  return IsLive(number, id) ? &slots_[number] : nullptr;
}

void Protocol::BeginExchange(Slot& slot, State state, const Uuid& id) {
  slot.state = state;
  slot.exchange = id;
  slot.out_is_open = slot.out_is_complete = false;
  slot.in_is_open = slot.in_is_complete = false;
  slot.out_cost = slot.in_cost = slot.in_consumed = 0;
  slot.out_limit = slot.in_limit = limits_.initial_window_bytes;
}

void Protocol::EndExchange(Slot& slot, bool goes_on) {
  slot.state = goes_on ? State::kWaiting : State::kIdle;
  slot.exchange = proto::kNilUuid;
}

void Protocol::CompleteOutput(Slot& slot, bool goes_on) {
  slot.out_is_complete = true;
  if (slot.state == State::kServing) EndExchange(slot, goes_on);
}

void Protocol::AppendReset(uint16_t number, const Uuid& id, const Status& status, bool requeue) {
  v1::Reset reset;
  ToWire(status, *reset.mutable_status());
  reset.set_requeue(requeue);
  proto::AppendMessage(output_, FrameType::kReset, 0, number, id, reset);
}

}  // namespace relay::client

#include "tools/inspect/connection.h"

#include <algorithm>
#include <utility>

#include "proto/channel_name.h"

namespace relay::inspect {
namespace {

using proto::FrameType;
namespace flag = proto::flag;
constexpr size_t kMaxKeyBytes = 64;
constexpr uint32_t kMaxHelloBytes = 4072;

bool IsCode(uint32_t code, absl::StatusCode wanted) { return code == static_cast<uint32_t>(wanted); }

}  // namespace

Connection::Connection(const Opening& opening, History& history, ChannelNames& names, OnAbandoned on_abandoned,
                       OnMissed on_missed)
    : id_(opening.connection),
      history_(history),
      names_(names),
      on_abandoned_(std::move(on_abandoned)),
      on_missed_(std::move(on_missed)),
      in_order_(opening.in_order),
      sees_{opening.from_start, opening.from_start} {}

void Connection::Break(SeenFrame& frame, Rule rule, std::string_view words) {
  if (frame.rule != Rule::kNone) return;
  frame.rule = rule;
  frame.rule_words = words.empty() ? InfoOf(rule).words : words;
}

bool Connection::IsReadable(SeenFrame& frame) {
  switch (frame.content->state) {
    case Payload::State::kParsed:
      return true;
    case Payload::State::kCut:
      return false;
    case Payload::State::kMalformed:
      Break(frame, Rule::kMalformed);
      return false;
    case Payload::State::kBadStart:
      Break(frame, Rule::kBadStart, proto::RuleOf(frame.content->start_fault));
      return false;
  }
  return false;
}

bool Connection::IsUnderstood(SeenFrame& frame) {
  if (frame.content->state == Payload::State::kCut) EndSight(frame.direction);
  return IsReadable(frame);
}

void Connection::LoseSight(Direction direction) {
  sees_[Index(direction)] = false;
  ++losses_;
  for (const auto& [number, slot] : slots_) {
    if (slot.request != proto::kNilUuid) on_missed_(slot.channel, slot.request);
  }
  for (const auto& [channel, request] : std::exchange(begun_alone_, {})) on_missed_(channel, request);
}

void Connection::Judge(SeenFrame& frame) {
  frame.in_order = in_order_;
  if (!JudgeOrder(frame)) return;
  switch (frame.type()) {
    case FrameType::kHello:
      return OnHello(frame);
    case FrameType::kWelcome:
      return OnWelcome(frame);
    case FrameType::kGoaway:
      return OnGoaway(frame);
    case FrameType::kObserve:
      if (!IsToServer(frame)) return Break(frame, Rule::kClientFrame);
      if (is_observer_ == false) BreakIfSeen(frame, Rule::kObserverRole);
      IsReadable(frame);
      return;
    case FrameType::kMirror:
      if (IsToServer(frame)) return Break(frame, Rule::kServerFrame);
      IsReadable(frame);
      return;
    case FrameType::kPing:
    case FrameType::kPong:
      IsReadable(frame);
      return;
    case FrameType::kJoin:
    case FrameType::kLeave:
    case FrameType::kReceive:
    case FrameType::kStart:
    case FrameType::kChunk:
    case FrameType::kEnd:
    case FrameType::kWindow:
    case FrameType::kReset:
    case FrameType::kExtend:
      return in_order_ ? JudgeSlot(frame, SlotOf(frame.header.slot())) : JudgeAlone(frame);
  }
}

bool Connection::JudgeOrder(SeenFrame& frame) {
  const bool to_server = IsToServer(frame);
  const bool is_first = !std::exchange(to_server ? has_client_frame_ : has_server_frame_, true);
  if (is_first && to_server && !frame.is(FrameType::kHello)) BreakIfSeen(frame, Rule::kBeforeHello);
  if (is_first && !to_server && !frame.is(FrameType::kWelcome) && !frame.is(FrameType::kGoaway)) {
    BreakIfSeen(frame, Rule::kBeforeWelcome);
  }
  if (to_server ? client_is_done_ : server_is_done_) Break(frame, Rule::kAfterFault);
  if (!frame.has_known_type()) return false;
  if (to_server && is_thrown_away_ && in_order_) {
    frame.is_late = true;
    return false;
  }
  if (const proto::HeaderFault fault = proto::CheckHeader(frame.header); fault != proto::HeaderFault::kNone) {
    Break(frame, Rule::kBadHeader, proto::RuleOf(fault));
    return false;
  }
  if (to_server && !has_welcome_ && frame.payload_bytes > proto::kSmallestMaxPayloadBytes) {
    BreakIfAllSeen(frame, Rule::kPayloadBeforeWelcome);
  }
  return true;
}

// ---- The connection ------------------------------------------------------------------------------------------------

void Connection::OnHello(SeenFrame& frame) {
  if (!IsToServer(frame)) return Break(frame, Rule::kClientFrame);
  if (std::exchange(has_hello_, true)) Break(frame, Rule::kSecondHello);
  if (frame.payload_bytes > kMaxHelloBytes) Break(frame, Rule::kHelloTooLarge);
  if (frame.content->state == Payload::State::kCut) is_observer_.reset();
  if (!IsReadable(frame)) return;
  is_observer_ = frame.content->hello.observer();
  if (frame.content->hello.version() != proto::kVersion) Break(frame, Rule::kBadVersion);
}

void Connection::OnWelcome(SeenFrame& frame) {
  if (IsToServer(frame)) return Break(frame, Rule::kServerFrame);
  if (has_welcome_) return Break(frame, Rule::kSecondWelcome);
  if (!IsUnderstood(frame)) return;
  const v1::Welcome& welcome = frame.content->welcome;
  if (welcome.max_payload_bytes() < proto::kSmallestMaxPayloadBytes ||
      welcome.initial_window_bytes() < proto::kSmallestWindowBytes ||
      welcome.max_window_bytes() < welcome.initial_window_bytes() || welcome.max_clients_per_connection() < 1 ||
      welcome.max_start_bytes() < proto::kSmallestMaxStartBytes || welcome.heartbeat_interval_ms() < 100 ||
      welcome.heartbeat_misses() < 2 || welcome.max_attempts() < 1) {
    Break(frame, Rule::kLimits);
  }
  has_welcome_ = true;
  max_payload_bytes_ = welcome.max_payload_bytes();
  window_bytes_ = welcome.initial_window_bytes();
  max_window_bytes_ = welcome.max_window_bytes();
  max_start_bytes_ = welcome.max_start_bytes();
  for (auto& [number, slot] : slots_) {
    slot.request_stream.window = std::max(slot.request_stream.window, window_bytes_);
    slot.response_stream.window = std::max(slot.response_stream.window, window_bytes_);
  }
}

void Connection::OnGoaway(SeenFrame& frame) {
  const bool to_server = IsToServer(frame);
  (to_server ? client_leaves_ : server_leaves_) = true;
  if (!IsUnderstood(frame)) return;
  const uint32_t code = frame.content->status.code();
  const bool is_fault = IsCode(code, absl::StatusCode::kInvalidArgument) ||
                        IsCode(code, absl::StatusCode::kUnimplemented) ||
                        IsCode(code, absl::StatusCode::kPermissionDenied);
  if (is_fault) (to_server ? client_is_done_ : server_is_done_) = true;
  if (to_server) return;
  if (is_fault || IsCode(code, absl::StatusCode::kResourceExhausted)) is_thrown_away_ = true;
  // Its clients' places in the lines are gone with it.
  for (auto& [number, slot] : slots_) {
    if (slot.doing == Doing::kWaiting && !slot.is_withdrawing) slot.doing = Doing::kNothing;
  }
}

// ---- Slots ---------------------------------------------------------------------------------------------------------

void Connection::Know(uint16_t number, const proto::Uuid& channel) { SlotOf(number).channel = channel; }

void Connection::JudgeSlot(SeenFrame& frame, Slot& slot) {
  const bool to_server = IsToServer(frame);
  const FrameType type = frame.type();
  if (frame.channel != proto::kNilUuid) slot.channel = frame.channel;
  if (frame.client != proto::kNilUuid) slot.client = frame.client;
  if (type == FrameType::kJoin) OnJoin(frame);
  frame.channel = slot.channel;
  frame.channel_name = names_.Find(slot.channel);
  frame.client = slot.client;
  switch (type) {
    case FrameType::kLeave:
      return OnLeave(frame, slot);
    case FrameType::kReceive:
      return to_server ? OnReceiveToServer(frame, slot) : OnReceiveToClient(frame, slot);
    case FrameType::kStart:
      if (frame.header.has(flag::kResponse)) return OnStream(frame, slot);
      return to_server ? OnRequestToServer(frame, slot) : OnRequestToClient(frame, slot);
    case FrameType::kChunk:
    case FrameType::kEnd:
      return OnStream(frame, slot);
    case FrameType::kWindow:
      return OnWindow(frame, slot);
    case FrameType::kReset:
      return OnReset(frame, slot);
    case FrameType::kExtend:
      return OnExtend(frame, slot);
    case FrameType::kHello:
    case FrameType::kWelcome:
    case FrameType::kJoin:
    case FrameType::kPing:
    case FrameType::kPong:
    case FrameType::kGoaway:
    case FrameType::kObserve:
    case FrameType::kMirror:
      return;
  }
}

std::optional<Connection::Joined> Connection::ReadJoin(SeenFrame& frame) {
  const auto fail = [&frame](Rule rule, std::string_view words = {}) {
    Break(frame, rule, words);
    return std::nullopt;
  };
  if (!IsToServer(frame)) return fail(Rule::kClientFrame);
  if (is_observer_ == true) Break(frame, Rule::kObserverRole);
  if (frame.content->state == Payload::State::kCut) return Joined{frame.channel, frame.client};
  if (!IsReadable(frame)) return std::nullopt;
  const v1::Join& join = frame.content->join;
  const auto client = proto::UuidFromBytes(join.client_id());
  const auto channel = proto::UuidFromBytes(join.channel_id());
  if (!client.has_value() || *client == proto::kNilUuid || !channel.has_value()) {
    return fail(Rule::kMalformed, "JOIN has a client id, not nil, and a channel id of 16 bytes each");
  }
  if (join.key().size() > kMaxKeyBytes) return fail(Rule::kMalformed, "a takeover key has at most 64 bytes");
  const std::string& name = join.channel_name();
  if (!name.empty()) {
    if (!proto::CheckChannelName(name).ok() || proto::ChannelId(name) != *channel) return fail(Rule::kChannelName);
    names_.Add(*channel, name);
  }
  return Joined{*channel, *client};
}

void Connection::OnJoin(SeenFrame& frame) {
  const std::optional<Joined> joined = ReadJoin(frame);
  if (!joined.has_value()) return;
  Slot& slot = SlotOf(frame.header.slot());
  if (slot.is_joined) return BreakIfAllSeen(frame, Rule::kSlotBound);
  if (slot.is_leaving) BreakIfAllSeen(frame, Rule::kSlotLeaving);
  Abandon(slot, Gone::kUnknown);
  slot = Slot();
  slot.number = frame.header.slot();
  slot.is_joined = true;
  slot.channel = joined->channel;
  slot.client = joined->client;
}

void Connection::OnLeave(SeenFrame& frame, Slot& slot) {
  const bool may_be_joined = slot.is_joined || !SeesAll();
  if (may_be_joined && slot.client == proto::kNilUuid) slot.client = frame.header.id();
  const bool is_its_client = slot.client == frame.header.id();
  if (IsToServer(frame)) {
    if (SeesAll() && (!slot.is_joined || !is_its_client)) {
      frame.is_late = true;
      return;
    }
    IsReadable(frame);
    if (frame.content->state == Payload::State::kMalformed) return;
    Abandon(slot, Gone::kLeft);
    slot.is_joined = false;
    slot.is_leaving = true;
    return;
  }
  if (SeesAll() && ((!slot.is_joined && !slot.is_leaving) || !is_its_client)) {
    frame.is_late = true;
    return;
  }
  IsReadable(frame);
  Abandon(slot, Gone::kLeft);
  slot.is_taken_away = !slot.is_leaving;
  slot.is_joined = slot.is_leaving = slot.is_withdrawing = false;
}

void Connection::OnReceiveToServer(SeenFrame& frame, Slot& slot) {
  if (!IsUnderstood(frame)) return;
  if (!frame.content->receive.withdraw()) return BeginReceive(frame, slot);
  if (slot.is_joined) {
    slot.is_withdrawing = true;
  } else if (slot.is_taken_away) {
    frame.is_late = true;
  } else {
    BreakIfAllSeen(frame, Rule::kSlotNotJoined);
  }
}

void Connection::BeginReceive(SeenFrame& frame, Slot& slot) {
  if (slot.is_withdrawing) return BreakIfAllSeen(frame, Rule::kBeforeEcho);
  if (SeesAll() && !slot.is_joined) {
    if (slot.is_taken_away) {
      frame.is_late = true;
      return;
    }
    return Break(frame, Rule::kSlotNotJoined);
  }
  if (SeesAll() && slot.doing != Doing::kNothing) return Break(frame, Rule::kSlotBusy);
  if (client_leaves_) return BreakIfAllSeen(frame, Rule::kConnectionLeaving);
  slot.doing = Doing::kWaiting;
}

void Connection::OnReceiveToClient(SeenFrame& frame, Slot& slot) {
  if (!IsUnderstood(frame)) return;
  if (slot.is_leaving || (SeesAll() && !slot.is_joined && slot.is_taken_away)) {
    frame.is_late = true;
    return;
  }
  if (frame.content->receive.withdraw()) {
    if (!slot.is_withdrawing) BreakIfAllSeen(frame, Rule::kNoWithdrawal);
    slot.is_withdrawing = false;
  } else if (slot.doing != Doing::kWaiting) {
    return BreakIfAllSeen(frame, Rule::kNotWaiting);
  }
  if (slot.doing == Doing::kWaiting) slot.doing = Doing::kNothing;
}

void Connection::Close(bool client_first) {
  // A server that throws the connection away has said so.
  const Gone gone = client_first || is_thrown_away_ ? Gone::kLeft : Gone::kCutOff;
  for (auto& [number, slot] : slots_) Abandon(slot, gone);
}

}  // namespace relay::inspect

// The half of Protocol that reads: frames from the server, checked, to events.

#include "client/protocol.h"
#include "client/wire.h"
#include "proto/messages.h"
#include "proto/start_block.h"

namespace relay::client {

using proto::Frame;
using proto::FrameType;
namespace flag = proto::flag;

void Event::Clear() {
  kind = Kind::kNone;
  slot = attempt = 0;
  id = other_client = proto::kNilUuid;
  status = Status();
  body = {};
  cost = 0;
  is_last = is_idempotent = false;
  queue_wait = absl::ZeroDuration();
  remaining.reset();
}

const Event& Protocol::Next(std::span<uint8_t>& input) {
  Event& event = event_;
  event.Clear();
  while (event.kind == Event::Kind::kNone && !has_failed_) {
    Frame frame;
    switch (proto::DecodeFrame(input, limits_.max_payload_bytes, frame)) {
      case proto::Decoded::kNeedMore:
        return event;
      case proto::Decoded::kTooLarge:
        Fault("a payload is larger than max_payload_bytes", event);
        break;
      case proto::Decoded::kFrame:
        input = input.subspan(frame.bytes().size());
        OnFrame(frame, event);
        break;
    }
  }
  if (has_failed_) input = {};
  return event;
}

void Protocol::OnFrame(Frame frame, Event& event) {
  if (!frame.has_known_type()) {
    ++unknown_frames_;
    return;
  }
  const FrameType type = frame.type();
  if (const auto fault = proto::CheckHeader(frame); fault != proto::HeaderFault::kNone) {
    return Fault(proto::RuleOf(fault), event);
  }
  if (!is_welcome_ && type != FrameType::kWelcome && type != FrameType::kGoaway) {
    return Fault("a server begins with WELCOME, or GOAWAY", event);
  }
  event.slot = frame.slot();
  event.id = frame.id();
  switch (type) {
    case FrameType::kHello:
    case FrameType::kJoin:
    case FrameType::kObserve:
      return Fault("a server sends neither HELLO nor JOIN nor OBSERVE", event);
    case FrameType::kMirror:
      return Fault("MIRROR is for observers", event);
    case FrameType::kWelcome:
      return OnWelcome(frame, event);
    case FrameType::kLeave:
      return OnLeave(frame, event);
    case FrameType::kReceive:
      return OnReceive(frame, event);
    case FrameType::kStart:
      return OnStart(frame, event);
    case FrameType::kChunk:
      return OnChunk(frame, event);
    case FrameType::kEnd:
      return OnEnd(frame, event);
    case FrameType::kWindow:
      return OnWindow(frame, event);
    case FrameType::kReset:
      return OnReset(frame, event);
    case FrameType::kPing:
    case FrameType::kPong:
      if (frame.payload().size() != proto::kPingBytes) return Fault("PING and PONG have 8 bytes", event);
      if (type == FrameType::kPing) {
        proto::AppendFrame(output_, FrameType::kPong, 0, 0, proto::kNilUuid, frame.payload_text());
      }
      return;
    case FrameType::kExtend:
      return OnExtend(frame, event);
    case FrameType::kGoaway: {
      v1::Status status;
      if (!proto::ParseMessage(frame.payload_text(), status)) return Fault("GOAWAY does not parse", event);
      // Its clients' places in the lines are gone with it.
      for (Slot& slot : slots_) {
        if (slot.state == State::kWaiting && !slot.is_withdrawing) slot.state = State::kIdle;
      }
      event.kind = Event::Kind::kGoaway;
      event.status = FromWire(status);
      return;
    }
  }
}

void Protocol::OnWelcome(const Frame& frame, Event& event) {
  if (is_welcome_) return Fault("WELCOME comes once", event);
  v1::Welcome welcome;
  if (!proto::ParseMessage(frame.payload_text(), welcome)) return Fault("WELCOME does not parse", event);
  if (welcome.max_payload_bytes() < proto::kSmallestMaxPayloadBytes ||
      welcome.initial_window_bytes() < proto::kSmallestWindowBytes ||
      welcome.max_start_bytes() < proto::kSmallestMaxStartBytes || welcome.max_start_bytes() > UINT16_MAX ||
      welcome.max_start_bytes() + proto::kStartBlockBytes > welcome.max_payload_bytes() ||
      welcome.max_clients_per_connection() < 1 || welcome.heartbeat_interval_ms() < 100 ||
      welcome.heartbeat_misses() < 2 || welcome.heartbeat_misses() > 1000) {
    return Fault("the limits in WELCOME are as allowed, and a START fits in a payload", event);
  }
  is_welcome_ = true;
  limits_.max_payload_bytes = welcome.max_payload_bytes();
  limits_.initial_window_bytes = welcome.initial_window_bytes();
  limits_.max_start_bytes = welcome.max_start_bytes();
  limits_.max_clients = welcome.max_clients_per_connection();
  limits_.heartbeat_interval = absl::Milliseconds(welcome.heartbeat_interval_ms());
  limits_.heartbeat_misses = static_cast<int>(welcome.heartbeat_misses());
  for (Slot& slot : slots_) {
    if (slot.state == State::kSending) slot.out_limit = slot.in_limit = limits_.initial_window_bytes;
  }
  SetNextTime();
  event.kind = Event::Kind::kWelcome;
}

void Protocol::OnLeave(const Frame& frame, Event& event) {
  v1::Status status;
  if (!proto::ParseMessage(frame.payload_text(), status)) return Fault("LEAVE does not parse", event);
  event.status = FromWire(status);
  const uint16_t number = frame.slot();
  const bool is_bound = number < slots_.size() && slots_[number].state != State::kFree;
  // An echo may come for a slot that was free already, since the server's own LEAVE had crossed ours.
  const bool is_late = !is_bound || slots_[number].client != frame.id() ||
                       (event.status.ok() && slots_[number].state != State::kLeaving);
  if (is_late) {
    ++late_frames_;
    return;
  }
  if (slots_[number].state != State::kLeaving) --bound_slots_;
  slots_[number] = Slot{};
  free_slots_.push_back(number);
  event.kind = Event::Kind::kLeft;
}

void Protocol::OnReceive(const Frame& frame, Event& event) {
  v1::Receive receive;
  if (!proto::ParseMessage(frame.payload_text(), receive)) return Fault("RECEIVE does not parse", event);
  Slot* slot = Find(frame.slot());
  if (slot == nullptr || (receive.withdraw() && !slot->is_withdrawing)) {
    ++late_frames_;
    return;
  }
  if (!receive.withdraw() && slot->state != State::kWaiting) {
    return Fault("a server answers RECEIVE only on a slot that waits", event);
  }
  if (receive.withdraw()) slot->is_withdrawing = false;
  if (slot->state == State::kWaiting) slot->state = State::kIdle;
  event.kind = receive.withdraw() ? Event::Kind::kWithdrawn : Event::Kind::kNothingCame;
}

void Protocol::OnStart(const Frame& frame, Event& event) {
  const auto payload = frame.payload();
  if (payload.size() < proto::kStartBlockBytes) {
    return Fault(proto::RuleOf(proto::StartFault::kShorterThanBlock), event);
  }
  proto::StartBlock block(payload);
  if (payload.size() < proto::kStartBlockBytes + block.start_bytes()) {
    return Fault(proto::RuleOf(proto::StartFault::kShorterThanStart), event);
  }
  Slot* slot = Find(frame.slot());
  const bool is_request = frame.has(flag::kRequest);
  if (slot == nullptr || (!is_request && !IsLive(frame.slot(), frame.id()))) {
    ++late_frames_;
    return;
  }
  if (is_request && slot->state != State::kWaiting) return Fault("a request goes to a slot that waits", event);
  if (!is_request && (slot->state != State::kSending || slot->in_is_open)) {
    return Fault("a response begins once", event);
  }
  // The server does not look at the head, so it is the other client who is wrong.
  const bool is_readable = proto::ParseMessage(block.start(), event.head);
  if (!is_readable) {
    AppendReset(frame.slot(), frame.id(), InvalidArgumentError("the head of the START cannot be read"), false);
    EndExchange(*slot, false);
    event.kind = is_request ? Event::Kind::kDiscarded : Event::Kind::kReset;
    event.status = InternalError("the head of the response cannot be read").set_may_have_run(true);
    return;
  }
  if (is_request) BeginExchange(*slot, State::kServing, frame.id());
  slot->in_is_open = true;
  event.other_client = block.other_client();
  event.is_idempotent = frame.has(flag::kIdempotent);
  event.attempt = block.attempt();
  event.queue_wait = absl::Microseconds(block.queue_wait_us());
  if (is_request && block.timeout_ms() != 0) event.remaining = absl::Milliseconds(block.timeout_ms());
  const std::string_view body = frame.payload_text().substr(proto::kStartBlockBytes + block.start_bytes());
  if (!TakeBody(*slot, body, proto::StartCost(body.size()), frame.has(flag::kFin), event)) return;
  event.kind = is_request ? Event::Kind::kRequest : Event::Kind::kResponse;
}

void Protocol::OnChunk(const Frame& frame, Event& event) {
  Slot* slot = FindLive(frame.slot(), frame.id());
  if (slot == nullptr) {
    ++late_frames_;
    return;
  }
  if ((slot->state == State::kServing) != frame.has(flag::kRequest)) {
    return Fault("a stream runs from its sender to its receiver", event);
  }
  if (!slot->in_is_open || slot->in_is_complete) return Fault("CHUNK stands between START and the end", event);
  const std::string_view body = frame.payload_text();
  if (!TakeBody(*slot, body, proto::ChunkCost(body.size()), frame.has(flag::kFin), event)) return;
  event.kind = Event::Kind::kBody;
}

bool Protocol::TakeBody(Slot& slot, std::string_view body, uint64_t cost, bool is_last, Event& event) {
  slot.in_cost += cost;
  if (slot.in_cost > slot.in_limit) {
    Fault("a stream costs no more than its window", event);
    return false;
  }
  event.body = body;
  event.cost = cost;
  event.is_last = is_last;
  if (is_last) {
    slot.in_is_complete = true;
    if (slot.state == State::kSending) EndExchange(slot, false);
  }
  return true;
}

void Protocol::OnEnd(const Frame& frame, Event& event) {
  Slot* slot = FindLive(frame.slot(), frame.id());
  if (slot == nullptr) {
    ++late_frames_;
    return;
  }
  const bool is_response = slot->state == State::kSending;
  if (is_response != frame.has(flag::kResponse)) return Fault("a stream runs from its sender to its receiver", event);
  if (!slot->in_is_open || slot->in_is_complete) return Fault("END stands behind START, once", event);
  slot->in_is_complete = true;
  event.kind = Event::Kind::kEnd;
  if (!is_response) return;
  EndExchange(*slot, false);
  if (!proto::ParseMessage(frame.payload_text(), event.end)) {
    event.kind = Event::Kind::kReset;
    event.status = InternalError("the end of the response cannot be read").set_may_have_run(true);
    return;
  }
  event.status = FromWire(event.end.status());
  event.status.set_end("").set_may_have_run(false);  // the server's to say, in a RESET
}

void Protocol::OnWindow(const Frame& frame, Event& event) {
  if (frame.payload().size() != sizeof(uint64_t)) return Fault("WINDOW has 8 bytes", event);
  Slot* slot = FindLive(frame.slot(), frame.id());
  if (slot == nullptr) {
    ++late_frames_;
    return;
  }
  if ((slot->state == State::kSending) != frame.has(flag::kRequest)) {
    return Fault("a stream runs from its sender to its receiver", event);
  }
  const auto limit = proto::LoadBig<uint64_t>(frame.payload().data());
  if (limit <= slot->out_limit) return;
  slot->out_limit = limit;
  event.kind = Event::Kind::kCredit;
}

void Protocol::OnReset(const Frame& frame, Event& event) {
  v1::Reset reset;
  if (!proto::ParseMessage(frame.payload_text(), reset)) return Fault("RESET does not parse", event);
  // One with the nil id answers a RECEIVE on a slot whose join was refused, as LEAVE has said, or that crossed a drain:
  // GOAWAY makes the slot idle.
  Slot* slot = FindLive(frame.slot(), frame.id());
  if (slot == nullptr) {
    ++late_frames_;
    return;
  }
  EndExchange(*slot, false);
  event.kind = Event::Kind::kReset;
  event.status = FromWire(reset.status());
  if (event.status.ok()) event.status = UnavailableError("reset without a status");
}

void Protocol::OnExtend(const Frame& frame, Event& event) {
  if (frame.payload().size() != proto::kExtendBytes) return Fault("EXTEND has 4 bytes", event);
  const Slot* slot = FindLive(frame.slot(), frame.id());
  if (slot == nullptr || slot->state != State::kServing) {
    ++late_frames_;
    return;
  }
  const auto ms = proto::LoadBig<uint32_t>(frame.payload().data());
  if (ms != 0) event.remaining = absl::Milliseconds(ms);
  event.kind = Event::Kind::kExtended;
}

void Protocol::Fault(std::string_view rule, Event& event) {
  has_failed_ = true;
  event = Event{};
  event.kind = Event::Kind::kFault;
  event.status = InternalError(std::string("the server broke the protocol: ").append(rule));
  Goaway(InvalidArgumentError(rule));
}

}  // namespace relay::client

#include "client_model.h"

#include <algorithm>
#include <span>

#include "proto/endian.h"
#include "proto/messages.h"
#include "proto/start_block.h"
#include "require.h"

namespace relay::fuzz {

using client::Event;
using proto::Frame;
using proto::FrameType;
using Kind = Event::Kind;
namespace flag = proto::flag;

namespace {

template <typename Message>
bool Parses(Frame frame) {
  Message message;
  return proto::ParseMessage(frame.payload_text(), message);
}

template <typename Message>
Message Parsed(Frame frame) {
  Message message;
  Require(proto::ParseMessage(frame.payload_text(), message), "a payload parses");
  return message;
}

bool HasReadableHead(Frame frame) {
  v1::Start head;
  return proto::ParseMessage(proto::StartBlock(frame.payload()).start(), head);
}

}  // namespace

// ---- What a frame of the server means -------------------------------------------------------------------------------

Kind ClientModel::Expect(Frame frame) {
  if (!frame.has_known_type()) return Kind::kNone;
  if (proto::CheckHeader(frame) != proto::HeaderFault::kNone) return Kind::kFault;
  const FrameType type = frame.type();
  if (!is_welcome_ && type != FrameType::kWelcome && type != FrameType::kGoaway) return Kind::kFault;
  switch (type) {
    case FrameType::kHello:
    case FrameType::kJoin:
    case FrameType::kObserve:
    case FrameType::kMirror:
      return Kind::kFault;
    case FrameType::kWelcome:
      return ExpectWelcome(frame);
    case FrameType::kLeave:
      return ExpectLeave(frame);
    case FrameType::kReceive:
      return ExpectReceive(frame);
    case FrameType::kStart:
      return ExpectStart(frame);
    case FrameType::kChunk:
    case FrameType::kEnd:
      return ExpectBody(frame);
    case FrameType::kWindow:
      return ExpectWindow(frame);
    case FrameType::kReset: {
      if (!Parses<v1::Reset>(frame)) return Kind::kFault;
      const Slot& slot = slots_[frame.slot()];
      return slot.is_live() && slot.id == frame.id() ? Kind::kReset : Kind::kNone;
    }
    case FrameType::kPing:
    case FrameType::kPong:
      return frame.payload().size() == 8 ? Kind::kNone : Kind::kFault;
    case FrameType::kExtend: {
      if (frame.payload().size() != 4) return Kind::kFault;
      const Slot& slot = slots_[frame.slot()];
      return slot.state == State::kServing && slot.id == frame.id() ? Kind::kExtended : Kind::kNone;
    }
    case FrameType::kGoaway:
      return Parses<v1::Status>(frame) ? Kind::kGoaway : Kind::kFault;
  }
  return Kind::kNone;
}

Kind ClientModel::ExpectWelcome(Frame frame) const {
  if (is_welcome_ || !Parses<v1::Welcome>(frame)) return Kind::kFault;
  const auto welcome = Parsed<v1::Welcome>(frame);
  const bool is_allowed = welcome.max_payload_bytes() >= 65536 && welcome.initial_window_bytes() >= 65536 &&
                          welcome.max_start_bytes() >= 4096 && welcome.max_start_bytes() <= 65535 &&
                          welcome.max_start_bytes() + 40 <= welcome.max_payload_bytes() &&
                          welcome.max_clients_per_connection() >= 1 && welcome.heartbeat_interval_ms() >= 100 &&
                          welcome.heartbeat_misses() >= 2 && welcome.heartbeat_misses() <= 1000;
  return is_allowed ? Kind::kWelcome : Kind::kFault;
}

Kind ClientModel::ExpectLeave(Frame frame) {
  if (!Parses<v1::Status>(frame)) return Kind::kFault;
  const Slot& slot = slots_[frame.slot()];
  if (slot.state == State::kFree || slot.client != frame.id()) return Kind::kNone;
  const bool is_echo = Parsed<v1::Status>(frame).code() == 0;
  return is_echo && slot.state != State::kLeaving ? Kind::kNone : Kind::kLeft;
}

Kind ClientModel::ExpectReceive(Frame frame) {
  if (!Parses<v1::Receive>(frame)) return Kind::kFault;
  const Slot& slot = slots_[frame.slot()];
  if (slot.state == State::kFree || slot.state == State::kLeaving) return Kind::kNone;
  if (Parsed<v1::Receive>(frame).withdraw()) return slot.is_withdrawing ? Kind::kWithdrawn : Kind::kNone;
  return slot.state == State::kWaiting ? Kind::kNothingCame : Kind::kFault;
}

Kind ClientModel::ExpectStart(Frame frame) {
  const auto payload = frame.payload();
  if (payload.size() < 40 || payload.size() < size_t{40} + proto::LoadBig<uint16_t>(&payload[26])) return Kind::kFault;
  const Slot& slot = slots_[frame.slot()];
  if (slot.state == State::kFree || slot.state == State::kLeaving) return Kind::kNone;
  const bool is_request = frame.has(flag::kRequest);
  if (!is_request && !(slot.is_live() && slot.id == frame.id())) return Kind::kNone;
  if (is_request ? slot.state != State::kWaiting : slot.state != State::kSending || slot.in.is_open) {
    return Kind::kFault;
  }
  if (!HasReadableHead(frame)) return is_request ? Kind::kDiscarded : Kind::kReset;
  const size_t body = proto::StartBlock(payload).body().size();
  const uint64_t limit = is_request ? limits_.initial_window_bytes : slot.in.limit;
  if (body != 0 && body + 24 > limit) return Kind::kFault;
  return is_request ? Kind::kRequest : Kind::kResponse;
}

Kind ClientModel::ExpectBody(Frame frame) {
  const Slot& slot = slots_[frame.slot()];
  if (!slot.is_live() || slot.id != frame.id()) return Kind::kNone;
  if (frame.has(flag::kResponse) != (slot.state == State::kSending)) return Kind::kFault;
  if (!slot.in.is_open || slot.in.is_complete) return Kind::kFault;
  if (frame.type() == FrameType::kChunk) {
    return slot.in.cost + 24 + frame.payload().size() > slot.in.limit ? Kind::kFault : Kind::kBody;
  }
  return frame.has(flag::kResponse) && !Parses<v1::End>(frame) ? Kind::kReset : Kind::kEnd;
}

Kind ClientModel::ExpectWindow(Frame frame) {
  if (frame.payload().size() != 8) return Kind::kFault;
  const Slot& slot = slots_[frame.slot()];
  if (!slot.is_live() || slot.id != frame.id()) return Kind::kNone;
  if (frame.has(flag::kRequest) != (slot.state == State::kSending)) return Kind::kFault;
  return proto::LoadBig<uint64_t>(frame.payload().data()) > slot.out.limit ? Kind::kCredit : Kind::kNone;
}

void ClientModel::OnDropped(Frame frame) {
  if (frame.has_known_type() && frame.type() == FrameType::kPing) pings_.emplace_back(frame.payload_text());
}

// ---- What became of it ----------------------------------------------------------------------------------------------

void ClientModel::Begin(Slot& slot, State state, const proto::Uuid& id) const {
  slot.state = state;
  slot.id = id;
  slot.out = slot.in = {.limit = limits_.initial_window_bytes};
  slot.consumed = 0;
}

void ClientModel::OnEvent(const Event& event, Frame frame) {
  const bool is_of_connection = event.kind == Kind::kWelcome || event.kind == Kind::kGoaway;
  if (!is_of_connection) {
    Require(event.slot == frame.slot(), "an event is of its frame's slot");
    Require(event.kind == Kind::kNothingCame || event.kind == Kind::kWithdrawn || event.id == frame.id(),
            "an event is of its frame's id");
  }
  Slot& slot = slots_[event.slot];
  switch (event.kind) {
    case Kind::kNone:
    case Kind::kFault:
      Require(false, "the event is one");
      return;
    case Kind::kWelcome: {
      const auto welcome = Parsed<v1::Welcome>(frame);
      is_welcome_ = true;
      limits_.max_payload_bytes = welcome.max_payload_bytes();
      limits_.initial_window_bytes = welcome.initial_window_bytes();
      limits_.max_start_bytes = welcome.max_start_bytes();
      limits_.max_clients = welcome.max_clients_per_connection();
      limits_.heartbeat_interval = absl::Milliseconds(welcome.heartbeat_interval_ms());
      limits_.heartbeat_misses = static_cast<int>(welcome.heartbeat_misses());
      for (auto& [number, each] : slots_) {
        if (each.state == State::kSending) each.out.limit = each.in.limit = limits_.initial_window_bytes;
      }
      return;
    }
    case Kind::kGoaway:
      for (auto& [number, each] : slots_) {
        if (each.state == State::kWaiting && !each.is_withdrawing) each.state = State::kIdle;
      }
      return;
    case Kind::kLeft:
      slot = {};
      return;
    case Kind::kNothingCame:
      slot.state = State::kIdle;
      return;
    case Kind::kWithdrawn:
      slot.is_withdrawing = false;
      if (slot.state == State::kWaiting) slot.state = State::kIdle;
      return;
    case Kind::kRequest:
      Begin(slot, State::kServing, event.id);
      [[fallthrough]];
    case Kind::kResponse: {
      const proto::StartBlock block(frame.payload());
      slot.in.is_open = true;
      Require(event.head.SerializeAsString().size() <= block.start().size(), "the head is the frame's");
      Require(event.other_client == block.other_client() && event.attempt == block.attempt(),
              "the block is the frame's");
      Require(event.queue_wait == absl::Microseconds(block.queue_wait_us()), "the wait is the frame's");
      const bool has_timeout = event.kind == Kind::kRequest && block.timeout_ms() != 0;
      Require(event.remaining.has_value() == has_timeout, "a request has what remains of its timeout");
      Require(!has_timeout || event.remaining == absl::Milliseconds(block.timeout_ms()), "what remains is the frame's");
      Require(event.is_idempotent == frame.has(flag::kIdempotent), "IDEMPOTENT is the frame's");
      Require(event.body.size() == block.body().size(), "the body is all of the frame's");
      OnIncoming(slot, event, event.body.empty() ? 0 : 24);
      Require(event.is_last == frame.has(flag::kFin), "FIN is the last");
      return;
    }
    case Kind::kBody:
      Require(event.body == frame.payload_text(), "the body is the frame's");
      OnIncoming(slot, event, 24);
      Require(event.is_last == frame.has(flag::kFin), "FIN is the last");
      return;
    case Kind::kEnd:
      slot.in.is_complete = true;
      if (slot.state == State::kServing) return;
      Require(event.status.end().empty() && !event.status.may_have_run(), "END does not speak for the server");
      slot.state = State::kIdle;
      return;
    case Kind::kCredit:
      slot.out.limit = proto::LoadBig<uint64_t>(frame.payload().data());
      return;
    case Kind::kExtended: {
      const auto ms = proto::LoadBig<uint32_t>(frame.payload().data());
      Require(event.remaining.value_or(absl::ZeroDuration()) == absl::Milliseconds(ms), "what remains is the frame's");
      return;
    }
    case Kind::kDiscarded:
    case Kind::kReset:
      Require(!event.status.ok(), "what was reset did not end well");
      slot.state = State::kIdle;
      return;
  }
}

void ClientModel::OnIncoming(Slot& slot, const Event& event, uint64_t overhead) {
  Require(event.cost == event.body.size() + overhead, "a body costs its bytes and 24");
  slot.in.cost += event.cost;
  if (!event.is_last) return;
  slot.in.is_complete = true;
  if (slot.state == State::kSending) slot.state = State::kIdle;
}

// ---- What the client may say ----------------------------------------------------------------------------------------

void ClientModel::OnOutput(std::string_view bytes, const Event& event) {
  std::string copy(bytes);
  std::span<uint8_t> rest(reinterpret_cast<uint8_t*>(copy.data()), copy.size());
  if (!has_said_hello_ && !bytes.empty()) {
    Require(bytes.starts_with(proto::kPreface), "the client opens with the preface");
    rest = rest.subspan(proto::kPreface.size());
  }
  bool was_discarded = false;
  Frame frame;
  while (proto::DecodeFrame(rest, limits_.max_payload_bytes, frame) == proto::Decoded::kFrame) {
    Require(!has_said_last_words_, "GOAWAY is the last frame behind a fault");
    Require(frame.has_known_type(), "a client says what this version knows");
    Require(proto::CheckHeader(frame) == proto::HeaderFault::kNone, "a header is as it has to be");
    Require((frame.type() == FrameType::kHello) == !has_said_hello_, "HELLO is the first frame, and comes once");
    OnWritten(frame, event, was_discarded);
    rest = rest.subspan(frame.bytes().size());
  }
  Require(rest.empty(), "what is written are whole frames within max_payload_bytes");
  if (event.kind == Kind::kDiscarded) Require(was_discarded, "a request that cannot be read is reset");
  if (event.kind == Kind::kFault) Require(has_said_last_words_, "a fault is answered with GOAWAY");
}

void ClientModel::OnWritten(Frame frame, const Event& event, bool& was_discarded) {
  Slot& slot = slots_[frame.slot()];
  const bool is_of_exchange = slot.is_live() && slot.id == frame.id();
  switch (frame.type()) {
    case FrameType::kWelcome:
    case FrameType::kObserve:
    case FrameType::kMirror:
      Require(false, "a client does not say WELCOME, and it observes nothing");
      return;
    case FrameType::kHello:
      has_said_hello_ = true;
      Require(Parsed<v1::Hello>(frame).version() == 1, "the version is 1");
      return;
    case FrameType::kJoin: {
      Require(slot.state == State::kFree, "JOIN binds a slot that is free");
      const auto join = Parsed<v1::Join>(frame);
      slot.state = State::kIdle;
      slot.client = proto::UuidFromBytes(join.client_id()).value();
      Require(join.channel_id().size() == 16 && join.key().size() <= 64, "JOIN holds ids and a key");
      return;
    }
    case FrameType::kLeave:
      Require(slot.state != State::kFree && slot.state != State::kLeaving && slot.client == frame.id(),
              "LEAVE is of the slot's client, once");
      Require(Parses<v1::Status>(frame), "LEAVE holds a status");
      slot.state = State::kLeaving;
      return;
    case FrameType::kReceive:
      if (Parsed<v1::Receive>(frame).withdraw()) {
        Require(slot.state == State::kWaiting && !slot.is_withdrawing, "what waits is withdrawn, once");
        slot.is_withdrawing = true;
      } else {
        Require(slot.may_begin(), "RECEIVE is of a slot that is idle and not being withdrawn");
        slot.state = State::kWaiting;
      }
      return;
    case FrameType::kStart:
      return OnStartWritten(slot, frame);
    case FrameType::kChunk:
      Require(is_of_exchange && slot.out.is_open, "CHUNK stands behind START");
      Require(!frame.payload().empty(), "a CHUNK carries something");
      return OnBodyWritten(slot, frame, frame.payload_text(), 24 + frame.payload().size());
    case FrameType::kEnd:
      Require(is_of_exchange && slot.out.is_open, "END stands behind START");
      Require(frame.payload().size() <= limits_.max_start_bytes && Parses<v1::End>(frame), "END holds its message");
      Require(frame.has(flag::kResponse) || frame.payload().empty(), "the END of a request is empty");
      return OnBodyWritten(slot, frame, {}, 0);
    case FrameType::kWindow: {
      Require(is_of_exchange && frame.has(flag::kRequest) == (slot.state == State::kServing),
              "WINDOW is of the stream that comes in");
      Require(frame.payload().size() == 8, "WINDOW has 8 bytes");
      const auto limit = proto::LoadBig<uint64_t>(frame.payload().data());
      Require(limit > slot.in.limit && !slot.in.is_complete, "WINDOW grows what is still to come");
      Require(limit == slot.consumed + limits_.initial_window_bytes, "WINDOW gives back what was taken");
      slot.in.limit = limit;
      return;
    }
    case FrameType::kReset: {
      Require(Parses<v1::Reset>(frame), "RESET holds its message");
      const bool is_discard = (event.kind == Kind::kDiscarded || event.kind == Kind::kReset) &&
                              frame.slot() == event.slot && frame.id() == event.id && !was_discarded;
      Require(is_discard || is_of_exchange, "RESET is of an exchange that lives");
      was_discarded |= is_discard;
      slot.state = State::kIdle;
      return;
    }
    case FrameType::kPing:
      Require(is_welcome_ && frame.payload().size() == 8, "PING has 8 bytes");
      return;
    case FrameType::kPong:
      Require(!pings_.empty() && frame.payload_text() == pings_.front(), "PONG has the bytes of its PING");
      pings_.pop_front();
      return;
    case FrameType::kExtend:
      Require(is_of_exchange && slot.state == State::kServing && frame.payload().size() == 4,
              "EXTEND is of a request that is served");
      return;
    case FrameType::kGoaway:
      Require(Parses<v1::Status>(frame), "GOAWAY holds a status");
      has_said_last_words_ = has_failed_;
      return;
  }
}

void ClientModel::OnStartWritten(Slot& slot, Frame frame) {
  Require(proto::CheckStart(frame.payload(), frame.has(flag::kResponse)) == proto::StartFault::kNone,
          "a start block is as a client writes it");
  Require(HasReadableHead(frame), "a head can be read");
  if (frame.has(flag::kRequest)) {
    Require(slot.may_begin(), "a request begins on a slot that is idle and not being withdrawn");
    Begin(slot, State::kSending, frame.id());
  } else {
    Require(slot.state == State::kServing && slot.id == frame.id() && !slot.out.is_open, "a response begins once");
  }
  slot.out.is_open = true;
  const std::span<uint8_t> body = proto::StartBlock(frame.payload()).body();
  OnBodyWritten(slot, frame, {reinterpret_cast<const char*>(body.data()), body.size()},
                body.empty() ? 0 : 24 + body.size());
}

void ClientModel::OnBodyWritten(Slot& slot, Frame frame, std::string_view body, uint64_t cost) {
  Require(frame.has(flag::kRequest) == (slot.state == State::kSending),
          "a stream runs from its sender to its receiver");
  Require(!slot.out.is_complete, "nothing stands behind the end of a stream");
  Require(std::all_of(body.begin(), body.end(), [](char c) { return c == 'o'; }), "the body is the owner's");
  slot.out.cost += cost;
  Require(slot.out.cost <= slot.out.limit, "a stream costs no more than its window");
  body_bytes_ += body.size();
  if (frame.type() != FrameType::kEnd && !frame.has(flag::kFin)) return;
  slot.out.is_complete = true;
  if (slot.state == State::kSending) return;
  Require(!frame.has(flag::kReceive) || !slot.is_withdrawing, "no RECEIVE before the echo of a withdrawal");
  slot.state = frame.has(flag::kReceive) ? State::kWaiting : State::kIdle;
}

// ---- All of it ------------------------------------------------------------------------------------------------------

uint64_t ClientModel::credit(uint16_t number) const {
  const auto found = slots_.find(number);
  if (found == slots_.end()) return 0;
  const Stream& out = found->second.out;
  return out.limit > out.cost + 24 ? out.limit - out.cost - 24 : 0;
}

size_t ClientModel::bound() const {
  return static_cast<size_t>(std::count_if(slots_.begin(), slots_.end(), [](const auto& slot) {
    return slot.second.state != State::kFree && slot.second.state != State::kLeaving;
  }));
}

void ClientModel::Compare(const client::Protocol& protocol) const {
  if (has_failed_) return;  // nothing is said of the state behind a fault
  for (const auto& [number, slot] : slots_) {
    Require(protocol.IsWaiting(number) == (slot.state == State::kWaiting), "IsWaiting");
    if (slot.id != proto::kNilUuid) Require(protocol.IsLive(number, slot.id) == slot.is_live(), "IsLive");
    if (slot.is_live()) Require(protocol.credit(number) == credit(number), "credit");
  }
  Require(protocol.is_welcome() == is_welcome_, "is_welcome");
}

void ClientModel::Finish() const { Require(has_failed_ || pings_.empty(), "every PING is answered"); }

}  // namespace relay::fuzz

// Exchanges: requests meet receivers, and frames find their other side.

#include <algorithm>
#include <limits>

#include "proto/start_block.h"
#include "proto/utf8.h"
#include "simulation/reference.h"

namespace relay::simulation {

using proto::Frame;
using proto::FrameType;
using proto::kNilUuid;
namespace flag = proto::flag;

namespace {

std::span<uint8_t> SpanOf(std::string& bytes) { return {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}; }

}  // namespace

// ---- Requests ------------------------------------------------------------------------------------------------------

End Reference::OnStart(Peer& peer, Slot* slot, const Frame& frame) {
  if (frame.has(flag::kRequest)) return OnRequest(peer, slot, frame);
  End end = End::kNone;
  if (slot != nullptr && slot->doing == Doing::kReceiving && slot->request->id == frame.id()) {
    end = OnResponse(*slot, frame);
  } else {
    ++metrics_.late_frames;
  }
  if (end == End::kNone && frame.has(flag::kReceive)) BeginReceive(peer, slot, frame.slot(), std::nullopt);
  return end;
}

End Reference::OnRequest(Peer& peer, Slot* slot, const Frame& frame) {
  if (!HasGoodBlock(frame.payload_text(), false)) return End::kBadStart;
  ++metrics_.requests_offered;
  const End refusal = RefusalOf(peer, slot, frame);
  if (refusal == End::kSecondStart) {
    ++metrics_.requests_refused;
    Fault(*slot->request, peer, refusal);
    return End::kNone;
  }
  if (refusal != End::kNone) {
    ++metrics_.requests_refused;
    const bool is_full = refusal == End::kQueueCount || refusal == End::kQueueBytes || refusal == End::kQueueBytesTotal;
    const uint32_t retry_after_ms = is_full ? RetryAfterMs(slot->channel, refusal, frame.bytes().size()) : 0;
    RefuseOperation(peer, frame.slot(), frame.id(), refusal, retry_after_ms);
    return End::kNone;
  }
  ++metrics_.requests_accepted;
  const proto::StartBlock block(frame.payload());
  Request& request = requests_[{slot->channel, frame.id()}];
  request.channel = slot->channel;
  request.id = frame.id();
  request.sender = slot;
  request.arrival = ++arrivals_;
  request.request = {proto::StartCost(block.body().size()), limits_.initial_window_bytes, true, frame.has(flag::kFin)};
  request.response = {0, limits_.initial_window_bytes, false, false};
  request.may_move = frame.has(flag::kIdempotent);
  request.read_at = now_;
  request.has_timeout = block.timeout_ms() != 0;
  const absl::Time latest = now_ + limits_.max_request_time;
  request.ends_at = request.has_timeout ? std::min(latest, now_ + absl::Milliseconds(block.timeout_ms())) : latest;
  request.extends_to = std::min(latest, now_ + absl::Milliseconds(block.max_extension_ms()));
  Set(request.over, request.ends_at);
  slot->doing = Doing::kSending;
  slot->request = &request;
  Slot* const receiver = NextReceiver(slot->channel);
  if (receiver == nullptr) {
    request.held.push_back(BytesOf(frame));
    OnQueued(request);
    return End::kNone;
  }
  Assign(request, *receiver);
  request.held.push_back(BytesOf(frame));
  HandOut(request, *request.receiver);
  request.held.clear();
  Keep(request, frame);
  return End::kNone;
}

End Reference::RefusalOf(const Peer& peer, const Slot* slot, const Frame& frame) {
  if (slot == nullptr) return is_draining_ ? End::kStopping : End::kSlotNotJoined;
  if (const auto live = requests_.find({slot->channel, frame.id()}); live != requests_.end()) {
    return live->second.sender == slot ? End::kSecondStart : End::kIdLive;
  }
  if (slot->doing != Doing::kNothing) return End::kSlotBusy;
  if (peer.is_leaving) return End::kConnectionLeaving;
  if (is_draining_) return End::kStopping;
  if (is_short_of_memory_) return End::kMemory;
  const proto::StartBlock block(frame.payload());
  if (block.start_bytes() > limits_.max_start_bytes) return End::kStartTooLarge;
  if (proto::StartCost(block.body().size()) > limits_.initial_window_bytes) return End::kWindowOverrun;
  if (frame.has(flag::kRequireReceiver) && !HasReceiver(slot->channel)) return End::kNoReceiver;
  if (NextReceiver(slot->channel) != nullptr) return End::kNone;
  const std::vector<Request*> queue = Queue(slot->channel);
  uint64_t queued = frame.bytes().size();
  for (const Request* const request : queue) queued += request->held_bytes();
  if (queue.size() >= limits_.queue_count) return End::kQueueCount;
  if (queued > limits_.queue_bytes) return End::kQueueBytes;
  return HeldBytes() + frame.bytes().size() > limits_.queue_bytes_total ? End::kQueueBytesTotal : End::kNone;
}

// ---- What follows a START ------------------------------------------------------------------------------------------

End Reference::OnResponse(Slot& slot, const Frame& frame) {
  if (!HasGoodBlock(frame.payload_text(), true)) return End::kBadStart;
  Request& request = *slot.request;
  std::string bytes = BytesOf(frame);
  proto::StartBlock block(SpanOf(bytes).subspan(proto::kHeaderBytes));
  if (request.response.has_started) {
    Fault(request, *slot.peer, End::kSecondStart);
  } else if (block.start_bytes() > limits_.max_start_bytes) {
    Fault(request, *slot.peer, End::kStartTooLarge);
  } else {
    request.response.has_started = true;
    if (!Admit(request, *slot.peer, request.response, proto::StartCost(block.body().size()))) return End::kNone;
    StopKeeping(request);
    block.set_other_client(slot.client);
    block.set_queue_wait_us(request.wait_us);
    block.set_attempt(request.attempt);
    PassResponse(request, std::move(bytes));
  }
  return End::kNone;
}

void Reference::OnBody(Peer& peer, Slot* slot, const Frame& frame) {
  const Doing doing = frame.has(flag::kRequest) ? Doing::kSending : Doing::kReceiving;
  if (slot == nullptr || slot->doing != doing || slot->request->id != frame.id()) {
    ++metrics_.late_frames;
  } else {
    Request& request = *slot->request;
    const bool is_end = frame.type() == FrameType::kEnd;
    Stream& stream = doing == Doing::kSending ? request.request : request.response;
    if (is_end && frame.payload().size() > limits_.max_start_bytes) {
      Fault(request, peer, End::kEndTooLarge);
    } else if (!Admit(request, peer, stream, is_end ? 0 : proto::ChunkCost(frame.payload().size()))) {
      // It has ended.
    } else if (doing == Doing::kReceiving) {
      PassResponse(request, BytesOf(frame));
    } else {
      stream.has_ended = is_end || frame.has(flag::kFin);
      if (request.receiver == nullptr) {
        request.held.push_back(BytesOf(frame));
        Shed(request.channel);
      } else {
        Keep(request, frame);
        std::string bytes = BytesOf(frame);
        Frame(SpanOf(bytes)).set_slot(request.receiver->number);
        ++metrics_.frames_forwarded;
        Write(*request.receiver->peer, {std::move(bytes), {}});
      }
    }
  }
  if (frame.has(flag::kReceive)) BeginReceive(peer, slot, frame.slot(), std::nullopt);
}

bool Reference::Admit(Request& request, Peer& from, Stream& stream, uint64_t cost) {
  End fault = End::kNone;
  if (!stream.has_started) {
    fault = End::kNotStarted;
  } else if (stream.has_ended) {
    fault = End::kAfterEnd;
  } else if (stream.cost + cost > stream.window) {
    fault = End::kWindowOverrun;
  }
  stream.cost += cost;
  if (fault != End::kNone) Fault(request, from, fault);
  return fault == End::kNone;
}

void Reference::PassResponse(Request& request, std::string bytes) {
  Frame frame(SpanOf(bytes));
  const bool ends = frame.type() == FrameType::kEnd || frame.has(flag::kFin);
  frame.set_flags(frame.flags() & static_cast<uint8_t>(~flag::kReceive));
  frame.set_slot(request.sender->number);
  ++metrics_.frames_forwarded;
  Write(*request.sender->peer, {std::move(bytes), {}});
  if (ends) EndRequest(request, End::kCompleted);
}

// ---- Handing out
// -----------------------------------------------------------------------------------------------------

void Reference::Assign(Request& request, Slot& receiver) {
  if (receiver.doing == Doing::kWaiting) StopWaiting(receiver);
  receiver.doing = Doing::kReceiving;
  receiver.request = &request;
  request.receiver = &receiver;
  ++request.attempt;
}

void Reference::HandOut(Request& request, Slot& receiver) {
  ++metrics_.assignments;
  if (request.attempt > 1) ++metrics_.redeliveries;
  const int64_t wait_us = absl::ToInt64Microseconds(now_ - request.read_at);
  request.wait_us = static_cast<uint32_t>(std::min<int64_t>(wait_us, std::numeric_limits<uint32_t>::max()));
  bool is_first = true;
  for (std::string bytes : request.held) {
    Frame frame(SpanOf(bytes));
    frame.set_slot(receiver.number);
    if (is_first) {
      proto::StartBlock block(frame.payload());
      block.set_other_client(request.sender->client);
      const bool may_extend = request.has_timeout && request.extends_to > request.ends_at;
      block.set_timeout_ms(request.has_timeout ? MillisecondsLeft(request.ends_at) : 0);
      block.set_max_extension_ms(may_extend ? MillisecondsLeft(request.extends_to) : 0);
      block.set_queue_wait_us(request.wait_us);
      block.set_attempt(request.attempt);
      is_first = false;
    }
    ++metrics_.frames_forwarded;
    Write(*receiver.peer, {std::move(bytes), {}});
  }
  if (request.response.window <= limits_.initial_window_bytes) return;
  ++coverage_.early_windows;
  TellWindow(request, flag::kResponse);
}

uint32_t Reference::MillisecondsLeft(absl::Time until) const {
  const absl::Duration left = absl::Ceil(until - now_, absl::Milliseconds(1));
  return static_cast<uint32_t>(std::max<int64_t>(1, absl::ToInt64Milliseconds(left)));
}

End Reference::OnExtend(Slot* slot, const Frame& frame) {
  if (slot == nullptr || slot->doing != Doing::kReceiving || slot->request->id != frame.id()) {
    ++metrics_.late_frames;
    return End::kNone;
  }
  if (frame.payload().size() != sizeof(uint32_t)) return End::kMalformed;
  Request& request = *slot->request;
  const auto asked_ms = proto::LoadBig<uint32_t>(frame.payload().data());
  const absl::Time to = std::min(request.extends_to, now_ + absl::Milliseconds(asked_ms));
  if (request.has_timeout && to > request.ends_at) {
    ++metrics_.extensions;
    request.ends_at = to;
    Set(request.over, to);
  }
  char payload[sizeof(uint32_t)];
  proto::StoreBig<uint32_t>(reinterpret_cast<uint8_t*>(payload),
                            request.has_timeout ? MillisecondsLeft(request.ends_at) : 0);
  CountOwed(*slot->peer);
  Write(*slot->peer, {Header(FrameType::kExtend, 0, slot->number, request.id, {payload, sizeof(payload)}), {}});
  return End::kNone;
}

// ---- Credit --------------------------------------------------------------------------------------------------------

End Reference::OnWindow(Slot* slot, const Frame& frame) {
  // Who reads a stream grants it.
  const bool is_request = frame.has(flag::kRequest);
  const Doing doing = is_request ? Doing::kReceiving : Doing::kSending;
  if (slot == nullptr || slot->doing != doing || slot->request->id != frame.id()) {
    ++metrics_.late_frames;
    return End::kNone;
  }
  if (frame.payload().size() != sizeof(uint64_t)) return End::kMalformed;
  Request& request = *slot->request;
  Stream& stream = is_request ? request.request : request.response;
  const auto window = proto::LoadBig<uint64_t>(frame.payload().data());
  if (window > stream.cost + limits_.max_window_bytes) {
    Fault(request, *slot->peer, End::kWindowTooFar);
    return End::kNone;
  }
  if (window <= std::max(stream.window, is_request ? request.withheld : 0)) {
    slot->peer->control_tokens -= kSaysNothing;
    return End::kNone;
  }
  if (is_request && MayMove(request)) {
    request.withheld = window;
    return End::kNone;
  }
  stream.window = window;
  if (is_request || request.receiver != nullptr) TellWindow(request, is_request ? flag::kRequest : flag::kResponse);
  return End::kNone;
}

void Reference::TellWindow(Request& request, uint8_t direction) {
  const bool is_request = direction == flag::kRequest;
  const Slot& to = is_request ? *request.sender : *request.receiver;
  bool& is_owed = is_request ? request.request_is_owed : request.response_is_owed;
  is_owed = to.peer->unsent > limits_.send_queue_mark_bytes;
  if (is_owed) return;
  char payload[sizeof(uint64_t)];
  const uint64_t window = is_request ? request.request.window : request.response.window;
  proto::StoreBig<uint64_t>(reinterpret_cast<uint8_t*>(payload), window);
  Write(*to.peer, {Header(FrameType::kWindow, direction, to.number, request.id, {payload, sizeof(payload)}), {}});
}

void Reference::SendOwedWindows(Peer& peer) {
  if (peer.unsent > limits_.send_queue_mark_bytes) return;
  for (auto& [number, slot] : peer.slots) {
    if (slot.request == nullptr) continue;
    const bool is_sender = slot.doing == Doing::kSending;
    if (is_sender ? !slot.request->request_is_owed : !slot.request->response_is_owed) continue;
    ++coverage_.windows_owed;
    TellWindow(*slot.request, is_sender ? flag::kRequest : flag::kResponse);
  }
}

// ---- Waiting -------------------------------------------------------------------------------------------------------

End Reference::OnReceive(Peer& peer, Slot* slot, const Frame& frame) {
  v1::Receive receive;
  if (!proto::ParseMessage(frame.payload_text(), receive)) return End::kMalformed;
  if (!receive.withdraw() || slot == nullptr) {
    std::optional<uint32_t> wait_ms;
    if (receive.has_wait_ms()) wait_ms = receive.wait_ms();
    BeginReceive(peer, slot, frame.slot(), wait_ms);
    return End::kNone;
  }
  peer.control_tokens -= kWhole;
  if (slot->doing == Doing::kWaiting) StopWaiting(*slot);
  v1::Receive echo;
  echo.set_withdraw(true);
  CountOwed(peer);
  Write(peer, {Header(FrameType::kReceive, 0, slot->number, kNilUuid, echo.SerializeAsString()), {}});
  return End::kNone;
}

void Reference::BeginReceive(Peer& peer, Slot* slot, uint16_t number, std::optional<uint32_t> wait_ms) {
  End refusal = End::kNone;
  if (slot == nullptr) {
    refusal = is_draining_ ? End::kStopping : End::kSlotNotJoined;
  } else if (slot->doing != Doing::kNothing) {
    refusal = End::kSlotBusy;
  } else if (peer.is_leaving) {
    refusal = End::kConnectionLeaving;
  } else if (is_draining_) {
    refusal = End::kStopping;
  }
  if (refusal != End::kNone) return RefuseOperation(peer, number, kNilUuid, refusal);
  slot->has_received = true;
  if (Share& share = ShareOf(*slot); !share.passed_over.empty()) GoOn(peer, share);
  slot->doing = Doing::kWaiting;
  Line(slot->channel).push_back(slot);
  HandOutHeld(*slot);
  if (slot->doing != Doing::kWaiting || !wait_ms.has_value()) return;
  if (*wait_ms > 0) return Set(slot->wait_over, now_ + absl::Milliseconds(*wait_ms));
  peer.control_tokens -= kWhole;
  WaitOver(*slot);
}

bool Reference::HandOutHeld(Slot& receiver) {
  for (Request* const oldest : Queue(receiver.channel)) {
    if (oldest->ends_at <= now_) {
      ResetBoth(*oldest, End::kDeadline);
      continue;
    }
    Share& share = ShareOf(receiver);
    if (IsBehind(*receiver.peer, share)) {
      PassOver(receiver);
      return true;
    }
    paces_[receiver.channel].Count(now_, 1);
    Assign(*oldest, receiver);
    HandOut(*oldest, receiver);
    share.given += oldest->held_bytes();
    if (!MayMove(*oldest)) oldest->held.clear();
    return true;
  }
  return false;
}

Reference::Slot* Reference::NextReceiver(const proto::Uuid& channel) {
  std::list<Slot*>& line = Line(channel);
  while (!line.empty() && IsBehind(*line.front()->peer, ShareOf(*line.front()))) PassOver(*line.front());
  return line.empty() ? nullptr : line.front();
}

void Reference::PassOver(Slot& slot) {
  ++metrics_.passed_over;
  Line(slot.channel).remove(&slot);
  Share& share = ShareOf(slot);
  share.passed_over.push_back(&slot);
  GoOnLater(*slot.peer, share);
}

void Reference::GoOnLater(const Peer& peer, Share& share) {
  const bool has_drained = peer.unsent <= limits_.send_queue_mark_bytes;
  if (has_drained && !share.passed_over.empty() && !share.goes_on.is_set) Set(share.goes_on, now_);
}

void Reference::GoOn(Peer& peer, Share& share) {
  while (!share.passed_over.empty() && !IsBehind(peer, share)) {
    Slot& slot = *share.passed_over.front();
    share.passed_over.pop_front();
    Line(slot.channel).push_back(&slot);
    ++(HandOutHeld(slot) ? coverage_.went_on : coverage_.lined_up);
  }
  GoOnLater(peer, share);
}

void Reference::WaitOver(Slot& slot) {
  StopWaiting(slot);
  CountOwed(*slot.peer);
  Write(*slot.peer, {Header(FrameType::kReceive, 0, slot.number, kNilUuid), {}});
}

void Reference::StopWaiting(Slot& slot) {
  slot.wait_over.is_set = false;
  slot.doing = Doing::kNothing;
  Line(slot.channel).remove(&slot);
  ShareOf(slot).passed_over.remove(&slot);
}

}  // namespace relay::simulation

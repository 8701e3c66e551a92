// The frames of exchanges: on which slot each is live, what its streams may cost, how it ends.

#include <algorithm>

#include "tools/inspect/connection.h"

namespace relay::inspect {
namespace {

using proto::FrameType;
namespace flag = proto::flag;
using Past = History::Past;

bool IsStreamFrame(FrameType type) {
  return type == FrameType::kStart || type == FrameType::kChunk || type == FrameType::kEnd;
}

uint64_t CostOf(const SeenFrame& frame) {
  if (frame.type() == FrameType::kStart) return proto::StartCost(frame.content->body_bytes);
  return frame.type() == FrameType::kChunk ? proto::ChunkCost(frame.payload_bytes) : 0;
}

}  // namespace

void Connection::BeginExchange(SeenFrame& frame, Slot& slot, Doing doing) {
  Abandon(slot, Gone::kUnknown);
  frame.is_live = frame.begins = true;
  slot.losses = losses_;
  slot.doing = doing;
  slot.request = frame.header.id();
  slot.request_stream = slot.response_stream = Stream();
  slot.request_stream.window = slot.response_stream.window = window_bytes_;
  if (doing == Doing::kSending) sending_[slot.request] = frame.header.slot();
  Spend(frame, slot.request_stream);
}

void Connection::EndExchange(SeenFrame& frame, Slot& slot, Past how) {
  frame.ends = true;
  history_.Add(HistoryKey(frame.header.slot()), slot.request, how);
  if (slot.doing == Doing::kSending) sending_.erase(slot.request);
  slot.doing = Doing::kNothing;
  slot.request = proto::kNilUuid;
}

void Connection::Abandon(Slot& slot, Gone gone) {
  if (slot.doing == Doing::kSending || slot.doing == Doing::kReceiving) {
    const Side side = slot.doing == Doing::kSending ? Side::kSender : Side::kReceiver;
    if (side == Side::kSender) sending_.erase(slot.request);
    history_.Add(HistoryKey(slot.number), slot.request, Past::kEnded);
    // What was missed may have been its end.
    on_abandoned_(slot.channel, slot.request, side, slot.losses == losses_ ? gone : Gone::kUnknown);
  }
  slot.doing = Doing::kNothing;
  slot.request = proto::kNilUuid;
}

void Connection::Refuse(SeenFrame& frame, Rule rule) {
  history_.Add(HistoryKey(frame.header.slot()), frame.header.id(), Past::kRefused);
  Break(frame, rule);
}

void Connection::OnRequestToServer(SeenFrame& frame, Slot& slot) {
  frame.side = Side::kSender;
  if (!IsReadable(frame) && frame.content->state != Payload::State::kCut &&
      frame.content->state != Payload::State::kMalformed) {
    return;
  }
  const bool is_mine = slot.doing == Doing::kSending && slot.request == frame.header.id();
  if (is_mine && SeesAll()) {
    frame.is_live = true;
    return Break(frame, Rule::kSecondStart);
  }
  if (SeesAll()) {
    if (!slot.is_joined && slot.is_taken_away) {
      frame.is_late = true;
      history_.Add(HistoryKey(frame.header.slot()), frame.header.id(), Past::kRefused);
      return;
    }
    if (!slot.is_joined) return Refuse(frame, Rule::kSlotNotJoined);
    if (slot.doing != Doing::kNothing) return Refuse(frame, Rule::kSlotBusy);
    if (client_leaves_) return Refuse(frame, Rule::kConnectionLeaving);
    const auto live = sending_.find(frame.header.id());
    const bool is_live = live != sending_.end() && frame.channel != proto::kNilUuid;
    if (is_live && slots_[live->second].channel == frame.channel) return Refuse(frame, Rule::kIdLive);
  }
  if (has_welcome_ && frame.content->start_bytes > max_start_bytes_) Break(frame, Rule::kStartTooLarge);
  BeginExchange(frame, slot, Doing::kSending);
}

void Connection::OnRequestToClient(SeenFrame& frame, Slot& slot) {
  frame.side = Side::kReceiver;
  if (slot.is_leaving) {
    frame.is_late = true;
    return;
  }
  const bool is_readable = IsReadable(frame);
  if (frame.content->state == Payload::State::kBadStart) return;
  if (is_readable && frame.content->attempt == 0) Break(frame, Rule::kAttempt);
  if (SeesAll() && slot.doing != Doing::kWaiting) {
    Break(frame, Rule::kNotWaiting);
    if (slot.doing != Doing::kNothing) return;
  }
  BeginExchange(frame, slot, Doing::kReceiving);
}

void Connection::OnStream(SeenFrame& frame, Slot& slot) {
  const bool to_server = IsToServer(frame);
  const bool is_request = frame.header.has(flag::kRequest);
  frame.side = to_server == is_request ? Side::kSender : Side::kReceiver;
  const Doing doing = frame.side == Side::kSender ? Doing::kSending : Doing::kReceiving;
  const bool receives = to_server && frame.header.has(flag::kReceive);
  if (!to_server && frame.header.has(flag::kReceive)) Break(frame, Rule::kReceiveHandedOn);
  if (slot.request != frame.header.id() || slot.doing != doing) {
    OnForeign(frame, slot);
    if (receives) BeginReceive(frame, slot);
    return;
  }
  frame.is_live = true;
  IsReadable(frame);
  if (frame.content->state == Payload::State::kBadStart) return;
  Stream& stream = StreamOf(frame, slot);
  const FrameType type = frame.type();
  const Rule rule_before = frame.rule;
  if (type == FrameType::kStart) {
    if (stream.has_started) BreakIfAllSeen(frame, Rule::kSecondStart);
    if (has_welcome_ && frame.content->start_bytes > max_start_bytes_) Break(frame, Rule::kStartTooLarge);
  } else if (!stream.has_started) {
    BreakIfAllSeen(frame, Rule::kNotStarted);
  }
  if (stream.has_ended) Break(frame, Rule::kAfterEnd);
  if (type == FrameType::kEnd && has_welcome_ && frame.payload_bytes > max_start_bytes_) {
    Break(frame, Rule::kEndTooLarge);
  }
  Spend(frame, stream);
  if (!is_request && stream.has_ended && frame.rule == rule_before) {
    EndExchange(frame, slot, to_server ? Past::kEndedByReceiver : Past::kEndedByServer);
  }
  if (receives) BeginReceive(frame, slot);
}

void Connection::Spend(SeenFrame& frame, Stream& stream) {
  if (frame.type() == FrameType::kStart) stream.has_started = true;
  const uint64_t cost = CostOf(frame);
  stream.cost += cost;
  if (frame.type() == FrameType::kEnd || frame.header.has(flag::kFin)) stream.has_ended = true;
  if (!SeesAll()) return;
  frame.credit = Credit{stream.cost, stream.window};
  if (cost > 0 && stream.cost > stream.window) Break(frame, Rule::kWindowOverrun);
}

void Connection::OnForeign(SeenFrame& frame, const Slot& slot) {
  const bool to_server = IsToServer(frame);
  const FrameType type = frame.type();
  if (slot.request == frame.header.id()) {
    // PROTOCOL.md calls what comes from a client late; the server does not do so.
    if (to_server) {
      frame.is_late = true;
    } else {
      BreakIfAllSeen(frame, Rule::kWrongWay);
    }
    return;
  }
  frame.is_late = true;
  const Past past = history_.Find(HistoryKey(frame.header.slot()), frame.header.id());
  switch (past) {
    case Past::kForgotten:
    case Past::kEnded:
      return;
    case Past::kRefused:
      if (type == FrameType::kReset && !to_server) frame.is_late = false;
      return;
    case Past::kEndedByReceiver:
    case Past::kEndedByServer:
      // Its writer cannot have crossed what it wrote itself.
      if (to_server == (past == Past::kEndedByReceiver) && IsStreamFrame(type) && frame.header.has(flag::kResponse)) {
        frame.is_late = false;
        BreakIfAllSeen(frame, Rule::kAfterEnd);
      }
      return;
    case Past::kNever:
      break;
  }
  // Between a LEAVE and its reading, slots may have had a part in what passed on the other way.
  if (to_server ? slot.is_taken_away : slot.is_leaving) return;
  frame.is_late = false;
  if (!to_server && frame.header.has(flag::kRequest)) {
    BreakIfAllSeen(frame, Rule::kNotAssigned);
  } else if (to_server && IsStreamFrame(type) && frame.header.has(flag::kRequest)) {
    BreakIfAllSeen(frame, Rule::kNotStarted);
  } else {
    BreakIfAllSeen(frame, Rule::kNotBegun);
  }
}

void Connection::OnWindow(SeenFrame& frame, Slot& slot) {
  const bool to_server = IsToServer(frame);
  // The consuming side raises a window; the server tells the writing side.
  frame.side = to_server == frame.header.has(flag::kRequest) ? Side::kReceiver : Side::kSender;
  const Doing doing = frame.side == Side::kSender ? Doing::kSending : Doing::kReceiving;
  if (slot.request != frame.header.id() || slot.doing != doing) return OnForeign(frame, slot);
  frame.is_live = true;
  if (!IsUnderstood(frame)) return;
  Stream& stream = StreamOf(frame, slot);
  const uint64_t window = frame.content->window;
  if (to_server && has_welcome_ && window > stream.cost && window - stream.cost > max_window_bytes_) {
    BreakIfAllSeen(frame, Rule::kWindowTooFar);
  }
  stream.window = std::max(stream.window, window);
  if (SeesAll()) frame.credit = Credit{stream.cost, stream.window};
}

void Connection::OnReset(SeenFrame& frame, Slot& slot) {
  if (frame.header.id() == proto::kNilUuid) {
    if (IsToServer(frame)) return Break(frame, Rule::kNilReset);
    const bool is_readable = IsReadable(frame);
    // One for a RECEIVE too many leaves alone what the slot does.
    const bool is_refusal = is_readable && frame.content->reset.status().end() == "slot_busy";
    if (slot.doing == Doing::kWaiting && !is_refusal) slot.doing = Doing::kNothing;
    return;
  }
  if (slot.doing == Doing::kSending) frame.side = Side::kSender;
  if (slot.doing == Doing::kReceiving) frame.side = Side::kReceiver;
  if (slot.request != frame.header.id()) {
    frame.side = Side::kNone;
    return OnForeign(frame, slot);
  }
  frame.is_live = true;
  IsReadable(frame);
  EndExchange(frame, slot, Past::kEnded);
}

void Connection::OnExtend(SeenFrame& frame, Slot& slot) {
  frame.side = Side::kReceiver;
  if (slot.request != frame.header.id() || slot.doing != Doing::kReceiving) return OnForeign(frame, slot);
  frame.is_live = true;
  IsReadable(frame);
}

}  // namespace relay::inspect

// How exchanges end, what is written of that, and what is due when.

#include <algorithm>
#include <tuple>

#include "proto/utf8.h"
#include "simulation/reference.h"

namespace relay::simulation {

using proto::Frame;
using proto::FrameType;
using proto::kNilUuid;
namespace flag = proto::flag;

// ---- The ends of exchanges -----------------------------------------------------------------------------------------

End Reference::OnReset(Peer& peer, Slot* slot, const Frame& frame) {
  if (frame.id() == kNilUuid) return End::kBadHeader;
  peer.reset_tokens -= 1;
  if (slot == nullptr || slot->request == nullptr || slot->request->id != frame.id()) {
    ++metrics_.late_frames;
    return End::kNone;
  }
  v1::Reset reset;
  if (!proto::ParseMessage(frame.payload_text(), reset)) return End::kMalformed;
  Request& request = *slot->request;
  const bool from_sender = slot->doing == Doing::kSending;
  const Slot* const other = from_sender ? request.receiver : request.sender;
  Expected told;
  if (other != nullptr) {
    const End end = from_sender ? End::kSenderReset : End::kReceiverReset;
    told = StatusFrame(FrameType::kReset, other->number, request.id, end, true);
    const std::string_view words = proto::Shortened(reset.status().message(), 1024);
    told.has_words = !words.empty();
    if (told.has_words) told.status->set_message(std::string(words));
  }
  if (from_sender) {
    if (other != nullptr) Write(*other->peer, told);
    EndRequest(request, End::kSenderReset);
    return End::kNone;
  }
  const absl::StatusCode code = proto::CodeFromWire(reset.status().code());
  if (code != absl::StatusCode::kOk) told.status->set_code(static_cast<uint32_t>(code));
  told.status->set_retry_after_ms(reset.status().retry_after_ms());
  LoseReceiver(request, End::kReceiverReset, told, reset.requeue());
  HandOutGivenBack();
  return End::kNone;
}

void Reference::Abandon(Slot& slot) {
  if (slot.doing == Doing::kWaiting) return StopWaiting(slot);
  if (slot.doing == Doing::kNothing) return;
  Request& request = *slot.request;
  if (slot.doing == Doing::kSending) {
    if (const Slot* const receiver = request.receiver; receiver != nullptr) {
      Write(*receiver->peer, StatusFrame(FrameType::kReset, receiver->number, request.id, End::kSenderLost, true));
    }
    EndRequest(request, End::kSenderLost);
  } else {
    const auto told = StatusFrame(FrameType::kReset, request.sender->number, request.id, End::kReceiverLost, true);
    LoseReceiver(request, End::kReceiverLost, told, true);
  }
}

void Reference::LoseReceiver(Request& request, End end, const Expected& to_sender, bool may_requeue) {
  if (may_requeue && MayMove(request)) {
    request.receiver->doing = Doing::kNothing;
    request.receiver->request = nullptr;
    request.receiver = nullptr;
    request.withheld = 0;
    if (request.response_is_owed) ++coverage_.windows_dropped;
    request.response_is_owed = false;
    OnQueued(request);
    return;
  }
  Write(*request.sender->peer, to_sender);
  EndRequest(request, end);
}

void Reference::HandOutGivenBack() {
  for (auto& [channel, line] : lines_) {
    while (!line.empty() && !Queue(channel).empty()) HandOutHeld(*line.front());
  }
}

void Reference::Fault(Request& request, Peer& from, End end) {
  from.reset_tokens -= 1;
  CountOwed(from);
  ResetBoth(request, end);
}

void Reference::ResetBoth(Request& request, End end, uint32_t retry_after_ms) {
  for (const Slot* const side : {request.sender, request.receiver}) {
    if (side == nullptr) continue;
    Expected frame = StatusFrame(FrameType::kReset, side->number, request.id, end, request.attempt > 0);
    frame.status->set_retry_after_ms(retry_after_ms);
    Write(*side->peer, std::move(frame));
  }
  EndRequest(request, end);
}

void Reference::EndRequest(Request& request, End end) {
  metrics_.Count(end);
  ++metrics_.requests_ended;
  if (request.receiver == nullptr) paces_[request.channel].Count(now_, 1);
  for (Slot* const side : {request.sender, request.receiver}) {
    if (side == nullptr) continue;
    side->doing = Doing::kNothing;
    side->request = nullptr;
  }
  requests_.erase(Key(request.channel, request.id));
}

// ---- What is written -----------------------------------------------------------------------------------------------

std::string Reference::Header(FrameType type, uint8_t flags, uint16_t slot, const proto::Uuid& id,
                              std::string_view payload) {
  std::string bytes;
  proto::AppendFrame(bytes, type, flags, slot, id, payload);
  return bytes;
}

Reference::Expected Reference::StatusFrame(FrameType type, uint16_t slot, const proto::Uuid& id, End end,
                                           bool may_have_run) {
  const server::EndInfo& info = server::InfoOf(end);
  v1::Status status;
  status.set_code(static_cast<uint32_t>(CodeOf(end)));
  status.set_end(std::string(info.name));
  status.set_message(std::string(info.words));
  status.set_may_have_run(may_have_run);
  return {Header(type, 0, slot, id), std::move(status)};
}

void Reference::Write(Peer& to, Expected frame) {
  if (!to.is_live()) return;
  to.out.push_back(std::move(frame));
}

void Reference::RefuseOperation(Peer& peer, uint16_t slot, const proto::Uuid& id, End end, uint32_t retry_after_ms) {
  metrics_.Count(end);
  if (IsNobodysFault(end)) {
    peer.control_tokens -= kSaysNothing;
  } else {
    peer.reset_tokens -= 1;
  }
  CountOwed(peer);
  Expected frame = StatusFrame(FrameType::kReset, slot, id, end);
  frame.status->set_retry_after_ms(retry_after_ms);
  Write(peer, std::move(frame));
}

// ---- Time ----------------------------------------------------------------------------------------------------------

void Reference::Set(Timer& timer, absl::Time at) {
  const int64_t ticks = absl::ToInt64Milliseconds(absl::Ceil(at - start_, absl::Milliseconds(1)));
  timer = {true, std::max(static_cast<uint64_t>(std::max<int64_t>(ticks, 0)), tick_ + 1), ++timers_set_};
}

Reference::Due Reference::NextDue() {
  Due first;
  const auto consider = [&](Due due) {
    if (!due.timer->is_set) return;
    const auto rank = [](const Due& d) {
      const bool has_own_time = d.request == nullptr || d.request->has_timeout;
      return std::tuple(d.timer->tick, has_own_time, d.timer->order);
    };
    if (first.timer == nullptr || rank(due) < rank(first)) first = due;
  };
  consider({&drain_over_, nullptr, nullptr, nullptr});
  for (auto& [id, peer] : peers_) {
    consider({&peer.timer, &peer, nullptr, nullptr});
    for (auto& [core, share] : peer.shares) consider({&share.goes_on, &peer, nullptr, nullptr, &share});
    for (auto& [number, slot] : peer.slots) consider({&slot.wait_over, nullptr, &slot, nullptr});
  }
  for (auto& [key, request] : requests_) consider({&request.over, nullptr, nullptr, &request});
  return first;
}

void Reference::OnTime(absl::Time now) {
  now_ = now;
  const auto passed = static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Milliseconds(now - start_)));
  for (Due due = NextDue(); due.timer != nullptr && due.timer->tick <= passed; due = NextDue()) {
    tick_ = std::max(tick_, due.timer->tick);
    due.timer->is_set = false;
    if (due.share != nullptr) {
      GoOn(*due.peer, *due.share);
    } else if (due.request != nullptr) {
      ResetBoth(*due.request, End::kDeadline);
    } else if (due.slot != nullptr) {
      WaitOver(*due.slot);
    } else if (due.peer != nullptr) {
      OnTimer(*due.peer);
    } else {
      Stop();
    }
  }
  tick_ = std::max(tick_, passed);
}

// At one of 64 times in each interval, and no later than the interval is over.
absl::Time Reference::PingAt(absl::Time last_sent) const {
  const int64_t latest = absl::ToUnixNanos(last_sent + limits_.heartbeat_interval);
  const int64_t step = absl::ToInt64Nanoseconds(limits_.heartbeat_interval) / 64;
  return absl::FromUnixNanos(latest / step * step);
}

void Reference::OnTimer(Peer& peer) {
  if (peer.state == State::kLingering) return Finish(peer, peer.end, State::kGone);
  if (peer.state == State::kGone) return;
  if (peer.state != State::kOpen) return Refuse(peer, End::kHelloTimeout);
  if (peer.is_idle_at_drain) {
    RemoveSlots(SlotsOf(peer));
    return Finish(peer, End::kStopping, State::kLingering);
  }
  const absl::Time dead_at = peer.last_read + limits_.heartbeat_interval * limits_.heartbeat_misses;
  const bool is_judged = !peer.input_ended || peer.unsent > 0;
  if (is_judged && now_ >= dead_at) {
    // Twice, with a chance to read what has come in between.
    if (peer.is_suspect) return Kill(peer, End::kHeartbeat);
    peer.is_suspect = true;
    return Set(peer.timer, now_ + absl::Milliseconds(1));
  }
  absl::Time ping_at = PingAt(peer.last_sent);
  if (now_ >= ping_at) {
    char payload[proto::kPingBytes];
    proto::StoreBig<uint64_t>(reinterpret_cast<uint8_t*>(payload), ++peer.pings);
    Write(peer, {Header(FrameType::kPing, 0, 0, kNilUuid, {payload, sizeof(payload)}), {}});
    ping_at = PingAt(now_);
  }
  Set(peer.timer, is_judged ? std::min(ping_at, dead_at) : ping_at);
}

}  // namespace relay::simulation

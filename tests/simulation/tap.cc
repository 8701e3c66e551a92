#include "simulation/tap.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/messages.h"
#include "proto/start_block.h"

namespace relay::simulation {
namespace {

using proto::Frame;
using proto::FrameType;
namespace flag = proto::flag;

bool IsRequestStart(const Frame& frame) { return frame.type() == FrameType::kStart && frame.has(flag::kRequest); }

// To a receiver: what may stand behind the START that makes it one.
bool IsForReceiver(const Frame& frame) {
  switch (frame.type()) {
    case FrameType::kStart:
    case FrameType::kChunk:
    case FrameType::kEnd:
      return frame.has(flag::kRequest);
    case FrameType::kWindow:
      return frame.has(flag::kResponse);
    default:
      return false;
  }
}

bool EndsResponse(const Frame& frame) {
  return frame.has_known_type() && frame.has(flag::kResponse) &&
         (frame.type() == FrameType::kEnd || frame.has(flag::kFin));
}

}  // namespace

void Tap::Step(std::optional<TappedFrame> in, const std::vector<TappedFrame>& out,
               const std::vector<ConnectionId>& ended, bool exact) {
  if (in.has_value() && dead_.contains(in->connection)) in.reset();
  in_ = in;
  // Where somebody died, what was handed out may have been taken back at once.
  is_exact_ = exact && ended.empty();
  will_wait_.reset();
  will_begin_.reset();
  left_.clear();
  if (in.has_value()) OnIn(*in);
  const auto is_dead = [&](ConnectionId id) { return std::find(ended.begin(), ended.end(), id) != ended.end(); };
  // What begins with a START to a receiver comes last: it may be what somebody who ended in this step has given back.
  std::vector<TappedFrame> begun;
  for (const TappedFrame& frame : out) {
    // The end of a response is one, even where its weight was too much for who should have read it.
    if (is_dead(frame.connection) && !EndsResponse(frame.frame)) continue;
    const bool is_live = Find({frame.connection, frame.frame.slot()}, frame.frame.id()) != requests_.end();
    const bool is_later = IsRequestStart(frame.frame) || (IsForReceiver(frame.frame) && !is_live);
    if (is_later) {
      begun.push_back(frame);
    } else {
      OnOut(frame);
    }
  }
  Settle(ended);
  for (const TappedFrame& frame : begun) {
    if (IsRequestStart(frame.frame)) {
      OnAssigned(frame, is_exact_);
    } else {
      OnOut(frame);
    }
  }
}

void Tap::OnTime(absl::Time now) {
  now_ = now;
  for (const auto& [key, request] : requests_) {
    if (request.ends_at + absl::Milliseconds(1) < now && broken_.empty()) {
      broken_ = "a request outlived its time: " + proto::ToString(key.second);
    }
  }
}

void Tap::OnInputEnd(ConnectionId connection) {
  for (auto at = channels_.lower_bound({connection, 0}); at != channels_.end() && at->first.first == connection; ++at) {
    const auto busy = busy_.find(at->first);
    if (busy == busy_.end()) continue;
    const auto request = requests_.find(busy->second);
    if (request->second.sender != at->first || !request->second.is_whole) Leave(at->first, request);
  }
}

void Tap::OnDrain() {
  is_draining_ = true;
  lines_.clear();
}

// ---- What goes in --------------------------------------------------------------------------------------------------

void Tap::OnIn(const TappedFrame& in) {
  const Frame& frame = in.frame;
  if (!frame.has_known_type()) return;
  const Place place = {in.connection, frame.slot()};
  const auto channel = channels_.find(place);
  switch (frame.type()) {
    case FrameType::kJoin: {
      v1::Join join;
      if (!proto::ParseMessage(frame.payload_text(), join)) return;
      const auto id = proto::UuidFromBytes(join.channel_id());
      if (id.has_value()) channels_.emplace(place, *id);
      return;
    }
    case FrameType::kReceive: {
      v1::Receive receive;
      if (!proto::ParseMessage(frame.payload_text(), receive)) return;
      if (receive.withdraw()) {
        StopWaiting(place);
      } else {
        will_wait_ = place;
      }
      return;
    }
    case FrameType::kStart:
      if (frame.has(flag::kRequest)) {
        Request request;
        request.sender = place;
        request.arrival = ++arrivals_;
        request.response_granted = initial_window_bytes_;
        const bool is_whole = proto::CheckStart(frame.payload(), false) == proto::StartFault::kNone;
        const uint32_t timeout_ms = is_whole ? proto::StartBlock(frame.payload()).timeout_ms() : 0;
        if (timeout_ms != 0) {
          request.ends_at = now_ + absl::Milliseconds(timeout_ms);
          request.extends_to = now_ + absl::Milliseconds(proto::StartBlock(frame.payload()).max_extension_ms());
        }
        request.is_idempotent = frame.has(flag::kIdempotent);
        request.is_whole = frame.has(flag::kFin);
        will_begin_ = {Key(channel == channels_.end() ? proto::kNilUuid : channel->second, frame.id()), request};
      }
      break;
    case FrameType::kChunk:
    case FrameType::kEnd:
      if (frame.has(flag::kRequest) && (frame.has(flag::kFin) || frame.type() == FrameType::kEnd)) {
        const auto request = Find(place, frame.id());
        if (request != requests_.end() && request->second.sender == place) request->second.is_whole = true;
      }
      break;
    case FrameType::kWindow: {
      const auto request = Find(place, frame.id());
      if (request == requests_.end() || frame.payload().size() != sizeof(uint64_t)) return;
      const bool is_request = frame.has(flag::kRequest);
      if (is_request == (request->second.sender == place)) return;  // not the reader
      uint64_t& granted = is_request ? request->second.request_granted : request->second.response_granted;
      granted = std::max(granted, proto::LoadBig<uint64_t>(frame.payload().data()));
      return;
    }
    case FrameType::kExtend: {
      const auto request = Find(place, frame.id());
      if (request == requests_.end() || request->second.receiver != place || frame.payload().size() != 4) return;
      const absl::Time to = now_ + absl::Milliseconds(proto::LoadBig<uint32_t>(frame.payload().data()));
      request->second.ends_at = std::max(request->second.ends_at, std::min(to, request->second.extends_to));
      return;
    }
    case FrameType::kGoaway:
      for (auto& [id, line] : lines_) line.remove_if([&](const Place& p) { return p.first == in.connection; });
      return;
    default:
      break;
  }
  if (frame.has(flag::kReceive)) will_wait_ = place;
}

// ---- What comes out ------------------------------------------------------------------------------------------------

void Tap::OnOut(const TappedFrame& out) {
  const Frame& frame = out.frame;
  const Place place = {out.connection, frame.slot()};
  switch (frame.type()) {
    case FrameType::kLeave:
      left_.push_back(place);
      return;
    case FrameType::kReceive:
      if (will_wait_ == place) will_wait_.reset();
      StopWaiting(place);
      return;
    case FrameType::kStart:
    case FrameType::kChunk:
    case FrameType::kEnd:
    case FrameType::kWindow:
    case FrameType::kReset:
      break;
    default:
      return;
  }
  const bool is_answer = in_.has_value() && in_->connection == out.connection && in_->frame.slot() == frame.slot();
  if (frame.type() == FrameType::kReset && frame.id() == proto::kNilUuid) {
    if (will_wait_ == place) will_wait_.reset();
    if (!is_answer) Broken("a RESET of the nil id answers nothing", out);
    return;
  }
  const auto request = Find(place, frame.id());
  if (frame.type() == FrameType::kReset) {
    ++resets_;
    const bool refuses =
        will_begin_.has_value() && will_begin_->second.sender == place && will_begin_->first.second == frame.id();
    if (refuses) will_begin_.reset();
    // The newcomer that another sender's live request has turned away may be its very receiver.
    if (refuses && request != requests_.end() && request->second.sender != place) return;
    if (request == requests_.end()) {
      // Where several peers died at once, a request may have been handed out and taken back.
      if (!refuses && is_exact_) Broken("a RESET of an exchange that this slot has no part in", out);
      return;
    }
    Leave(place, request);
    return;
  }
  if (request == requests_.end()) {
    if (is_exact_) Broken("a frame of an exchange that this slot has no part in", out);
    return;
  }
  const bool to_sender = request->second.sender == place;
  if (frame.type() == FrameType::kWindow) {
    if (frame.has(flag::kRequest) != to_sender) Broken("a WINDOW to the side that reads", out);
    return;
  }
  CountCost(request->second, out);
  if (frame.has(flag::kResponse) != to_sender) Broken("a frame to the side that sent it", out);
  if (!to_sender) return;
  if (in_.has_value() && Place(in_->connection, in_->frame.slot()) == place) {
    Broken("a sender's own frame came back to it", out);
  }
  request->second.has_response = true;
  if (frame.has(flag::kReceive)) Broken("the RECEIVE flag was handed on", out);
  if (EndsResponse(frame)) {
    ++completed_;
    busy_.erase(request->second.sender);
    busy_.erase(request->second.receiver);
    requests_.erase(request);
  }
}

void Tap::Settle(const std::vector<ConnectionId>& ended) {
  // A receiver's own RESET, and a sender's, say nothing back to who sent them.
  if (in_.has_value() && in_->frame.has_known_type() && in_->frame.type() == FrameType::kReset) {
    const Place place = {in_->connection, in_->frame.slot()};
    if (Find(place, in_->frame.id()) != requests_.end()) Abandon(place);
  }
  for (const Place& place : left_) {
    Abandon(place);
    channels_.erase(place);
  }
  for (const ConnectionId id : ended) {
    dead_.insert(id);
    for (auto at = channels_.lower_bound({id, 0}); at != channels_.end() && at->first.first == id;) {
      Abandon(at->first);
      at = channels_.erase(at);
    }
  }
  for (const Key& key : ended_requests_) {
    if (requests_.at(key).receiver != kNowhere) broken_ = "a receiver was not told that its request has ended";
    requests_.erase(key);
  }
  ended_requests_.clear();
  if (will_begin_.has_value()) {
    const auto& [key, request] = *will_begin_;
    if (channels_.contains(request.sender)) {
      if (busy_.contains(request.sender)) broken_ = "a START on a busy slot was not refused";
      if (is_draining_) broken_ = "a START was not refused by a draining relay";
      busy_[request.sender] = key;
      requests_.emplace(key, request);
    }
  }
  if (will_wait_.has_value() && channels_.contains(*will_wait_)) {
    auto& line = lines_[channels_[*will_wait_]];
    if (busy_.contains(*will_wait_) || std::find(line.begin(), line.end(), *will_wait_) != line.end()) {
      broken_ = "a RECEIVE on a slot that waits or is busy was not refused";
    }
    line.push_back(*will_wait_);
  }
}

void Tap::CountCost(Request& request, const TappedFrame& out) {
  const Frame& frame = out.frame;
  const bool is_request = frame.has(flag::kRequest);
  uint64_t& cost = is_request ? request.request_cost : request.response_cost;
  if (frame.type() == FrameType::kChunk) cost += proto::ChunkCost(frame.payload().size());
  if (frame.type() == FrameType::kStart) cost += proto::StartCost(proto::StartBlock(frame.payload()).body().size());
  if (cost > (is_request ? request.request_granted : request.response_granted)) {
    Broken("more than its reader has granted", out);
  }
}

void Tap::OnAssigned(const TappedFrame& out, bool exact) {
  const Place place = {out.connection, out.frame.slot()};
  const auto channel = channels_.find(place);
  if (channel == channels_.end()) {
    Broken("a request for a slot that nobody is joined on", out);
    return;
  }
  const auto found = requests_.find(Key(channel->second, out.frame.id()));
  if (found == requests_.end()) {
    if (is_exact_) Broken("a request that is not live", out);
    StopWaiting(place);
    return;
  }
  ++assignments_;
  Request& request = found->second;
  const uint16_t attempt = proto::StartBlock(out.frame.payload()).attempt();
  if (attempt > 1) ++redeliveries_;
  if (request.receiver != kNowhere) Broken("a request that another receiver works on", out);
  if (attempt <= request.attempt) Broken("an attempt that was counted before", out);
  if (attempt > 1 && !request.is_idempotent) Broken("a request that is not idempotent, again", out);
  if (request.has_response) Broken("a request that was answered, again", out);
  std::list<Place>& line = lines_[channel->second];
  const auto waiting = std::find(line.begin(), line.end(), place);
  if (waiting == line.end()) {
    Broken("a request for a slot that does not wait", out);
    return;
  }
  if (exact) {
    if (knows_lines_ && waiting != line.begin()) Broken("a receiver that has waited longer was passed over", out);
    for (const auto& [key, other] : requests_) {
      const proto::Uuid& other_id = key.second;
      if (key.first != channel->second || other.receiver != kNowhere || key.second == out.frame.id()) continue;
      if (other.arrival < request.arrival)
        Broken(absl::StrCat("the older request ", proto::ToString(other_id), " was passed over"), out);
    }
  }
  line.erase(waiting);
  request.attempt = attempt;
  request.request_cost = 0;
  request.request_granted = initial_window_bytes_;
  CountCost(request, out);
  request.receiver = place;
  busy_[place] = found->first;
}

// ---- The model -----------------------------------------------------------------------------------------------------

Tap::Requests::iterator Tap::Find(Place place, const proto::Uuid& id) {
  const auto busy = busy_.find(place);
  if (busy == busy_.end() || busy->second.second != id) return requests_.end();
  return requests_.find(busy->second);
}

void Tap::Leave(Place place, Requests::iterator request) {
  busy_.erase(place);
  if (request->second.sender == place) {
    ended_requests_.push_back(request->first);
  } else {
    request->second.receiver = kNowhere;
  }
}

void Tap::Abandon(Place place) {
  StopWaiting(place);
  const auto busy = busy_.find(place);
  if (busy != busy_.end()) Leave(place, requests_.find(busy->second));
}

void Tap::StopWaiting(Place place) {
  const auto channel = channels_.find(place);
  if (channel != channels_.end()) lines_[channel->second].remove(place);
}

void Tap::Broken(const std::string& what, const TappedFrame& frame) {
  if (broken_.empty()) {
    broken_ = absl::StrCat(what, ": ", std::string(proto::NameOf(frame.frame.type())), " to connection ",
                           frame.connection, " slot ", frame.frame.slot(), " id ", proto::ToString(frame.frame.id()));
  }
}

}  // namespace relay::simulation

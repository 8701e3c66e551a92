// The I/O thread's half of Operation.

#include <algorithm>
#include <utility>

#include "client/operation.h"
#include "client/wire.h"

namespace relay::client {
namespace {

// The server's name for a LEAVE that ends a client which was joined.
constexpr std::string_view kTakenOver = "taken_over";

std::chrono::microseconds ToMicroseconds(absl::Duration duration) {
  return std::chrono::microseconds(absl::ToInt64Microseconds(duration));
}

Status TooLarge(std::string_view what, size_t bytes) {
  return ResourceExhaustedError(std::string(what) + " is larger than the " + std::to_string(bytes) +
                                " bytes that are taken");
}

}  // namespace

void Operation::SetTurn() {
  phase_ = Phase::kTurn;
  if (!is_streamed_send()) return;  // nobody waits for it
  const WakingLock lock(*this);
  has_turn_ = wakes_ = true;
}

void Operation::OnGoaway() {
  if (phase_ == Phase::kWaiting && !is_withdrawing_) phase_ = Phase::kTurn;
}

Operation::Verdict Operation::Advance(Protocol& protocol, uint16_t slot, absl::Time now, size_t output_mark,
                                      bool goes_on) {
  const WakingLock lock(*this);
  TakeLimits(protocol);
  switch (phase_) {
    case Phase::kNew:
    case Phase::kQueued:
    case Phase::kEnded:
      return std::nullopt;
    case Phase::kTurn:
      if (reset_.has_value()) return reset_->why;
      return spec_.kind == Kind::kSend ? AdvanceStart(protocol, slot, now) : AdvanceWait(protocol, slot, now);
    case Phase::kWaiting:
      if ((withdraw_ || reset_.has_value()) && protocol.Withdraw(slot)) is_withdrawing_ = true;
      return std::nullopt;
    case Phase::kRunning:
      return AdvanceExchange(protocol, slot, output_mark, goes_on);
  }
  return std::nullopt;
}

void Operation::TakeLimits(const Protocol& protocol) {
  wake_posted_ = false;
  max_start_bytes_ = protocol.limits().max_start_bytes;
  wake_at_cost_ = protocol.limits().initial_window_bytes / 4;
}

Operation::Verdict Operation::AdvanceWait(Protocol& protocol, uint16_t slot, absl::Time now) {
  if (withdraw_) return CancelledError("the wait was given up");
  std::optional<absl::Duration> wait = spec_.limit;
  if (wait.has_value()) wait = std::max(*wait - (now - submitted), absl::ZeroDuration());
  if (protocol.Receive(slot, wait)) phase_ = Phase::kWaiting;
  return std::nullopt;
}

Operation::Verdict Operation::AdvanceStart(Protocol& protocol, uint16_t slot, absl::Time now) {
  if (!out_is_begun_ && !out_is_whole_ && !flush_) return std::nullopt;
  RequestStart& start = spec_.start;
  if (start.head.size() > max_start_bytes_) return StartTooLarge(start.head.size(), max_start_bytes_);
  if (spec_.limit.has_value()) {
    start.timeout = std::max(*spec_.limit - (now - submitted), absl::Milliseconds(1));
    start.max_extension = std::max(spec_.max_extension - (now - submitted), absl::ZeroDuration());
  }
  const auto body = std::string_view(out_).substr(out_taken_);
  const auto taken = protocol.Start(slot, id_, start, body, out_is_whole_);
  if (!taken.has_value()) return std::nullopt;
  phase_ = Phase::kRunning;
  is_open_ = true;
  is_exposed_ = true;
  ++sendings_;
  start_end_bytes_ = protocol.appended_bytes();
  const bool is_rest = *taken < body.size();
  TakeOut(*taken);
  // More than fits in one frame: CHUNKs follow at once, and what the output does not hold when it has drained.
  if (is_rest) TakeOut(protocol.Write(slot, id_, std::string_view(out_).substr(out_taken_), out_is_whole_, false));
  return std::nullopt;
}

Operation::Verdict Operation::AdvanceExchange(Protocol& protocol, uint16_t slot, size_t output_mark, bool goes_on) {
  if (reset_.has_value()) {
    protocol.Reset(slot, id_, reset_->why, reset_->requeue);
    return reset_->why;
  }
  if (in_consumed_ > 0) protocol.Consumed(slot, id_, std::exchange(in_consumed_, 0));
  while (extends_sent_ < extends_.size()) protocol.Extend(slot, id_, extends_[extends_sent_++].time);
  if (holds_finish_ && out_is_whole_) return std::nullopt;
  const bool fin = out_is_whole_ && !out_end_.has_value();
  if (!is_open_) {
    if (!out_is_begun_ && !out_is_whole_) return std::nullopt;
    const auto body = std::string_view(out_).substr(out_taken_);
    const auto taken = protocol.Respond(slot, id_, out_head_, body, fin, goes_on);
    if (!taken.has_value()) return std::nullopt;
    is_open_ = true;
    out_is_begun_ = true;
    TakeOut(*taken);
  }
  while (protocol.IsLive(slot, id_) && (unsent_bytes() > 0 || fin)) {
    is_blocked = protocol.output_bytes() >= output_mark;
    if (is_blocked) return std::nullopt;
    const size_t unsent = unsent_bytes();
    const auto body = std::string_view(out_).substr(out_taken_);
    TakeOut(protocol.Write(slot, id_, body, fin, goes_on, output_mark));
    if (unsent_bytes() == unsent) break;
  }
  if (spec_.kind == Kind::kSend || !out_is_whole_) return std::nullopt;
  if (out_end_.has_value() && unsent_bytes() == 0) protocol.End(slot, id_, *out_end_, goes_on);
  if (protocol.IsLive(slot, id_)) return std::nullopt;
  return OkStatus();
}

void Operation::TakeOut(size_t bytes) {
  if (bytes == 0) return;
  if (unsent_bytes() >= kOutBytes) wakes_ = true;  // a writer may wait for room
  out_taken_ += bytes;
  if (!out_is_kept_) DropTakenOut();
}

void Operation::DropTakenOut() {
  if (out_taken_ < out_.size()) return;
  out_.clear();
  out_taken_ = 0;
}

Operation::Verdict Operation::OnEvent(Protocol& protocol, const Event& event) {
  if (event.kind == Event::Kind::kExtended) {
    OnExtended(event);
    return std::nullopt;
  }
  const WakingLock lock(*this);
  switch (event.kind) {
    case Event::Kind::kNone:
    case Event::Kind::kWelcome:
    case Event::Kind::kGoaway:
    case Event::Kind::kLeft:
    case Event::Kind::kFault:
      return std::nullopt;  // of the connection or the slot: Roster's
    case Event::Kind::kExtended:
      return std::nullopt;  // above, without the lock
    case Event::Kind::kNothingCame: {
      if (is_withdrawing_) return std::nullopt;  // the echo is still to come
      const auto ms = spec_.limit.has_value() ? absl::ToInt64Milliseconds(*spec_.limit) : 0;
      return DeadlineExceededError("nothing came within " + std::to_string(ms) + " ms");
    }
    case Event::Kind::kWithdrawn:
      is_withdrawing_ = false;
      if (phase_ != Phase::kWaiting) return std::nullopt;  // a request had come, and is worked on
      return reset_.has_value() ? reset_->why : CancelledError("the wait was given up");
    case Event::Kind::kDiscarded:
      if (!is_withdrawing_) phase_ = Phase::kTurn;
      return std::nullopt;
    case Event::Kind::kRequest:
      return OnRequest(protocol, event);
    case Event::Kind::kResponse:
      OnResponse(event);
      return TakeIn(protocol, event);
    case Event::Kind::kBody:
      return TakeIn(protocol, event);
    case Event::Kind::kEnd:
      if (spec_.kind == Kind::kSend) {
        in_trailing_ = FromWire(event.end.metadata());
        return event.status;
      }
      in_is_complete_ = has_whole_request_ = wakes_ = true;
      return std::nullopt;
    case Event::Kind::kCredit:
      return std::nullopt;
    case Event::Kind::kReset:
      is_exposed_ = event.status.may_have_run();
      if (!is_undelivered()) return event.status;
      Rewind();
      return std::nullopt;
  }
  return std::nullopt;
}

Operation::Verdict Operation::OnRequest(Protocol& protocol, const Event& event) {
  // One that may not go to another receiver is worked on rather than lost.
  if (reset_.has_value() || (withdraw_ && event.is_idempotent)) {
    protocol.Reset(event.slot, event.id, UnavailableError("the receiver has stopped"), true);
    if (is_withdrawing_) return std::nullopt;  // the echo is still to come
    return CancelledError("the wait was given up");
  }
  phase_ = Phase::kRunning;
  id_ = event.id;
  auto& request = std::get<RequestInfo>(head_);
  request.id = FromWire(event.id);
  request.sender = FromWire(event.other_client);
  request.method = event.head.method();
  request.content_type = event.head.content_type();
  request.metadata = FromWire(event.head.metadata());
  request.attempt = event.attempt;
  request.queue_wait = ToMicroseconds(event.queue_wait);
  SetDeadline(event.remaining);
  TakeLimits(protocol);
  has_head_ = true;
  return TakeIn(protocol, event);
}

void Operation::SetDeadline(std::optional<absl::Duration> remaining) {
  deadline_.reset();
  if (remaining.has_value()) deadline_ = std::chrono::steady_clock::now() + ToMicroseconds(*remaining);
}

void Operation::OnExtended(const Event& event) {
  Extended done;
  {
    net::MutexLock lock(mutex_);
    if (extends_sent_ == 0) return;  // nobody asked
    SetDeadline(event.remaining);
    done = std::move(extends_.front().done);
    extends_.erase(extends_.begin());
    --extends_sent_;
  }
  if (!done) return;
  const auto left = event.remaining.has_value() ? absl::ToInt64Milliseconds(*event.remaining) : INT64_MAX;
  done(std::chrono::milliseconds(left));
}

void Operation::OnResponse(const Event& event) {
  auto& response = std::get<ResponseHead>(head_);
  response.method = event.head.method();
  response.content_type = event.head.content_type();
  response.metadata = FromWire(event.head.metadata());
  response.receiver = FromWire(event.other_client);
  response.attempt = event.attempt;
  response.queue_wait = ToMicroseconds(event.queue_wait);
  has_head_ = true;
  out_is_kept_ = false;
  DropTakenOut();
}

Operation::Verdict Operation::TakeIn(Protocol& protocol, const Event& event) {
  const bool is_send = spec_.kind == Kind::kSend;
  if (spec_.collect_bytes.has_value() && in_.size() + event.body.size() > *spec_.collect_bytes) {
    const Status status = TooLarge(is_send ? "the response" : "the request", *spec_.collect_bytes);
    protocol.Reset(event.slot, event.id, status, false);
    return status;
  }
  DropTaken(in_, in_taken_);
  in_.append(event.body);
  in_is_complete_ = has_whole_request_ = event.is_last && !is_send;
  // What nobody will Read, for it is collected or empty, is consumed as it comes.
  if (spec_.collect_bytes.has_value() || event.body.empty()) {
    protocol.Consumed(event.slot, event.id, event.cost);
  } else {
    in_overhead_ += event.cost - event.body.size();
  }
  if (is_send && event.is_last) return OkStatus();
  if (!spec_.collect_bytes.has_value()) wakes_ = true;  // who collects waits for the end
  return std::nullopt;
}

void Operation::Rewind() {
  phase_ = Phase::kTurn;
  has_head_ = false;
  deadline_.reset();
  in_.clear();
  in_is_complete_ = has_whole_request_ = false;
}

Operation::Verdict Operation::OnLost(const Status& why, uint64_t sent_bytes) {
  net::MutexLock lock(mutex_);
  is_blocked = false;
  if (phase_ == Phase::kWaiting) {
    if (is_withdrawing_) return CancelledError("the wait was given up");
    phase_ = Phase::kTurn;
  }
  if (phase_ != Phase::kRunning) return std::nullopt;
  if (is_undelivered()) {
    Rewind();
    return std::nullopt;
  }
  is_exposed_ = start_end_bytes_ <= sent_bytes;
  Status status = why;
  return status.set_may_have_run(spec_.kind == Kind::kSend && is_exposed_);
}

void Operation::OnLeft(const Status& why) {
  if (why.end() != kTakenOver) is_exposed_ = false;
}

bool Operation::SendAgain() {
  net::MutexLock lock(mutex_);
  if (phase_ != Phase::kRunning || !out_is_kept_ || reset_.has_value()) return false;
  phase_ = Phase::kTurn;
  is_blocked = false;
  is_open_ = false;
  out_taken_ = 0;
  was_exposed_ |= std::exchange(is_exposed_, false);
  return true;
}

void Operation::ResetLate(Protocol& protocol, uint16_t slot) {
  protocol.Reset(slot, id_, DeadlineExceededError("the sender's timeout has passed"), false);
}

Operation::Verdict Operation::wish_to_end() {
  if (!has_wish_) return std::nullopt;
  net::MutexLock lock(mutex_);
  if (reset_.has_value()) return reset_->why;
  if (withdraw_ && !has_head_) return CancelledError("the wait was given up");
  return std::nullopt;
}

bool Operation::is_answering() {
  net::MutexLock lock(mutex_);
  return is_serving() && out_is_whole_ && !reset_.has_value();
}

void Operation::ResetForClose(Protocol& protocol, uint16_t slot, const Status& why) {
  if (phase_ == Phase::kRunning) protocol.Reset(slot, id_, why, spec_.kind == Kind::kReceive);
}

void Operation::End(const Status& status) {
  phase_ = Phase::kEnded;
  is_blocked = false;
  std::function<void(const Status&)> on_cancelled;
  bool must_call = false;
  std::vector<ExtendWish> extends;
  {
    const WakingLock lock(*this);
    if (has_ended_) return;
    has_ended_ = wakes_ = true;
    end_ = status;
    // Only an answer, or the server, can say that it was not handed to anybody.
    const bool may_have_run = spec_.kind == Kind::kSend && (is_exposed_ || was_exposed_);
    if (!end_.ok() && may_have_run) end_.set_may_have_run(true);
    out_is_kept_ = false;
    out_.clear();
    out_.shrink_to_fit();
    out_taken_ = 0;
    extends.swap(extends_);
    on_cancelled.swap(on_cancelled_);
    calls_on_cancelled_ = on_cancelled != nullptr && is_cancelled();
    must_call = calls_on_cancelled_;
  }
  if (must_call) {
    on_cancelled(status);
    on_cancelled = nullptr;  // with what it holds, before those who wait for it go on
    const WakingLock lock(*this);
    calls_on_cancelled_ = false;
    wakes_ = true;
  }
  for (const ExtendWish& wish : extends) {
    if (wish.done) wish.done(status.ok() ? FailedPreconditionError("the request was finished") : status);
  }
  NotifyDone();
}

void Operation::Deliver() {
  if (is_undelivered() && has_whole_request_) NotifyDone();
}

void Operation::NotifyDone() {
  if (std::exchange(owes_done_, false)) OnDone();
}

}  // namespace relay::client

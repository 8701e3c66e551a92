// The caller's half of Operation.

#include "client/operation.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "client/link.h"
#include "client/wire.h"
#include "proto/utf8.h"

namespace relay::client {
namespace {

// An idempotent request that streams is kept so far, to be sent again where its connection is lost.
constexpr size_t kKeptBytes = size_t{256} * 1024;

}  // namespace

Operation::Operation(OperationSpec spec, std::shared_ptr<Participant> participant, std::optional<std::string> body)
    : spec_(std::move(spec)), participant_(std::move(participant)) {
  if (spec_.kind != Kind::kSend) return;
  id_ = proto::NewUuid();
  head_.emplace<ResponseHead>();
  out_is_kept_ = spec_.start.is_idempotent;
  if (!body.has_value()) return;
  out_ = *std::move(body);
  out_is_whole_ = true;
}

Uuid Operation::id() const { return FromWire(id_); }

void Operation::Wait() { changed_.Wait(mutex_); }

bool Operation::MustWake() { return !has_ended_ && !std::exchange(wake_posted_, true); }

void Operation::Wake() { participant_->link->Wake(shared_from_this()); }

Status Operation::CheckMayBlock() const { return participant_->link->CheckMayBlock(); }

Status Operation::WaitTurn() {
  if (Status status = CheckMayBlock(); !status.ok()) return status;
  net::MutexLock lock(mutex_);
  while (!has_turn_ && !has_ended_) Wait();
  return has_turn_ ? OkStatus() : end_;
}

Status Operation::WaitHead() {
  if (Status status = CheckMayBlock(); !status.ok()) return status;
  net::MutexLock lock(mutex_);
  while (!has_head_ && !has_ended_) Wait();
  return has_head_ ? OkStatus() : end_;
}

Status Operation::WaitEnd() {
  if (Status status = CheckMayBlock(); !status.ok()) return status;
  net::MutexLock lock(mutex_);
  while (!has_ended_) Wait();
  return end_;
}

bool Operation::WaitFailed(std::chrono::milliseconds timeout) {
  if (!participant_->link->MayBlock()) timeout = {};
  // Years are for ever, and do not overflow.
  const auto until =
      std::chrono::steady_clock::now() + std::min<std::chrono::milliseconds>(timeout, std::chrono::hours(24 * 3650));
  net::MutexLock lock(mutex_);
  while (!has_ended_) {
    if (!changed_.WaitUntil(mutex_, until)) break;
  }
  return has_ended_ && !end_.ok();
}

std::optional<std::chrono::milliseconds> Operation::remaining() {
  net::MutexLock lock(mutex_);
  if (!deadline_.has_value()) return std::nullopt;
  const auto left = *deadline_ - std::chrono::steady_clock::now();
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(left), std::chrono::milliseconds(0));
}

StatusOr<std::chrono::milliseconds> Operation::ExtendDeadline(std::chrono::milliseconds time) {
  if (Status status = CheckMayBlock(); !status.ok()) return status;
  std::optional<StatusOr<std::chrono::milliseconds>> answer;
  ExtendDeadline(time, [this, &answer](StatusOr<std::chrono::milliseconds> left) {
    net::MutexLock lock(mutex_);
    answer = std::move(left);
    changed_.NotifyAll();
  });
  net::MutexLock lock(mutex_);
  while (!answer.has_value()) Wait();
  return *std::move(answer);
}

void Operation::ExtendDeadline(std::chrono::milliseconds time, Extended done) {
  Status end;
  bool must_wake = false;
  {
    net::MutexLock lock(mutex_);
    end = has_ended_ && end_.ok() ? FailedPreconditionError("the request was finished") : end_;
    if (!has_ended_) {
      extends_.push_back({absl::Milliseconds(time.count()), std::move(done)});
      done = nullptr;  // the list's to call
      must_wake = MustWake();
    }
  }
  if (must_wake) Wake();
  if (!end.ok() && done) done(end);
}

StatusOr<size_t> Operation::Read(std::span<char> out) {
  if (Status status = CheckMayBlock(); !status.ok()) return status;
  if (out.empty()) return InvalidArgumentError("Read into no room at all");
  size_t bytes = 0;
  bool must_wake = false;
  {
    net::MutexLock lock(mutex_);
    const bool is_receiver = spec_.kind == Kind::kReceive;
    while (true) {
      // A receiver need not work on what nobody waits for; a sender may want what came before the end.
      if (is_receiver && has_ended_) return end_.ok() ? FailedPreconditionError("the request was finished") : end_;
      if (in_taken_ < in_.size()) break;
      if (in_is_complete_) return size_t{0};
      if (has_ended_) {
        if (!end_.ok()) return end_;
        return size_t{0};
      }
      Wait();
    }
    in_consumed_ += std::exchange(in_overhead_, 0);
    bytes = std::min(out.size(), in_.size() - in_taken_);
    std::copy_n(in_.data() + in_taken_, bytes, out.data());
    in_taken_ += bytes;
    in_consumed_ += bytes;
    if (in_taken_ == in_.size()) {
      in_.clear();
      in_taken_ = 0;
    }
    must_wake = !in_is_complete_ && in_consumed_ >= wake_at_cost_ && MustWake();
  }
  if (must_wake) Wake();
  return bytes;
}

StatusOr<std::string> Operation::ReadAll(size_t max_bytes) {
  std::string body;
  std::vector<char> buffer(size_t{64} * 1024);
  while (true) {
    const auto bytes = Read(buffer);
    if (!bytes.ok()) return bytes.status();
    if (*bytes == 0) return body;
    if (body.size() + *bytes > max_bytes) {
      return ResourceExhaustedError("the body is larger than the " + std::to_string(max_bytes) +
                                    " bytes that are taken");
    }
    body.append(buffer.data(), *bytes);
  }
}

StatusOr<std::string> Operation::TakeBody() {
  net::MutexLock lock(mutex_);
  if (has_ended_ && !end_.ok()) return end_;
  return std::move(in_);
}

Metadata Operation::trailing_metadata() {
  net::MutexLock lock(mutex_);
  return in_trailing_;
}

StatusOr<Reply> Operation::TakeReply() {
  net::MutexLock lock(mutex_);
  if (!end_.ok()) return end_;
  return Reply{std::move(in_), std::move(std::get<ResponseHead>(head_)), std::move(in_trailing_)};
}

Status Operation::WriteStatus() const {
  if (has_ended_ && !end_.ok()) return end_;
  if (reset_.has_value()) return reset_->why;
  if (out_is_whole_) return FailedPreconditionError("the body was finished before");
  if (has_ended_) return FailedPreconditionError("the response has ended; the rest of the request is not wanted");
  return OkStatus();
}

Status Operation::SetHead(std::string head) {
  net::MutexLock lock(mutex_);
  if (Status status = WriteStatus(); !status.ok()) return status;
  if (out_is_begun_) return FailedPreconditionError("the response was begun before");
  if (head.size() > max_start_bytes_) return StartTooLarge(head.size(), max_start_bytes_);
  out_head_ = std::move(head);
  return OkStatus();
}

Status Operation::Write(std::string_view bytes) {
  if (Status status = CheckMayBlock(); !status.ok()) return status;
  while (!bytes.empty()) {
    bool must_wake = false;
    {
      net::MutexLock lock(mutex_);
      Status status = WriteStatus();
      while (status.ok() && unsent_bytes() >= kOutBytes) {
        Wait();
        status = WriteStatus();
      }
      if (!status.ok()) return status;
      const size_t part = std::min(bytes.size(), kOutBytes - unsent_bytes());
      if (out_.size() + part > kKeptBytes) out_is_kept_ = false;
      if (!out_is_kept_) DropTaken(out_, out_taken_);
      out_.append(bytes.substr(0, part));
      bytes.remove_prefix(part);
      out_is_begun_ = true;
      must_wake = MustWake();
    }
    if (must_wake) Wake();
  }
  net::MutexLock lock(mutex_);
  return WriteStatus();
}

Status Operation::Finish(std::string bytes, const Status& status, const Metadata& trailing) {
  bool must_wake = false;
  {
    net::MutexLock lock(mutex_);
    if (Status write = WriteStatus(); !write.ok()) return write;
    if (!status.ok() || !trailing.empty()) {
      v1::End end;
      if (!status.ok()) ToWire(Status(status.code(), status.message()), *end.mutable_status());
      for (const auto& [key, value] : trailing) {
        if (!proto::IsUtf8(key)) return InvalidArgumentError("a name in metadata is UTF-8");
      }
      ToWire(trailing, *end.mutable_metadata());
      if (end.ByteSizeLong() > max_start_bytes_) {
        return InvalidArgumentError("status and trailing metadata take " + std::to_string(end.ByteSizeLong()) +
                                    " bytes; the server takes " + std::to_string(max_start_bytes_));
      }
      out_end_ = std::move(end);
    }
    if (out_.empty()) {
      out_ = std::move(bytes);
    } else {
      out_ += bytes;
    }
    out_is_whole_ = true;
    must_wake = !holds_finish_ && MustWake();
  }
  if (must_wake) Wake();
  return OkStatus();
}

void Operation::set_holds_finish(bool holds_finish) {
  net::MutexLock lock(mutex_);
  holds_finish_ = holds_finish;
}

bool Operation::holds_finish() {
  net::MutexLock lock(mutex_);
  return holds_finish_;
}

void Operation::FinishHeld(const Status& status) {
  // What a handler did before decides over what it returns: one that was finished or reset stays so.
  Finish({}, status).ok();
  set_holds_finish(false);
  Wake();
}

void Operation::Flush() {
  bool must_wake = false;
  {
    net::MutexLock lock(mutex_);
    must_wake = !std::exchange(flush_, true) && MustWake();
  }
  if (must_wake) Wake();
}

void Operation::Abort(const Status& why, bool requeue) {
  {
    net::MutexLock lock(mutex_);
    if (has_ended_ || reset_.has_value()) return;
    reset_ = ResetWish{why.ok() ? CancelledError("cancelled") : why, requeue};
    has_wish_ = true;
    changed_.NotifyAll();
  }
  Wake();
}

void Operation::Drop() {
  const bool may_wait = participant_->link->MayBlock();
  std::function<void(const Status&)> call;
  bool must_wake = false;
  {
    net::MutexLock lock(mutex_);
    const bool is_send = spec_.kind == Kind::kSend;
    if (!has_ended_ && !reset_.has_value() && (is_send || !out_is_whole_)) {
      constexpr std::string_view kWhy = "dropped unfinished";
      reset_ = ResetWish{is_send ? CancelledError(kWhy) : AbortedError(kWhy)};
      has_wish_ = true;
      must_wake = true;
    }
    while (calls_on_cancelled_ && may_wait) Wait();
    on_cancelled_.swap(call);
  }
  if (must_wake) Wake();
}

void Operation::Withdraw() {
  {
    net::MutexLock lock(mutex_);
    if (has_ended_) return;
    withdraw_ = has_wish_ = true;
  }
  Wake();
}

void Operation::OnCancelled(std::function<void(const Status&)> call) {
  const bool may_wait = participant_->link->MayBlock();
  Status end;
  {
    net::MutexLock lock(mutex_);
    while (calls_on_cancelled_ && may_wait) Wait();
    // The older one goes behind the lock, with whatever it holds.
    if (!has_ended_) on_cancelled_.swap(call);
    if (!is_cancelled()) return;
    end = end_;
  }
  if (call) call(end);
}

void Operation::WaitCancelledCalled() {
  if (!participant_->link->MayBlock()) return;
  net::MutexLock lock(mutex_);
  while (calls_on_cancelled_) Wait();
}

Status Operation::status() {
  net::MutexLock lock(mutex_);
  return has_ended_ ? end_ : OkStatus();
}

}  // namespace relay::client

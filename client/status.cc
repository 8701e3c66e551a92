#include "relay/status.h"

#include <array>

namespace relay {

std::string_view NameOf(StatusCode code) {
  static constexpr std::array<std::string_view, 17> kNames = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  const auto number = static_cast<size_t>(code);
  return number < kNames.size() ? kNames[number] : kNames[2];
}

Status::Status(StatusCode code, std::string_view message) {
  if (code == StatusCode::kOk) return;
  mutable_rep().code = code;
  rep_->message = message;
}

const Status::Rep& Status::OkRep() {
  static const Rep* const ok = new Rep;  // for whoever asks while the program ends, too
  return *ok;
}

Status::Rep& Status::mutable_rep() {
  if (rep_ == nullptr) rep_ = std::make_unique<Rep>();
  return *rep_;
}

Status& Status::set_end(std::string_view end) {
  if (end != rep().end) mutable_rep().end = end;
  return *this;
}

Status& Status::set_may_have_run(bool may_have_run) {
  if (may_have_run != rep().may_have_run) mutable_rep().may_have_run = may_have_run;
  return *this;
}

Status& Status::set_retry_after(std::chrono::milliseconds retry_after) {
  if (retry_after != rep().retry_after) mutable_rep().retry_after = retry_after;
  return *this;
}

std::string Status::ToString() const {
  std::string text(NameOf(code()));
  if (!end().empty()) text.append(" ").append(end());
  if (!message().empty()) text.append(": ").append(message());
  return text;
}

std::ostream& operator<<(std::ostream& out, const Status& status) { return out << status.ToString(); }

Status CancelledError(std::string_view message) { return Status(StatusCode::kCancelled, message); }
Status UnknownError(std::string_view message) { return Status(StatusCode::kUnknown, message); }
Status InvalidArgumentError(std::string_view message) { return Status(StatusCode::kInvalidArgument, message); }
Status DeadlineExceededError(std::string_view message) { return Status(StatusCode::kDeadlineExceeded, message); }
Status NotFoundError(std::string_view message) { return Status(StatusCode::kNotFound, message); }
Status AlreadyExistsError(std::string_view message) { return Status(StatusCode::kAlreadyExists, message); }
Status PermissionDeniedError(std::string_view message) { return Status(StatusCode::kPermissionDenied, message); }
Status ResourceExhaustedError(std::string_view message) { return Status(StatusCode::kResourceExhausted, message); }
Status FailedPreconditionError(std::string_view message) { return Status(StatusCode::kFailedPrecondition, message); }
Status AbortedError(std::string_view message) { return Status(StatusCode::kAborted, message); }
Status OutOfRangeError(std::string_view message) { return Status(StatusCode::kOutOfRange, message); }
Status UnimplementedError(std::string_view message) { return Status(StatusCode::kUnimplemented, message); }
Status InternalError(std::string_view message) { return Status(StatusCode::kInternal, message); }
Status UnavailableError(std::string_view message) { return Status(StatusCode::kUnavailable, message); }
Status DataLossError(std::string_view message) { return Status(StatusCode::kDataLoss, message); }
Status UnauthenticatedError(std::string_view message) { return Status(StatusCode::kUnauthenticated, message); }

}  // namespace relay

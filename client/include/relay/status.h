// How every operation of the SDK ends: Status, and StatusOr<T> where there is something to return.
//
// In the style of absl::Status, with the canonical codes, but of the standard library alone, so that a program with
// another abseil can link this library.

#ifndef RELAY_STATUS_H_
#define RELAY_STATUS_H_

#include <cassert>
#include <chrono>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace relay {

// The canonical codes, with their numbers on the wire.
enum class StatusCode {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// "DEADLINE_EXCEEDED".
std::string_view NameOf(StatusCode code);

// A code, words for people, and what the relay says beside them about an exchange that did not end well.
// Thread-compatible.
class [[nodiscard]] Status {
 public:
  Status() = default;  // OK
  // `message` of an OK status is dropped.
  Status(StatusCode code, std::string_view message);

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  // Words for people; they may change. UTF-8.
  const std::string& message() const { return message_; }
  // The stable name of the end, for programs ("no_receiver"), or "" where nobody named it. The server's, and of this
  // library "connection_lost" and "deadline".
  const std::string& end() const { return end_; }
  // Whether a receiver may have worked on the request that failed so, the one that said so itself among them. False
  // means that sending it again is safe.
  bool may_have_run() const { return may_have_run_; }
  // How long to wait before trying again; 0 where nothing was said.
  std::chrono::milliseconds retry_after() const { return retry_after_; }

  Status& set_end(std::string_view end);
  Status& set_may_have_run(bool may_have_run);
  Status& set_retry_after(std::chrono::milliseconds retry_after);

  // "OK", or "UNAVAILABLE: connect tcp://127.0.0.1:1: connection refused".
  std::string ToString() const;

  // Same code, message, end, may_have_run and retry_after.
  friend bool operator==(const Status&, const Status&) = default;

 private:
  StatusCode code_ = StatusCode::kOk;
  bool may_have_run_ = false;
  std::chrono::milliseconds retry_after_{0};
  std::string message_;
  std::string end_;
};

std::ostream& operator<<(std::ostream& out, const Status& status);

inline Status OkStatus() { return {}; }
Status CancelledError(std::string_view message);
Status UnknownError(std::string_view message);
Status InvalidArgumentError(std::string_view message);
Status DeadlineExceededError(std::string_view message);
Status NotFoundError(std::string_view message);
Status AlreadyExistsError(std::string_view message);
Status PermissionDeniedError(std::string_view message);
Status ResourceExhaustedError(std::string_view message);
Status FailedPreconditionError(std::string_view message);
Status AbortedError(std::string_view message);
Status OutOfRangeError(std::string_view message);
Status UnimplementedError(std::string_view message);
Status InternalError(std::string_view message);
Status UnavailableError(std::string_view message);
Status DataLossError(std::string_view message);
Status UnauthenticatedError(std::string_view message);

// A value, or the Status that says why there is none. T may be move-only. Thread-compatible.
template <typename T>
class [[nodiscard]] StatusOr {
 public:
  // `status` is not OK.
  StatusOr(Status status) : status_(std::move(status)) {  // NOLINT: return an error as it is
    assert(!status_.ok());
    if (status_.ok()) status_ = InternalError("StatusOr made of an OK status without a value");
  }
  StatusOr(T value) : value_(std::move(value)) {}  // NOLINT: return a value as it is

  bool ok() const { return status_.ok(); }
  // OK where there is a value.
  const Status& status() const& { return status_; }
  Status status() && { return std::move(status_); }

  // The value; ok() holds.
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return *std::move(value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace relay

#endif  // RELAY_STATUS_H_

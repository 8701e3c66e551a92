// How every operation of the SDK ends: Status, and StatusOr<T> where there is something to return.
//
// In the style of absl::Status, with the canonical codes, but of the standard library alone, so that a program with
// another abseil can link this library.

#ifndef RELAY_STATUS_H_
#define RELAY_STATUS_H_

#include <cassert>
#include <chrono>
#include <memory>
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

  Status(const Status& other) : rep_(other.rep_ == nullptr ? nullptr : std::make_unique<Rep>(*other.rep_)) {}
  Status& operator=(const Status& other) {
    if (rep_ != nullptr || other.rep_ != nullptr) *this = Status(other);
    return *this;
  }
  // OK stays behind.
  Status(Status&&) noexcept = default;
  Status& operator=(Status&&) noexcept = default;
  ~Status() = default;

  bool ok() const { return rep_ == nullptr || rep_->code == StatusCode::kOk; }
  StatusCode code() const { return rep().code; }
  // Words for people; they may change. UTF-8.
  const std::string& message() const { return rep().message; }
  // The stable name of the end, for programs ("no_receiver"), or "" where nobody named it. The server's, and of this
  // library "connection_lost" and "deadline".
  const std::string& end() const { return rep().end; }
  // Whether a receiver may have worked on the request that failed so, the one that said so itself among them. False
  // means that sending it again is safe.
  bool may_have_run() const { return rep().may_have_run; }
  // How long to wait before trying again; 0 where nothing was said.
  std::chrono::milliseconds retry_after() const { return rep().retry_after; }

  Status& set_end(std::string_view end);
  Status& set_may_have_run(bool may_have_run);
  Status& set_retry_after(std::chrono::milliseconds retry_after);

  // "OK", "UNAVAILABLE: connect tcp://127.0.0.1:1: connection refused", or "UNAVAILABLE no_receiver: ..." where the end
  // has a name.
  std::string ToString() const;

  // Same code, message, end, may_have_run and retry_after.
  friend bool operator==(const Status& a, const Status& b) { return a.rep() == b.rep(); }

 private:
  struct Rep {
    StatusCode code = StatusCode::kOk;
    bool may_have_run = false;
    std::chrono::milliseconds retry_after{0};
    std::string message;
    std::string end;

    friend bool operator==(const Rep&, const Rep&) = default;
  };

  const Rep& rep() const { return rep_ == nullptr ? OkRep() : *rep_; }
  Rep& mutable_rep();
  static const Rep& OkRep();

  std::unique_ptr<Rep> rep_;  // null for an OK of which nothing more was said: most are, and cost nothing
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

  bool ok() const { return value_.has_value(); }
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

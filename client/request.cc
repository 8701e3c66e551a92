#include "relay/request.h"

#include <utility>

#include "client/handles.h"
#include "client/wire.h"

namespace relay {

Request::Request(std::shared_ptr<client::OperationHandle> handle) : handle_(std::move(handle)) {}
Request::Request(Request&&) noexcept = default;
Request& Request::operator=(Request&&) noexcept = default;
Request::~Request() = default;

const RequestInfo& Request::info() const { return handle_->operation().request(); }

std::optional<std::chrono::milliseconds> Request::remaining() const { return handle_->operation().remaining(); }

StatusOr<std::chrono::milliseconds> Request::ExtendDeadline(std::chrono::milliseconds time) {
  return handle_->operation().ExtendDeadline(time);
}

StatusOr<size_t> Request::Read(std::span<char> out) { return handle_->operation().Read(out); }

StatusOr<std::string> Request::ReadAll(size_t max_bytes) { return handle_->operation().ReadAll(max_bytes); }

Status Request::SetHead(std::string method, std::string content_type, Metadata metadata) {
  auto head = client::MakeStart(method, content_type, metadata);
  if (!head.ok()) return head.status();
  return handle_->operation().SetHead(*std::move(head));
}

Status Request::Write(std::string_view bytes) { return handle_->operation().Write(bytes); }

Status Request::Finish(const Status& status, const Metadata& trailing_metadata) {
  client::Operation& operation = handle_->operation();
  if (Status may = operation.CheckMayBlock(); !may.ok()) return may;
  operation.set_holds_finish(false);
  Status finish = operation.Finish({}, status, trailing_metadata);
  if (finish.ok()) finish = operation.WaitEnd();
  operation.WaitCancelledCalled();
  return finish;
}

Status Request::Reply(std::string_view body, const Metadata& trailing_metadata) {
  client::Operation& operation = handle_->operation();
  if (Status may = operation.CheckMayBlock(); !may.ok()) return may;
  Status finish = operation.Finish(std::string(body), {}, trailing_metadata);
  if (finish.ok() && !operation.holds_finish()) finish = operation.WaitEnd();
  operation.WaitCancelledCalled();
  return finish;
}

void Request::Reset(const Status& why) { handle_->operation().Abort(why, false); }

void Request::Requeue() { handle_->operation().Abort(UnavailableError("the receiver has given it back"), true); }

bool Request::cancelled() const { return !status().ok(); }

bool Request::WaitCancelled(std::chrono::milliseconds timeout) const {
  return handle_->operation().WaitFailed(timeout);
}

Status Request::status() const { return handle_->operation().status(); }

void Request::OnCancelled(std::function<void(const Status&)> call) {
  handle_->operation().OnCancelled(std::move(call));
}

AsyncRequest::AsyncRequest(std::shared_ptr<client::OperationHandle> handle, std::string body)
    : handle_(std::move(handle)), body_(std::move(body)) {}
AsyncRequest::AsyncRequest(AsyncRequest&&) noexcept = default;
AsyncRequest& AsyncRequest::operator=(AsyncRequest&&) noexcept = default;
AsyncRequest::~AsyncRequest() = default;

const RequestInfo& AsyncRequest::info() const { return handle_->operation().request(); }

std::optional<std::chrono::milliseconds> AsyncRequest::remaining() const { return handle_->operation().remaining(); }

void AsyncRequest::ExtendDeadline(std::chrono::milliseconds time,
                                  std::function<void(StatusOr<std::chrono::milliseconds>)> done) {
  handle_->operation().ExtendDeadline(time, std::move(done));
}

bool AsyncRequest::cancelled() const { return !handle_->operation().status().ok(); }

void AsyncRequest::OnCancelled(std::function<void(const Status&)> call) {
  handle_->operation().OnCancelled(std::move(call));
}

void AsyncRequest::Reply(const Status& status, std::string body, const Metadata& trailing_metadata) {
  const Status finish = handle_->operation().Finish(std::move(body), status, trailing_metadata);
  if (finish.code() == StatusCode::kInvalidArgument) handle_->operation().Abort(finish, false);
}

}  // namespace relay

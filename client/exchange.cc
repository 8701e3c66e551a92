#include "relay/exchange.h"

#include <algorithm>
#include <utility>

#include "client/handles.h"

namespace relay {

Exchange::Exchange(std::shared_ptr<client::OperationHandle> handle) : handle_(std::move(handle)) {}
Exchange::Exchange(Exchange&&) noexcept = default;
Exchange& Exchange::operator=(Exchange&&) noexcept = default;
Exchange::~Exchange() = default;

Uuid Exchange::id() const { return handle_->operation().id(); }

Status Exchange::Write(std::string_view bytes) { return handle_->operation().Write(bytes); }

Status Exchange::FinishWriting() { return handle_->operation().Finish({}); }

StatusOr<ResponseHead> Exchange::ReadHead() {
  client::Operation& operation = handle_->operation();
  operation.Flush();
  if (Status status = operation.WaitHead(); !status.ok()) return status;
  return operation.response();
}

StatusOr<size_t> Exchange::Read(std::span<char> out) {
  client::Operation& operation = handle_->operation();
  operation.Flush();
  return operation.Read(out);
}

StatusOr<std::string> Exchange::ReadAll(size_t max_bytes) {
  client::Operation& operation = handle_->operation();
  operation.Flush();
  auto body = operation.ReadAll(max_bytes);
  if (body.status().code() == StatusCode::kResourceExhausted) Cancel(body.status());
  return body;
}

Metadata Exchange::trailing_metadata() const { return handle_->operation().trailing_metadata(); }

void Exchange::Cancel(Status why) { handle_->operation().Abort(why, false); }

}  // namespace relay

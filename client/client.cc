#include "relay/client.h"

#include <utility>

#include "client/handles.h"
#include "client/wire.h"
#include "proto/channel_name.h"

namespace relay {
namespace {

using client::Operation;
using client::OperationSpec;

// The secret by which a client may take over from itself (PROTOCOL.md, "Taking over").
std::string NewKey() { return std::string(proto::BytesOf(proto::NewSecret())); }

std::optional<absl::Duration> ToAbsl(std::optional<std::chrono::milliseconds> duration) {
  if (!duration.has_value()) return std::nullopt;
  return absl::Milliseconds(duration->count());
}

Status FillIn(OperationSpec& spec, std::string_view name, const SendOptions& options) {
  if (options.timeout.has_value() && options.timeout->count() <= 0) {
    return DeadlineExceededError("a timeout of zero leaves no time to send anything");
  }
  auto head = client::MakeStart(options.method, options.content_type, options.metadata);
  if (!head.ok()) return head.status();
  spec.kind = Operation::Kind::kSend;
  spec.name = name;
  spec.if_busy = options.if_busy;
  spec.limit = ToAbsl(options.timeout);
  spec.max_extension = absl::Milliseconds(options.max_extension.count());
  spec.start.head = *std::move(head);
  spec.start.is_idempotent = options.idempotent;
  spec.start.requires_receiver = options.require_receiver;
  return OkStatus();
}

class AsyncSend : public Operation {
 public:
  using Done = std::function<void(StatusOr<Reply>)>;

  AsyncSend(OperationSpec spec, std::shared_ptr<client::Participant> participant, std::string body, Done done)
      : Operation(std::move(spec), std::move(participant), std::move(body)), done_(std::move(done)) {
    OweDone();
  }

 private:
  void OnDone() override { std::exchange(done_, nullptr)(TakeReply()); }

  Done done_;
};

}  // namespace

namespace client {

class AsyncReceive : public Operation {
 public:
  using Done = std::function<void(StatusOr<AsyncRequest>)>;

  AsyncReceive(OperationSpec spec, const std::shared_ptr<ClientHandle>& handle, Done done)
      : Operation(std::move(spec), handle->participant()), handle_(handle), done_(std::move(done)) {
    OweDone();
  }

 private:
  void OnDone() override {
    const Done done = std::exchange(done_, nullptr);
    StatusOr<std::string> body = TakeBody();
    if (!body.ok()) return done(body.status());
    auto handle = handle_.lock();
    if (handle == nullptr) {
      Abort(UnavailableError("the receiver has left"), true);
      return done(CancelledError("the client was dropped"));
    }
    done(AsyncRequest(std::make_shared<OperationHandle>(std::move(handle), shared_from_this()), *std::move(body)));
  }

  const std::weak_ptr<ClientHandle> handle_;  // which must not keep the client: dropping that ends the operation
  Done done_;
};

}  // namespace client

Client::Client(std::shared_ptr<Connection> connection, std::string_view channel, ClientOptions options) {
  auto participant = std::make_shared<client::Participant>();
  participant->id = options.id.is_nil() ? Uuid::New() : options.id;
  participant->key = NewKey();
  participant->link = connection->link_;
  const Status status = client::CheckChannel(channel);
  if (status.ok()) {
    participant->channel_id = proto::ChannelId(channel);
    if (!proto::ParseUuid(channel).has_value()) participant->channel_name = channel;
  }
  handle_ = std::make_shared<client::ClientHandle>(std::move(connection), std::move(participant), status);
}

Client::Client(const Client&) = default;
Client& Client::operator=(const Client&) = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

const Uuid& Client::id() const { return handle_->participant()->id; }

StatusOr<Reply> Client::Send(std::string_view body, const SendOptions& options) {
  if (Status status = handle_->CheckMayBlock(); !status.ok()) return status;
  OperationSpec spec;
  if (Status status = FillIn(spec, "Send", options); !status.ok()) return status;
  spec.collect_bytes = options.max_reply_bytes;
  const auto operation = std::make_shared<Operation>(std::move(spec), handle_->participant(), std::string(body));
  handle_->link().Submit(operation);
  if (Status status = operation->WaitEnd(); !status.ok()) return status;
  return operation->TakeReply();
}

StatusOr<Exchange> Client::Start(const SendOptions& options) {
  if (Status status = handle_->CheckMayBlock(); !status.ok()) return status;
  OperationSpec spec;
  if (Status status = FillIn(spec, "Start", options); !status.ok()) return status;
  const auto operation = std::make_shared<Operation>(std::move(spec), handle_->participant());
  handle_->link().Submit(operation);
  if (Status status = operation->WaitTurn(); !status.ok()) return status;
  return Exchange(std::make_shared<client::OperationHandle>(handle_, operation));
}

StatusOr<Request> Client::Receive(const ReceiveOptions& options) {
  if (Status status = handle_->CheckMayBlock(); !status.ok()) return status;
  OperationSpec spec;
  spec.kind = Operation::Kind::kReceive;
  spec.name = "Receive";
  spec.if_busy = options.if_busy;
  spec.limit = ToAbsl(options.wait);
  const auto operation = std::make_shared<Operation>(std::move(spec), handle_->participant());
  handle_->link().Submit(operation);
  if (Status status = operation->WaitHead(); !status.ok()) return status;
  return Request(std::make_shared<client::OperationHandle>(handle_, operation));
}

void Client::SendAsync(std::string body, const SendOptions& options, std::function<void(StatusOr<Reply>)> done) {
  if (!handle_->channel_status().ok()) return done(handle_->channel_status());
  OperationSpec spec;
  if (Status status = FillIn(spec, "SendAsync", options); !status.ok()) return done(status);
  spec.collect_bytes = options.max_reply_bytes;
  handle_->link().Submit(
      std::make_shared<AsyncSend>(std::move(spec), handle_->participant(), std::move(body), std::move(done)));
}

void Client::ReceiveAsync(const ReceiveOptions& options, std::function<void(StatusOr<AsyncRequest>)> done) {
  if (!handle_->channel_status().ok()) return done(handle_->channel_status());
  OperationSpec spec;
  spec.kind = Operation::Kind::kReceive;
  spec.name = "ReceiveAsync";
  spec.if_busy = options.if_busy;
  spec.limit = ToAbsl(options.wait);
  spec.collect_bytes = options.max_body_bytes;
  handle_->link().Submit(std::make_shared<client::AsyncReceive>(std::move(spec), handle_, std::move(done)));
}

}  // namespace relay

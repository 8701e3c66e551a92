// The logical participant of a channel.

#ifndef RELAY_CLIENT_H_
#define RELAY_CLIENT_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "relay/connection.h"
#include "relay/exchange.h"
#include "relay/options.h"
#include "relay/request.h"
#include "relay/status.h"
#include "relay/uuid.h"

namespace relay {

namespace client {
class ClientHandle;
class Worker;
}  // namespace client

// Sends requests into its channel and receives such as others have sent, one operation at a time: a Send or a Receive
// holds the client from the call's beginning until the exchange has ended. A second operation waits its turn, first
// come first served, no longer than its own timeout; then it gets DEADLINE_EXCEEDED with words that name the operation
// in its way ("client 1b4e... is busy with Receive since 210 ms"). Operations end with the connection, so Close from
// any thread frees whoever waits.
//
// Cheap: many clients share a connection, and copies are the same client. It joins its channel with its first
// operation and leaves it when the last copy, and the last Exchange and Request made from it, are gone, and what they
// answered has gone out; operations of the callback form that are pending then end with CANCELLED. Each keeps the
// connection alive.
//
// The blocking calls give FAILED_PRECONDITION on the connection's I/O thread, that is, inside callbacks. Errors beyond
// those named at each call, for all of them: INVALID_ARGUMENT (a channel name that is none; what does not fit in a
// START), FAILED_PRECONDITION (the connection was closed), CANCELLED (it was closed meanwhile), ALREADY_EXISTS and
// ABORTED (another client bears this id), RESOURCE_EXHAUSTED (too many clients on the connection). Thread-safe.
class Client {
 public:
  // `channel` is a name (1 to 255 bytes of UTF-8 without control characters) or a UUID.
  Client(std::shared_ptr<Connection> connection, std::string_view channel, ClientOptions options = {});
  Client(const Client&);
  Client& operator=(const Client&);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  const Uuid& id() const;

  // One request, one response, both whole. The receiver's own status where that is not OK; DEADLINE_EXCEEDED when the
  // timeout has passed; RESOURCE_EXHAUSTED where the channel's queue is full, with retry_after() where the server can
  // say, or the response larger than max_reply_bytes; UNAVAILABLE where the receiver or the connection was lost, and
  // SendOptions::idempotent did not help. may_have_run() says whether a request that failed may have been worked on.
  StatusOr<Reply> Send(std::string_view body, const SendOptions& options = {});

  // The streamed form. Returns when the client is free for it; nothing is sent before the first bytes, FinishWriting,
  // ReadHead or Read.
  StatusOr<Exchange> Start(const SendOptions& options = {});

  // The request of this channel that is next. DEADLINE_EXCEEDED when none came within the wait.
  StatusOr<Request> Receive(const ReceiveOptions& options = {});

  // As Send, without a thread that waits: `done` is called once, on the I/O thread, or, where the operation cannot
  // begin at all, by this call. It must not block. It may begin further operations of this form.
  void SendAsync(std::string body, const SendOptions& options, std::function<void(StatusOr<Reply>)> done);

  // As Receive, with the body whole; RESOURCE_EXHAUSTED where that is larger than max_body_bytes. The client is busy
  // until Reply. `done` as above.
  void ReceiveAsync(const ReceiveOptions& options, std::function<void(StatusOr<AsyncRequest>)> done);

 private:
  friend class client::Worker;

  std::shared_ptr<client::ClientHandle> handle_;
};

}  // namespace relay

#endif  // RELAY_CLIENT_H_

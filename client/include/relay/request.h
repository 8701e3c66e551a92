// The receiver's side of one exchange.

#ifndef RELAY_REQUEST_H_
#define RELAY_REQUEST_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "relay/options.h"
#include "relay/status.h"
#include "relay/uuid.h"

namespace relay {

namespace client {
class AsyncReceive;
class OperationHandle;
class Worker;
}  // namespace client

// What a request begins with.
struct RequestInfo {
  Uuid id;
  Uuid sender;  // the client that asks
  std::string method;
  std::string content_type;
  Metadata metadata;
  uint32_t attempt = 0;                     // from 1; more where an earlier receiver was lost
  std::chrono::microseconds queue_wait{0};  // how long it lay in the server's queue
};

// A request that streams in while its response streams out. Each at its own pace: one thread may read while another
// writes. The response may begin, and end, before the request has been read.
//
// Dropping it unfinished resets it: the sender gets ABORTED "dropped unfinished". Moved from, it may only be assigned
// to or dropped. Thread-safe for one reader and one writer at a time; the rest from any thread.
class Request {
 public:
  Request(Request&&) noexcept;
  Request& operator=(Request&&) noexcept;
  ~Request();

  const RequestInfo& info() const;
  // What is left of the sender's timeout, at least 0; nothing where it set none.
  std::optional<std::chrono::milliseconds> remaining() const;

  // Asks for `time` from now on, and returns what there is then: at least what there was, and no more than the sender
  // allows (SendOptions::max_extension); milliseconds::max() where it set no timeout. Blocks until the server has
  // answered. Not OK: the exchange has ended, as for Read.
  StatusOr<std::chrono::milliseconds> ExtendDeadline(std::chrono::milliseconds time);

  // Takes up to out.size() bytes of the request body, at least 1; blocks until some have come. 0: it is complete. Not
  // OK: the exchange has ended (CANCELLED: the sender gave up; DEADLINE_EXCEEDED: its timeout has passed; UNAVAILABLE:
  // the connection was lost), and `out` is as it was.
  StatusOr<size_t> Read(std::span<char> out);

  // The rest of the request body, at most `max_bytes`; RESOURCE_EXHAUSTED beyond, and the request is as Read left it.
  StatusOr<std::string> ReadAll(size_t max_bytes = size_t{64} << 20);

  // What the response begins with. FAILED_PRECONDITION behind the first Write; INVALID_ARGUMENT where it is no UTF-8
  // or larger than the server takes.
  Status SetHead(std::string method, std::string content_type, Metadata metadata = {});

  // Sends `bytes` of the response body. Blocks while more than a window of them waits for the sender to read on. Not
  // OK: the exchange has ended, as for Read.
  Status Write(std::string_view bytes);

  // Ends the response, and with it the exchange: the sender gets `status`, whose code and message alone travel, and
  // the metadata. Blocks until the rest of the body could be sent. A response that was not begun goes out whole as one
  // frame. Not OK: the exchange had ended already; FAILED_PRECONDITION where it was finished; INVALID_ARGUMENT for
  // metadata that are larger than the server takes, and the request goes on.
  Status Finish(const Status& status = {}, const Metadata& trailing_metadata = {});

  // The whole response at once: `body` behind what was written, then Finish, and as far as it fits in one frame. In a
  // handler of Serve it does not block, and leaves when the handler returns.
  Status Reply(std::string_view body, const Metadata& trailing_metadata = {});

  // Ends the exchange at once, the response unfinished: the sender gets `why`, here everything does. Nothing where it
  // has ended.
  void Reset(const Status& why);

  // Gives the request back for another receiver to do; where that cannot be (it is not idempotent, a response was
  // begun, too much was sent, too many have tried), the sender gets UNAVAILABLE.
  void Requeue();

  // Whether the exchange has ended other than by Finish: the sender is gone and work on it is wasted.
  bool cancelled() const;
  // Blocks until cancelled() holds or `timeout` has passed, not at all on the I/O thread; returns cancelled().
  bool WaitCancelled(std::chrono::milliseconds timeout) const;
  // OK while it runs and when it was finished; else how it ended.
  Status status() const;

  // `call` is called once when the exchange ends and nothing here has ended it, with the status(): on the I/O thread,
  // which it must not block, or, where that was so before, by this call. Not once Finish, Reply, Reset or Requeue was
  // called, nor behind the Request's end: Finish, Reply, the destructor and another OnCancelled wait for one that runs.
  // It replaces the one before; an empty one takes that back, which a handler of Serve does before it returns where
  // `call` uses what is its own, for the Request outlives that.
  void OnCancelled(std::function<void(const Status&)> call);

 private:
  friend class Client;
  friend class client::Worker;
  explicit Request(std::shared_ptr<client::OperationHandle> handle);

  std::shared_ptr<client::OperationHandle> handle_;
};

// A request with its whole body, as ReceiveAsync brings it. Dropping it unanswered resets it, as with Request.
// Thread-safe.
class AsyncRequest {
 public:
  AsyncRequest(AsyncRequest&&) noexcept;
  AsyncRequest& operator=(AsyncRequest&&) noexcept;
  ~AsyncRequest();

  const RequestInfo& info() const;
  const std::string& body() const { return body_; }
  std::string& body() { return body_; }
  std::optional<std::chrono::milliseconds> remaining() const;
  // Whether the sender is gone and work on it is wasted.
  bool cancelled() const;
  // As Request::ExtendDeadline, without a wait: `done`, which may be empty, is called once with what that returns, on
  // the I/O thread or, where the exchange has ended, by this call.
  void ExtendDeadline(std::chrono::milliseconds time,
                      std::function<void(StatusOr<std::chrono::milliseconds>)> done = {});
  // As Request::OnCancelled; Reply waits for nothing.
  void OnCancelled(std::function<void(const Status&)> call);

  // Ends the exchange with `status` and `body`; does not block. Only the first call counts. Where the exchange has
  // ended otherwise, or the metadata are larger than the server takes (the sender gets INVALID_ARGUMENT), the reply is
  // thrown away.
  void Reply(const Status& status, std::string body = {}, const Metadata& trailing_metadata = {});

 private:
  friend class client::AsyncReceive;
  AsyncRequest(std::shared_ptr<client::OperationHandle> handle, std::string body);

  std::shared_ptr<client::OperationHandle> handle_;
  std::string body_;
};

}  // namespace relay

#endif  // RELAY_REQUEST_H_

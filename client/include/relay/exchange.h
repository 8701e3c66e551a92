// The sender's side of one exchange, and what comes back.

#ifndef RELAY_EXCHANGE_H_
#define RELAY_EXCHANGE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "relay/options.h"
#include "relay/status.h"
#include "relay/uuid.h"

namespace relay {

namespace client {
class OperationHandle;
}  // namespace client

// What a response begins with.
struct ResponseHead {
  std::string method;
  std::string content_type;
  Metadata metadata;
  Uuid receiver;                            // the client that answers
  uint32_t attempt = 0;                     // from 1; more where an earlier receiver was lost
  std::chrono::microseconds queue_wait{0};  // how long the request lay in the server's queue
};

// A whole response.
struct Reply {
  std::string body;
  ResponseHead head;
  Metadata trailing_metadata;
};

// A request that streams out while its response streams in. Each at its own pace: one thread may write while another
// reads. The exchange ends with the response, whatever is still to be written; until then its client is busy.
//
// The first bytes wait for nobody but ride in the frame that opens the exchange: what is written before the I/O thread
// comes round, and a FinishWriting right behind it, leave as one frame.
//
// Dropping it before the response has ended cancels it. Moved from, it may only be assigned to or dropped.
// Thread-safe for one writer and one reader at a time; Cancel from any thread.
class Exchange {
 public:
  Exchange(Exchange&&) noexcept;
  Exchange& operator=(Exchange&&) noexcept;
  ~Exchange();

  // The request's id.
  Uuid id() const;

  // Sends `bytes` of the request body. Blocks while more than a window of them waits for the receiver to read on. Not
  // OK: the exchange has ended, in one way or the other, and nothing more can be sent; Read has the verdict.
  // FAILED_PRECONDITION: the response had ended already (not an error: a receiver may answer early), or FinishWriting
  // was called.
  Status Write(std::string_view bytes);

  // The request body is complete. Does not block. Status as Write.
  Status FinishWriting();

  // The response's head; blocks until it has come. Not OK: the exchange ended without one.
  StatusOr<ResponseHead> ReadHead();

  // Takes up to out.size() bytes of the response body, at least 1; blocks until some have come. 0: the response is
  // complete, and ended well. Not OK: it did not, and `out` is as it was: the receiver's own status, or that of the
  // reset. Bytes that came before it are read first.
  StatusOr<size_t> Read(std::span<char> out);

  // The rest of the response body, at most `max_bytes`; RESOURCE_EXHAUSTED beyond, and the exchange is cancelled.
  StatusOr<std::string> ReadAll(size_t max_bytes = size_t{64} << 20);

  // What the receiver sent behind the body; empty until Read has said 0 or an error.
  Metadata trailing_metadata() const;

  // Ends the exchange at once, the request unfinished: the receiver sees CANCELLED, Read and Write here `why`. Nothing
  // where it has ended. From any thread.
  void Cancel(Status why = CancelledError("cancelled by the sender"));

 private:
  friend class Client;
  explicit Exchange(std::shared_ptr<client::OperationHandle> handle);

  std::shared_ptr<client::OperationHandle> handle_;
};

}  // namespace relay

#endif  // RELAY_EXCHANGE_H_

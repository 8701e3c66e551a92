// What a caller may choose. Values; the defaults suit most callers.

#ifndef RELAY_OPTIONS_H_
#define RELAY_OPTIONS_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "relay/status.h"
#include "relay/uuid.h"

namespace relay {

// Names and values that travel beside a body, in order; a name may come more than once. Names are UTF-8, values any
// bytes.
using Metadata = std::vector<std::pair<std::string, std::string>>;

// What an operation does when its client is busy with another one.
enum class IfBusy {
  kWait,  // waits its turn, first come first served, no longer than its own timeout
  kFail,  // FAILED_PRECONDITION at once
};

// Of one Connection.
struct ConnectionOptions {
  // What this program tells the server that it is.
  std::string agent = "relay-cpp";
  // From the first packet to the server's WELCOME, for each address.
  std::chrono::milliseconds connect_timeout{10'000};
  // A lost connection is made again after a random wait of up to a bound that doubles from the first of these to the
  // second with each attempt that fails.
  std::chrono::milliseconds reconnect_min{100};
  std::chrono::milliseconds reconnect_max{5'000};
  // How long a Send that is begun, or is to be sent again, while the connection is away waits for it before it gets
  // UNAVAILABLE; and how long one is sent again where a server refuses it again and again.
  std::chrono::milliseconds wait_for_connection{10'000};
  // Called on the I/O thread: OK when the connection is up again, else why it was lost, or that its server drains. May
  // be empty.
  std::function<void(const Status&)> on_change;
};

// Of one Client.
struct ClientOptions {
  // The client's name on its channel; nil stands for a random one.
  Uuid id = {};
};

// Of one Send or Start.
struct SendOptions {
  // For the whole operation: the wait for a busy client, for a receiver, and the exchange. Absent: without end. Zero
  // or less: DEADLINE_EXCEEDED at once, and nothing is sent.
  std::optional<std::chrono::milliseconds> timeout = std::nullopt;
  // Receivers that need longer may move the timeout, to so much at the most, counted from this operation's begin too.
  std::chrono::milliseconds max_extension{0};
  std::string method = {};        // UTF-8
  std::string content_type = {};  // UTF-8
  Metadata metadata = {};
  // May be done twice: the server hands it to another receiver if the first one is lost, and this library sends it
  // again, under the same id and within its timeout, if its connection was lost or the server stopped or would not have
  // it, and nothing of a response has come. Send and SendAsync keep the body for that, Start the first 256 KiB of what
  // is written: one that has written more is not sent again. Before each time there is a random pause whose bound
  // doubles as for reconnecting, and wait_for_connection bounds the wait for a server. Without it, such an end is
  // UNAVAILABLE at once, and may_have_run() is false only where nobody can have worked on it. RESOURCE_EXHAUSTED is
  // never tried again here: retry_after() is for the caller.
  bool idempotent = false;
  // UNAVAILABLE, end "no_receiver", if no receiver is there.
  bool require_receiver = false;
  IfBusy if_busy = IfBusy::kWait;
  // Of Send and SendAsync: the most bytes of response body that are held; RESOURCE_EXHAUSTED beyond.
  size_t max_reply_bytes = size_t{64} << 20;
};

// Of one Receive.
struct ReceiveOptions {
  // How long to wait for a request: absent without end, zero not at all. The server keeps the time. It bounds the wait
  // for a busy client too.
  std::optional<std::chrono::milliseconds> wait = std::nullopt;
  IfBusy if_busy = IfBusy::kWait;
  // Of ReceiveAsync: the most bytes of request body that are held; the sender gets RESOURCE_EXHAUSTED beyond.
  size_t max_body_bytes = size_t{64} << 20;
};

// Of one pool of receivers.
struct ServeOptions {
  // So many clients, with a thread each: so many requests at once. At least 1.
  size_t concurrency = 1;
  // The pool takes so many requests in all and ends; 0 for no bound.
  size_t max_requests = 0;
  // A client that has waited so long for a request leaves the pool; absent: none does.
  std::optional<std::chrono::milliseconds> wait = std::nullopt;
};

}  // namespace relay

#endif  // RELAY_OPTIONS_H_

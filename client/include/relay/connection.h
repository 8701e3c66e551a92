// The resource: the socket to a relay server, and the one thread that touches it.

#ifndef RELAY_CONNECTION_H_
#define RELAY_CONNECTION_H_

#include <memory>
#include <string>
#include <string_view>

#include "relay/options.h"
#include "relay/status.h"

namespace relay {

namespace client {
class Link;
}  // namespace client

// Carries any number of clients. When it is lost it is made again by itself, with jittered backoff: exchanges that ran
// end UNAVAILABLE, or are sent again where they are idempotent and unanswered; a Receive that waited goes on waiting.
// When the server drains, what runs there goes on there, on the old socket, and all else goes to the next server at
// once. Owned by whoever opened it and by its clients together. Thread-safe.
class Connection {
 public:
  // `url` is "tcp://HOST:PORT" or "unix:PATH", or several with commas between, which are tried in turn. Blocks until
  // a server has said WELCOME. INVALID_ARGUMENT for a url that is none; the server's own status where it refuses;
  // UNAVAILABLE where nobody answers ("connect tcp://127.0.0.1:1: connection refused"), DEADLINE_EXCEEDED where that
  // takes longer than the connect timeout; the system's look-up of a name is not bounded by that. Failure leaves
  // nothing behind.
  static StatusOr<std::shared_ptr<Connection>> Open(std::string_view url, ConnectionOptions options = {});

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  // Closes.
  ~Connection();

  // Ends the connection for good. What is pending on it ends with CANCELLED, what begins later with
  // FAILED_PRECONDITION; bytes that were handed over before are still sent as far as their windows go (for up to a
  // second). Returns when the I/O thread is gone; in a callback on that thread it returns at once, and the thread ends
  // behind the callback. May be called again and from any thread.
  void Close();

  // Whether the server can be reached at this moment.
  bool connected() const;
  // The address of the server that it speaks to, or spoke to last: "tcp://127.0.0.1:7420".
  std::string url() const;

 private:
  friend class Client;
  explicit Connection(std::shared_ptr<client::Link> link);

  const std::shared_ptr<client::Link> link_;
};

}  // namespace relay

#endif  // RELAY_CONNECTION_H_

// Listens on one address and gives a Stream for each connection that comes.

#ifndef RELAY_NET_LISTENER_H_
#define RELAY_NET_LISTENER_H_

#include <sys/socket.h>

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/stream.h"

namespace relay::net {

// Loop thread only. Destroying it, also from inside its calls, stops listening and removes the Unix socket's file.
class Listener {
 public:
  using OnAccept = std::function<void(std::unique_ptr<Stream>)>;
  using OnError = std::function<void(absl::Status)>;

  // Port 0 takes any free port; a name is looked up there and then, and its first address is used. A Unix socket's file
  // that nobody listens on is replaced. Errors name the operation and its object, as "bind tcp://0.0.0.0:7400: address
  // already in use" (ALREADY_EXISTS), also for a Unix path on which somebody listens, or which is no socket.
  //
  // `on_error`, where given, hears of connections that could not be accepted. Out of descriptors or memory, the
  // listener rests for 100 ms, while connections wait in the backlog. Whom a full backlog turns away tries again after
  // a second, so it is as long as the system allows.
  static absl::StatusOr<std::unique_ptr<Listener>> Listen(Loop& loop, const Address& address, OnAccept on_accept,
                                                          OnError on_error = nullptr, int backlog = SOMAXCONN);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // With the port that was taken.
  const Address& address() const { return address_; }

 private:
  class Accepting;

  Listener(Address address, Accepting* accepting);

  const Address address_;
  Accepting* const accepting_;  // Deleted by its close callback.
};

}  // namespace relay::net

#endif  // RELAY_NET_LISTENER_H_

// The few things that net/ does with sockets below libuv: one owner for a descriptor, and addresses of the system.
// Used inside net/ only, but for who passes a Socket on.

#ifndef RELAY_NET_SOCKET_H_
#define RELAY_NET_SOCKET_H_

#include <sys/socket.h>

#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "net/address.h"

namespace relay::net {

// Owns a descriptor.
class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  ~Socket() { Close(); }
  Socket(Socket&& other) noexcept : fd_(other.Release()) {}
  Socket& operator=(Socket&& other) noexcept {
    Close();
    fd_ = other.Release();
    return *this;
  }

  int fd() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  void Close();

 private:
  int fd_;  // Below 0: none.
};

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t bytes = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

// Nothing where the host is a name and has to be looked up. A Unix path that is too long is INVALID_ARGUMENT.
absl::StatusOr<std::optional<SocketAddress>> WithoutLookup(const Address& address);

// The TCP address that the system gave.
Address FromSystem(const SocketAddress& address);

// Non-blocking and closed on exec. -errno on failure.
int NewSocket(int family);

}  // namespace relay::net

#endif  // RELAY_NET_SOCKET_H_

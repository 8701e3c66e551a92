#include "net/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace relay::net {

void Socket::Close() {
  if (fd_ >= 0) ::close(Release());
}

absl::StatusOr<std::optional<SocketAddress>> WithoutLookup(const Address& address) {
  SocketAddress result;
  if (address.kind == Address::Kind::kUnix) {
    auto* un = reinterpret_cast<sockaddr_un*>(&result.storage);
    if (address.path.empty() || address.path.size() >= sizeof(un->sun_path)) {
      return absl::InvalidArgumentError(
          absl::StrCat(ToString(address), ": the path of a Unix socket has 1 to ", sizeof(un->sun_path) - 1, " bytes"));
    }
    un->sun_family = AF_UNIX;
    std::memcpy(un->sun_path, address.path.data(), address.path.size());
    result.bytes = sizeof(*un);
    return result;
  }
  auto* in = reinterpret_cast<sockaddr_in*>(&result.storage);
  if (inet_pton(AF_INET, address.host.c_str(), &in->sin_addr) == 1) {
    in->sin_family = AF_INET;
    in->sin_port = htons(address.port);
    result.bytes = sizeof(*in);
    return result;
  }
  result = SocketAddress();
  auto* in6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
  if (inet_pton(AF_INET6, address.host.c_str(), &in6->sin6_addr) == 1) {
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(address.port);
    result.bytes = sizeof(*in6);
    return result;
  }
  return std::nullopt;
}

Address FromSystem(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  Address result;
  if (address.storage.ss_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
    result.port = ntohs(in6->sin6_port);
  } else {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&address.storage);
    inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    result.port = ntohs(in->sin_port);
  }
  result.host = text;
  return result;
}

int NewSocket(int family) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd < 0 ? -errno : fd;
}

}  // namespace relay::net

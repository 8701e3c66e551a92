#include "testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>

namespace relay::net {

void Connected::ConnectTcp(int (&fds)[2]) {
  const RawSocket listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(listening.fd(), generic, bytes), 0);
  ASSERT_EQ(::listen(listening.fd(), 1), 0);
  ASSERT_EQ(::getsockname(listening.fd(), generic, &bytes), 0);
  fds[1] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::connect(fds[1], generic, bytes), 0);
  fds[0] = ::accept4(listening.fd(), nullptr, nullptr, SOCK_CLOEXEC);
  ASSERT_GE(fds[0], 0);
}

}  // namespace relay::net

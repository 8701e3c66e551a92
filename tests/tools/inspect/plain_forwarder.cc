// A byte forwarder and nothing else, to measure relay inspect against: one connection, one thread, 256 KiB at a time.
//   plain_forwarder PORT    listens on any port of 127.0.0.1, which it prints, and forwards to PORT

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

void Check(bool holds, const char* what) {
  if (holds) return;
  std::perror(what);
  std::exit(1);
}

sockaddr_in Local(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// False at the end of the input.
bool Forward(int from, int to, std::vector<char>& buffer) {
  const ssize_t got = read(from, buffer.data(), buffer.size());
  Check(got >= 0, "read");
  if (got == 0) {
    shutdown(to, SHUT_WR);
    return false;
  }
  for (ssize_t at = 0; at < got;) {
    const ssize_t written = write(to, buffer.data() + at, static_cast<size_t>(got - at));
    Check(written > 0, "write");
    at += written;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Local(0);
  socklen_t bytes = sizeof(address);
  Check(bind(listener, reinterpret_cast<sockaddr*>(&address), bytes) == 0 && listen(listener, 1) == 0, "listen");
  Check(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &bytes) == 0, "getsockname");
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  const int client = accept(listener, nullptr, nullptr);
  Check(client >= 0, "accept");
  const int server = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in to = Local(static_cast<uint16_t>(std::atoi(argv[1])));
  Check(connect(server, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0, "connect");
  std::vector<char> buffer(size_t{256} << 10);
  std::array<pollfd, 2> polled = {{{client, POLLIN, 0}, {server, POLLIN, 0}}};
  while (polled[0].fd >= 0 || polled[1].fd >= 0) {
    Check(poll(polled.data(), polled.size(), -1) > 0, "poll");
    if (polled[0].fd >= 0 && polled[0].revents != 0 && !Forward(client, server, buffer)) polled[0].fd = -1;
    if (polled[1].fd >= 0 && polled[1].revents != 0 && !Forward(server, client, buffer)) polled[1].fd = -1;
  }
  return 0;
}

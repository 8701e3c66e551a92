// The floor of what a relay can cost: takes bytes from one connection and gives them to another, one thread, one epoll,
// a read and a write each, nothing looked at. Usage: forwarder PORT BACKEND_PORT, both on 127.0.0.1.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace {

constexpr size_t kBufferBytes = 256 * 1024;

sockaddr_in Loopback(const char* port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void SendAtOnce(int descriptor) {
  const int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// One end of a pair. What the other end did not take is kept, and no more is read until it has.
struct End {
  int descriptor;
  End* other = nullptr;
  std::vector<char> kept;  // read here, for the other end
  size_t kept_sent = 0;
  bool is_closed = false;
};

class Forwarder {
 public:
  Forwarder(int listener, const sockaddr_in& backend)
      : poll_(epoll_create1(EPOLL_CLOEXEC)), listener_(listener), backend_(backend), buffer_(kBufferBytes) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;
    epoll_ctl(poll_, EPOLL_CTL_ADD, listener_, &event);
  }

  [[noreturn]] void Run() {
    while (true) {
      epoll_event ready[256];
      const int count = epoll_wait(poll_, ready, 256, -1);
      for (int i = 0; i < count; ++i) {
        auto* const end = static_cast<End*>(ready[i].data.ptr);
        if (end == nullptr) {
          Accept();
        } else if (!end->is_closed) {
          if ((ready[i].events & EPOLLOUT) != 0) GoOn(*end->other);
          if ((ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !end->is_closed && end->kept.empty()) {
            Forward(*end);
          }
        }
      }
      gone_.clear();
    }
  }

 private:
  void Accept() {
    const int near = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (near < 0) return;
    const int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (far < 0 ||
        (connect(far, reinterpret_cast<const sockaddr*>(&backend_), sizeof(backend_)) != 0 && errno != EINPROGRESS)) {
      close(near);
      close(far);
      return;
    }
    SendAtOnce(near);
    SendAtOnce(far);
    auto* const one = new End{.descriptor = near, .kept = {}};
    auto* const two = new End{.descriptor = far, .other = one, .kept = {}};
    one->other = two;
    Watch(*one, EPOLLIN, EPOLL_CTL_ADD);
    Watch(*two, EPOLLIN, EPOLL_CTL_ADD);
  }

  void Watch(End& end, uint32_t events, int operation) const {
    epoll_event event = {};
    event.events = events;
    event.data.ptr = &end;
    epoll_ctl(poll_, operation, end.descriptor, &event);
  }

  // Of each end: whether it waits to read, and whether to write what the other one has kept.
  void WatchBoth(End& end) const {
    for (End* const one : {&end, end.other}) {
      const uint32_t reads = one->kept.empty() ? EPOLLIN : 0u;
      const uint32_t writes = one->other->kept.empty() ? 0u : EPOLLOUT;
      Watch(*one, reads | writes, EPOLL_CTL_MOD);
    }
  }

  void Forward(End& end) {
    const ssize_t got = recv(end.descriptor, buffer_.data(), buffer_.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return Close(end);
    const auto bytes = static_cast<size_t>(got);
    const ssize_t sent = send(end.other->descriptor, buffer_.data(), bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) return Close(end);
    const size_t taken = sent < 0 ? 0 : static_cast<size_t>(sent);
    if (taken == bytes) return;
    end.kept.assign(buffer_.begin() + static_cast<std::ptrdiff_t>(taken), buffer_.begin() + got);
    end.kept_sent = 0;
    WatchBoth(end);
  }

  void GoOn(End& end) {
    if (end.kept.empty()) return;
    const ssize_t sent =
        send(end.other->descriptor, end.kept.data() + end.kept_sent, end.kept.size() - end.kept_sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return Close(end);
    if (sent > 0) end.kept_sent += static_cast<size_t>(sent);
    if (end.kept_sent < end.kept.size()) return;
    end.kept.clear();
    WatchBoth(end);
  }

  void Close(End& end) {
    for (End* const one : {&end, end.other}) {
      close(one->descriptor);
      one->is_closed = true;
      gone_.emplace_back(one);
    }
  }

  const int poll_;
  const int listener_;
  const sockaddr_in backend_;
  std::vector<char> buffer_;
  std::vector<std::unique_ptr<End>> gone_;  // until the turn is over
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: forwarder PORT BACKEND_PORT\n");
    return 64;
  }
  rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const sockaddr_in address = Loopback(argv[1]);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener, SOMAXCONN) != 0) {
    std::perror("forwarder: listen");
    return 1;
  }
  Forwarder(listener, Loopback(argv[2])).Run();
}

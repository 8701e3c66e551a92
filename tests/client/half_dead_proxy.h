// A TCP proxy that can lose one side of its connections without a word to the other: what a client sees whose host has
// changed its network, and what its server does not see.

#ifndef RELAY_TESTS_CLIENT_HALF_DEAD_PROXY_H_
#define RELAY_TESTS_CLIENT_HALF_DEAD_PROXY_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace relay::testing {

// Forwards between its own url() and that of a server, "tcp://127.0.0.1:PORT". One thread. Thread-safe.
class HalfDeadProxy {
 public:
  explicit HalfDeadProxy(const std::string& url) {
    server_.sin_family = AF_INET;
    server_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server_.sin_port = htons(static_cast<uint16_t>(std::atoi(url.substr(url.rfind(':') + 1).c_str())));
    sockaddr_in own = server_;
    own.sin_port = 0;
    listening_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(listening_, reinterpret_cast<const sockaddr*>(&own), sizeof(own)), 0);
    EXPECT_EQ(listen(listening_, 16), 0);
    socklen_t bytes = sizeof(own);
    EXPECT_EQ(getsockname(listening_, reinterpret_cast<sockaddr*>(&own), &bytes), 0);
    url_ = "tcp://127.0.0.1:" + std::to_string(ntohs(own.sin_port));
    thread_ = std::thread([this] { Run(); });
  }
  HalfDeadProxy(const HalfDeadProxy&) = delete;
  HalfDeadProxy& operator=(const HalfDeadProxy&) = delete;
  ~HalfDeadProxy() {
    Tell(kEnd);
    thread_.join();
    for (const Pair& pair : pairs_) {
      if (pair.client >= 0) close(pair.client);
      close(pair.server);
    }
    close(listening_);
    close(wakeup_);
  }

  const std::string& url() const { return url_; }
  // Every connection that there is ends for its client; the server hears nothing. Later ones are as new.
  void CutClients() { Tell(kCut); }

 private:
  enum Wish : int { kNone, kCut, kEnd };

  struct Pair {
    int client;
    int server;
  };

  void Tell(Wish wish) {
    wish_ = wish;
    const uint64_t one = 1;
    EXPECT_EQ(write(wakeup_, &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  }

  void Run() {
    while (true) {
      std::vector<pollfd> fds = {{listening_, POLLIN, 0}, {wakeup_, POLLIN, 0}};
      for (const Pair& pair : pairs_) {
        fds.push_back({pair.client, POLLIN, 0});
        fds.push_back({pair.server, POLLIN, 0});
      }
      if (poll(fds.data(), fds.size(), -1) < 0) continue;
      for (size_t i = 0; i < pairs_.size(); ++i) {
        if (fds[2 + 2 * i].revents != 0 && !Pass(pairs_[i].client, pairs_[i].server))
          shutdown(pairs_[i].server, SHUT_RDWR);
        if (fds[3 + 2 * i].revents != 0 && !Pass(pairs_[i].server, pairs_[i].client)) CloseClient(pairs_[i]);
      }
      if (fds[0].revents != 0) Accept();
      if (fds[1].revents == 0) continue;
      uint64_t count = 0;
      EXPECT_EQ(read(wakeup_, &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
      if (wish_ == kEnd) return;
      for (Pair& pair : pairs_) CloseClient(pair);
    }
  }

  void Accept() {
    const int client = accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(server, reinterpret_cast<const sockaddr*>(&server_), sizeof(server_)), 0);
    pairs_.push_back({client, server});
  }

  // False at the end of `from`. What nobody is there for is thrown away.
  static bool Pass(int from, int to) {
    char bytes[16 * 1024];
    const ssize_t got = read(from, bytes, sizeof(bytes));
    for (ssize_t sent = 0; to >= 0 && sent < got;) {
      const ssize_t part = send(to, bytes + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL);
      if (part <= 0) break;
      sent += part;
    }
    return got > 0;
  }

  static void CloseClient(Pair& pair) {
    if (pair.client < 0) return;
    close(pair.client);
    pair.client = -1;
  }

  sockaddr_in server_ = {};
  std::string url_;
  int listening_ = -1;
  const int wakeup_ = eventfd(0, EFD_CLOEXEC);
  std::atomic<int> wish_ = kNone;
  std::vector<Pair> pairs_;
  std::thread thread_;
};

}  // namespace relay::testing

#endif  // RELAY_TESTS_CLIENT_HALF_DEAD_PROXY_H_

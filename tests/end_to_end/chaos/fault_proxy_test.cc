// The proxy does to a connection what it says, and nothing else: seen from both of its ends.

#include "fault_proxy.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace relay::chaos {
namespace {

constexpr int kLimitMs = 30'000;
constexpr int kAWhileMs =
    100;  // in which nothing comes: too short a while hides a fault of the proxy, and invents none

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A socket with small verbs.
class End {
 public:
  explicit End(int socket) : socket_(socket) {}
  End(const End&) = delete;
  End& operator=(const End&) = delete;
  ~End() { close(socket_); }

  void Say(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(count, 0);
      bytes.remove_prefix(static_cast<size_t>(count));
    }
  }
  void SayFin() { shutdown(socket_, SHUT_WR); }
  // So many bytes; "FIN" or "RST" behind what there was.
  std::string Hear(size_t bytes) {
    std::string heard;
    while (heard.size() < bytes) {
      char buffer[65536];
      if (!HasNews(kLimitMs)) return heard + " and nothing";
      const ssize_t count = recv(socket_, buffer, std::min(sizeof(buffer), bytes - heard.size()), 0);
      if (count == 0) return heard + "FIN";
      if (count < 0) return heard + (errno == ECONNRESET ? "RST" : "?");
      heard.append(buffer, static_cast<size_t>(count));
    }
    return heard;
  }
  bool HasNews(int limit_ms) {
    pollfd polled = {socket_, POLLIN, 0};
    return poll(&polled, 1, limit_ms) > 0;
  }

 private:
  const int socket_;
};

class FaultProxyTest : public ::testing::Test {
 protected:
  FaultProxyTest() {
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    proxy_.emplace("tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port)), 1, 1'000);
    const std::string& url = proxy_->url();
    address = Loopback(static_cast<uint16_t>(std::atoi(url.c_str() + url.rfind(':') + 1)));
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), size), 0);
    client_.emplace(client);
    server_.emplace(accept(listener_, nullptr, nullptr));
    // What is set from here on is set on this connection.
    client_->Say("hello");
    EXPECT_EQ(server_->Hear(5), "hello");
  }
  ~FaultProxyTest() override { close(listener_); }

  // Carries this much each way, at once.
  void ExpectCarries(size_t bytes) {
    const std::string up(bytes, 'u');
    const std::string down(bytes, 'd');
    std::thread server([&] {
      server_->Say(down);
      EXPECT_TRUE(server_->Hear(bytes) == up);
    });
    std::thread writer([&] { client_->Say(up); });
    EXPECT_TRUE(client_->Hear(bytes) == down);
    writer.join();
    server.join();
  }

  const int listener_ = socket(AF_INET, SOCK_STREAM, 0);
  std::optional<FaultProxy> proxy_;
  std::optional<End> client_;
  std::optional<End> server_;
};

TEST_F(FaultProxyTest, CarriesBytesAndEachFinByItself) {
  ExpectCarries(1'000'000);
  client_->SayFin();
  EXPECT_EQ(server_->Hear(1), "FIN");
  server_->Say("still here");
  server_->SayFin();
  EXPECT_EQ(client_->Hear(11), "still hereFIN");
}

TEST_F(FaultProxyTest, DelaysSlicesAndThrottlesLoseNothing) {
  for (const Fault fault : {Fault::kDelay, Fault::kSlice, Fault::kThrottle, Fault::kNone}) {
    proxy_->Set(fault);
    ExpectCarries(50'000);
  }
}

TEST_F(FaultProxyTest, AThrottleHoldsBack) {
  proxy_->Set(Fault::kThrottle);
  const auto begin = std::chrono::steady_clock::now();
  ExpectCarries(400'000);
  // At 2 MB/s, the most that is drawn, less the first slice.
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(190));
}

TEST_F(FaultProxyTest, AStallSaysNothingAndGoesOnBehindIt) {
  proxy_->Set(Fault::kStall);
  client_->Say("up");
  server_->Say("down");
  EXPECT_FALSE(server_->HasNews(kAWhileMs));
  EXPECT_FALSE(client_->HasNews(kAWhileMs));
  proxy_->Set(Fault::kNone);
  EXPECT_EQ(server_->Hear(2), "up");
  EXPECT_EQ(client_->Hear(4), "down");
}

TEST_F(FaultProxyTest, ACutIsAFinToBoth) {
  proxy_->Set(Fault::kCut);
  EXPECT_EQ(server_->Hear(1), "FIN");
  EXPECT_EQ(client_->Hear(1), "FIN");
}

TEST_F(FaultProxyTest, AResetIsARstToBoth) {
  proxy_->Set(Fault::kReset);
  EXPECT_EQ(server_->Hear(1), "RST");
  EXPECT_EQ(client_->Hear(1), "RST");
}

TEST_F(FaultProxyTest, WhoLosesTheClientStaysOpenToTheServer) {
  proxy_->Set(Fault::kLoseClient);
  EXPECT_EQ(client_->Hear(1), "RST");
  server_->Say(std::string(10'000'000, 'x'));  // is read, and lost
  EXPECT_FALSE(server_->HasNews(kAWhileMs));
}

TEST_F(FaultProxyTest, WhoLosesTheServerStaysOpenToTheClient) {
  proxy_->Set(Fault::kLoseServer);
  EXPECT_EQ(server_->Hear(1), "RST");
  client_->Say(std::string(10'000'000, 'x'));
  EXPECT_FALSE(client_->HasNews(kAWhileMs));
}

TEST_F(FaultProxyTest, RoamingDoesEverythingInTheEnd) {
  proxy_->Roam();
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const uint16_t port = static_cast<uint16_t>(std::atoi(proxy_->url().c_str() + proxy_->url().rfind(':') + 1));
  sockaddr_in address = Loopback(port);
  std::vector<std::optional<End>> clients(16);
  const auto has_all = [this] {
    const auto counts = proxy_->counts();
    return std::find(counts.begin(), counts.end(), 0) == counts.end();
  };
  for (size_t i = 0; !has_all() && std::chrono::steady_clock::now() < give_up; ++i) {
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    clients[i % clients.size()].emplace(client);
    const End server(accept(listener_, nullptr, nullptr));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(has_all());
  proxy_->ResetAll();
}

}  // namespace
}  // namespace relay::chaos

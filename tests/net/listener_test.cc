#include "net/listener.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "net/connector.h"
#include "testing.h"

namespace relay::net {
namespace {

class ListenerTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const Address& address) {
    return Listener::Listen(
        *loop_, address, [this](std::unique_ptr<Stream> stream) { accepted_.push_back(std::move(stream)); },
        [this](absl::Status error) { errors_.push_back(std::move(error)); });
  }

  std::unique_ptr<Connector> Connect(const Address& address) {
    return std::make_unique<Connector>(*loop_, address, [this](Connector::Result result) {
      ASSERT_TRUE(result.ok()) << result.status();
      connected_.push_back(*std::move(result));
    });
  }

  // A path of this test's own.
  static Address UnixAddress() {
    Address address;
    address.kind = Address::Kind::kUnix;
    address.path = testing::TempDir() + "relay_net_" + std::to_string(::getpid());
    ::unlink(address.path.c_str());
    return address;
  }

  static bool Exists(const Address& address) {
    struct stat found;
    return ::lstat(address.path.c_str(), &found) == 0;
  }

  const Address any_port_ = *ParseAddress("tcp://127.0.0.1:0");
  std::unique_ptr<Loop> loop_ = NewLoop();
  std::vector<std::unique_ptr<Stream>> accepted_;
  std::vector<std::unique_ptr<Stream>> connected_;
  std::vector<absl::Status> errors_;
};

TEST_F(ListenerTest, PortZeroTellsTheRealPortAndConnects) {
  for (const char* const text : {"tcp://127.0.0.1:0", "tcp://localhost:0"}) {
    accepted_.clear();
    const auto listener = Listen(*ParseAddress(text));
    ASSERT_TRUE(listener.ok()) << listener.status();
    ASSERT_NE((*listener)->address().port, 0);
    const auto connector = Connect((*listener)->address());
    RunUntil(*loop_, [this] { return accepted_.size() == 1 && !connected_.empty(); });
    EXPECT_EQ(connected_.back()->peer(), ToString((*listener)->address()));
    EXPECT_EQ(accepted_[0]->peer().rfind("tcp://", 0), 0u) << accepted_[0]->peer();
    Recorder handler;
    accepted_[0]->SetHandler(&handler);
    accepted_[0]->StartReading();
    Write(*connected_.back(), {"hello"});
    RunUntil(*loop_, [&handler] { return handler.received == "hello"; });
    accepted_.clear();
  }
}

TEST_F(ListenerTest, APortInUseIsAnErrorThatNamesIt) {
  const auto first = Listen(any_port_);
  ASSERT_TRUE(first.ok());
  const auto second = Listen((*first)->address());
  EXPECT_EQ(second.status(),
            absl::AlreadyExistsError("bind " + ToString((*first)->address()) + ": address already in use"));
}

TEST_F(ListenerTest, ThePortIsFreeOnceTheListenerIsGone) {
  auto listener = Listen(any_port_);
  ASSERT_TRUE(listener.ok());
  const Address address = (*listener)->address();
  listener->reset();
  EXPECT_TRUE(Listen(address).ok());
}

TEST_F(ListenerTest, AnUnknownHostIsUnavailable) {
  EXPECT_EQ(Listen(*ParseAddress("tcp://relay.invalid:0")).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ListenerTest, UnixSocketConnectsAndRemovesItsFile) {
  const Address address = UnixAddress();
  auto listener = Listen(address);
  ASSERT_TRUE(listener.ok()) << listener.status();
  const auto connector = Connect(address);
  RunUntil(*loop_, [this] { return accepted_.size() == 1 && connected_.size() == 1; });
  EXPECT_EQ(accepted_[0]->peer(), ToString(address));
  listener->reset();
  EXPECT_FALSE(Exists(address));
}

TEST_F(ListenerTest, AStaleUnixSocketIsReplaced) {
  const Address address = UnixAddress();
  {
    const RawSocket dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, address.path.data(), address.path.size());
    ASSERT_EQ(::bind(dead.fd(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  }
  ASSERT_TRUE(Exists(address));
  const auto listener = Listen(address);
  EXPECT_TRUE(listener.ok()) << listener.status();
}

TEST_F(ListenerTest, ALiveUnixSocketIsAnErrorAndStays) {
  const Address address = UnixAddress();
  const auto first = Listen(address);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(Listen(address).status(),
            absl::AlreadyExistsError("bind " + ToString(address) + ": address already in use"));
  EXPECT_TRUE(Exists(address));
}

TEST_F(ListenerTest, AFileThatIsNoSocketIsNotRemoved) {
  const Address address = UnixAddress();
  std::ofstream(address.path) << "precious";
  EXPECT_EQ(Listen(address).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(Exists(address));
  ::unlink(address.path.c_str());
}

TEST_F(ListenerTest, LeavesTheFileOfASuccessor) {
  const Address address = UnixAddress();
  auto first = Listen(address);
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(::unlink(address.path.c_str()), 0);
  const auto second = Listen(address);
  ASSERT_TRUE(second.ok()) << second.status();
  first->reset();
  EXPECT_TRUE(Exists(address));
}

TEST_F(ListenerTest, MayBeDestroyedInsideOnAccept) {
  std::unique_ptr<Listener> listener;
  auto made = Listener::Listen(*loop_, any_port_, [&listener](std::unique_ptr<Stream>) { listener.reset(); });
  ASSERT_TRUE(made.ok());
  listener = *std::move(made);
  // The second is reset, or waits in vain, when the listener goes.
  const Connector first(*loop_, listener->address(), [](const Connector::Result&) {});
  const Connector second(*loop_, listener->address(), [](const Connector::Result&) {});
  RunUntil(*loop_, [&listener] { return listener == nullptr; });
}

TEST_F(ListenerTest, TakesOneNewcomerInATurn) {
  const auto listener = Listen(any_port_);
  ASSERT_TRUE(listener.ok());
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons((*listener)->address().port);
  std::vector<std::unique_ptr<RawSocket>> newcomers;
  for (int i = 0; i < 200; ++i) {
    newcomers.push_back(std::make_unique<RawSocket>(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    ASSERT_EQ(::connect(newcomers.back()->fd(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  }
  size_t before = 0;
  size_t most_in_turn = 0;
  RunUntil(*loop_, [&] {
    most_in_turn = std::max(most_in_turn, accepted_.size() - before);
    before = accepted_.size();
    return accepted_.size() == newcomers.size();
  });
  EXPECT_EQ(most_in_turn, 1u);
}

TEST_F(ListenerTest, OutOfDescriptorsItRestsReportsAndGoesOn) {
  const auto listener = Listen(any_port_);
  ASSERT_TRUE(listener.ok());
  const auto connector = Connect((*listener)->address());
  RunUntil(*loop_, [this] { return accepted_.size() == 1 && connected_.size() == 1; });

  // The newcomer has its descriptor before there is none left for the listener's side.
  int fds[2] = {-1, ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const RawSocket newcomer(fds[1]);
  fds[0] = ::dup(0);
  ASSERT_GE(fds[0], 0);
  ::close(fds[0]);
  rlimit old = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit tight = old;
  tight.rlim_cur = static_cast<rlim_t>(fds[0]);  // The lowest free descriptor is beyond the limit.
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons((*listener)->address().port);
  const int connect_result = ::connect(newcomer.fd(), reinterpret_cast<const sockaddr*>(&to), sizeof(to));

  int turns = 0;
  const absl::Time begin = loop_->Now();
  RunUntil(*loop_, [this, &turns] {
    ++turns;
    return errors_.size() == 3;
  });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  ASSERT_EQ(connect_result, 0);
  EXPECT_GE(loop_->Now() - begin, absl::Milliseconds(200)) << "two rests lie between three errors";
  EXPECT_LE(turns, 20) << "the loop spun";
  EXPECT_EQ(errors_[0].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(errors_[0].message(), "accept " + ToString((*listener)->address()) + ": too many open files");

  RunUntil(*loop_, [this] { return accepted_.size() == 2; });
  newcomer.Send("hello");
  Recorder handler;
  accepted_[1]->SetHandler(&handler);
  accepted_[1]->StartReading();
  RunUntil(*loop_, [&handler] { return handler.received == "hello"; });
}

}  // namespace
}  // namespace relay::net

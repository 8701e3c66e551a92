// What the tests of net/ share: a loop that runs until something is so, connected sockets, and a handler that keeps
// what it is told.

#ifndef RELAY_TESTS_NET_TESTING_H_
#define RELAY_TESTS_NET_TESTING_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/loop.h"
#include "net/stream.h"
#include "net/timer.h"

namespace relay::net {

inline std::unique_ptr<Loop> NewLoop() {
  auto loop = Loop::Create();
  EXPECT_TRUE(loop.ok()) << loop.status();
  return *std::move(loop);
}

// Runs turns until the condition holds at the end of one; fails the test after a minute.
inline void RunUntil(Loop& loop, const std::function<bool()>& condition) {
  bool late = false;
  Timer limit(loop, [&loop, &late] {
    late = true;
    loop.Stop();
  });
  limit.StartAt(loop.Now() + absl::Minutes(1));
  loop.SetTurnEnd([&loop, &condition] {
    if (condition()) loop.Stop();
  });
  loop.Run();
  loop.SetTurnEnd(nullptr);
  EXPECT_FALSE(late) << "what was waited for did not happen";
}

// The same for conditions that other ends of sockets make so, of which the loop is not told: it does not wait in
// between.
inline void PollUntil(Loop& loop, const std::function<bool()>& condition) {
  Soon again(loop, [] {});
  RunUntil(loop, [&again, &condition] {
    again.Schedule();
    return condition();
  });
}

inline void RunTurns(Loop& loop, int turns) {
  Soon again(loop, [] {});
  int ended = 0;
  loop.SetTurnEnd([&loop, &again, &ended, turns] {
    if (++ended >= turns) return loop.Stop();
    again.Schedule();
  });
  loop.Run();
  loop.SetTurnEnd(nullptr);
}

inline std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

inline std::string_view TextOf(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline void Write(Stream& stream, std::initializer_list<std::string_view> texts) {
  std::vector<std::span<const uint8_t>> slices;
  for (const std::string_view text : texts) slices.push_back(BytesOf(text));
  stream.Write(slices);
}

// Bytes that tell where they stand, so that loss, doubling and disorder show.
inline std::string Pattern(size_t bytes) {
  std::string text(bytes, '\0');
  uint32_t x = 1;
  for (char& c : text) {
    x = x * 1664525 + 1013904223;
    c = static_cast<char>(x >> 24);
  }
  return text;
}

// The peer's end of a connection, driven by the test itself.
class RawSocket {
 public:
  explicit RawSocket(int fd) : fd_(fd) {}
  ~RawSocket() { Close(); }
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void ShutdownWrite() const { EXPECT_EQ(::shutdown(fd_, SHUT_WR), 0); }
  // Closes so that the other side finds the connection reset.
  void Reset() {
    const linger abort = {1, 0};
    EXPECT_EQ(::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort)), 0);
    Close();
  }
  void Send(std::string_view text) const {
    ASSERT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // What has arrived, at most `most` bytes; empty if nothing has, or if the input has ended.
  std::string Receive(size_t most = size_t{1} << 16) const {
    std::string text(most, '\0');
    const ssize_t got = ::recv(fd_, text.data(), text.size(), MSG_DONTWAIT);
    text.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return text;
  }
  bool InputEnded() const {
    char byte;
    return ::recv(fd_, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Keeps what it is told, and does with it what the test says.
class Recorder : public Stream::Handler {
 public:
  bool MayRead() override { return may_read ? may_read() : true; }
  size_t OnBytes(std::span<uint8_t> bytes) override {
    ++calls;
    last.assign(TextOf(bytes));
    const size_t consumed = consume ? consume(bytes) : bytes.size();
    received.append(last, 0, consumed);
    return consumed;
  }
  void OnEnd(absl::Status why) override {
    EXPECT_TRUE(!end.has_value() || (end->ok() && !why.ok())) << "told " << why << " after " << *end;
    end = std::move(why);
    if (on_end) on_end();
  }
  void OnSent() override {
    ++sent_calls;
    if (on_sent) on_sent();
  }

  std::function<bool()> may_read;                     // Yes, where it is not set.
  std::function<size_t(std::span<uint8_t>)> consume;  // All, where it is not set.
  std::function<void()> on_end;
  std::function<void()> on_sent;

  int calls = 0;
  int sent_calls = 0;
  std::string last;      // As given to the last OnBytes.
  std::string received;  // Consumed.
  std::optional<absl::Status> end;
};

// A stream of a loop and the raw socket that it is connected to.
struct Connected {
  std::unique_ptr<Loop> loop = NewLoop();
  Recorder handler;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<RawSocket> peer;

  explicit Connected(Address::Kind kind = Address::Kind::kUnix, bool read = true) {
    int fds[2] = {-1, -1};
    if (kind == Address::Kind::kUnix) {
      EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    } else {
      ConnectTcp(fds);
    }
    auto made = Stream::FromSocket(*loop, fds[0], kind, "tcp://peer:1");
    EXPECT_TRUE(made.ok()) << made.status();
    stream = *std::move(made);
    stream->SetHandler(&handler);
    if (read) stream->StartReading();
    peer = std::make_unique<RawSocket>(fds[1]);
  }

 private:
  static void ConnectTcp(int (&fds)[2]);
};

}  // namespace relay::net

#endif  // RELAY_TESTS_NET_TESTING_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "net/stream.h"
#include "testing.h"

namespace relay::net {
namespace {

class StreamMoveTest : public testing::TestWithParam<Address::Kind> {};

TEST_P(StreamMoveTest, GoesOnOnAnotherThreadWithWhatWasKeptAndUnsent) {
  Connected c(GetParam());
  c.handler.consume = [](std::span<uint8_t>) { return size_t{2}; };
  c.peer->Send("abcdef");
  RunUntil(*c.loop, [&c] { return c.handler.calls > 0; });
  const std::string text = Pattern(size_t{16} << 20);
  Write(*c.stream, {text});
  const size_t unsent = c.stream->unsent_bytes();
  ASSERT_GT(unsent, 0u);
  Stream::Parts parts = c.stream->Release();
  c.stream.reset();
  c.loop.reset();

  std::thread other([&c, &text, unsent, parts = std::move(parts)]() mutable {
    const auto loop = NewLoop();
    Recorder handler;
    auto stream = Stream::FromParts(*loop, std::move(parts));
    ASSERT_TRUE(stream.ok()) << stream.status();
    EXPECT_EQ((*stream)->unsent_bytes(), unsent);
    EXPECT_EQ((*stream)->peer(), "tcp://peer:1");
    (*stream)->SetHandler(&handler);
    (*stream)->StartReading();
    RunUntil(*loop, [&handler] { return handler.received == "cdef"; });
    c.peer->Send("ghi");
    std::string received;
    PollUntil(*loop, [&] {
      received += c.peer->Receive();
      return received.size() == text.size();
    });
    EXPECT_TRUE(received == text);
    RunUntil(*loop, [&] { return handler.received == "cdefghi" && (*stream)->unsent_bytes() == 0; });
  });
  other.join();
}

TEST_P(StreamMoveTest, ASocketThatNobodyTakesIsClosed) {
  Connected c(GetParam());
  {
    const Stream::Parts parts = c.stream->Release();
    EXPECT_GE(parts.socket.fd(), 0);
  }
  RunTurns(*c.loop, 2);
  EXPECT_TRUE(c.peer->InputEnded());
  EXPECT_FALSE(c.handler.end.has_value());
}

INSTANTIATE_TEST_SUITE_P(Sockets, StreamMoveTest, testing::Values(Address::Kind::kTcp, Address::Kind::kUnix),
                         [](const auto& param) { return param.param == Address::Kind::kTcp ? "Tcp" : "Unix"; });

}  // namespace
}  // namespace relay::net

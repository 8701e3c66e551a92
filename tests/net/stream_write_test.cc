#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "net/stream.h"
#include "testing.h"

namespace relay::net {
namespace {

class StreamWriteTest : public testing::TestWithParam<Address::Kind> {};

// More than any socket takes at once.
constexpr size_t kBlockingBytes = size_t{16} << 20;

TEST_P(StreamWriteTest, SendsSlicesAtOnceAndInOrder) {
  Connected c(GetParam());
  Write(*c.stream, {"one ", "", "two ", "three"});
  EXPECT_EQ(c.stream->unsent_bytes(), 0u);
  EXPECT_EQ(c.peer->Receive(), "one two three");
}

TEST_P(StreamWriteTest, SendsMoreSlicesThanTheSystemTakesInOneCall) {
  Connected c(GetParam());
  const std::string text = Pattern(5000);
  std::vector<std::span<const uint8_t>> slices;
  for (size_t i = 0; i < text.size(); ++i) slices.push_back(BytesOf(text).subspan(i, 1));
  c.stream->Write(slices);
  EXPECT_EQ(c.stream->unsent_bytes(), 0u);
  EXPECT_EQ(c.peer->Receive(), text);
}

TEST_P(StreamWriteTest, WritingNothingIsNothing) {
  Connected c(GetParam());
  c.stream->Write({});
  Write(*c.stream, {"", ""});
  EXPECT_EQ(c.stream->unsent_bytes(), 0u);
}

TEST_P(StreamWriteTest, HoldsWhatASlowReaderDoesNotTake) {
  Connected c(GetParam());
  const std::string text = Pattern(size_t{64} << 20);
  const size_t half = text.size() / 2;
  Write(*c.stream, {std::string_view(text).substr(0, 1000), std::string_view(text).substr(1000, half - 1000)});
  const size_t held = c.stream->unsent_bytes();
  EXPECT_GT(held, half - kBlockingBytes);
  EXPECT_LT(held, half);
  // Behind what is held, in pieces.
  for (size_t at = half; at < text.size(); at += size_t{1} << 20) {
    Write(*c.stream, {std::string_view(text).substr(at, size_t{1} << 20)});
  }
  EXPECT_EQ(c.stream->unsent_bytes(), held + half);

  std::string received;
  size_t before = c.stream->unsent_bytes();
  bool monotonic = true;
  PollUntil(*c.loop, [&] {
    received += c.peer->Receive();
    monotonic = monotonic && c.stream->unsent_bytes() <= before;
    before = c.stream->unsent_bytes();
    return received.size() == text.size();
  });
  RunUntil(*c.loop, [&c] { return c.stream->unsent_bytes() == 0; });
  EXPECT_GT(c.handler.sent_calls, 1);
  EXPECT_TRUE(monotonic);
  EXPECT_TRUE(received == text);
  EXPECT_EQ(c.stream->unsent_bytes(), 0u);
}

TEST_P(StreamWriteTest, OnSentMayWriteAgainCloseAndDestroy) {
  for (const int what : {0, 1, 2}) {
    Connected c(GetParam());
    c.handler.on_sent = [&c, what] {
      if (what == 0 && c.handler.sent_calls == 1) Write(*c.stream, {"more"});
      if (what == 1) c.stream->Close();
      if (what == 2) c.stream.reset();
    };
    Write(*c.stream, {std::string(kBlockingBytes, 'x')});
    std::string received;
    PollUntil(*c.loop, [&] {
      received += c.peer->Receive();
      return what == 0 ? received.size() == kBlockingBytes + 4 : c.handler.sent_calls == 1;
    });
    EXPECT_TRUE(what == 0 || c.handler.sent_calls == 1) << c.handler.sent_calls;
  }
}

TEST_P(StreamWriteTest, ShutdownComesBehindWhatIsUnsent) {
  Connected c(GetParam());
  const std::string text = Pattern(kBlockingBytes);
  Write(*c.stream, {text});
  Write(*c.stream, {"end"});
  ASSERT_GT(c.stream->unsent_bytes(), 0u);
  c.stream->ShutdownWrite();
  c.stream->ShutdownWrite();
  Write(*c.stream, {"dropped"});
  std::string received;
  PollUntil(*c.loop, [&] {
    received += c.peer->Receive();
    return received.size() == text.size() + 3 && c.peer->InputEnded();
  });
  EXPECT_TRUE(received == text + "end");
  c.peer->Send("reading goes on");
  RunUntil(*c.loop, [&c] { return c.handler.received == "reading goes on"; });
}

TEST_P(StreamWriteTest, ShutdownOfAnIdleStreamIsSeenByThePeer) {
  Connected c(GetParam());
  c.stream->ShutdownWrite();
  PollUntil(*c.loop, [&c] { return c.peer->InputEnded(); });
}

TEST_P(StreamWriteTest, CloseDropsWhatIsUnsent) {
  Connected c(GetParam());
  Write(*c.stream, {std::string(kBlockingBytes, 'x')});
  Write(*c.stream, {"y"});
  c.stream->Close();
  EXPECT_EQ(c.stream->unsent_bytes(), 0u);
  RunTurns(*c.loop, 3);
  EXPECT_EQ(c.handler.sent_calls, 0);
  EXPECT_FALSE(c.handler.end.has_value());
}

TEST_P(StreamWriteTest, AFailedWriteEndsTheInputLaterAndOnce) {
  Connected c(GetParam(), false);
  c.peer->Close();
  for (int i = 0; i < 100 && !c.handler.end.has_value(); ++i) {
    Write(*c.stream, {"into the void"});
    EXPECT_FALSE(c.handler.end.has_value());
    RunTurns(*c.loop, 3);
  }
  ASSERT_TRUE(c.handler.end.has_value());
  EXPECT_EQ(c.handler.end->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(std::string(c.handler.end->message()).rfind("write tcp://peer:1: ", 0), 0u) << *c.handler.end;
  Write(*c.stream, {"dropped"});
  EXPECT_EQ(c.stream->unsent_bytes(), 0u);
  RunTurns(*c.loop, 3);
}

TEST_P(StreamWriteTest, WritingToWhoIsGoneIsNoSignal) {
  struct sigaction action = {};
  ASSERT_EQ(::sigaction(SIGPIPE, nullptr, &action), 0);
  ASSERT_EQ(action.sa_handler, SIG_DFL) << "the test would find nothing";
  for (const size_t slices : {size_t{1}, size_t{2}}) {
    Connected c(GetParam(), false);
    c.peer->Close();
    RunTurns(*c.loop, 3);
    for (int i = 0; i < 3; ++i) {
      c.stream->Write(std::vector(slices, BytesOf("into the void")));
      RunTurns(*c.loop, 3);
    }
    EXPECT_TRUE(c.handler.end.has_value());
  }
}

TEST_P(StreamWriteTest, APeerThatDiesFailsWhatIsInFlight) {
  Connected c(GetParam(), false);
  Write(*c.stream, {std::string(kBlockingBytes, 'x')});
  ASSERT_GT(c.stream->unsent_bytes(), 0u);
  c.peer->Close();
  RunUntil(*c.loop, [&c] { return c.handler.end.has_value(); });
  EXPECT_EQ(c.handler.end->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(c.stream->unsent_bytes(), 0u);
}

TEST_P(StreamWriteTest, AWriteThatFailsAfterTheEndOfInputIsTold) {
  Connected c(GetParam());
  c.peer->ShutdownWrite();
  RunUntil(*c.loop, [&c] { return c.handler.end.has_value(); });
  EXPECT_TRUE(c.handler.end->ok());
  Write(*c.stream, {std::string(kBlockingBytes, 'x')});
  ASSERT_GT(c.stream->unsent_bytes(), 0u);
  c.peer->Close();
  RunUntil(*c.loop, [&c] { return !c.handler.end->ok(); });
  EXPECT_EQ(c.handler.end->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(c.stream->unsent_bytes(), 0u);
  RunTurns(*c.loop, 3);
}

TEST_P(StreamWriteTest, APeerThatDiesAfterTheEndOfInputIsToldThoughNothingIsWritten) {
  for (const bool stays : {true, false}) {
    Connected c(GetParam());
    Write(*c.stream, {"never read, so that TCP too tells of the close at once"});
    c.peer->ShutdownWrite();
    RunUntil(*c.loop, [&c] { return c.handler.end.has_value(); });
    EXPECT_TRUE(c.handler.end->ok());
    if (stays) {
      RunTurns(*c.loop, 3);
      EXPECT_TRUE(c.handler.end->ok());
    } else {
      c.handler.on_end = [&c] { c.stream.reset(); };
    }
    c.peer->Close();
    RunUntil(*c.loop, [&c] { return !c.handler.end->ok(); });
    EXPECT_EQ(c.handler.end->code(), absl::StatusCode::kUnavailable);
    RunTurns(*c.loop, 3);
  }
}

TEST_P(StreamWriteTest, ThatBothSidesHaveEndedIsNoBreak) {
  Connected c(GetParam());
  c.peer->ShutdownWrite();
  RunUntil(*c.loop, [&c] { return c.handler.end.has_value(); });
  Write(*c.stream, {"bye"});
  c.stream->ShutdownWrite();
  PollUntil(*c.loop, [&c] { return c.peer->Receive() == "bye"; });
  PollUntil(*c.loop, [&c] { return c.peer->InputEnded(); });
  RunTurns(*c.loop, 3);
  EXPECT_TRUE(c.handler.end->ok());
}

TEST_P(StreamWriteTest, CloseAfterTheEndOfInputClosesTheSocket) {
  Connected c(GetParam());
  c.peer->ShutdownWrite();
  RunUntil(*c.loop, [&c] { return c.handler.end.has_value(); });
  c.stream->Close();
  PollUntil(*c.loop, [&c] { return c.peer->InputEnded(); });
}

INSTANTIATE_TEST_SUITE_P(Sockets, StreamWriteTest, testing::Values(Address::Kind::kTcp, Address::Kind::kUnix),
                         [](const auto& param) { return param.param == Address::Kind::kTcp ? "Tcp" : "Unix"; });

}  // namespace
}  // namespace relay::net

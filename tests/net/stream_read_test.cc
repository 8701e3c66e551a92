#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "net/input.h"
#include "net/stream.h"
#include "testing.h"

namespace relay::net {
namespace {

class StreamReadTest : public testing::TestWithParam<Address::Kind> {};

TEST_P(StreamReadTest, GivesWhatArrives) {
  Connected c(GetParam());
  c.peer->Send("hello");
  RunUntil(*c.loop, [&c] { return c.handler.received == "hello"; });
  EXPECT_EQ(c.stream->held_memory_bytes(), 0u);
}

TEST_P(StreamReadTest, ReadsNothingWhereTheHandlerWillNotYet) {
  Connected c(GetParam());
  int asked = 0;
  c.handler.may_read = [&] {
    c.stream->StopReading();
    return ++asked > 1;
  };
  RunTurns(*c.loop, 2);
  c.peer->Send("hello");
  RunUntil(*c.loop, [&] { return asked == 1; });
  RunTurns(*c.loop, 3);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(c.handler.received, "");
  c.stream->StartReading();
  RunUntil(*c.loop, [&c] { return c.handler.received == "hello"; });
}

TEST_P(StreamReadTest, JoinsPiecesUntilTheHandlerHasWhatItNeeds) {
  Connected c(GetParam());
  c.handler.consume = [](std::span<uint8_t> bytes) { return bytes.size() / 10 * 10; };
  const std::string text = Pattern(100);
  for (size_t at = 0; at < text.size(); at += 7) {
    const size_t size = std::min<size_t>(7, text.size() - at);
    c.peer->Send(text.substr(at, size));
    RunUntil(*c.loop, [&] { return c.handler.received.size() + c.stream->kept_bytes() == at + size; });
    EXPECT_EQ(c.stream->held_memory_bytes() > 0, c.stream->kept_bytes() > 0);
  }
  EXPECT_EQ(c.handler.received, text);
}

TEST_P(StreamReadTest, AssemblesALargePieceByteByByte) {
  Connected c(GetParam());
  const std::string text = Pattern(3 * Input::kLargeBytes);
  c.handler.consume = [&text](std::span<uint8_t> bytes) { return bytes.size() == text.size() ? text.size() : 0; };
  for (size_t i = 0; i < text.size(); ++i) {
    c.peer->Send(std::string_view(text).substr(i, 1));
    RunUntil(*c.loop, [&c, i] { return c.handler.calls == static_cast<int>(i + 1); });
  }
  EXPECT_EQ(c.handler.received, text);
  EXPECT_EQ(c.stream->held_memory_bytes(), 0u);
}

TEST_P(StreamReadTest, ReadsAtMostOneSlabInATurn) {
  Connected c(GetParam(), false);
  size_t in_turn = 0;
  size_t most_in_turn = 0;
  c.handler.consume = [&in_turn](std::span<uint8_t> bytes) {
    in_turn += bytes.size();
    return bytes.size();
  };
  auto writer = Stream::FromSocket(*c.loop, ::dup(c.peer->fd()), GetParam(), "writer");
  ASSERT_TRUE(writer.ok());
  Recorder writer_handler;
  (*writer)->SetHandler(&writer_handler);
  const std::string text = Pattern(size_t{8} << 20);
  c.stream->StartReading();
  bool begun = false;
  c.loop->SetTurnEnd([&] {
    if (!std::exchange(begun, true)) Write(**writer, {text});
    most_in_turn = std::max(most_in_turn, in_turn);
    in_turn = 0;
    if (c.handler.received.size() == text.size()) c.loop->Stop();
  });
  c.loop->Run();
  EXPECT_EQ(c.handler.received, text);
  EXPECT_LE(most_in_turn, ReadBuffers::kSlabBytes);
}

TEST_P(StreamReadTest, NoMoreIsReadInATurnThanWasSaid) {
  for (const bool of_all : {false, true}) {
    Connected c(GetParam());
    constexpr size_t kMostBytes = size_t{32} * 1024;
    if (of_all) {
      c.loop->read_buffers().SetMostReadBytes(kMostBytes);
    } else {
      c.stream->SetMostReadBytes(kMostBytes);
    }
    size_t in_turn = 0;
    size_t most_in_turn = 0;
    c.handler.consume = [&in_turn](std::span<uint8_t> bytes) {
      in_turn += bytes.size();
      return bytes.size();
    };
    const std::string text = Pattern(size_t{100} * 1024);
    c.peer->Send(text);
    c.loop->SetTurnEnd([&] {
      most_in_turn = std::max(most_in_turn, in_turn);
      in_turn = 0;
      if (c.handler.received.size() == text.size()) c.loop->Stop();
    });
    c.loop->Run();
    EXPECT_EQ(c.handler.received, text);
    EXPECT_EQ(most_in_turn, kMostBytes) << of_all;
  }
}

TEST_P(StreamReadTest, WhatIsKeptComesAgainOrWaitsForMoreAsItIsAsked) {
  Connected c(GetParam());
  std::vector<std::string> given;
  c.handler.consume = [&](std::span<uint8_t> bytes) {
    given.emplace_back(TextOf(bytes));
    c.stream->StopReading();
    return size_t{1};
  };
  c.peer->Send("abcd");
  RunUntil(*c.loop, [&] { return given.size() == 1; });
  c.stream->StartReading();
  RunUntil(*c.loop, [&] { return given.size() == 2; });
  c.stream->ReadOn();
  int turns = 0;
  Soon again(*c.loop, [&] {
    if (++turns < 5) again.Schedule();
  });
  again.Schedule();
  RunUntil(*c.loop, [&] { return turns == 5; });
  EXPECT_EQ(given.size(), 2u);
  c.peer->Send("e");
  RunUntil(*c.loop, [&] { return given.size() == 3; });
  EXPECT_EQ(given, (std::vector<std::string>{"abcd", "bcd", "cde"}));
}

TEST_P(StreamReadTest, WhatHasComeMeanwhileIsReadBehindWhatOthersSay) {
  Connected c(GetParam());
  c.peer->Send("first");
  RunUntil(*c.loop, [&] { return c.handler.received == "first"; });
  c.stream->StopReading();
  c.peer->Send("second");
  bool was_put_off = false;
  c.handler.consume = [&](std::span<uint8_t> bytes) {
    was_put_off = c.loop->runs_put_off();
    return bytes.size();
  };
  c.stream->StartReading();
  RunUntil(*c.loop, [&] { return c.handler.received == "firstsecond"; });
  EXPECT_TRUE(was_put_off);
}

TEST_P(StreamReadTest, EndsWithOkWhenThePeerEnds) {
  Connected c(GetParam());
  c.peer->Send("last words");
  c.peer->ShutdownWrite();
  RunUntil(*c.loop, [&c] { return c.handler.end.has_value(); });
  EXPECT_TRUE(c.handler.end->ok());
  EXPECT_EQ(c.handler.received, "last words");
  Write(*c.stream, {"still", " here"});
  EXPECT_EQ(c.peer->Receive(), "still here");
}

TEST_P(StreamReadTest, CloseInsideOnBytesEndsAllCalls) {
  Connected c(GetParam());
  c.handler.consume = [&c](std::span<uint8_t> bytes) {
    c.stream->Close();
    c.stream->Close();
    c.stream->StartReading();
    return bytes.size();
  };
  c.peer->Send("hello");
  c.peer->ShutdownWrite();
  RunUntil(*c.loop, [&c] { return c.handler.calls > 0; });
  RunTurns(*c.loop, 3);
  EXPECT_EQ(c.handler.calls, 1);
  EXPECT_FALSE(c.handler.end.has_value());
  EXPECT_TRUE(c.peer->InputEnded());
}

TEST_P(StreamReadTest, MayBeDestroyedInsideEachCall) {
  {
    Connected c(GetParam());
    c.handler.consume = [&c](std::span<uint8_t>) {
      c.stream.reset();
      return 0;
    };
    c.peer->Send("x");
    RunUntil(*c.loop, [&c] { return c.stream == nullptr; });
  }
  {
    Connected c(GetParam());
    c.handler.on_end = [&c] { c.stream.reset(); };
    c.peer->Close();
    RunUntil(*c.loop, [&c] { return c.stream == nullptr; });
  }
}

TEST_P(StreamReadTest, AStoppedReaderReadsNothingAndGoesOnWhereItStopped) {
  Connected c(GetParam());
  c.handler.consume = [&c](std::span<uint8_t>) {
    c.stream->StopReading();
    return size_t{2};
  };
  c.peer->Send("abcdef");
  RunUntil(*c.loop, [&c] { return c.handler.calls == 1; });
  c.peer->Send("ghi");
  c.peer->ShutdownWrite();
  RunTurns(*c.loop, 3);
  EXPECT_EQ(c.handler.calls, 1);
  EXPECT_EQ(c.stream->kept_bytes(), 4u);

  // What was kept comes before the end of the input, though nothing new has to be read for it.
  c.handler.consume = nullptr;
  c.stream->StartReading();
  EXPECT_EQ(c.handler.calls, 1);
  RunUntil(*c.loop, [&c] { return c.handler.end.has_value(); });
  EXPECT_EQ(c.handler.received, "abcdefghi");
}

TEST_P(StreamReadTest, StoppingAndStartingInsideOnBytesGivesTheRestAgain) {
  Connected c(GetParam());
  c.handler.consume = [&c](std::span<uint8_t>) {
    c.stream->StopReading();
    c.stream->StartReading();
    return size_t{1};
  };
  c.peer->Send("abc");
  RunUntil(*c.loop, [&c] { return c.handler.received == "abc"; });
  EXPECT_EQ(c.handler.calls, 3);
}

TEST_P(StreamReadTest, BytesStayWhereTheyWereUntilTheTurnEnds) {
  Connected c(GetParam());
  std::vector<std::span<uint8_t>> views;
  c.handler.consume = [&](std::span<uint8_t> bytes) {
    bytes[0] = 'X';
    views.push_back(bytes);
    if (views.size() == 1) c.peer->Send(std::string(10'000, 'b'));
    return bytes.size();
  };
  c.peer->Send(std::string(10'000, 'a'));
  std::string written;
  c.loop->SetTurnEnd([&] {
    for (const auto view : views) written += TextOf(view);
    views.assign(views.empty() ? 0 : 1, {});
    if (written.size() == 20'000) c.loop->Stop();
  });
  c.loop->Run();
  EXPECT_EQ(written, "X" + std::string(9999, 'a') + "X" + std::string(9999, 'b'));
}

INSTANTIATE_TEST_SUITE_P(Sockets, StreamReadTest, testing::Values(Address::Kind::kTcp, Address::Kind::kUnix),
                         [](const auto& param) { return param.param == Address::Kind::kTcp ? "Tcp" : "Unix"; });

TEST(StreamTest, AResetNamesTheOperationAndThePeer) {
  Connected c(Address::Kind::kTcp);
  c.peer->Reset();
  RunUntil(*c.loop, [&c] { return c.handler.end.has_value(); });
  EXPECT_EQ(*c.handler.end, absl::UnavailableError("read tcp://peer:1: connection reset by peer"));
}

TEST(StreamTest, EveryoneIsReadThoughTheTurnRunsOutOfMemory) {
  const auto loop = NewLoop();
  constexpr size_t kStreams = 12;
  constexpr size_t kBytes = 150'000;  // Together more than the slabs of a turn.
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<std::unique_ptr<RawSocket>> peers;
  std::vector<Recorder> handlers(kStreams);
  const std::string text = Pattern(kBytes);
  for (size_t i = 0; i < kStreams; ++i) {
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    peers.push_back(std::make_unique<RawSocket>(fds[1]));
    peers.back()->Send(text);
    streams.push_back(*Stream::FromSocket(*loop, fds[0], Address::Kind::kUnix, "unix:x"));
    streams.back()->SetHandler(&handlers[i]);
    streams.back()->StartReading();
  }
  int turns = 0;
  RunUntil(*loop, [&] {
    ++turns;
    return std::all_of(handlers.begin(), handlers.end(), [](const Recorder& h) { return h.received.size() == kBytes; });
  });
  for (const Recorder& handler : handlers) EXPECT_EQ(handler.received, text);
  EXPECT_GE(turns, 3);
  EXPECT_LE(turns, 8) << "the loop spun";
}

TEST(StreamTest, NeedsNoRunningLoopToBeDestroyed) {
  Connected never_run;
  Connected closed;
  Write(*closed.stream, {"x"});
  closed.stream->Close();
}

}  // namespace
}  // namespace relay::net

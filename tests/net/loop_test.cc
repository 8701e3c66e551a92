#include "net/loop.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "net/timer.h"
#include "testing.h"

namespace relay::net {
namespace {

TEST(LoopTest, RunReturnsWhenNothingIsLeft) {
  const auto loop = NewLoop();
  int turn_ends = 0;
  loop->SetTurnEnd([&turn_ends] { ++turn_ends; });
  loop->Run();
  EXPECT_EQ(turn_ends, 1);
}

TEST(LoopTest, NowStandsStillWithinATurnAndGoesOnInTheNext) {
  const auto loop = NewLoop();
  std::vector<absl::Time> times;
  Timer timer(*loop, [&loop, &times] {
    times.push_back(loop->Now());
    while (absl::UnixEpoch() + absl::Nanoseconds(uv_hrtime()) == times.back()) {
    }
    times.push_back(loop->Now());
    if (times.size() < 4) loop->Stop();
  });
  timer.StartAt(loop->Now());
  loop->Run();
  timer.StartAt(loop->Now());
  loop->Run();
  ASSERT_EQ(times.size(), 4u);
  EXPECT_EQ(times[0], times[1]);
  EXPECT_LT(times[1], times[2]);
}

TEST(LoopTest, TurnEndRunsOnceATurnAndAfterEverythingReadyWasRead) {
  Connected one;
  int sv[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
  auto second = Stream::FromSocket(*one.loop, sv[0], Address::Kind::kUnix, "unix:second");
  ASSERT_TRUE(second.ok());
  const RawSocket second_peer(sv[1]);
  Recorder second_handler;
  (*second)->SetHandler(&second_handler);
  (*second)->StartReading();

  one.peer->Send("a");
  second_peer.Send("b");
  std::vector<std::string> events;
  one.handler.consume = [&events](std::span<uint8_t> bytes) {
    events.push_back("read");
    return bytes.size();
  };
  second_handler.consume = one.handler.consume;
  one.loop->SetTurnEnd([&events, &one] {
    events.push_back("end");
    if (events.size() > 2) one.loop->Stop();
  });
  one.loop->Run();
  // One turn ends before the first poll and one behind it, since reading begins as what was put off; Stop() at a turn's
  // end lets the poll behind it and its turn's end happen.
  EXPECT_EQ(events, (std::vector<std::string>{"end", "end", "read", "read", "end", "end"}));
}

TEST(LoopTest, StopEndsTheTurnItStandsIn) {
  Connected c;
  c.peer->Send("x");
  bool written = false;
  c.handler.consume = [&c](std::span<uint8_t> bytes) {
    c.loop->Stop();
    return bytes.size();
  };
  c.loop->SetTurnEnd([&c, &written] {
    if (c.handler.calls > 0 && !written) {
      written = true;
      Write(*c.stream, {"answer"});
    }
  });
  c.loop->Run();
  EXPECT_EQ(c.peer->Receive(), "answer");
}

TEST(LoopTest, RunsAgainAfterStop) {
  const auto loop = NewLoop();
  int calls = 0;
  Timer timer(*loop, [&loop, &calls] {
    ++calls;
    loop->Stop();
  });
  for (int i = 0; i < 3; ++i) {
    timer.StartAt(loop->Now());
    loop->Run();
  }
  EXPECT_EQ(calls, 3);
}

TEST(LoopTest, StopAtTheLastTurnsEndDoesNotReachTheNextRun) {
  const auto loop = NewLoop();
  loop->SetTurnEnd([&loop] { loop->Stop(); });
  loop->Run();
  loop->SetTurnEnd(nullptr);
  bool called = false;
  Soon soon(*loop, [&called] { called = true; });
  soon.Schedule();
  loop->Run();
  EXPECT_TRUE(called);
}

TEST(LoopTest, StopOutsideRunEndsTheNextRunAtOnceAndNotTheOneBehindIt) {
  const auto loop = NewLoop();
  bool called = false;
  Soon soon(*loop, [&called] { called = true; });
  soon.Schedule();
  loop->Stop();
  loop->Run();
  EXPECT_FALSE(called);
  loop->Run();
  EXPECT_TRUE(called);
  loop->Stop();
}

TEST(LoopTest, CreateSaysWhenThereIsNoDescriptorLeft) {
  rlimit old = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit none = old;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto loop = Loop::Create();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(loop.status().code(), absl::StatusCode::kResourceExhausted) << loop.status();
}

TEST(SoonTest, CallsInTheNextTurnOnceAndNotInsideSchedule) {
  const auto loop = NewLoop();
  int calls = 0;
  Soon soon(*loop, [&calls] { ++calls; });
  soon.Schedule();
  soon.Schedule();
  EXPECT_EQ(calls, 0);
  loop->Run();
  EXPECT_EQ(calls, 1);
}

TEST(SoonTest, WhatIsScheduledInACallWaitsForAnotherTurn) {
  const auto loop = NewLoop();
  std::vector<uint64_t> turns;
  std::unique_ptr<Soon> soon;
  soon = std::make_unique<Soon>(*loop, [&] {
    turns.push_back(loop->turn());
    if (turns.size() < 3) soon->Schedule();
  });
  soon->Schedule();
  loop->Run();
  ASSERT_EQ(turns.size(), 3u);
  EXPECT_LT(turns[0], turns[1]);
  EXPECT_LT(turns[1], turns[2]);
}

TEST(SoonTest, WhatWasReadHasItsTurnsEndBeforeWhatWasPutOffRuns) {
  Connected c;
  std::string events;
  Soon soon(*c.loop, [&] {
    EXPECT_TRUE(c.loop->runs_put_off());
    events += "put off, ";
    c.loop->Stop();
  });
  c.handler.consume = [&](std::span<uint8_t> bytes) {
    if (bytes.size() == 1) return bytes.size();  // the first, with which the stream has begun
    EXPECT_FALSE(c.loop->runs_put_off());
    events += "read, ";
    return bytes.size();
  };
  c.peer->Send("x");
  RunUntil(*c.loop, [&] { return c.handler.calls == 1; });
  c.peer->Send("more");
  soon.Schedule();
  c.loop->SetTurnEnd([&] {
    if (events.empty()) return;
    EXPECT_EQ(c.loop->goes_on(), events == "read, ");
    EXPECT_EQ(c.loop->has_polled(), events == "read, ");
    events += "end, ";
  });
  c.loop->Run();
  EXPECT_EQ(events, "read, end, put off, end, ");
}

TEST(SoonTest, DestroyingCancelsAndMayHappenInsideACall) {
  const auto loop = NewLoop();
  std::string calls;
  std::unique_ptr<Soon> first;
  std::unique_ptr<Soon> second;
  std::unique_ptr<Soon> third;
  first = std::make_unique<Soon>(*loop, [&] {
    second.reset();
    first.reset();
    calls += "1";
  });
  second = std::make_unique<Soon>(*loop, [&] { calls += "2"; });
  third = std::make_unique<Soon>(*loop, [&] { calls += "3"; });
  first->Schedule();
  second->Schedule();
  third->Schedule();
  loop->Run();
  EXPECT_EQ(calls, "13");
}

TEST(TimerTest, NeverFiresEarly) {
  const auto loop = NewLoop();
  for (int i = 0; i < 20; ++i) {
    const absl::Time when = loop->Now() + absl::Microseconds(100 + 333 * i);
    absl::Time fired;
    Timer timer(*loop, [&] { fired = absl::UnixEpoch() + absl::Nanoseconds(uv_hrtime()); });
    timer.StartAt(when);
    loop->Run();
    EXPECT_GE(fired, when);
  }
}

TEST(TimerTest, ATimerForThePastFiresWithoutHoldingUpTheLoop) {
  const auto loop = NewLoop();
  int calls = 0;
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>(*loop, [&] {
    if (++calls < 5) timer->StartAt(absl::InfinitePast());
  });
  timer->StartAt(absl::InfinitePast());
  int turns = 0;
  loop->SetTurnEnd([&turns] { ++turns; });
  loop->Run();
  EXPECT_EQ(calls, 5);
  EXPECT_GE(turns, 5);
}

TEST(TimerTest, StopAndTheInfiniteFutureMeanNever) {
  const auto loop = NewLoop();
  int calls = 0;
  Timer timer(*loop, [&calls] { ++calls; });
  timer.StartAt(loop->Now());
  timer.Stop();
  loop->Run();
  timer.StartAt(loop->Now());
  timer.StartAt(absl::InfiniteFuture());
  loop->Run();
  EXPECT_EQ(calls, 0);
}

TEST(TimerTest, MayBeDestroyedInsideItsCall) {
  const auto loop = NewLoop();
  const std::string long_enough_for_the_heap(100, 'x');
  std::string seen;
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>(*loop, [&timer, &seen, long_enough_for_the_heap] {
    timer.reset();
    seen = long_enough_for_the_heap;
  });
  timer->StartAt(loop->Now());
  loop->Run();
  EXPECT_EQ(seen, long_enough_for_the_heap);
}

}  // namespace
}  // namespace relay::net

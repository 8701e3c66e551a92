#include "net/signal.h"

#include <gtest/gtest.h>

#include <csignal>

#include "testing.h"

namespace relay::net {
namespace {

TEST(SignalWatcherTest, CallsOnTheLoop) {
  const auto loop = NewLoop();
  int calls = 0;
  const SignalWatcher watcher(*loop, SIGUSR1, [&calls] { ++calls; });
  ASSERT_EQ(::raise(SIGUSR1), 0);
  EXPECT_EQ(calls, 0);
  RunUntil(*loop, [&calls] { return calls > 0; });
  EXPECT_EQ(calls, 1);
}

TEST(SignalWatcherTest, DoesNotKeepTheLoopRunning) {
  const auto loop = NewLoop();
  const SignalWatcher watcher(*loop, SIGUSR1, [] {});
  loop->Run();
}

}  // namespace
}  // namespace relay::net

#include "server/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

namespace relay::server {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

const Instant kStart = Instant() + hours(7);

std::vector<void*> ExpireAll(TimerWheel& wheel, Instant now) {
  std::vector<void*> owners;
  while (Deadline* const deadline = wheel.Expire(now)) {
    EXPECT_FALSE(deadline->is_set());
    owners.push_back(deadline->owner());
  }
  return owners;
}

TEST(TimerWheel, ExpiresAtItsTimeAndNotBefore) {
  TimerWheel wheel(kStart);
  EXPECT_EQ(wheel.next(), std::nullopt);
  Deadline deadline(Deadline::Of::kClient, &wheel);
  for (const int64_t ms : {int64_t{1}, int64_t{2}, int64_t{63}, int64_t{64}, int64_t{65}, int64_t{4095}, int64_t{4096},
                           int64_t{262144}, int64_t{3600000}, int64_t{86400000}, int64_t{0xffffffff}}) {
    TimerWheel fresh(kStart);
    fresh.Set(deadline, kStart + milliseconds(ms));
    EXPECT_TRUE(deadline.is_set());
    ASSERT_TRUE(fresh.next().has_value());
    EXPECT_LE(*fresh.next(), kStart + milliseconds(ms));
    EXPECT_TRUE(ExpireAll(fresh, kStart + milliseconds(ms - 1)).empty()) << ms;
    EXPECT_EQ(ExpireAll(fresh, kStart + milliseconds(ms)).size(), 1u) << ms;
    EXPECT_EQ(fresh.next(), std::nullopt);
  }
}

TEST(TimerWheel, RoundsUpToAMillisecond) {
  TimerWheel wheel(kStart);
  Deadline deadline(Deadline::Of::kClient, nullptr);
  wheel.Set(deadline, kStart + milliseconds(5) + nanoseconds(1));
  EXPECT_TRUE(ExpireAll(wheel, kStart + milliseconds(5) + nanoseconds(2)).empty());
  EXPECT_EQ(ExpireAll(wheel, kStart + milliseconds(6)).size(), 1u);
}

TEST(TimerWheel, WhatLiesInThePastExpiresInTheNextMillisecond) {
  TimerWheel wheel(kStart);
  EXPECT_EQ(wheel.Expire(kStart + seconds(100)), nullptr);
  Deadline deadline(Deadline::Of::kClient, nullptr);
  for (const Instant past : {kStart - hours(1), kStart, Instant(), kStart + seconds(100)}) {
    wheel.Set(deadline, past);
    EXPECT_EQ(wheel.Expire(kStart + seconds(100)), nullptr);
    deadline.Unset();
  }
  wheel.Set(deadline, kStart);
  EXPECT_EQ(ExpireAll(wheel, kStart + seconds(100) + milliseconds(1)).size(), 1u);
}

TEST(TimerWheel, TakesAnEternityForAVeryLongTime) {
  TimerWheel wheel(kStart);
  Deadline deadline(Deadline::Of::kClient, nullptr);
  wheel.Set(deadline, Instant::max());
  EXPECT_TRUE(ExpireAll(wheel, kStart + hours(24 * 365)).empty());
  EXPECT_TRUE(deadline.is_set());
}

TEST(TimerWheel, UnsetAndDestroyedDeadlinesNeverExpire) {
  TimerWheel wheel(kStart);
  Deadline kept(Deadline::Of::kClient, &wheel);
  Deadline unset(Deadline::Of::kClient, nullptr);
  auto destroyed = std::make_unique<Deadline>(Deadline::Of::kClient, nullptr);
  for (Deadline* const deadline : {&kept, &unset, destroyed.get()}) wheel.Set(*deadline, kStart + seconds(1));
  unset.Unset();
  unset.Unset();
  destroyed.reset();
  EXPECT_EQ(ExpireAll(wheel, kStart + hours(1)), std::vector<void*>{&wheel});
}

TEST(TimerWheel, OneThatExpiresMayUnsetOneThatIsDue) {
  TimerWheel wheel(kStart);
  Deadline a(Deadline::Of::kClient, nullptr);
  Deadline b(Deadline::Of::kClient, nullptr);
  wheel.Set(a, kStart + milliseconds(3));
  wheel.Set(b, kStart + milliseconds(3));
  EXPECT_EQ(wheel.Expire(kStart + milliseconds(3)), &a);
  b.Unset();
  EXPECT_EQ(wheel.Expire(kStart + milliseconds(3)), nullptr);
  EXPECT_EQ(wheel.next(), std::nullopt);
}

TEST(TimerWheel, IsDueNowWhileOneOfTheSameTimeIsLeft) {
  TimerWheel wheel(kStart);
  Deadline first(Deadline::Of::kClient, nullptr);
  Deadline second(Deadline::Of::kClient, nullptr);
  const Instant at = kStart + milliseconds(5);
  wheel.Set(first, at);
  wheel.Set(second, at);
  EXPECT_NE(wheel.Expire(at), nullptr);
  EXPECT_EQ(wheel.next(), at);
  EXPECT_NE(wheel.Expire(at), nullptr);
  EXPECT_EQ(wheel.next(), std::nullopt);
}

TEST(TimerWheel, ExpiresInTheOrderOfTime) {
  TimerWheel wheel(kStart);
  std::vector<std::unique_ptr<Deadline>> deadlines;
  std::vector<int64_t> times;
  std::mt19937 random(3);
  for (int i = 0; i < 1000; ++i) {
    times.push_back(1 + static_cast<int64_t>(random() % 1000000));
    deadlines.push_back(std::make_unique<Deadline>(Deadline::Of::kClient, &times));
    wheel.Set(*deadlines.back(), kStart + milliseconds(times.back()));
  }
  std::sort(times.begin(), times.end());
  const Instant end = kStart + milliseconds(times.back());
  for (size_t i = 0; i < times.size(); ++i) {
    ASSERT_LE(*wheel.next(), kStart + milliseconds(times[i]));
    ASSERT_NE(wheel.Expire(end), nullptr);
  }
  EXPECT_EQ(wheel.Expire(end), nullptr);
}

// Against a map from time to deadlines, over random operations; the times are the ones that a relay meets and the ones
// that lie at the seams of the wheel.
TEST(TimerWheel, AgreesWithAMapOverRandomOperations) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    TimerWheel wheel(kStart);
    constexpr size_t kMany = 50;
    std::vector<std::unique_ptr<Deadline>> deadlines;
    std::vector<int64_t> due(kMany, -1);  // -1: not set
    for (size_t i = 0; i < kMany; ++i) {
      deadlines.push_back(std::make_unique<Deadline>(Deadline::Of::kExchange, &due[i]));
    }
    int64_t now = 0;
    const auto far = [&]() -> int64_t {
      switch (random() % 8) {
        case 0:
          return static_cast<int64_t>(random() % 3);
        case 1:
          return static_cast<int64_t>(random() % 200);
        case 2:
          return static_cast<int64_t>(random() % 10000);
        case 3:
          return static_cast<int64_t>(random() % 86400000);
        case 4:
          return static_cast<int64_t>(random() % 0x100000000);  // 49 days
        case 5:
          return -static_cast<int64_t>(random() % 10000);
        case 6:
          return (int64_t{1} << (6 * (1 + random() % 5))) - now % 64 + static_cast<int64_t>(random() % 3) - 1;
        default:
          return 5000;
      }
    };
    int64_t appended = 0;
    for (int step = 0; step < 3000; ++step) {
      const size_t i = random() % kMany;
      switch (random() % 7) {
        case 6:
          appended = std::max(appended, now + static_cast<int64_t>(random() % 10000));
          wheel.Append(*deadlines[i], kStart + milliseconds(appended));
          due[i] = std::max(appended, now + 1);
          break;
        case 0:
        case 1:
        case 2: {
          const int64_t at = now + far();
          wheel.Set(*deadlines[i], kStart + milliseconds(at));
          due[i] = std::max(at, now + 1);
          break;
        }
        case 3:
          deadlines[i]->Unset();
          due[i] = -1;
          break;
        default: {
          const int64_t passed = random() % 4 == 0 ? std::max<int64_t>(0, far()) : static_cast<int64_t>(random() % 100);
          now += passed;
          std::set<void*> expected;
          for (int64_t& at : due) {
            if (at >= 0 && at <= now) expected.insert(&at);
          }
          int64_t last = 0;
          std::set<void*> expired;
          while (Deadline* const deadline = wheel.Expire(kStart + milliseconds(now))) {
            auto* const at = static_cast<int64_t*>(deadline->owner());
            ASSERT_LE(last, *at) << "out of order";
            last = *at;
            ASSERT_TRUE(expired.insert(at).second);
          }
          ASSERT_EQ(expired, expected) << "at step " << step;
          for (void* const at : expired) *static_cast<int64_t*>(at) = -1;
          break;
        }
      }
      int64_t earliest = std::numeric_limits<int64_t>::max();
      for (size_t k = 0; k < kMany; ++k) {
        ASSERT_EQ(deadlines[k]->is_set(), due[k] >= 0);
        if (due[k] >= 0) earliest = std::min(earliest, due[k]);
      }
      const auto next = wheel.next();
      ASSERT_EQ(next.has_value(), earliest != std::numeric_limits<int64_t>::max());
      if (next.has_value()) {
        ASSERT_LE(*next, kStart + milliseconds(earliest));
        ASSERT_GT(*next, kStart + milliseconds(now)) << "whoever waits for next() would spin";
      }
    }
  }
}

// Whoever wakes at next() and calls Expire wakes a few times for a far deadline, not once a millisecond.
TEST(TimerWheel, WakesSeldomForAFarDeadline) {
  TimerWheel wheel(kStart);
  Deadline deadline(Deadline::Of::kExchange, nullptr);
  const Instant at = kStart + milliseconds(0xfedcba98);
  wheel.Set(deadline, at);
  int wakes = 0;
  while (deadline.is_set() && wakes < 100) {
    const Instant now = *wheel.next();
    ASSERT_LE(now, at);
    const Deadline* const expired = wheel.Expire(now);
    if (expired != nullptr) {
      EXPECT_EQ(now, at);
    }
    ++wakes;
  }
  EXPECT_LE(wakes, 6);
}

}  // namespace
}  // namespace relay::server

#include "registry/pace.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <queue>
#include <vector>

namespace relay::registry {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();

absl::Time At(int64_t ms) { return kStart + absl::Milliseconds(ms); }

// A queue that loses a request every `ms` until `until_ms`.
Pace Served(int64_t ms, int64_t until_ms) {
  Pace pace;
  pace.Begin(kStart);
  for (int64_t at = ms; at <= until_ms; at += ms) pace.Left(At(at));
  return pace;
}

TEST(Pace, KnowsNothingOfAQueueThatHasJustBegun) {
  Pace pace;
  pace.Begin(kStart);
  EXPECT_EQ(pace.RetryAfter(1, 5, kStart), absl::ZeroDuration());
}

TEST(Pace, TellsTheTimeInWhichAPlaceBecomesFree) {
  Pace pace = Served(10, 3000);
  EXPECT_EQ(pace.RetryAfter(1, 100, At(3000)), absl::Milliseconds(10));
}

TEST(Pace, PromisesEachItsOwnPlaces) {
  Pace pace = Served(10, 3000);
  EXPECT_EQ(pace.RetryAfter(1, 100, At(3000)), absl::Milliseconds(10));
  EXPECT_EQ(pace.RetryAfter(3, 100, At(3000)), absl::Milliseconds(40));
  EXPECT_EQ(pace.RetryAfter(1, 100, At(3000)), absl::Milliseconds(50));
}

TEST(Pace, PromisesArePastWithTheirTime) {
  Pace pace = Served(10, 3000);
  pace.RetryAfter(1, 100, At(3000));
  for (int64_t at = 3010; at <= 3500; at += 10) pace.Left(At(at));
  EXPECT_EQ(pace.RetryAfter(1, 100, At(3500)), absl::Milliseconds(10));
}

TEST(Pace, PromisesNothingLaterThanTheEndOfWhatIsQueued) {
  Pace pace = Served(10, 3000);
  for (int i = 0; i < 1000; ++i) EXPECT_LE(pace.RetryAfter(1, 7, At(3000)), absl::Milliseconds(70));
  EXPECT_EQ(pace.RetryAfter(1, 7, At(3000)), absl::Milliseconds(70));
}

TEST(Pace, BatchesCountAsWhatTheyAreOnAverage) {
  Pace pace;
  pace.Begin(kStart);
  for (int64_t at = 640; at <= 6400; at += 640) {
    for (int i = 0; i < 64; ++i) pace.Left(At(at));
  }
  EXPECT_EQ(pace.RetryAfter(1, 1000, At(6400)), absl::Milliseconds(10));
}

TEST(Pace, AQueueThatStandsStillIsSlow) {
  Pace pace = Served(10, 1000);
  EXPECT_EQ(pace.RetryAfter(1, 100, At(61000)), absl::Seconds(60));
}

TEST(Pace, TheTimeInWhichNothingWasQueuedDoesNotCount) {
  Pace pace = Served(10, 3000);
  pace.Begin(At(100000));
  EXPECT_EQ(pace.RetryAfter(1, 100, At(100000)), absl::Milliseconds(10));
}

// A crowd comes at once, and more of it than there is room for. Who is turned away comes back when told.
TEST(Pace, WhoComesBackWhenToldFindsRoom) {
  constexpr size_t kRoom = 50;
  constexpr size_t kTooMany = 40;
  Pace pace = Served(10, 2000);
  size_t queued = 0;
  size_t refused = 0;
  std::priority_queue<int64_t, std::vector<int64_t>, std::greater<>> back;
  const auto offer = [&](int64_t ms) {
    if (queued < kRoom) {
      if (++queued == 1) pace.Begin(At(ms));
      return;
    }
    ++refused;
    const absl::Duration after = pace.RetryAfter(1, queued, At(ms));
    back.push(ms + absl::ToInt64Milliseconds(absl::Ceil(after, absl::Milliseconds(1))));
  };
  for (size_t i = 0; i < kRoom + kTooMany; ++i) offer(3000);
  EXPECT_EQ(refused, kTooMany);
  for (int64_t ms = 3010; queued > 0; ms += 10) {
    --queued;
    pace.Left(At(ms));
    for (; !back.empty() && back.top() <= ms; back.pop()) offer(ms);
  }
  EXPECT_TRUE(back.empty());
  EXPECT_EQ(refused, kTooMany);
}

}  // namespace
}  // namespace relay::registry

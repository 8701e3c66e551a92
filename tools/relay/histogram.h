// Counts of durations in buckets that are at most 2 % wide: percentiles in constant memory.

#ifndef RELAY_TOOLS_RELAY_HISTOGRAM_H_
#define RELAY_TOOLS_RELAY_HISTOGRAM_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace relay::tools {

// Of whole microseconds; those below 64 are exact. Thread-compatible.
class Histogram {
 public:
  void Add(std::chrono::nanoseconds duration);
  // A duration that `part` (0 to 1) of all are not above, as its bucket rounds it up; 0 where there are none.
  std::chrono::nanoseconds Percentile(double part) const;

 private:
  // Each power of two above the first 64 is split into 64 buckets.
  static constexpr size_t kSplitBits = 6;
  static constexpr size_t kMaxBits = 40;  // 12 days; longer ones count as that

  static size_t BucketOf(uint64_t microseconds);
  // The greatest value of the bucket.
  static uint64_t Top(size_t bucket);

  std::array<uint64_t, (kMaxBits - kSplitBits + 1) << kSplitBits> counts_ = {};
  uint64_t total_ = 0;
};

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_HISTOGRAM_H_

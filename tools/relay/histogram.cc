#include "tools/relay/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace relay::tools {

void Histogram::Add(std::chrono::nanoseconds duration) {
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
  const auto value = static_cast<uint64_t>(std::max<int64_t>(0, microseconds));
  ++counts_[BucketOf(std::min(value, (uint64_t{1} << kMaxBits) - 1))];
  ++total_;
}

std::chrono::nanoseconds Histogram::Percentile(double part) const {
  const auto wanted = static_cast<uint64_t>(std::ceil(part * static_cast<double>(total_)));
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < counts_.size(); ++bucket) {
    seen += counts_[bucket];
    if (seen > 0 && seen >= wanted) return std::chrono::microseconds(Top(bucket));
  }
  return std::chrono::nanoseconds(0);
}

size_t Histogram::BucketOf(uint64_t microseconds) {
  const auto bits = static_cast<size_t>(std::bit_width(microseconds));
  if (bits <= kSplitBits) return static_cast<size_t>(microseconds);
  const size_t shift = bits - kSplitBits - 1;
  const size_t within = static_cast<size_t>(microseconds >> shift) - (size_t{1} << kSplitBits);
  return ((shift + 1) << kSplitBits) + within;
}

uint64_t Histogram::Top(size_t bucket) {
  const size_t power = bucket >> kSplitBits;
  if (power == 0) return bucket;
  const uint64_t within = (bucket & ((size_t{1} << kSplitBits) - 1)) + (uint64_t{1} << kSplitBits);
  return ((within + 1) << (power - 1)) - 1;
}

}  // namespace relay::tools

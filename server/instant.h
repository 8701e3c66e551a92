// Moments inside the core: whole nanoseconds. Who drives the core, and its limits, speak absl::Time and absl::Duration;
// those compute out of line and saturate at every step, which was a tenth of the instructions of a relayed request.

#ifndef RELAY_SERVER_INSTANT_H_
#define RELAY_SERVER_INSTANT_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

#include "absl/time/time.h"

namespace relay::server {

using Nanoseconds = std::chrono::nanoseconds;
// Of the clock that the On... calls tell. None is read here.
using Instant = std::chrono::time_point<std::chrono::steady_clock, Nanoseconds>;

inline Instant InstantOf(absl::Time time) { return Instant(Nanoseconds(absl::ToUnixNanos(time))); }
inline absl::Time TimeOf(Instant instant) { return absl::FromUnixNanos(instant.time_since_epoch().count()); }

// At most a century, so that it can be added to any moment.
inline Nanoseconds NanosecondsOf(absl::Duration duration) {
  return absl::ToChronoNanoseconds(std::min(duration, absl::Hours(24) * 36525));
}

// Rounded up, at least 1: what remains of a time that is not over.
inline uint32_t MillisecondsUp(Nanoseconds duration) {
  const int64_t ms = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(ms, 1, std::numeric_limits<uint32_t>::max()));
}

// Rounded down.
inline uint32_t SaturatedMicroseconds(Nanoseconds duration) {
  const int64_t us = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(us, 0, std::numeric_limits<uint32_t>::max()));
}

}  // namespace relay::server

#endif  // RELAY_SERVER_INSTANT_H_

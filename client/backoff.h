// How long to wait before something that failed is tried again.

#ifndef RELAY_CLIENT_BACKOFF_H_
#define RELAY_CLIENT_BACKOFF_H_

#include <algorithm>
#include <random>

#include "absl/time/time.h"

namespace relay::client {

// Full jitter: a random wait of up to a bound that doubles with each failure, so that clients that were cut off
// together do not come back together. Thread-compatible.
class Backoff {
 public:
  Backoff(absl::Duration smallest_bound, absl::Duration largest_bound)
      : smallest_bound_(smallest_bound), largest_bound_(largest_bound), random_(std::random_device()()) {}

  // `failures` in a row before this one.
  absl::Duration Draw(int failures) {
    const auto bound =
        std::min(largest_bound_, smallest_bound_ * static_cast<double>(1 << std::clamp(failures, 0, 20)));
    return bound * std::uniform_real_distribution<double>(0, 1)(random_);
  }

 private:
  const absl::Duration smallest_bound_;
  const absl::Duration largest_bound_;
  std::minstd_rand random_;
};

}  // namespace relay::client

#endif  // RELAY_CLIENT_BACKOFF_H_

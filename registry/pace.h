// How fast requests leave a channel's queue, and so when there is room for one that was turned away.

#ifndef RELAY_REGISTRY_PACE_H_
#define RELAY_REGISTRY_PACE_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace relay::registry {

// Measured over a second or more in which something was queued; the time in which the queue is empty says
// nothing about how fast it is served. O(1). Thread-compatible.
class Pace {
 public:
  // The queue is not empty any more.
  void Begin(absl::Time now) { measured_at_ = now; }
  // A request has left the queue.
  void Left(absl::Time now);

  // How long one that was turned away should stay away, until `places` have become free for it: each is promised
  // places of its own, as if all who were turned away before it come back first, but none later than all of the
  // `queued` ones have left. Zero where nothing is known. The queue is not empty.
  absl::Duration RetryAfter(size_t places, size_t queued, absl::Time now);

 private:
  struct Span {
    absl::Duration time;
    uint64_t left = 0;
  };

  void Measure(absl::Time now);

  Span before_;
  Span now_;
  absl::Time measured_at_;
  absl::Time promised_ = absl::InfinitePast();  // until when the places that become free are promised
};

}  // namespace relay::registry

#endif  // RELAY_REGISTRY_PACE_H_

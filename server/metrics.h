// What the core counts. Counters only grow; gauges are read off the core itself.

#ifndef RELAY_SERVER_METRICS_H_
#define RELAY_SERVER_METRICS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "server/ends.h"

namespace relay::server {

// A value type.
struct Metrics {
  std::array<uint64_t, kEndCount> ends = {};  // how often each end was reached, by its End

  uint64_t connections_opened = 0;
  uint64_t requests_offered = 0;   // START|REQUEST frames of a live connection
  uint64_t requests_accepted = 0;  // that became an exchange
  uint64_t requests_refused = 0;   // offered = accepted + refused
  uint64_t requests_ended = 0;
  uint64_t assignments = 0;  // redeliveries too
  uint64_t redeliveries = 0;
  uint64_t passed_over = 0;  // receivers whose turn it was, while their connection was owed too much
  uint64_t extensions = 0;   // deadlines moved by EXTEND
  uint64_t frames_read = 0;
  uint64_t frames_forwarded = 0;
  uint64_t frames_crossed = 0;   // to another core, each time
  uint64_t put_off = 0;          // turns in which a connection had more than frames_per_turn
  uint64_t late_frames = 0;      // dropped: of an id that is not live, or not theirs
  uint64_t frames_mirrored = 0;  // MIRROR frames to observers
  uint64_t mirrors_lost = 0;     // those that an observer had no room for
  uint64_t unknown_frames = 0;   // dropped: of a type that this version does not know

  // Gauges that the core keeps as it goes.
  uint64_t exchanges_live = 0;
  uint64_t held_bytes = 0;  // copies of REQUEST frames, queued or kept for redelivery

  // Of several cores together.
  Metrics& operator+=(const Metrics& other);

  void Count(End end) { ++ends[static_cast<size_t>(end)]; }
  uint64_t count(End end) const { return ends[static_cast<size_t>(end)]; }
};

}  // namespace relay::server

#endif  // RELAY_SERVER_METRICS_H_

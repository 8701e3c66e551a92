#include "server/metrics.h"

namespace relay::server {

Metrics& Metrics::operator+=(const Metrics& other) {
  for (size_t i = 0; i < kEndCount; ++i) ends[i] += other.ends[i];
  using Count = uint64_t Metrics::*;
  for (const Count count :
       {&Metrics::connections_opened, &Metrics::requests_offered, &Metrics::requests_accepted,
        &Metrics::requests_refused, &Metrics::requests_ended, &Metrics::assignments, &Metrics::redeliveries,
        &Metrics::passed_over, &Metrics::extensions, &Metrics::frames_read, &Metrics::frames_forwarded,
        &Metrics::frames_crossed, &Metrics::put_off, &Metrics::late_frames, &Metrics::frames_mirrored,
        &Metrics::mirrors_lost, &Metrics::unknown_frames, &Metrics::exchanges_live, &Metrics::held_bytes}) {
    this->*count += other.*count;
  }
  return *this;
}

}  // namespace relay::server

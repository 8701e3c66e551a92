// A call at a time of the loop's clock.

#ifndef RELAY_NET_TIMER_H_
#define RELAY_NET_TIMER_H_

#include <uv.h>

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "net/loop.h"

namespace relay::net {

// Loop thread only. Destroying it stops it, from inside its own call too.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> call);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Calls once, at `when` or up to some milliseconds later, never before; a time that has passed means in about a
  // millisecond. Replaces the time set before. absl::InfiniteFuture() stops.
  void StartAt(absl::Time when);
  void Stop();

 private:
  struct Handle;

  Handle* const handle_;  // Deleted by its close callback.
};

}  // namespace relay::net

#endif  // RELAY_NET_TIMER_H_

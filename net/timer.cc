#include "net/timer.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "net/handle.h"
#include "net/uv_error.h"

namespace relay::net {

struct Timer::Handle : CallHandle<uv_timer_t> {
  using CallHandle::CallHandle;
};

Timer::Timer(Loop& loop, std::function<void()> call) : handle_(new Handle(std::move(call))) {
  CheckUv(uv_timer_init(loop.uv(), &handle_->uv), "uv_timer_init");
}

Timer::~Timer() { CloseAndDelete(handle_); }

void Timer::StartAt(absl::Time when) {
  if (when == absl::InfiniteFuture()) return Stop();
  // libuv counts whole milliseconds of the same clock, rounded down: a timer started for due_ms fires when that many
  // have passed. At least one more than it counts now, or libuv 1.44 would run a timer that starts itself again for a
  // time that has passed forever, without a turn of the loop in between.
  const int64_t nanoseconds = std::max<int64_t>(absl::ToUnixNanos(when), 0);
  const uint64_t due_ms = static_cast<uint64_t>(nanoseconds / 1'000'000 + (nanoseconds % 1'000'000 != 0 ? 1 : 0));
  const uint64_t now_ms = uv_now(handle_->uv.loop);
  CheckUv(uv_timer_start(
              &handle_->uv, [](uv_timer_t* timer) { static_cast<CallHandle<uv_timer_t>*>(timer->data)->call(); },
              due_ms > now_ms ? due_ms - now_ms : 1, 0),
          "uv_timer_start");
}

void Timer::Stop() { CheckUv(uv_timer_stop(&handle_->uv), "uv_timer_stop"); }

}  // namespace relay::net

#include "registry/pace.h"

#include <algorithm>

namespace relay::registry {
namespace {

// Long enough to hold more than one batch of receivers that end together, short enough to follow a change of load.
constexpr absl::Duration kSpan = absl::Seconds(1);

}  // namespace

void Pace::Measure(absl::Time now) {
  now_.time += now - measured_at_;
  measured_at_ = now;
  if (now_.time < kSpan) return;
  before_ = now_;
  now_ = {};
}

void Pace::Left(absl::Time now) {
  ++now_.left;
  Measure(now);
}

absl::Duration Pace::RetryAfter(size_t places, size_t queued, absl::Time now) {
  Measure(now);
  // A span that has just begun may hold the rest of a batch and no time. Where nothing has left in a whole one, the
  // first one takes at least as long again.
  const Span& span = before_.time == absl::ZeroDuration() ? now_ : before_;
  const absl::Duration each = span.time / static_cast<int64_t>(std::max<uint64_t>(1, span.left));
  const absl::Duration least = each * static_cast<int64_t>(places);
  const absl::Duration most = std::max(least, each * static_cast<int64_t>(queued));
  promised_ = std::min(std::max(promised_, now) + least, now + most);
  return promised_ - now;
}

}  // namespace relay::registry

#include "tools/relay/extender.h"

#include <optional>

namespace relay::tools {

Extender::Extender(Request& request, std::chrono::milliseconds time) : request_(request), time_(time) {
  if (request_.remaining().has_value()) thread_ = std::thread([this] { Run(); });
}

Extender::~Extender() {
  {
    const net::MutexLock lock(mutex_);
    stops_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Extender::Run() {
  auto left = request_.remaining();
  while (left.has_value() && WaitUntil(std::chrono::steady_clock::now() + *left - time_ / 2)) {
    const StatusOr<std::chrono::milliseconds> extended = request_.ExtendDeadline(time_);
    if (!extended.ok() || *extended <= time_ / 2) return;  // it has ended, or the sender allows no more
    left = *extended;
  }
}

bool Extender::WaitUntil(std::chrono::steady_clock::time_point then) {
  const net::MutexLock lock(mutex_);
  while (!stops_ && changed_.WaitUntil(mutex_, then)) continue;
  return !stops_;
}

}  // namespace relay::tools

#include "tools/relay/load.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "tools/relay/text.h"

namespace relay::tools {

Load::Load(std::shared_ptr<Connection> connection, std::string_view channel, LoadPlan plan) : plan_(std::move(plan)) {
  const size_t count = std::min(plan_.concurrency, plan_.requests);
  senders_.reserve(count);
  for (size_t i = 0; i < count; ++i) senders_.push_back(std::make_unique<Sender>(Client(connection, channel)));
}

Status Load::Run() {
  const auto started = std::chrono::steady_clock::now();
  {
    const net::MutexLock lock(mutex_);
    running_ = senders_.size();
  }
  for (const std::unique_ptr<Sender>& sender : senders_) Drive(*sender);
  const net::MutexLock lock(mutex_);
  while (running_ > 0) changed_.Wait(mutex_);
  elapsed_ = std::chrono::steady_clock::now() - started;
  return first_failure_;
}

void Load::Drive(Sender& sender) {
  while (TakeTicket()) {
    sender.turn = Turn::kCalling;
    sender.started = std::chrono::steady_clock::now();
    sender.client.SendAsync(plan_.body, plan_.options, [this, &sender](const StatusOr<Reply>& reply) {
      Count(sender, reply.status());
      if (sender.turn.exchange(Turn::kEnded) == Turn::kReturned) Drive(sender);
    });
    if (sender.turn.exchange(Turn::kReturned) != Turn::kEnded) return;
  }
  const net::MutexLock lock(mutex_);
  if (--running_ == 0) changed_.NotifyAll();
}

bool Load::TakeTicket() { return !stopping_ && tickets_++ < plan_.requests; }

void Load::Count(const Sender& sender, const Status& status) {
  const auto latency = std::chrono::steady_clock::now() - sender.started;
  const net::MutexLock lock(mutex_);
  latencies_.Add(latency);
  ++ends_[{status.code(), status.end()}];
  if (first_failure_.ok()) first_failure_ = status;
}

std::string Load::Summary() const {
  const net::MutexLock lock(mutex_);
  size_t requests = 0;
  std::string ends;
  for (const auto& [end, count] : ends_) {
    const auto& [code, name] = end;
    requests += count;
    ends += PadLeft(std::to_string(count), 10) + " " + std::string(NameOf(code));
    ends += name.empty() ? "\n" : " " + name + "\n";
  }
  const double seconds = std::max(1e-6, std::chrono::duration<double>(elapsed_).count());
  return Counted(requests, "request") + " in " + FormatDuration(elapsed_) + ": " +
         std::to_string(static_cast<uint64_t>(std::lround(static_cast<double>(requests) / seconds))) +
         " requests/s, p50 " + FormatDuration(latencies_.Percentile(0.5)) + ", p99 " +
         FormatDuration(latencies_.Percentile(0.99)) + "\n" + ends;
}

}  // namespace relay::tools

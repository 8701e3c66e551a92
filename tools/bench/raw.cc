#include "tools/bench/raw.h"

#include <time.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "tools/bench/relay_dialect.h"
#include "tools/bench/server_process.h"
#include "tools/relay/text.h"

namespace relay::bench {
namespace {

constexpr double kPercentiles[] = {0.5, 0.99, 0.999};

double Microseconds(std::chrono::nanoseconds time) { return std::chrono::duration<double, std::micro>(time).count(); }

double PerRequest(const RawResult& result, std::chrono::nanoseconds time) {
  return result.load.requests == 0 ? 0 : Microseconds(time) / static_cast<double>(result.load.requests);
}

double RequestsPerSecond(const RawResult& result) {
  const double seconds = std::chrono::duration<double>(result.load.elapsed).count();
  return seconds <= 0 ? 0 : static_cast<double>(result.load.requests) / seconds;
}

}  // namespace

std::chrono::nanoseconds OwnCpu() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

absl::StatusOr<RawResult> RunRaw(const RawPlan& plan) {
  std::unique_ptr<ServerProcess> server;
  std::string url = plan.server;
  LoadPlan load_plan;
  load_plan.warm_up_requests = plan.warm_up_requests;
  load_plan.requests = plan.requests;
  load_plan.duration = plan.duration;
  if (!plan.relayd.empty()) {
    absl::StatusOr<std::unique_ptr<ServerProcess>> started =
        ServerProcess::StartRelayd(plan.relayd, plan.listen, plan.relayd_flags, plan.under);
    if (!started.ok()) return started.status();
    server = *std::move(started);
    url = server->url();
    if (plan.in_step) {
      load_plan.pause = [&server] { server->Pause(); };
      load_plan.resume = [&server] { server->Resume(); };
    }
  }
  RelayDialect dialect(url, {.frames = plan.shape.frames});
  absl::StatusOr<RawResult> result =
      Measure(plan.shape, dialect, std::move(load_plan), server ? server->pid() : plan.server_pid);
  if (result.ok() && server) {
    if (absl::Status status = server->Stop(); !status.ok()) return status;
  }
  return result;
}

absl::StatusOr<RawResult> Measure(const Shape& shape, Dialect& dialect, LoadPlan plan, pid_t server_pid) {
  Load load(shape, dialect);
  if (absl::Status status = dialect.Open(load); !status.ok()) return status;
  const ProcessMeter meter(server_pid);
  RawResult result;
  if (plan.idle.count() > 0) {
    // What joining has left to be done is done first.
    if (absl::Status status = load.PumpFor(std::min<std::chrono::nanoseconds>(plan.idle, std::chrono::seconds(1)));
        !status.ok())
      return status;
    result.idle_cpu = -meter.Cpu();
    if (absl::Status status = load.PumpFor(plan.idle); !status.ok()) return status;
    result.idle_cpu += meter.Cpu();
    result.idle_rss_bytes = meter.RssBytes();
  }
  std::chrono::nanoseconds server_before{0};
  std::chrono::nanoseconds client_before{0};
  plan.on_warm = [&] {
    server_before = meter.Cpu();
    client_before = OwnCpu();
  };
  absl::StatusOr<LoadResult> ran = load.Run(plan);
  if (!ran.ok()) return ran.status();
  result.load = *std::move(ran);
  result.has_server_cpu = server_pid > 0;
  result.server_cpu = meter.Cpu() - server_before;
  result.client_cpu = OwnCpu() - client_before;
  result.server_rss_bytes = meter.RssBytes();
  return result;
}

std::string Describe(const RawResult& result) {
  std::string text = absl::StrFormat("%s in %s: %.0f requests/s", tools::Counted(result.load.requests, "request"),
                                     tools::FormatDuration(result.load.elapsed), RequestsPerSecond(result));
  for (const double part : kPercentiles) {
    text += absl::StrFormat(", p%g %.0f us", part * 100, Microseconds(result.load.latencies.Percentile(part)));
  }
  text += absl::StrFormat("\nCPU per request: client %.2f us", PerRequest(result, result.client_cpu));
  if (result.has_server_cpu) {
    text += absl::StrFormat(", server %.2f us; server's memory %s", PerRequest(result, result.server_cpu),
                            tools::FormatBytes(result.server_rss_bytes));
  }
  return text + "\n";
}

std::string ToJson(const RawResult& result) {
  const LoadResult& load = result.load;
  std::string text = absl::StrFormat(R"({"requests": %d, "in_time": %d, "refused": %d, "lost": %d, "not_offered": %d)",
                                     load.requests, load.in_time, load.refused, load.lost, load.not_offered);
  text += absl::StrFormat(R"(, "seconds": %.6f, "requests_per_second": %.1f, "client_cpu_us": %.4f)",
                          std::chrono::duration<double>(load.elapsed).count(), RequestsPerSecond(result),
                          PerRequest(result, result.client_cpu));
  for (const double part : {0.5, 0.99, 0.999, 1.0}) {
    text += absl::StrFormat(R"(, "p%g_us": %.0f)", part * 100, Microseconds(load.latencies.Percentile(part)));
  }
  if (result.has_server_cpu) {
    text += absl::StrFormat(R"(, "server_cpu_us": %.4f, "server_rss_bytes": %d)", PerRequest(result, result.server_cpu),
                            result.server_rss_bytes);
  }
  if (result.idle_rss_bytes > 0) {
    text += absl::StrFormat(R"(, "idle_cpu_s": %.6f, "idle_rss_bytes": %d)",
                            std::chrono::duration<double>(result.idle_cpu).count(), result.idle_rss_bytes);
  }
  return text + "}\n";
}

}  // namespace relay::bench

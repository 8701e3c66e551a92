#include "tools/bench/raw.h"

#include <time.h>

#include <memory>

#include "absl/strings/str_format.h"
#include "tools/bench/relay_dialect.h"
#include "tools/bench/server_process.h"
#include "tools/relay/text.h"

namespace relay::bench {
namespace {

constexpr double kPercentiles[] = {0.5, 0.99, 0.999};

std::chrono::nanoseconds OwnCpu() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

double Microseconds(std::chrono::nanoseconds time) { return std::chrono::duration<double, std::micro>(time).count(); }

double PerRequest(const RawResult& result, std::chrono::nanoseconds time) {
  return result.load.requests == 0 ? 0 : Microseconds(time) / static_cast<double>(result.load.requests);
}

double RequestsPerSecond(const RawResult& result) {
  const double seconds = std::chrono::duration<double>(result.load.elapsed).count();
  return seconds <= 0 ? 0 : static_cast<double>(result.load.requests) / seconds;
}

}  // namespace

absl::StatusOr<RawResult> RunRaw(const RawPlan& plan) {
  std::unique_ptr<ServerProcess> server;
  std::string url = plan.server;
  if (!plan.relayd.empty()) {
    absl::StatusOr<std::unique_ptr<ServerProcess>> started =
        ServerProcess::StartRelayd(plan.relayd, plan.listen, plan.relayd_flags, plan.under);
    if (!started.ok()) return started.status();
    server = *std::move(started);
    url = server->url();
  }
  RawResult result;
  {
    RelayDialect dialect(url, plan.shape.frames);
    Load load(plan.shape, dialect);
    if (absl::Status status = dialect.Open(load); !status.ok()) return status;

    const ProcessMeter meter(server ? server->pid() : -1);
    std::chrono::nanoseconds server_before{0};
    std::chrono::nanoseconds client_before{0};
    LoadPlan load_plan;
    load_plan.warm_up_requests = plan.warm_up_requests;
    load_plan.requests = plan.requests;
    load_plan.duration = plan.duration;
    load_plan.on_warm = [&] {
      server_before = meter.Cpu();
      client_before = OwnCpu();
    };
    if (plan.in_step) {
      load_plan.pause = [&server] { server->Pause(); };
      load_plan.resume = [&server] { server->Resume(); };
    }
    absl::StatusOr<LoadResult> ran = load.Run(load_plan);
    if (!ran.ok()) return ran.status();
    result.load = *std::move(ran);
    result.has_server_cpu = server != nullptr;
    result.server_cpu = meter.Cpu() - server_before;
    result.client_cpu = OwnCpu() - client_before;
    result.server_rss_bytes = meter.RssBytes();
  }
  if (server) {
    if (absl::Status status = server->Stop(); !status.ok()) return status;
  }
  return result;
}

std::string Describe(const RawResult& result) {
  std::string text = absl::StrFormat("%d requests in %s: %.0f requests/s", result.load.requests,
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
  std::string text =
      absl::StrFormat(R"({"requests": %d, "seconds": %.6f, "requests_per_second": %.1f, "client_cpu_us": %.4f)",
                      result.load.requests, std::chrono::duration<double>(result.load.elapsed).count(),
                      RequestsPerSecond(result), PerRequest(result, result.client_cpu));
  for (const double part : kPercentiles) {
    text += absl::StrFormat(R"(, "p%g_us": %.0f)", part * 100, Microseconds(result.load.latencies.Percentile(part)));
  }
  if (result.has_server_cpu) {
    text += absl::StrFormat(R"(, "server_cpu_us": %.4f, "server_rss_bytes": %d)", PerRequest(result, result.server_cpu),
                            result.server_rss_bytes);
  }
  return text + "}\n";
}

}  // namespace relay::bench

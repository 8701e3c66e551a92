// `relay bench raw`: what the server alone costs, seen by clients that cost as little as they can.

#ifndef RELAY_TOOLS_BENCH_RAW_H_
#define RELAY_TOOLS_BENCH_RAW_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/bench/load.h"

namespace relay::bench {

struct RawPlan {
  Shape shape;
  uint64_t requests = 0;  // 0: for `duration`
  uint64_t warm_up_requests = 0;
  std::chrono::nanoseconds duration{0};
  std::string server;    // a running one
  pid_t server_pid = 0;  // of it, where it is known
  std::string relayd;    // or the program, to be started
  std::string listen;
  std::vector<std::string> relayd_flags;
  std::vector<std::string> under;
  bool in_step = false;  // needs relayd
};

struct RawResult {
  LoadResult load;
  bool has_server_cpu = false;  // it was started here
  std::chrono::nanoseconds server_cpu{0};
  uint64_t server_rss_bytes = 0;
  // With everything joined and nothing under way, over LoadPlan::idle.
  std::chrono::nanoseconds idle_cpu{0};
  uint64_t idle_rss_bytes = 0;
  std::chrono::nanoseconds client_cpu{0};
};

absl::StatusOr<RawResult> RunRaw(const RawPlan& plan);

// Opens the dialect and runs the load against a server that runs already; its CPU is that of `server_pid`, where that
// is more than 0.
absl::StatusOr<RawResult> Measure(const Shape& shape, Dialect& dialect, LoadPlan plan, pid_t server_pid);

// Of this process, all threads.
std::chrono::nanoseconds OwnCpu();

// Some lines for people, or one of JSON for programs.
std::string Describe(const RawResult& result);
std::string ToJson(const RawResult& result);

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_RAW_H_

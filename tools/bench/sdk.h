// `relay bench sdk`: the load of `relay bench raw` through the SDK. Both sides are in this process, as they are there,
// so that what the SDK adds is the CPU of this process over that.

#ifndef RELAY_TOOLS_BENCH_SDK_H_
#define RELAY_TOOLS_BENCH_SDK_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tools/bench/load.h"
#include "tools/bench/raw.h"

namespace relay::bench {

enum class Calls {
  kCallback,  // SendAsync; ReceiveAsync
  kBlocking,  // Send, a thread for each sender; Serve
  kStreamed,  // Start, Write, ReadAll, a thread for each sender; Serve
};

struct SdkPlan {
  Shape shape;
  Calls calls = Calls::kCallback;
  uint64_t requests = 0;
  uint64_t warm_up_requests = 0;
  std::string server;
  pid_t server_pid = 0;  // of it, where it is known
};

absl::StatusOr<RawResult> RunSdk(const SdkPlan& plan);

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_SDK_H_

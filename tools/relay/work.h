// What there is to count about the work on one request.

#ifndef RELAY_TOOLS_RELAY_WORK_H_
#define RELAY_TOOLS_RELAY_WORK_H_

#include <atomic>
#include <cstdint>

namespace relay::tools {

// Body bytes taken from the request and given to the response. Thread-safe.
struct Tally {
  std::atomic<uint64_t> in_bytes = 0;
  std::atomic<uint64_t> out_bytes = 0;
};

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_WORK_H_

#include "server/descriptors.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

namespace relay::server {
namespace {

// Standard input and outputs, the loop's own, and a few to spare.
constexpr uint64_t kOwnDescriptors = 16;

}  // namespace

uint64_t RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::numeric_limits<uint64_t>::max();
  rlimit raised = limit;
  raised.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

uint64_t ConnectionsThatFit(uint64_t descriptors, size_t listeners) {
  const uint64_t own = kOwnDescriptors + listeners;
  if (descriptors <= own) return 1;
  const uint64_t free = descriptors - own;
  return std::max<uint64_t>(free - free / 8, 1);
}

}  // namespace relay::server

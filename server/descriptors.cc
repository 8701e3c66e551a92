#include "server/descriptors.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

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

void ReserveDescriptors(uint32_t below) {
  const int low = epoll_create1(EPOLL_CLOEXEC);
  const int high = fcntl(low, F_DUPFD_CLOEXEC, static_cast<int>(below - 1));
  if (high >= 0) close(high);
  if (low >= 0) close(low);
}

uint64_t ConnectionsThatFit(uint64_t descriptors, size_t listeners) {
  const uint64_t own = kOwnDescriptors + listeners;
  if (descriptors <= own) return 1;
  const uint64_t free = descriptors - own;
  return std::max<uint64_t>(free - free / 8, 1);
}

uint64_t DescriptorsFor(uint64_t connections, size_t listeners) {
  return kOwnDescriptors + listeners + connections + (connections - 1) / 7;
}

}  // namespace relay::server

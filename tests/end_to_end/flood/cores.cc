#include "cores.h"

#include <sched.h>

#include <cerrno>
#include <cstring>

#include "process.h"

namespace flood {

std::optional<Cores> TwoCores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) Die("sched_getaffinity");
  std::optional<int> first;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed)) continue;
    if (first.has_value()) return Cores{*first, core};
    first = core;
  }
  return std::nullopt;
}

void Pin(pid_t thread, int core) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  if (sched_setaffinity(thread, sizeof(one), &one) != 0) Die("sched_setaffinity");
}

std::string MakeUrgent() {
  sched_param priority = {};
  priority.sched_priority = sched_get_priority_min(SCHED_FIFO);
  return sched_setscheduler(0, SCHED_FIFO, &priority) == 0 ? "" : std::strerror(errno);
}

}  // namespace flood

// Minutes of load through a network that does what networks do, with a look at what each process holds when all is
// quiet.

#ifndef RELAY_TESTS_END_TO_END_CHAOS_SOAK_H_
#define RELAY_TESTS_END_TO_END_CHAOS_SOAK_H_

#include <cstddef>
#include <cstdint>

namespace relay::chaos {

struct SoakOptions {
  uint64_t seed = 0;
  uint64_t seconds = 15;  // of load
  uint64_t phases = 3;    // with quiet behind each; growth is looked for from the end of the first third on
  size_t senders = 2;     // processes
  size_t receivers = 2;
  // How much more may be held at the end than after the first third. What an actor has allocated is told to the byte;
  // what its allocator keeps of that for thirty threads levels off within minutes.
  uint64_t heap_growth_bytes = 8 * 1024;
  uint64_t relayd_growth_kib = 4 * 1024;
  uint64_t actor_growth_kib = 24 * 1024;
};

// Prints what it does; the exit code.
int RunSoak(const SoakOptions& options);

}  // namespace relay::chaos

#endif  // RELAY_TESTS_END_TO_END_CHAOS_SOAK_H_

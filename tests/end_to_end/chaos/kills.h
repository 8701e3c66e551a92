// A relayd killed or drained again and again under load, and started again at the same address.

#ifndef RELAY_TESTS_END_TO_END_CHAOS_KILLS_H_
#define RELAY_TESTS_END_TO_END_CHAOS_KILLS_H_

#include <cstddef>
#include <cstdint>

namespace relay::chaos {

struct KillOptions {
  uint64_t seed = 0;
  size_t kills = 10;            // of a relayd, which is started again
  uint64_t most_ms = 120;       // so long at most until the next
  size_t relays = 1;            // that clients know, each in an order of its own
  uint64_t drain_percent = 0;   // so many kills are SIGTERM, half of them twice
  uint64_t actors_percent = 0;  // so many take a sender or a receiver too
  size_t senders = 2;           // processes
  size_t receivers = 2;
};

// Prints what it does; the exit code.
int RunKills(const KillOptions& options);

}  // namespace relay::chaos

#endif  // RELAY_TESTS_END_TO_END_CHAOS_KILLS_H_

// The relay killed again and again under load, and started again at the same address.

#ifndef RELAY_TESTS_END_TO_END_CHAOS_KILLS_H_
#define RELAY_TESTS_END_TO_END_CHAOS_KILLS_H_

#include <cstddef>
#include <cstdint>

namespace relay::chaos {

struct KillOptions {
  uint64_t seed = 0;
  size_t kills = 10;            // of relayd
  uint64_t most_ms = 120;       // a relayd lives so long, at random
  uint64_t actors_percent = 0;  // so many kills take an actor too
  size_t senders = 2;           // processes
  size_t receivers = 2;         // processes
};

// Prints what it does; the exit code.
int RunKills(const KillOptions& options);

}  // namespace relay::chaos

#endif  // RELAY_TESTS_END_TO_END_CHAOS_KILLS_H_

// Which processor each of them runs on, so that what is measured is the server and not who waits for a processor.

#ifndef RELAY_TESTS_END_TO_END_FLOOD_CORES_H_
#define RELAY_TESTS_END_TO_END_FLOOD_CORES_H_

#include <sys/types.h>

#include <optional>
#include <string>

namespace flood {

// A value type.
struct Cores {
  int server;
  int others;
};

// The first two that this process may use; nothing where there is one alone.
std::optional<Cores> TwoCores();

// Keeps a thread, 0 for the one that calls, to one core. Dies where it cannot.
void Pin(pid_t thread, int core);

// The thread that calls runs before every other one that is not as urgent. Empty, or why the system does not let it.
std::string MakeUrgent();

}  // namespace flood

#endif  // RELAY_TESTS_END_TO_END_FLOOD_CORES_H_

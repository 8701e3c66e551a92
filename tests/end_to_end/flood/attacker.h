// One thread that floods a port: it writes large blocks that were built before, throws away what it reads without
// looking at it, and where its connection ends it opens the next one at once.

#ifndef RELAY_TESTS_END_TO_END_FLOOD_ATTACKER_H_
#define RELAY_TESTS_END_TO_END_FLOOD_ATTACKER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace flood {

// What is done over each of an attacker's connections. A value type.
struct Flood {
  static constexpr size_t kNoEnd = std::numeric_limits<size_t>::max();

  std::string name = {};
  // Each of these named ends has to be reached.
  std::vector<std::string> ends = {};

  size_t connections = 1;
  // What the n-th connection that is opened begins with; written once.
  std::function<std::string(uint64_t)> opening = [](uint64_t) { return std::string(); };
  // Written behind it, again and again. Where it is empty, the connection is held.
  std::string block = {};
  size_t most_blocks = kNoEnd;  // on one connection; then it is held
  bool reads = true;
  // What is written goes out at one byte of every connection in so many ms.
  int byte_interval_ms = 0;
  // Closes what it has written, instead of waiting for the other side to do so; with RST or with FIN.
  enum class Close : uint8_t { kNever, kReset, kFin } close = Close::kNever;
  // The flags take away a bound: what the next one costs is shown, and not judged.
  bool is_unguarded = false;
  // relayd's flags for this flood.
  std::vector<std::string> flags = {};
  uint64_t least_ended =
      1;  // so many connections are ended by the other side before it is over, where `ends` names any
  double least_seconds = 0;  // its ends take so long
  bool is_long = false;      // only for --bench
  // The attacker waits more than it works, so that what its CPU draws says nothing.
  bool is_paced = false;
};

// What an attack cost and drew. A value type.
struct Toll {
  double seconds = 0;
  double cpu_seconds = 0;
  uint64_t ended = 0;        // of its connections, by the other side
  uint64_t connections = 0;  // opened
  uint64_t sent_bytes = 0;   // that the other side's system took
  uint64_t drawn_bytes = 0;  // that came back, read or not
  double most_excess = 0;    // the most of one connection: (drawn - 160) / sent
};

// Floods `port` for `seconds`, and longer, up to a minute, until the other side has ended least_ended connections.
// `gives_up_early`: where a connection has written all that it will, it is closed and not held, for a port that never
// answers.
Toll Attack(const Flood& flood, uint16_t port, double seconds, bool gives_up_early);

}  // namespace flood

#endif  // RELAY_TESTS_END_TO_END_FLOOD_ATTACKER_H_

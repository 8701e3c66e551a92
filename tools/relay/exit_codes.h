// What the exit code of `relay` says: 0, a code for each status that a request can end with, and three of sysexits.h
// for what never reached the relay.

#ifndef RELAY_TOOLS_RELAY_EXIT_CODES_H_
#define RELAY_TOOLS_RELAY_EXIT_CODES_H_

#include <string>

#include "relay/status.h"

namespace relay::tools {

inline constexpr int kExitOk = 0;
// The rest of the range belongs to the statuses: 11 to 26, clear of sysexits.h (64 to 78) and of the shell (126 and
// up).
inline constexpr int kExitStatusBase = 10;
inline constexpr int kExitUsage = 64;
inline constexpr int kExitNoInput = 66;
inline constexpr int kExitIo = 74;
// The shell's convention for a process that a signal has ended.
inline constexpr int kExitSignalBase = 128;

// 0 for OK, else 10 + the number of the code.
int ExitCodeOf(StatusCode code);

// Every code with its name and what it means to a user, a line each, 80 columns at most.
std::string ExitCodeTable();

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_EXIT_CODES_H_

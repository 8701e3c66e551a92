// One request, done by a command: the body on its stdin, its stdout as the response, its exit as the status.

#ifndef RELAY_TOOLS_RELAY_EXEC_H_
#define RELAY_TOOLS_RELAY_EXEC_H_

#include <string>

#include "relay/request.h"
#include "relay/status.h"
#include "tools/relay/work.h"

namespace relay::tools {

// Runs `command` with /bin/sh and finishes the request. Its stderr goes to ours; the last line of it is in the message
// of the status where it fails. A command need not read its stdin, and may answer before it has. When the request ends
// first (cancelled, out of time), the command gets SIGTERM, and after 5 s SIGKILL. Returns what the request was
// finished with.
Status RunCommand(Request& request, const std::string& channel, const std::string& command, Tally& tally);

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_EXEC_H_

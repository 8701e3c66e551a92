// The subcommands of `relay`, a file each. `argv` begins with the subcommand's name; the result is the exit code.

#ifndef RELAY_TOOLS_RELAY_COMMANDS_H_
#define RELAY_TOOLS_RELAY_COMMANDS_H_

namespace relay::tools {

int Send(int argc, const char* const* argv);
int Receive(int argc, const char* const* argv);
int Bench(int argc, const char* const* argv);
int Inspect(int argc, const char* const* argv);

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_COMMANDS_H_

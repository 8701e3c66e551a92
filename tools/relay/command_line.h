// What the subcommands have in common on their command lines.

#ifndef RELAY_TOOLS_RELAY_COMMAND_LINE_H_
#define RELAY_TOOLS_RELAY_COMMAND_LINE_H_

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace relay::tools {

inline constexpr std::string_view kDefaultServer = "tcp://127.0.0.1:7420";

// Parses, or says on stdout what was asked for, or on stderr what is wrong, and gives the exit code. `help` is written
// by hand: the order and the words of a page are worth more than what can be generated.
std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv, std::string_view help);

// Writes what was asked for to stdout, or says on stderr why not, and gives the exit code.
int Print(std::string_view command, std::string_view text);

// Says on stderr what is wrong with the command line, and gives the exit code.
int UsageError(std::string_view command, std::string_view words);

// Refuses an empty value: it is a variable of the shell's that nobody has set. `what` outlives the command line.
std::function<std::string(const std::string&)> Needs(std::string_view what);

// An option whose value is a time with its unit.
CLI::Option* AddDuration(CLI::App& app, const std::string& name, std::optional<std::chrono::milliseconds>& value);

// --server, RELAY_SERVER: one URL, or several. Whether each can be, the connection says.
void AddServer(CLI::App& app, std::string& url);

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_COMMAND_LINE_H_

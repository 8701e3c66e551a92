// relay: hands the command line to the subcommand that it names.

#include <csignal>
#include <string>
#include <string_view>

#include "tools/relay/command_line.h"
#include "tools/relay/commands.h"
#include "tools/relay/exit_codes.h"
#include "tools/relay/io.h"

namespace {

using namespace std::string_view_literals;

constexpr std::string_view kHelp = R"(relay: sends requests into channels, where free receivers answer them

usage: relay send CHANNEL [OPTION]...     stdin: the request, stdout: the answer
       relay receive CHANNEL [OPTION]...  answers requests, a command for each
       relay inspect [FILE] [OPTION]...   shows every frame, of a file or live
       relay bench raw|sdk [OPTION]...    what a relay costs, measured
       relay send --help | relay receive --help | relay inspect --help
       relay --version

Try it, beside a running relayd:

  relay receive shout --exec 'tr a-z A-Z' &
  echo hello | relay send shout

A channel is a name or a UUID. The server is --server URL, or $RELAY_SERVER, or
tcp://127.0.0.1:7420.

exit codes; those from 11 to 26 are 10 + the number of the request's status:
)";

int Run(int argc, const char* const* argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "send"sv) return relay::tools::Send(argc - 1, argv + 1);
  if (command == "receive"sv) return relay::tools::Receive(argc - 1, argv + 1);
  if (command == "bench"sv) return relay::tools::Bench(argc - 1, argv + 1);
  if (command == "inspect"sv) return relay::tools::Inspect(argc - 1, argv + 1);
  if (command == "--help"sv || command == "-h"sv || command == "help"sv) {
    return relay::tools::Print("relay", std::string(kHelp) + relay::tools::ExitCodeTable());
  }
  if (command == "--version"sv) return relay::tools::Print("relay", "relay " RELAY_VERSION "\n");
  return relay::tools::UsageError("relay", command.empty() ? "a command is missing: send, receive, inspect or bench"
                                                           : "no command '" + std::string(command) + "'");
}

}  // namespace

int main(int argc, char** argv) {
  relay::tools::OpenStandardDescriptors();
  // Who does not read what is written to them is told apart where it is written.
  std::signal(SIGPIPE, SIG_IGN);
  return Run(argc, argv);
}

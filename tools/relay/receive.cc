// relay receive: the command line of a worker.

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tools/relay/command_line.h"
#include "tools/relay/commands.h"
#include "tools/relay/receiver.h"

namespace relay::tools {
namespace {

constexpr std::string_view kHelp = R"(usage: relay receive CHANNEL [OPTION]...

Takes the requests of CHANNEL (a name or a UUID) and answers them. Start as many
of these as you like, anywhere: each request goes to one of them.

the work; without either, bodies go to stdout and the answers are empty
  --exec COMMAND    run COMMAND with /bin/sh for each request: the body is its
                    stdin, its stdout the answer, both as they come. If it
                    fails, the sender gets INTERNAL and the last line of its
                    stderr
  --echo            answer with what was asked

  --extend TIME     where a request has a timeout, see to it that so much of it
                    is left as long as the work runs and the sender allows

how much of it
  --concurrency N   work on so many requests at a time [1]
  --count N         stop after so many requests
  --wait TIME       stop when none has come for so long, as 500ms, 30s, 5m or 2h

the rest
  --server URL      tcp://HOST:PORT or unix:PATH; several, with commas between,
                    are tried in turn [$RELAY_SERVER, or tcp://127.0.0.1:7420]
  -v, --verbose     a line on stderr for each request, not only for failures
  -q, --quiet       no such line at all

COMMAND finds in its environment: RELAY_CHANNEL, RELAY_REQUEST_ID,
RELAY_SENDER_ID, RELAY_METHOD, RELAY_CONTENT_TYPE, RELAY_ATTEMPT (from 1),
RELAY_TIMEOUT_MS (what is left, where there is a timeout), and for metadata such
as page-size=4 RELAY_META_PAGE_SIZE; values whose keys give the same name are
joined by newlines. If the sender gives up, COMMAND and all that it has started
get SIGTERM, and SIGKILL 5 s later.

Ctrl-C or SIGTERM: finishes what runs, takes no more. A second one: stops at
once.
Exit code 0: all went well. 14, DEADLINE_EXCEEDED: the wait ran out and nothing,
or less than the count, had come. The others: relay --help.
)";

constexpr size_t kMaxConcurrency = 1024;
constexpr size_t kMaxCount = 1'000'000'000'000;

}  // namespace

int Receive(int argc, const char* const* argv) {
  ReceiveArguments arguments;
  CLI::App app("", "relay receive");
  app.add_option("CHANNEL", arguments.channel)->required();
  AddServer(app, arguments.server);
  CLI::Option* const exec = app.add_option("--exec", arguments.command)->check(Needs("a command"));
  CLI::Option* const echo = app.add_flag("--echo")->excludes(exec);
  app.add_option("--concurrency", arguments.concurrency)->check(CLI::Range(size_t{1}, kMaxConcurrency));
  app.add_option("--count", arguments.count)->check(CLI::Range(size_t{1}, kMaxCount));
  AddDuration(app, "--wait", arguments.wait);
  AddDuration(app, "--extend", arguments.extend);
  CLI::Option* const verbose = app.add_flag("-v,--verbose");
  CLI::Option* const quiet = app.add_flag("-q,--quiet")->excludes(verbose);
  if (const std::optional<int> code = ParseCommandLine(app, argc, argv, kHelp)) return *code;

  if (*exec) arguments.work = ReceiveArguments::Work::kExec;
  if (*echo) arguments.work = ReceiveArguments::Work::kEcho;
  if (*verbose) arguments.talk = ReceiveArguments::Talk::kEveryRequest;
  if (*quiet) arguments.talk = ReceiveArguments::Talk::kQuiet;
  if (arguments.work == ReceiveArguments::Work::kStdout && arguments.concurrency > 1) {
    return UsageError("relay receive",
                      "--concurrency: bodies go to stdout one at a time; use --exec or --echo with it");
  }
  return Receiver(std::move(arguments)).Run();
}

}  // namespace relay::tools

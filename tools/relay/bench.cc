// relay bench: what a relay costs, measured.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "tools/bench/raw.h"
#include "tools/bench/sdk.h"
#include "tools/bench/server_process.h"
#include "tools/relay/command_line.h"
#include "tools/relay/commands.h"
#include "tools/relay/exit_codes.h"
#include "tools/relay/io.h"

namespace relay::tools {
namespace {

constexpr std::string_view kHelp = R"(usage: relay bench raw [OPTION]...
       relay bench sdk [OPTION]...

Plays senders and receivers and says how fast the server was and what a request
cost: raw plays them on raw frames, one thread for all of them; sdk through the
SDK.

the load
  --in-flight N        senders, each with one request at a time [64]
  --shared | --each    all of them on one connection, or a connection each
                       [--shared]
  --receivers N        connections of receivers; they take together as many
                       requests as there are senders [4]
  --body BYTES         of a request, and of its answer; 8 to 60000 [64]
  --frames 1|3         one frame each way, or START, CHUNK and END [1]
  --channel N          raw: number of the channel that is used [0]
  --home-channel N     raw: one that each connection joins first, and does not
                       use: with several threads it is at home where that is
  --requests N         so many are counted [100000]
  --duration TIME      raw: for so long instead
  --warm-up N          requests before those, which are not counted [a tenth]
  --calls WHICH        sdk: callback (SendAsync, ReceiveAsync), blocking (Send,
                       Serve) or streamed (Start, Serve) [callback]

the server
  --server URL         a running one [$RELAY_SERVER, or tcp://127.0.0.1:7420]
  --server-pid PID     of it, so that its CPU is known
  --relayd PATH        raw: or start this program, and stop it afterwards
  --listen URL         where that listens [tcp://127.0.0.1:0]
  --relayd-flag FLAG   another flag of it, as --relayd-flag=--max-clients=9; may
                       be repeated
  --under COMMAND      start it under this, as 'valgrind --tool=callgrind'
  --in-step            write all requests, then all answers, each while relayd
                       stands still: it finds the same bytes in each of its
                       turns, so that what it does can be counted exactly; times
                       mean nothing then

the result
  --json               as a line of JSON
)";

struct Arguments {
  std::string mode;
  bench::RawPlan plan;
  bench::Calls calls = bench::Calls::kCallback;
  bool json = false;
};

const std::map<std::string, bench::Calls> kCalls = {{"callback", bench::Calls::kCallback},
                                                    {"blocking", bench::Calls::kBlocking},
                                                    {"streamed", bench::Calls::kStreamed}};

std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// "" where there is none.
std::string FaultOfPid(const std::string& text) {
  pid_t pid = 0;
  const bool runs = absl::SimpleAtoi(text, &pid) && pid > 0 && bench::ProcessMeter(pid).State() != '\0';
  return runs ? "" : "'" + text + "' is no process that runs";
}

std::optional<int> Parse(int argc, const char* const* argv, Arguments& arguments) {
  constexpr size_t kMostInFlight = 4096;
  constexpr uint64_t kMostRequests = 1'000'000'000'000;
  bench::RawPlan& plan = arguments.plan;
  plan.listen = "tcp://127.0.0.1:0";
  plan.requests = 100'000;
  CLI::App app("", "relay bench");
  app.add_option("MODE", arguments.mode)->required()->check(CLI::IsMember({"raw", "sdk"}));
  AddServer(app, plan.server);
  app.add_option("--server-pid", plan.server_pid)->check(FaultOfPid);
  app.add_option("--calls", arguments.calls)->transform(CLI::CheckedTransformer(kCalls));
  CLI::Option* const relayd = app.add_option("--relayd", plan.relayd)->check(Needs("a program"));
  app.add_option("--listen", plan.listen)->check(Needs("a URL"))->needs(relayd);
  app.add_option("--relayd-flag", plan.relayd_flags)->needs(relayd)->take_all()->expected(1)->allow_extra_args(false);
  app.add_option_function<std::string>("--under", [&plan](const std::string& text) { plan.under = Words(text); })
      ->needs(relayd);
  app.add_flag("--in-step", plan.in_step)->needs(relayd);
  app.add_option("--in-flight", plan.shape.in_flight)->check(CLI::Range(size_t{1}, kMostInFlight));
  app.add_option("--receivers", plan.shape.receivers)->check(CLI::Range(size_t{1}, kMostInFlight));
  app.add_option("--body", plan.shape.body_bytes)->check(CLI::Range(8, 60'000));
  app.add_option("--frames", plan.shape.frames)->check(Needs("a number"))->check(CLI::IsMember({1, 3}));
  app.add_option("--channel", plan.shape.channel)->check(Needs("a number"));
  app.add_option("--home-channel", plan.shape.home_channel)->check(Needs("a number"));
  CLI::Option* const shared = app.add_flag("--shared");
  CLI::Option* const each = app.add_flag("--each")->excludes(shared);
  CLI::Option* const requests =
      app.add_option("--requests", plan.requests)->check(CLI::Range(uint64_t{1}, kMostRequests));
  std::optional<std::chrono::milliseconds> duration;
  AddDuration(app, "--duration", duration)->excludes(requests);
  CLI::Option* const warm_up = app.add_option("--warm-up", plan.warm_up_requests)->check(Needs("a number"));
  app.add_flag("--json", arguments.json);
  if (const std::optional<int> code = ParseCommandLine(app, argc, argv, kHelp)) return code;
  if (arguments.mode == "sdk" && (relayd->count() > 0 || duration.has_value())) {
    return UsageError("relay bench", "sdk takes a running server, and a number of requests");
  }
  plan.shape.is_shared = each->count() == 0;
  if (duration.has_value()) {
    plan.duration = *duration;
    plan.requests = 0;
  }
  constexpr uint64_t kMostWarmUp = 10'000;
  if (warm_up->count() == 0) plan.warm_up_requests = plan.requests > 0 ? plan.requests / 10 : kMostWarmUp;
  return std::nullopt;
}

absl::StatusOr<bench::RawResult> Run(const Arguments& arguments) {
  const bench::RawPlan& plan = arguments.plan;
  if (arguments.mode == "raw") return bench::RunRaw(plan);
  return bench::RunSdk({.shape = plan.shape,
                        .calls = arguments.calls,
                        .requests = plan.requests,
                        .warm_up_requests = plan.warm_up_requests,
                        .server = plan.server,
                        .server_pid = plan.server_pid});
}

}  // namespace

int Bench(int argc, const char* const* argv) {
  Arguments arguments;
  if (const std::optional<int> code = Parse(argc, argv, arguments)) return *code;
  const absl::StatusOr<bench::RawResult> result = Run(arguments);
  if (!result.ok()) {
    PrintError("relay bench: " + std::string(result.status().message()) + "\n");
    return ExitCodeOf(static_cast<StatusCode>(result.status().code()));
  }
  return Print("relay bench", arguments.json ? bench::ToJson(*result) : bench::Describe(*result));
}

}  // namespace relay::tools

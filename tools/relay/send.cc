// relay send: one request, streamed; or the same one many times.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "relay/client.h"
#include "relay/connection.h"
#include "relay/options.h"
#include "tools/relay/body_source.h"
#include "tools/relay/command_line.h"
#include "tools/relay/commands.h"
#include "tools/relay/exit_codes.h"
#include "tools/relay/io.h"
#include "tools/relay/load.h"
#include "tools/relay/stop_signals.h"
#include "tools/relay/text.h"
#include "tools/relay/transfer.h"

namespace relay::tools {
namespace {

constexpr std::string_view kHelp = R"(usage: relay send CHANNEL [OPTION]...

Sends one request into CHANNEL (a name or a UUID) and writes the answer to
stdout, both as they come. The receiver that has been free longest gets it.

the request
  --file FILE          its body is this file instead of stdin; '-' is stdin
  --data TEXT          its body is this text
  --method NAME        what is asked for, in words that the receiver knows
  --content-type TYPE  what the body is, as image/jpeg
  --meta KEY=VALUE     something to travel beside the body; may be repeated
  --timeout TIME       how long it may take in all, as 500ms, 30s, 5m or 2h
                       [no limit]
  --max-extension TIME a receiver that needs longer may take so long in all
                       [the timeout]
  --idempotent         it may be done twice: if its receiver is lost, another
                       one gets it, as long as no more than half a window of
                       it was sent (128 KiB by default)
  --require-receiver   fail at once if nobody receives on the channel

the rest
  --server URL         tcp://HOST:PORT or unix:PATH; several, with commas
                       between, are tried in turn
                       [$RELAY_SERVER, or tcp://127.0.0.1:7420]
  --show-meta          show on stderr what comes beside the answer's body

a quick load, with the body of --data or --file, or none
  --repeat N           send it N times; stderr gets requests/s, p50 and p99, and
                       how many ended how. The answers are thrown away
  --concurrency N      so many at a time [1]

Exit code 0: the answer is complete. The others: relay --help.
)";

constexpr size_t kMaxLoadBodyBytes = size_t{64} << 20;
constexpr size_t kMaxConcurrency = 4096;
constexpr size_t kMaxCount = 1'000'000'000'000;

struct Arguments {
  std::string channel;
  std::string server;
  std::optional<std::string> file;
  std::optional<std::string> data;
  SendOptions options;
  bool show_meta = false;
  size_t repeat = 0;  // 0: one, streamed
  size_t concurrency = 1;
};

// "a=b" as a pair; the first '=' is the one.
std::pair<std::string, std::string> SplitField(const std::string& text) {
  const size_t equals = text.find('=');
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// The exit code where the command line is all there is to it.
std::optional<int> Parse(int argc, const char* const* argv, Arguments& arguments) {
  CLI::App app("", "relay send");
  app.add_option("CHANNEL", arguments.channel)->required();
  AddServer(app, arguments.server);
  CLI::Option* const file = app.add_option("--file", arguments.file)->check(Needs("a file"));
  app.add_option("--data", arguments.data)->excludes(file);
  app.add_option("--method", arguments.options.method);
  app.add_option("--content-type", arguments.options.content_type);
  std::vector<std::string> fields;
  app.add_option("--meta", fields)
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false)
      ->check([](const std::string& text) {
        return text.find('=') == std::string::npos || text[0] == '=' ? "'" + text + "' is not KEY=VALUE" : "";
      });
  CLI::Option* const timeout = AddDuration(app, "--timeout", arguments.options.timeout);
  std::optional<std::chrono::milliseconds> max_extension;
  AddDuration(app, "--max-extension", max_extension)->needs(timeout);
  app.add_flag("--idempotent", arguments.options.idempotent);
  app.add_flag("--require-receiver", arguments.options.require_receiver);
  app.add_flag("--show-meta", arguments.show_meta);
  CLI::Option* const repeat = app.add_option("--repeat", arguments.repeat)->check(CLI::Range(size_t{1}, kMaxCount));
  app.add_option("--concurrency", arguments.concurrency)->check(CLI::Range(size_t{1}, kMaxConcurrency))->needs(repeat);
  if (const std::optional<int> code = ParseCommandLine(app, argc, argv, kHelp)) return code;
  arguments.options.max_extension = max_extension.value_or(std::chrono::milliseconds(0));
  for (const std::string& field : fields) arguments.options.metadata.push_back(SplitField(field));
  return std::nullopt;
}

// "120 ms".
std::string FormatPause(std::chrono::milliseconds pause) {
  return pause < std::chrono::seconds(10) ? std::to_string(pause.count()) + " ms" : FormatDuration(pause);
}

// A status of the request, or of the connection.
int Fail(const Status& status) {
  std::string words = status.ToString();
  // What a worker says of its own work needs no such words.
  if (status.may_have_run() && !status.end().empty()) words += " (it may have been worked on)";
  if (status.retry_after().count() > 0) words += "; try again in " + FormatPause(status.retry_after());
  PrintError("relay send: " + words + "\n");
  return ExitCodeOf(status.code());
}

// What went wrong in this process.
int FailHere(const Status& status, int code) {
  PrintError("relay send: " + status.message() + "\n");
  return code;
}

StatusOr<BodySource> OpenBody(const Arguments& arguments) {
  if (arguments.data.has_value()) return BodySource::OfText(*arguments.data);
  if (arguments.file.has_value() && *arguments.file != "-") return BodySource::OfFile(*arguments.file);
  if (arguments.repeat > 0 && !arguments.file.has_value()) return BodySource::OfText("");
  return BodySource::OfStdin();
}

StatusOr<std::shared_ptr<Connection>> Connect(const Arguments& arguments) {
  ConnectionOptions options;
  options.agent = "relay-send/" RELAY_VERSION;
  // The time for all of it is the time for this part too; none at all is for the request to say.
  if (const auto timeout = arguments.options.timeout; timeout.has_value() && timeout->count() > 0) {
    options.connect_timeout = std::min(options.connect_timeout, *timeout);
  }
  return Connection::Open(arguments.server, std::move(options));
}

int SendOne(const Arguments& arguments, BodySource source) {
  const auto connection = Connect(arguments);
  if (!connection.ok()) return Fail(connection.status());
  StatusOr<Exchange> exchange = Client(*connection, arguments.channel).Start(arguments.options);
  if (!exchange.ok()) return Fail(exchange.status());

  const TransferEnd end = Transfer(*std::move(exchange), std::move(source), arguments.show_meta).Run();
  if (!end.source.ok()) return FailHere(end.source, kExitIo);
  // Nobody is there to read the answer: the request was cancelled, and nothing is to be said about it.
  if (end.output.code() == StatusCode::kFailedPrecondition) return ExitCodeOf(StatusCode::kCancelled);
  if (!end.output.ok()) return FailHere(end.output, kExitIo);
  if (!end.exchange.ok()) return Fail(end.exchange);
  return kExitOk;
}

int SendMany(const Arguments& arguments, BodySource source) {
  StatusOr<std::string> body = source.ReadAll(kMaxLoadBodyBytes, Wakeup());
  if (!body.ok()) return FailHere(body.status(), kExitIo);
  Load* running = nullptr;
  // Made before the connection and its thread.
  net::Mutex mutex;
  const StopSignals signals(
      [&mutex, &running] {
        const net::MutexLock lock(mutex);
        if (running == nullptr) return false;
        running->Stop();
        PrintError("relay send: finishing what runs; a second signal stops at once\n");
        return true;
      },
      [] {});
  const auto connection = Connect(arguments);
  if (!connection.ok()) return Fail(connection.status());
  Load load(*connection, arguments.channel,
            {arguments.repeat, arguments.concurrency, *std::move(body), arguments.options});
  {
    const net::MutexLock lock(mutex);
    running = &load;
  }
  const Status status = load.Run();
  {
    const net::MutexLock lock(mutex);
    running = nullptr;
  }
  PrintError(load.Summary());
  return status.ok() ? kExitOk : Fail(status);
}

}  // namespace

int Send(int argc, const char* const* argv) {
  Arguments arguments;
  if (const std::optional<int> code = Parse(argc, argv, arguments)) return *code;
  StatusOr<BodySource> source = OpenBody(arguments);
  if (!source.ok()) return FailHere(source.status(), kExitNoInput);
  return arguments.repeat > 0 ? SendMany(arguments, *std::move(source)) : SendOne(arguments, *std::move(source));
}

}  // namespace relay::tools

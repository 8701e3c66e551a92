// relay inspect: where frames come from, what is shown of them, and how.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "net/address.h"
#include "tools/inspect/byte_input.h"
#include "tools/inspect/decoder.h"
#include "tools/inspect/output.h"
#include "tools/inspect/proxy.h"
#include "tools/inspect/raw.h"
#include "tools/inspect/text_sink.h"
#include "tools/relay/command_line.h"
#include "tools/relay/commands.h"
#include "tools/relay/exit_codes.h"
#include "tools/relay/io.h"
#include "tools/relay/stop_signals.h"

namespace relay::tools {
namespace {

constexpr std::string_view kHelp = R"(usage: relay inspect --listen URL --to URL [OPTION]...
)";

struct Arguments {
  std::vector<std::string> files;
  std::string listen;
  std::string to;
  std::string times = "relative";
  std::string colour = "auto";
  size_t width = 0;
  size_t dump_bytes = 256;
  bool is_verbose = false;
  bool is_strict = false;
  bool resyncs = false;
  bool is_ascii = false;
};

int Fail(const absl::Status& status) {
  PrintError("relay inspect: " + std::string(status.message()) + "\n");
  return absl::IsNotFound(status) ? kExitNoInput : ExitCodeOf(static_cast<StatusCode>(status.raw_code()));
}

absl::StatusOr<std::unique_ptr<inspect::Source>> OpenSource(const Arguments& arguments) {
  if (!arguments.listen.empty()) {
    const auto listen = net::ParseAddress(arguments.listen);
    if (!listen.ok()) return listen.status();
    const auto to = net::ParseAddress(arguments.to);
    if (!to.ok()) return to.status();
    auto proxy = inspect::ProxySource::Listen(*listen, *to, [](const absl::Status& status) {
      PrintError("relay inspect: " + std::string(status.message()) + "\n");
    });
    if (!proxy.ok()) return proxy.status();
    PrintError("relay inspect: " + net::ToString((*proxy)->address()) + " to " + net::ToString(*to) + "\n");
    return std::unique_ptr<inspect::Source>(*std::move(proxy));
  }
  std::vector<std::unique_ptr<inspect::ByteInput>> inputs;
  for (const std::string& path : arguments.files) {
    auto input = inspect::ByteInput::Open(path);
    if (!input.ok()) return input.status();
    inputs.push_back(*std::move(input));
  }
  return inspect::RawSource::Open(std::move(inputs));
}

inspect::TextOptions LooksOf(const Arguments& arguments) {
  inspect::TextOptions options;
  const size_t columns = inspect::TerminalColumns(STDOUT_FILENO);
  if (columns > 0) options.width = columns;
  if (arguments.width > 0) options.width = arguments.width;
  options.cuts_lines = columns > 0 || arguments.width > 0;
  options.is_verbose = arguments.is_verbose;
  options.dump_bytes = arguments.dump_bytes;
  if (arguments.times == "delta") options.times = inspect::TextOptions::Times::kDelta;
  if (arguments.times == "clock") options.times = inspect::TextOptions::Times::kClock;
  const char* const no_colour = std::getenv("NO_COLOR");
  const bool may_colour = columns > 0 && (no_colour == nullptr || *no_colour == '\0');
  options.style.has_colour = arguments.colour == "always" || (arguments.colour == "auto" && may_colour);
  options.style.is_ascii = arguments.is_ascii || (columns > 0 && !inspect::IsUtf8Locale());
  return options;
}

}  // namespace

int Inspect(int argc, const char* const* argv) {
  Arguments arguments;
  CLI::App app("", "relay inspect");
  app.add_option("FILE", arguments.files)->expected(0, 2);
  app.add_option("--listen", arguments.listen);
  app.add_option("--to", arguments.to);
  app.add_option("--time", arguments.times)->check(CLI::IsMember({"relative", "delta", "clock"}));
  app.add_option("--color,--colour", arguments.colour)->check(CLI::IsMember({"auto", "always", "never"}));
  app.add_option("--width", arguments.width)->check(CLI::Range(size_t{40}, size_t{1000}));
  app.add_option("--dump-bytes", arguments.dump_bytes);
  app.add_flag("-v,--verbose", arguments.is_verbose);
  app.add_flag("--strict", arguments.is_strict);
  app.add_flag("--resync", arguments.resyncs);
  app.add_flag("--ascii", arguments.is_ascii);
  if (const std::optional<int> code = ParseCommandLine(app, argc, argv, kHelp)) return *code;

  inspect::Source* running = nullptr;
  StopSignals signals(
      [&running] {
        running->Stop();
        return true;
      },
      [] {});
  auto source = OpenSource(arguments);
  if (!source.ok()) return Fail(source.status());
  running = source->get();
  inspect::Output out(STDOUT_FILENO, true, [&running] { running->Stop(); });
  inspect::TextSink sink(LooksOf(arguments), out);
  inspect::Decoder decoder(sink, arguments.resyncs);
  const absl::Status read = running->Run(decoder);
  const absl::Status written = decoder.Finish();
  if (!read.ok()) return Fail(read);
  if (!written.ok()) return Fail(written);
  return arguments.is_strict && !decoder.totals().is_clean() ? 1 : kExitOk;
}

}  // namespace relay::tools

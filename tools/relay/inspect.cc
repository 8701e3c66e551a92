// relay inspect: where frames come from, what is shown of them, and how.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "net/address.h"
#include "proto/channel_name.h"
#include "proto/messages.h"
#include "tools/inspect/byte_input.h"
#include "tools/inspect/capture.h"
#include "tools/inspect/decoder.h"
#include "tools/inspect/filter.h"
#include "tools/inspect/hex.h"
#include "tools/inspect/json_sink.h"
#include "tools/inspect/live.h"
#include "tools/inspect/output.h"
#include "tools/inspect/packet.h"
#include "tools/inspect/pcapng_writer.h"
#include "tools/inspect/proxy.h"
#include "tools/inspect/raw.h"
#include "tools/inspect/read_progress.h"
#include "tools/inspect/requests_sink.h"
#include "tools/inspect/summary_sink.h"
#include "tools/inspect/tee.h"
#include "tools/inspect/text_sink.h"
#include "tools/inspect/timeline_sink.h"
#include "tools/relay/command_line.h"
#include "tools/relay/commands.h"
#include "tools/relay/exit_codes.h"
#include "tools/relay/io.h"
#include "tools/relay/stop_signals.h"
#include "tools/relay/text.h"

namespace relay::tools {
namespace {

constexpr std::string_view kHelp = R"(usage: relay inspect --listen URL --to URL [OPTION]...
       relay inspect --live URL [OPTION]...
       relay inspect FILE... [OPTION]...

Shows every frame that passes, or has passed, between clients and a relay.

where frames come from
  --listen URL --to URL  a proxy: clients connect to the one, and every byte
                         goes to the other and back as it came. Who stops
                         reading what is shown stops the traffic
  --live URL             what a relay that runs with --allow-observers mirrors.
                         Who reads slowly loses frames, told as a count
    --channel CHANNEL    of this channel alone
    --client ID          of this client
    --request ID         of this request
    --snap-bytes N       so much of each payload [256]
  FILE                   a pcap or pcapng; or the bytes of one direction as they
                         passed, and two files both directions of a connection;
                         '-' is stdin. Bytes have no times: then what only the
                         order between the directions decides is not judged
    --port N             the relay's, in a pcap that begins in the middle of
                         connections; those that begin in it are known [7420]
  --hex                  FILE is a hex dump, pasted from a terminal

what is shown
  (nothing)              a line for each frame
  -v, --verbose          all of its fields below it, and a dump of its payload
  --dump-bytes N         so much of each payload [256]
  --requests             a line for each exchange, when it ends
  --timeline REQUEST     one exchange drawn to scale: where its time went. The
                         request's id, or the 8 digits that are shown of it;
                         'all' draws every one, and --filter chooses
  --summary              counts, rate, times and ends, by channel and method
  --json                 an object a line (JSON.md); with --requests, exchanges
                         alone; with -v, payloads too
  --filter EXPR          only what matches: 'type==RESET && channel=="jobs" &&
                         bytes>4K'. The names are those of --json, of frames or
                         of exchanges, whichever are shown; ~ contains,
                         metadata.KEY is one of them, a name alone asks for it
  --resync               behind damage, look for the next header
  --write FILE           all of it, shown or not, as a pcapng, which
                         relay inspect, Wireshark and tshark open; '-' is
                         stdout, and then nothing else is shown

how
  --time relative|delta|clock  since the first frame, since the one before, or
                         what the clock said [relative]
  --width N              columns, 60 or more [the terminal's; else 100, and
                         nothing is cut]
  --color auto|always|never  [auto: on a terminal, unless NO_COLOR is set]
  --ascii                no other characters
  --strict               exit code 1 unless all was read, every byte was a
                         frame's, no frame broke a rule, and there was one

A line begins with '!' where the frame breaks a rule of PROTOCOL.md, which
stands below it, and with '~' where it is late: it crossed an end on its way.
Flags: req, res: the stream; F FIN, I IDEMPOTENT, M REQUIRE_RECEIVER, R RECEIVE.

A capture that cannot be written any more is told at once; the rest goes on.

Exit code 66: a file cannot be opened; 74: stdout or --write cannot be written;
19: no such request was seen; 13, 24 and the others: relay --help.
)";

struct Arguments {
  std::vector<std::string> files;
  std::string listen;
  std::string to;
  std::string live;
  std::string channel;
  std::string client;
  std::string request;
  std::optional<uint32_t> snap_bytes;
  std::optional<uint16_t> port;
  std::string write;
  std::string times = "relative";
  std::string colour = "auto";
  size_t width = 0;
  std::optional<size_t> dump_bytes;
  bool is_verbose = false;
  bool is_strict = false;
  bool resyncs = false;
  bool is_ascii = false;
  bool is_hex = false;
  bool is_json = false;
  bool shows_requests = false;
  bool shows_summary = false;
  std::string timeline;
  std::string filter;
};

constexpr size_t kMostHexBytes = size_t{64} << 20;
constexpr size_t kMagicBytes = std::max<size_t>(inspect::kCaptureMagicBytes, 6);

bool ShowsExchanges(const Arguments& arguments) {
  return arguments.shows_requests || arguments.shows_summary || !arguments.timeline.empty();
}

int Fail(const absl::Status& status) {
  PrintError("relay inspect: " + std::string(status.message()) + "\n");
  return absl::IsNotFound(status) ? kExitNoInput : ExitCodeOf(static_cast<StatusCode>(status.raw_code()));
}

absl::StatusOr<std::unique_ptr<inspect::ByteInput>> BytesOfHex(inspect::ByteInput& input) {
  const absl::StatusOr<std::string_view> text = input.Peek(kMostHexBytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<inspect::HexDump> dump = inspect::ParseHexDump(*text);
  if (!dump.ok()) return dump.status();
  return inspect::ByteInput::OfBytes(input.name(), std::move(dump->bytes), std::move(dump->holes));
}

// "" where they are not.
std::string CompressedBy(std::string_view first_bytes) {
  using namespace std::string_view_literals;
  for (const auto& [name, magic] : {std::pair("gzip", "\x1f\x8b"sv), std::pair("zstd", "\x28\xb5\x2f\xfd"sv),
                                    std::pair("xz", "\xfd\x37zXZ\0"sv), std::pair("bzip2", "BZh"sv)}) {
    if (first_bytes.starts_with(magic)) return name;
  }
  return "";
}

absl::StatusOr<std::unique_ptr<inspect::Source>> OpenLive(const Arguments& arguments) {
  inspect::LiveOptions options;
  const auto server = net::ParseAddress(arguments.live);
  if (!server.ok()) return server.status();
  options.server = *server;
  options.snap_bytes = arguments.snap_bytes.value_or(options.snap_bytes);
  if (!arguments.channel.empty()) {
    if (const absl::Status name = proto::CheckChannelName(arguments.channel); !name.ok()) return name;
    options.channel = proto::ChannelId(arguments.channel);
  }
  for (const auto& [text, id, flag] : {std::tuple(&arguments.client, &options.client, "--client"),
                                       std::tuple(&arguments.request, &options.request, "--request")}) {
    if (text->empty()) continue;
    *id = proto::ParseUuid(*text);
    if (!id->has_value()) {
      return absl::InvalidArgumentError(std::string(flag) + ": '" + *text +
                                        "' is not a UUID; --filter takes the 8 digits that are shown of one");
    }
  }
  return inspect::OpenLive(options);
}

absl::StatusOr<std::unique_ptr<inspect::Source>> OpenSource(const Arguments& arguments,
                                                            const std::function<bool()>& on_idle) {
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
  if (!arguments.live.empty()) return OpenLive(arguments);
  std::vector<std::unique_ptr<inspect::ByteInput>> inputs;
  for (const std::string& path : arguments.files) {
    auto input = inspect::ByteInput::Open(path);
    if (!input.ok()) return input.status();
    (*input)->set_on_idle(on_idle);
    if (arguments.is_hex) {
      input = BytesOfHex(**input);
      if (!input.ok()) return input.status();
    }
    inputs.push_back(*std::move(input));
  }
  for (std::unique_ptr<inspect::ByteInput>& input : inputs) {
    const auto first_bytes = input->Peek(kMagicBytes);
    if (!first_bytes.ok()) return first_bytes.status();
    if (const std::string how = CompressedBy(*first_bytes); !how.empty()) {
      return absl::InvalidArgumentError(input->name() + ": it is compressed with " + how +
                                        ": relay inspect reads what " + how + " -dc writes, and '-' is stdin");
    }
    if (!inspect::IsCapture(*first_bytes)) continue;
    if (inputs.size() > 1) {
      return absl::InvalidArgumentError(input->name() +
                                        ": it is a capture, of which one is read; mergecap makes one of two");
    }
    const uint16_t port = arguments.port.value_or(inspect::kRelayPort);
    return inspect::OpenCapture(std::move(input), port, [](uint64_t connections) {
      PrintError("relay inspect: left out, since they are not relay's: " + Counted(connections, "TCP connection") +
                 "; --port names a relay's port\n");
    });
  }
  // Who sees frames sees it beside them.
  if (ShowsExchanges(arguments) || arguments.is_strict) {
    PrintError(
        "relay inspect: these bytes have no times: each direction is judged by its own order;\n"
        "  whether frames are late, slots free and credit kept is not judged\n");
  }
  return inspect::RawSource::Open(std::move(inputs));
}

inspect::TextOptions LooksOf(const Arguments& arguments) {
  inspect::TextOptions options;
  const size_t columns = inspect::TerminalColumns(STDOUT_FILENO);
  if (columns > 0) options.width = columns;
  if (arguments.width > 0) options.width = arguments.width;
  options.width = std::max(options.width, inspect::TextOptions::kLeastWidth);
  options.wraps_lines = columns > 0 || arguments.width > 0;
  options.is_verbose = arguments.is_verbose;
  options.dump_bytes = arguments.dump_bytes.value_or(options.dump_bytes);
  if (arguments.times == "delta") options.times = inspect::TextOptions::Times::kDelta;
  if (arguments.times == "clock") options.times = inspect::TextOptions::Times::kClock;
  const char* const no_colour = std::getenv("NO_COLOR");
  const bool may_colour = columns > 0 && (no_colour == nullptr || *no_colour == '\0');
  options.style.has_colour = arguments.colour == "always" || (arguments.colour == "auto" && may_colour);
  return options;
}

inspect::Screen ScreenOf(const Arguments& arguments) {
  if (arguments.is_json) return {};
  const size_t columns = inspect::TerminalColumns(STDOUT_FILENO);
  const bool is_ascii = arguments.is_ascii || (columns > 0 && !inspect::IsUtf8Locale());
  return {arguments.width > 0 ? arguments.width : columns, is_ascii, arguments.width == 0 && columns > 0};
}

inspect::Filter::Shown ShownBy(const Arguments& arguments) {
  if (ShowsExchanges(arguments)) return inspect::Filter::Shown::kExchanges;
  return arguments.is_json ? inspect::Filter::Shown::kBoth : inspect::Filter::Shown::kFrames;
}

std::unique_ptr<inspect::Sink> MakeSink(const Arguments& arguments, inspect::Output& out) {
  const inspect::TextOptions looks = LooksOf(arguments);
  if (arguments.write == "-") return std::make_unique<inspect::Sink>();
  if (arguments.is_json) {
    return std::make_unique<inspect::JsonSink>(
        inspect::JsonSink::Options{arguments.shows_requests, arguments.is_verbose}, out);
  }
  if (!arguments.timeline.empty()) return std::make_unique<inspect::TimelineSink>(arguments.timeline, looks, out);
  if (arguments.shows_requests) return std::make_unique<inspect::RequestsSink>(looks, out);
  const bool is_terminal = inspect::TerminalColumns(STDOUT_FILENO) > 0;
  if (arguments.shows_summary) return std::make_unique<inspect::SummarySink>(looks, is_terminal, out);
  return std::make_unique<inspect::TextSink>(looks, out);
}

// Whether the file is one of those that are read, by whatever name: writing it would destroy it first.
bool IsReadToo(const Arguments& arguments) {
  std::error_code unknown;
  return std::any_of(arguments.files.begin(), arguments.files.end(), [&](const std::string& file) {
    return std::filesystem::equivalent(file, arguments.write, unknown);
  });
}

// "" where the options fit each other.
std::string WhatDoesNotFit(const Arguments& arguments) {
  if (arguments.listen.empty() != arguments.to.empty()) return "--listen and --to go together";
  const int sources = static_cast<int>(!arguments.listen.empty()) + static_cast<int>(!arguments.live.empty()) +
                      static_cast<int>(!arguments.files.empty());
  if (sources > 1) return "a FILE, --listen, --live: one of them is read";
  if (sources == 0) return "where do frames come from: a FILE, --live, or --listen and --to?";
  const bool is_of_live = !arguments.channel.empty() || !arguments.client.empty() || !arguments.request.empty();
  if (is_of_live && arguments.live.empty()) return "--channel, --client and --request go with --live; see --filter";
  if (arguments.snap_bytes.has_value() && arguments.live.empty()) return "--snap-bytes is of what --live mirrors";
  if (arguments.dump_bytes.has_value() && !arguments.is_verbose) return "--dump-bytes is of what -v shows";
  if (arguments.port.has_value() && arguments.files.empty()) return "--port is of a pcap that is read";
  if (arguments.is_hex && arguments.files.empty()) return "--hex is how a FILE is read";
  const int views = static_cast<int>(arguments.shows_requests) + static_cast<int>(arguments.shows_summary) +
                    static_cast<int>(!arguments.timeline.empty());
  if (views > 1) return "--requests, --timeline, --summary: one of them is shown";
  if (views > 0 && arguments.is_verbose) return "-v is of frames";
  if (arguments.is_json && (arguments.shows_summary || !arguments.timeline.empty())) {
    return "--json: of frames, or with --requests of exchanges";
  }
  if (arguments.is_json && arguments.is_ascii) return "--ascii is of text; --json is UTF-8";
  const bool has_view = views > 0 || arguments.is_json || arguments.is_verbose || !arguments.filter.empty();
  if (arguments.write == "-" && has_view) return "--write -: the capture goes to stdout, and nothing else with it";
  if (arguments.write == "-" && isatty(STDOUT_FILENO) != 0) return "--write -: a capture is nothing for a terminal";
  if (!arguments.write.empty() && IsReadToo(arguments)) return "--write: that file is the one that is read";
  return "";
}

}  // namespace

int Inspect(int argc, const char* const* argv) {
  Arguments arguments;
  CLI::App app("", "relay inspect");
  app.add_option("FILE", arguments.files)->expected(0, 2)->check(Needs("a file"));
  app.add_option("--listen", arguments.listen)->check(Needs("a URL"));
  app.add_option("--to", arguments.to)->check(Needs("a URL"));
  app.add_option("--live", arguments.live)->check(Needs("a URL"));
  app.add_option("--channel", arguments.channel)->check(Needs("a channel"));
  app.add_option("--client", arguments.client)->check(Needs("an id"));
  app.add_option("--request", arguments.request)->check(Needs("an id"));
  app.add_option("--snap-bytes", arguments.snap_bytes)->check(Needs("a number"));
  app.add_option("--port", arguments.port)->check(Needs("a number"));
  app.add_option("--write", arguments.write)->check(Needs("a file"));
  app.add_option("--time", arguments.times)->check(CLI::IsMember({"relative", "delta", "clock"}));
  app.add_option("--color,--colour", arguments.colour)->check(CLI::IsMember({"auto", "always", "never"}));
  app.add_option("--width", arguments.width)->check(CLI::Range(inspect::TextOptions::kLeastWidth, size_t{1000}));
  app.add_option("--dump-bytes", arguments.dump_bytes)->check(Needs("a number"));
  app.add_flag("-v,--verbose", arguments.is_verbose);
  app.add_flag("--strict", arguments.is_strict);
  app.add_flag("--resync", arguments.resyncs);
  app.add_flag("--ascii", arguments.is_ascii);
  app.add_flag("--hex", arguments.is_hex);
  app.add_flag("--json", arguments.is_json);
  app.add_flag("--requests", arguments.shows_requests);
  app.add_flag("--summary", arguments.shows_summary);
  app.add_option("--timeline", arguments.timeline)->check([](const std::string& value) {
    if (value == "all" || inspect::MayName(value)) return std::string();
    return "it needs a request's id, or 'all'; '" + value + "' is no id";
  });
  app.add_option("--filter", arguments.filter)->check(Needs("an expression"));
  if (const std::optional<int> code = ParseCommandLine(app, argc, argv, kHelp)) return *code;

  if (const std::string words = WhatDoesNotFit(arguments); !words.empty()) return UsageError("relay inspect", words);

  std::optional<inspect::Filter> filter;
  if (!arguments.filter.empty()) {
    auto parsed = inspect::Filter::Parse(arguments.filter, ShownBy(arguments));
    if (!parsed.ok()) {
      PrintError("relay inspect: " + std::string(parsed.status().message()) + "\n");
      return kExitUsage;
    }
    filter = *std::move(parsed);
  }
  proto::SilenceProtobuf();
  std::atomic<inspect::Source*> running = nullptr;
  std::atomic<bool> is_stopped = false;
  const auto stop = [&running, &is_stopped] {
    inspect::Source* const source = running;
    if (source == nullptr) return false;
    source->Stop();
    is_stopped = true;
    return true;
  };
  // Before any other thread is there.
  const StopSignals signals(stop, [] {});
  const bool is_live = arguments.files.empty() || inspect::TerminalColumns(STDOUT_FILENO) > 0;
  const auto on_closed = [&stop, is_proxy = !arguments.listen.empty()] {
    if (stop() && is_proxy) PrintError("relay inspect: nobody reads stdout any more: the proxy ends\n");
  };
  inspect::Output out(STDOUT_FILENO, is_live, on_closed, ScreenOf(arguments));
  auto source = OpenSource(arguments, [&out, &is_stopped] { return out.Flush().ok() && !is_stopped; });
  if (!source.ok()) return Fail(source.status());
  running = source->get();
  const std::unique_ptr<inspect::Sink> shown = MakeSink(arguments, out);
  std::optional<inspect::FilterSink> filtered;
  if (filter.has_value()) filtered.emplace(*std::move(filter), *shown);
  inspect::Sink& sink = filtered.has_value() ? static_cast<inspect::Sink&>(*filtered) : *shown;
  inspect::Decoder decoder(sink, arguments.resyncs);
  inspect::Tap* tap = &decoder;
  std::unique_ptr<inspect::Tap> file;
  std::optional<inspect::Tee> tee;
  absl::Status capture_failure;
  if (!arguments.write.empty()) {
    auto created = inspect::CreatePcapng(arguments.write, [&capture_failure](const absl::Status& status) {
      capture_failure = status;
      Fail(status);
    });
    if (!created.ok()) return Fail(created.status());
    file = *std::move(created);
    tap = &tee.emplace(*tap, *file);
  }
  std::optional<inspect::ReadProgress> progress;
  if (!arguments.files.empty() && isatty(STDERR_FILENO) != 0 && isatty(STDOUT_FILENO) == 0) {
    tap = &progress.emplace(**source, *tap, [&decoder] { return decoder.totals().frames; });
  }
  const absl::Status read = (*source)->Run(*tap);
  const bool was_read = arguments.files.empty() || !is_stopped;
  const absl::Status written = tap->Finish();
  if (!read.ok()) return Fail(read);
  if (!written.ok()) {
    if (written != capture_failure) Fail(written);
    return absl::IsDataLoss(written) ? kExitIo : ExitCodeOf(static_cast<StatusCode>(written.raw_code()));
  }
  const inspect::Totals& totals = decoder.totals();
  if (totals.left_out_exchanges > 0 && ShowsExchanges(arguments)) {
    PrintError("relay inspect: exchanges left out, since their START is not in the trace: " +
               std::to_string(totals.left_out_exchanges) + "\n");
  }
  if (totals.frames == 0 && totals.is_clean()) PrintError("relay inspect: there was nothing to see: no frame passed\n");
  if (arguments.is_strict && !was_read) {
    PrintError("relay inspect: --strict: not all was read\n");
    return 1;
  }
  return arguments.is_strict && (totals.frames == 0 || !totals.is_clean()) ? 1 : kExitOk;
}

}  // namespace relay::tools

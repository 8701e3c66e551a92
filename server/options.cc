#include "server/options.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>
#include <sstream>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "proto/frame.h"
#include "proto/start_block.h"
#include "server/config_file.h"

namespace relay::server {
namespace {

constexpr size_t kHelpColumn = 30;
constexpr size_t kHelpWidth = 80;
constexpr int kFailureExit = 1;
constexpr int kUsageExit = 64;

std::string Wrapped(std::string_view text) {
  std::string lines;
  size_t column = 0;
  for (const absl::string_view word : absl::StrSplit(absl::string_view(text.data(), text.size()), ' ')) {
    if (column > 0 && column + 1 + word.size() > kHelpWidth - kHelpColumn) {
      lines += '\n';
      column = 0;
    } else if (column > 0) {
      lines += ' ';
      ++column;
    }
    absl::StrAppend(&lines, word);
    column += word.size();
  }
  return lines;
}

// 65536 as "64KiB".
std::string BytesText(uint64_t bytes) {
  if (bytes >= kMiB && bytes % kMiB == 0) return absl::StrCat(bytes / kMiB, "MiB");
  if (bytes >= kKiB && bytes % kKiB == 0) return absl::StrCat(bytes / kKiB, "KiB");
  return absl::StrCat(bytes);
}

// Refuses what `parse` does not take; `rule` says what it takes.
template <typename Parse>
CLI::Validator Checked(Parse parse, const std::string& rule) {
  return CLI::Validator(
      [parse, rule](const std::string& text) {
        return parse(text) ? std::string() : absl::StrCat("'", text, "' is not ", rule);
      },
      "");
}

bool ParseCount(const std::string& text, uint64_t& count) {
  return !text.empty() && absl::SimpleAtoi(absl::string_view(text), &count) && text[0] != '+';
}

// A number of bytes, with KiB or MiB or GiB behind it where wanted.
bool ParseBytes(const std::string& text, uint64_t& bytes) {
  absl::string_view digits = text;
  uint64_t unit = 1;
  if (absl::ConsumeSuffix(&digits, "KiB")) {
    unit = kKiB;
  } else if (absl::ConsumeSuffix(&digits, "MiB")) {
    unit = kMiB;
  } else if (absl::ConsumeSuffix(&digits, "GiB")) {
    unit = 1024 * kMiB;
  }
  return ParseCount(std::string(digits), bytes) && !__builtin_mul_overflow(bytes, unit, &bytes);
}

// Adds limits to a command line, one way for each kind of value.
class LimitFlags {
 public:
  explicit LimitFlags(CLI::App& app) : app_(app) {}

  void Group(std::string name) { group_ = std::move(name); }

  template <typename Integer>
  void Count(const std::string& name, Integer& value, uint64_t least, uint64_t most, std::string_view why) {
    Number(name, value, least, most, ParseCount, absl::StrCat("a number from ", least, " to ", most), "N",
           Text(why, absl::StrCat(value)));
  }

  template <typename Integer>
  void Bytes(const std::string& name, Integer& value, uint64_t least, uint64_t most, std::string_view why) {
    Number(name, value, least, most, ParseBytes,
           absl::StrCat("a number of bytes, as 65536 or 64KiB, from ", BytesText(least), " to ", BytesText(most)),
           "BYTES", Text(why, BytesText(value)));
  }

  void Time(const std::string& name, absl::Duration& value, absl::Duration least, std::string_view why) {
    const auto parse = [least](const std::string& text, absl::Duration& parsed) {
      return absl::ParseDuration(text, &parsed) && parsed >= least && parsed <= kMostTime;
    };
    const std::string rule = absl::StrCat("a time with its unit, as 200ms, 5s or 1h30m, from ",
                                          absl::FormatDuration(least), " to ", absl::FormatDuration(kMostTime));
    Add(name, parse, value, rule, "TIME", Text(why, absl::FormatDuration(value)));
  }

 private:
  static constexpr absl::Duration kMostTime = absl::Hours(24 * 49);  // 2^32 ms, as the wire says times

  template <typename Integer, typename Parse>
  void Number(const std::string& name, Integer& value, uint64_t least, uint64_t most, Parse parse,
              const std::string& rule, const std::string& type, const std::string& text) {
    const auto parse_in_range = [parse, least, most](const std::string& from, Integer& to) {
      uint64_t number = 0;
      if (!parse(from, number) || number < least || number > most) return false;
      to = static_cast<Integer>(number);
      return true;
    };
    Add(name, parse_in_range, value, rule, type, text);
  }

  template <typename Value, typename Parse>
  void Add(const std::string& name, Parse parse, Value& value, const std::string& rule, const std::string& type,
           const std::string& text) {
    const auto parses = [parse](const std::string& from) {
      Value ignored{};
      return parse(from, ignored);
    };
    app_.add_option(
            "--" + name, [parse, &value](const CLI::results_t& texts) { return parse(texts.back(), value); }, text)
        ->check(Checked(parses, rule))
        ->take_last()
        ->type_name(type)
        ->group(group_);
  }

  static std::string Text(std::string_view why, const std::string& value) {
    return Wrapped(absl::StrCat(absl::string_view(why.data(), why.size()), " [", value, "]"));
  }

  CLI::App& app_;
  std::string group_ = "Options";
};

void AddLimits(CLI::App& app, Limits& limits) {
  constexpr uint64_t kMostCount = std::numeric_limits<uint32_t>::max();
  constexpr uint64_t kMostBytes = uint64_t{1} << 40;
  LimitFlags flags(app);

  flags.Group("Limits that clients are told");
  flags.Bytes("max-payload-bytes", limits.max_payload_bytes, 64 * kKiB, 16 * kMiB,
              "payload of a frame; two of a client's 64 KiB writes");
  flags.Bytes("initial-window-bytes", limits.initial_window_bytes, 64 * kKiB, 1024 * kMiB,
              "what each stream of each exchange may cost before its reader gives more; 1 Gbit/s over 2 ms");
  flags.Bytes("max-window-bytes", limits.max_window_bytes, 64 * kKiB, 1024 * kMiB,
              "how far a reader may open its window; 1 Gbit/s over 130 ms");
  flags.Count("max-clients-per-connection", limits.max_clients_per_connection, 1, 65535,
              "clients joined on one connection");
  flags.Bytes("max-start-bytes", limits.max_start_bytes, 4 * kKiB, 65535,
              "method and metadata of a request, and the payload of END; as HTTP servers bound headers");
  flags.Time("heartbeat-interval", limits.heartbeat_interval, absl::Milliseconds(100),
             "a side that has sent nothing for so long sends PING");
  flags.Count("heartbeat-misses", limits.heartbeat_misses, 2, 1000,
              "after so many intervals of silence a peer is dead; two is weather, three is a death");
  flags.Count("max-attempts,--attempts", limits.attempts, 1, 65535,
              "how often an idempotent request is handed out when receivers die; one that killed three is the cause");

  flags.Group("Limits of connections");
  flags.Count("max-connections", limits.max_connections, 1, kMostCount,
              "connections at once; fewer, with a warning, where the system allows fewer descriptors");
  flags.Count("max-unauthenticated", limits.max_unauthenticated, 1, kMostCount,
              "of them, those whose HELLO has not come");
  flags.Bytes("hello-bytes", limits.hello_bytes, 256, 64 * kKiB, "HELLO with its header; held for each of those");
  flags.Time("hello-timeout", limits.hello_timeout, absl::Milliseconds(10),
             "from accept to the whole HELLO, whatever trickles in");
  flags.Bytes("partial-frame-bytes-total", limits.partial_frame_bytes_total, 64 * kKiB, kMostBytes,
              "of frames that have begun to come, on all connections; past it those that are longest at one are cut");
  flags.Bytes("send-queue-bytes", limits.send_queue_bytes, 64 * kKiB, kMostBytes,
              "queued toward a peer that does not read; past it the peer is cut");
  flags.Bytes("send-queue-bytes-total", limits.send_queue_bytes_total, 64 * kKiB, kMostBytes,
              "of all of those together; past it the largest are cut");
  flags.Bytes("send-queue-mark-bytes", limits.send_queue_mark_bytes, kKiB, kMostBytes,
              "from here on a peer is given no request, and only the newest WINDOW of a stream, once it reads again");
  flags.Count("control-frames-owed", limits.control_frames_owed, 1, kMostCount,
              "answers queued toward a peer that asks and does not read; past it the peer is cut");
  flags.Time("linger-time", limits.linger_time, absl::ZeroDuration(),
             "how long the last words to a peer may take to arrive");
  flags.Bytes("linger-bytes", limits.linger_bytes, 0, kMostBytes, "what is thrown away meanwhile");
  flags.Time("drain-timeout", limits.drain_timeout, absl::ZeroDuration(),
             "how long what is assigned may run on after SIGTERM; orchestrators kill after 30 s");
  flags.Count("frames-per-second", limits.frames_per_second, 0, kMostCount,
              "frames that one connection may send; 0: credit and the queues are bound enough");
  flags.Count("frames-per-turn", limits.frames_per_turn, 1, kMostCount,
              "small frames of one connection that are worked on before the others have their turn; 50 us");
  flags.Count("resets-per-second", limits.resets_per_second, 0, kMostCount,
              "RESETs that one connection may send and errors of its own doing that it may draw; 0: any number");
  flags.Count("reset-burst", limits.reset_burst, 1, kMostCount, "so many of them at once");

  flags.Count("control-frames-per-second", limits.control_frames_per_second, 0, kMostCount,
              "JOIN, LEAVE, PING, withdrawals and RECEIVEs that do not wait, of one connection, and eight times as "
              "many that are only dropped, refused for want of room or receivers, or empty CHUNKs; 0: any number");
  flags.Count("control-frame-burst", limits.control_frame_burst, 1, kMostCount, "so many of them at once");
  flags.Count("max-clients", limits.max_clients, 1, kMostCount, "clients joined on all connections; 250 bytes each");

  app.add_flag("--allow-observers", limits.allow_observers,
               Wrapped("connections may ask to be shown what all others send and are sent, bodies too: whoever can "
                       "connect can read everything but tokens and takeover keys [off]"))
      ->group("Observers");
  flags.Group("Observers");
  flags.Count("max-observers", limits.max_observers, 1, kMostCount,
              "observers at once; each costs a copy of every frame that it is shown");
  flags.Bytes("observer-queue-bytes", limits.observer_queue_bytes, 64 * kKiB, kMostBytes,
              "queued toward an observer that reads slowly; past it frames are not shown to it, and counted; at most "
              "half of send-queue-bytes");

  flags.Group("Limits of channels");
  flags.Count("max-channels", limits.max_channels, 1, kMostCount, "channels that somebody has joined");
  flags.Count("queue-count", limits.queue_count, 1, kMostCount, "requests queued on a channel");
  flags.Bytes("queue-bytes", limits.queue_bytes, kKiB, kMostBytes, "held for the requests queued on a channel");
  flags.Bytes("queue-bytes-total", limits.queue_bytes_total, kKiB, kMostBytes,
              "held over all channels, with the copies of requests that may move to another receiver");
  flags.Time("max-request-time", limits.max_request_time, absl::Milliseconds(1),
             "how long a request may wait and run, whatever its sender allows");
}

}  // namespace

namespace {

// The limit that does not go with another one, and why not; empty where all go together.
std::string Contradiction(const Options& options) {
  const Limits& limits = options.limits;
  if (limits.max_window_bytes < limits.initial_window_bytes) {
    return absl::StrCat("--max-window-bytes: ", limits.max_window_bytes, " is less than --initial-window-bytes, ",
                        limits.initial_window_bytes);
  }
  if (limits.max_start_bytes + proto::kStartBlockBytes > limits.max_payload_bytes) {
    return absl::StrCat("--max-start-bytes: ", limits.max_start_bytes, " and a start block of ",
                        proto::kStartBlockBytes, " do not fit in --max-payload-bytes, ", limits.max_payload_bytes);
  }
  // The mark, one request more, and its START and END.
  const size_t at_a_time =
      limits.send_queue_mark_bytes + limits.initial_window_bytes + 2 * size_t{limits.max_payload_bytes};
  if (limits.send_queue_bytes < at_a_time) {
    return absl::StrCat("--send-queue-bytes: ", limits.send_queue_bytes, " is less than ", at_a_time,
                        ", which a peer that reads is owed at a time: --send-queue-mark-bytes, "
                        "--initial-window-bytes and twice --max-payload-bytes");
  }
  const size_t frame = proto::kHeaderBytes + size_t{limits.max_payload_bytes};
  if (limits.partial_frame_bytes_total / options.threads < frame) {
    return absl::StrCat("--partial-frame-bytes-total: ", limits.partial_frame_bytes_total, ", divided among ",
                        options.threads, " threads, is less than one frame of --max-payload-bytes, ", frame);
  }
  return "";
}

// What CLI11 says, and for a configuration file which one it was.
std::string WordsOf(CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::ConfigError)) return error.what();
  return app.get_config_ptr()->as<std::string>() + ": " + error.what();
}

// What --help or --version asked for. The exit status.
int Print(CLI::App& app, const CLI::ParseError& asked) {
  std::ostringstream text;
  app.exit(asked, text);
  if (std::cout << text.str() << std::flush) return 0;
  std::cerr << "relayd: write to stdout: " << std::strerror(errno) << "\n";
  return kFailureExit;
}

}  // namespace

std::variant<Options, int> ParseOptions(int argc, const char* const* argv) {
  Options options;
  CLI::App app("relayd: hands each request to the receiver that has waited longest", "relayd");
  app.get_formatter()->column_width(kHelpColumn);
  app.set_version_flag("--version", "relayd " RELAY_VERSION);
  app.set_config("--config", "", Wrapped("file of options, a line each: name = \"value\", without the dashes"))
      ->check([](const std::string& file) { return file.empty() ? "it needs the name of a file" : ""; })
      ->type_name("FILE");
  app.config_formatter(std::make_shared<ConfigFile>(app));
  std::vector<std::string> listen;
  app.add_option("--listen", listen,
                 Wrapped("tcp://HOST:PORT or unix:PATH, may be repeated; port 0 takes a free one [" +
                         options.listen.front() + "]"))
      ->type_name("URL")
      ->expected(1)
      ->take_all();
  app.add_option("--log-level", options.log_level, Wrapped("debug, info, warning, error or off [info]"))
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}))
      ->option_text("LEVEL");
  LimitFlags(app).Count("threads", options.threads, 1, 256,
                        "a loop and a core each, which share the channels; no more than the machine has cores");
  app.get_option("--threads")->envname("RELAYD_THREADS");
  AddLimits(app, options.limits);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return Print(app, error);
    std::cerr << "relayd: " << WordsOf(app, error) << "\nrelayd --help shows the options\n";
    return kUsageExit;
  }
  if (!listen.empty()) options.listen = listen;
  if (const std::string words = Contradiction(options); !words.empty()) {
    std::cerr << "relayd: " << words << "\n";
    return kUsageExit;
  }
  return options;
}

}  // namespace relay::server

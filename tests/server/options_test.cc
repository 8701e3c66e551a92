// The command line and configuration file of relayd: each flag sets its field, each refusal names the flag and its
// rule.

#include "server/options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace relay::server {
namespace {

std::variant<Options, int> Parse(std::vector<std::string> arguments) {
  std::vector<const char*> argv = {"relayd"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return ParseOptions(static_cast<int>(argv.size()), argv.data());
}

Options Parsed(std::vector<std::string> arguments) {
  auto parsed = Parse(std::move(arguments));
  if (const Options* const options = std::get_if<Options>(&parsed)) return *options;
  ADD_FAILURE() << "refused";
  return {};
}

// What is said on stderr where `arguments` are refused.
std::string Refusal(std::vector<std::string> arguments) {
  testing::internal::CaptureStderr();
  auto parsed = Parse(std::move(arguments));
  std::string words = testing::internal::GetCapturedStderr();
  const int* const status = std::get_if<int>(&parsed);
  EXPECT_TRUE(status != nullptr && *status == 64) << words;
  return words;
}

std::string FileOf(const std::string& text) {
  static int number = 0;
  const std::string path =
      testing::TempDir() + "relayd-options-" + std::to_string(getpid()) + "-" + std::to_string(++number) + ".conf";
  std::ofstream(path) << text;
  return path;
}

struct Flag {
  std::string name;
  std::function<double(const Limits&)> value;
  std::string text;
  double expected;
  std::vector<std::string> refused;
};

double Seconds(absl::Duration duration) { return absl::ToDoubleSeconds(duration); }

#define RELAY_FIELD(field) [](const Limits& limits) { return static_cast<double>(limits.field); }
#define RELAY_TIME(field) [](const Limits& limits) { return Seconds(limits.field); }

std::vector<Flag> Flags() {
  return {
      {"max-payload-bytes", RELAY_FIELD(max_payload_bytes), "64KiB", 65536, {"65535", "17MiB", "0", "x", "-1", "1e6"}},
      {"initial-window-bytes", RELAY_FIELD(initial_window_bytes), "65536", 65536, {"65535", "2GiB", ""}},
      {"max-window-bytes", RELAY_FIELD(max_window_bytes), "1GiB", 1073741824, {"65535", "1025MiB"}},
      {"max-clients-per-connection", RELAY_FIELD(max_clients_per_connection), "65535", 65535, {"0", "65536", "1KiB"}},
      {"max-start-bytes", RELAY_FIELD(max_start_bytes), "4KiB", 4096, {"4095", "65536"}},
      {"heartbeat-interval", RELAY_TIME(heartbeat_interval), "100ms", 0.1, {"99ms", "5", "-1s", "s", "50000h"}},
      {"heartbeat-misses", RELAY_FIELD(heartbeat_misses), "2", 2, {"1", "1001", "2.5"}},
      {"max-attempts", RELAY_FIELD(attempts), "1", 1, {"0", "65536"}},
      {"max-connections", RELAY_FIELD(max_connections), "1", 1, {"0", "4294967296"}},
      {"max-unauthenticated", RELAY_FIELD(max_unauthenticated), "4294967295", 4294967295.0, {"0", "+1"}},
      {"hello-bytes", RELAY_FIELD(hello_bytes), "256", 256, {"255", "65KiB"}},
      {"hello-timeout", RELAY_TIME(hello_timeout), "1h30m", 5400, {"9ms", "10"}},
      {"partial-frame-bytes-total", RELAY_FIELD(partial_frame_bytes_total), "1MiB", 1048576, {"65535"}},
      {"send-queue-bytes", RELAY_FIELD(send_queue_bytes), "1536KiB", 1572864, {"65535", "1025GiB"}},
      {"send-queue-bytes-total", RELAY_FIELD(send_queue_bytes_total), "64KiB", 65536, {"65535"}},
      {"send-queue-mark-bytes", RELAY_FIELD(send_queue_mark_bytes), "1KiB", 1024, {"1023"}},
      {"control-frames-owed", RELAY_FIELD(control_frames_owed), "1", 1, {"0"}},
      {"linger-time", RELAY_TIME(linger_time), "0s", 0, {"-1s"}},
      {"linger-bytes", RELAY_FIELD(linger_bytes), "0", 0, {"-1"}},
      {"drain-timeout", RELAY_TIME(drain_timeout), "0s", 0, {"-1ms", "1"}},
      {"frames-per-turn", RELAY_FIELD(frames_per_turn), "1", 1, {"0"}},
      {"frames-per-second", RELAY_FIELD(frames_per_second), "0", 0, {"-1"}},
      {"resets-per-second", RELAY_FIELD(resets_per_second), "0", 0, {"-1"}},
      {"control-frames-per-second", RELAY_FIELD(control_frames_per_second), "0", 0, {"-1"}},
      {"control-frame-burst", RELAY_FIELD(control_frame_burst), "1", 1, {"0"}},
      {"max-clients", RELAY_FIELD(max_clients), "1", 1, {"0"}},
      {"reset-burst", RELAY_FIELD(reset_burst), "1", 1, {"0"}},
      {"max-observers", RELAY_FIELD(max_observers), "1", 1, {"0"}},
      {"observer-queue-bytes", RELAY_FIELD(observer_queue_bytes), "64KiB", 65536, {"65535"}},
      {"max-channels", RELAY_FIELD(max_channels), "1", 1, {"0"}},
      {"queue-count", RELAY_FIELD(queue_count), "1", 1, {"0"}},
      {"queue-bytes", RELAY_FIELD(queue_bytes), "2GiB", 2147483648.0, {"1023", "99999999999999999999"}},
      {"queue-bytes-total", RELAY_FIELD(queue_bytes_total), "1024", 1024, {"1023", "20000000000GiB"}},
      {"max-request-time", RELAY_TIME(max_request_time), "1ms", 0.001, {"0s", "999us"}},
  };
}

TEST(Options, EveryFlagSetsItsFieldAndNoOther) {
  const Limits defaults;
  for (const Flag& flag : Flags()) {
    const Limits limits = Parsed({"--" + flag.name, flag.text}).limits;
    EXPECT_EQ(limits == defaults, flag.value(defaults) == flag.expected) << flag.name;
    EXPECT_EQ(flag.value(limits), flag.expected) << flag.name;
    EXPECT_EQ(flag.value(Parsed({"--" + flag.name + "=" + flag.text}).limits), flag.expected) << flag.name;
    for (const Flag& other : Flags()) {
      if (other.name != flag.name) {
        EXPECT_EQ(other.value(limits), other.value(defaults)) << flag.name << " changes " << other.name;
      }
    }
  }
}

TEST(Options, WithoutFlagsAreTheDefaults) {
  ::unsetenv("RELAYD_THREADS");
  EXPECT_EQ(Parsed({}), Options{});
  EXPECT_NE(Parsed({"--queue-count=9999"}), Options{});
}

TEST(Options, TheEnvironmentSaysHowManyThreadsWhereTheCommandLineDoesNot) {
  ::setenv("RELAYD_THREADS", "3", 1);
  EXPECT_EQ(Parsed({}).threads, 3u);
  EXPECT_EQ(Parsed({"--threads=2"}).threads, 2u);
  ::unsetenv("RELAYD_THREADS");
}

TEST(Options, TheConfigurationFileTakesTheSameNames) {
  for (const Flag& flag : Flags()) {
    const std::string path = FileOf(flag.name + " = \"" + flag.text + "\"\n");
    EXPECT_EQ(flag.value(Parsed({"--config", path}).limits), flag.expected) << flag.name;
    std::remove(path.c_str());
  }
}

TEST(Options, ARefusalNamesTheFlagAndTheRule) {
  for (const Flag& flag : Flags()) {
    for (const std::string& text : flag.refused) {
      const std::string words = Refusal({"--" + flag.name + "=" + text});
      EXPECT_NE(words.find("--" + flag.name), std::string::npos) << flag.name << "=" << text << ": " << words;
      if (!text.empty()) {
        EXPECT_NE(words.find(" is not a"), std::string::npos) << flag.name << "=" << text << ": " << words;
      }
    }
  }
}

TEST(Options, ABadConfigurationFileIsRefusedWhole) {
  for (const std::string text :
       {"queue-count = \"0\"\n", "no-such-limit = \"1\"\n", "queue-count = \"5\"\nqueue-bytes = \"x\"\n"}) {
    const std::string path = FileOf(text);
    EXPECT_NE(Refusal({"--config", path}), "") << text;
    std::remove(path.c_str());
  }
  EXPECT_NE(Refusal({"--config", "/nonexistent/relayd.conf"}), "");
}

TEST(Options, AFileHasALineForEachOption) {
  const std::string path = FileOf(
      "# a comment\n"
      "\n"
      "  queue-count=5\t# and one behind a value\r\n"
      "listen = unix:/tmp/a#b\n"
      "max-channels = \"7\"  # quoted\n"
      "queue-count = 6\n"
      "listen = \"unix:/tmp/with a # blank\"\n"
      "attempts = 4\n"
      "max-attempts = 5\n"
      "log-level = off");
  const Options options = Parsed({"--config", path});
  EXPECT_EQ(options.limits.queue_count, 6u);
  EXPECT_EQ(options.limits.max_channels, 7u);
  EXPECT_EQ(options.limits.attempts, 5u) << "two names of one option";
  EXPECT_EQ(options.listen, (std::vector<std::string>{"unix:/tmp/a#b", "unix:/tmp/with a # blank"}));
  EXPECT_EQ(options.log_level, "off");
  std::remove(path.c_str());
}

TEST(Options, WhatIsNoLineOfAFileIsRefusedWithItsNumber) {
  for (const std::string line : {"x",
                                 "*",
                                 "a=",
                                 "=5",
                                 "queue-count",
                                 "queue-count =",
                                 "queue-count = \"\"",
                                 "queue-count = # 5",
                                 "queue-count = \"5",
                                 "queue-count = \"5\" 6",
                                 "[section]",
                                 "--queue-count = 5",
                                 "Queue-count = 5",
                                 "queue = 5",
                                 "++ = 5",
                                 "-- = 5",
                                 "a.b = 5",
                                 "config = \"/tmp/other\"",
                                 "help = true",
                                 "version = true",
                                 "queue-count = 5\x01",
                                 "listen = \x1b[2J"}) {
    const std::string path = FileOf("max-channels = 7\n\n" + line + "\nqueue-count = 5\n");
    const std::string words = Refusal({"--config", path});
    EXPECT_NE(words.find(path + ": line 3: "), std::string::npos) << line << ": " << words;
    EXPECT_EQ(words.find('\x1b'), std::string::npos);
    std::remove(path.c_str());
  }
}

TEST(Options, AConfigurationFileHasAName) {
  EXPECT_NE(Refusal({"--config", ""}).find("--config: it needs the name of a file"), std::string::npos);
}

TEST(Options, TheCommandLineGoesBeforeTheFile) {
  const std::string path = FileOf("queue-count = \"5\"\nmax-channels = \"6\"\nlisten = \"tcp://127.0.0.1:1\"\n");
  const Options options = Parsed({"--queue-count", "7", "--config", path});
  EXPECT_EQ(options.limits.queue_count, 7u);
  EXPECT_EQ(options.limits.max_channels, 6u);
  EXPECT_EQ(options.listen, std::vector<std::string>{"tcp://127.0.0.1:1"});
  std::remove(path.c_str());
}

TEST(Options, ListenMayBeRepeated) {
  EXPECT_EQ(Parsed({}).listen, std::vector<std::string>{"tcp://127.0.0.1:7420"});
  EXPECT_EQ(Parsed({"--listen", "tcp://[::1]:0", "--listen", "unix:/tmp/x"}).listen,
            (std::vector<std::string>{"tcp://[::1]:0", "unix:/tmp/x"}));
}

TEST(Options, TheLogLevelIsOneOfFive) {
  EXPECT_EQ(Parsed({}).log_level, "info");
  for (const std::string level : {"debug", "info", "warning", "error", "off"}) {
    EXPECT_EQ(Parsed({"--log-level", level}).log_level, level);
  }
  EXPECT_NE(Refusal({"--log-level", "loud"}).find("--log-level"), std::string::npos);
}

TEST(Options, AWindowMayNotOutgrowItsMost) {
  EXPECT_EQ(Parsed({"--initial-window-bytes=1MiB", "--max-window-bytes=1MiB"}).limits.max_window_bytes, kMiB);
  EXPECT_NE(Refusal({"--initial-window-bytes=1025KiB", "--max-window-bytes=1MiB"}).find("--max-window-bytes"),
            std::string::npos);
}

TEST(Options, ASendQueueHoldsWhatAPeerThatReadsIsOwedAtATime) {
  const std::vector<std::string> others = {"--send-queue-mark-bytes=1KiB", "--initial-window-bytes=64KiB",
                                           "--max-payload-bytes=64KiB"};
  const auto with = [&](std::string send_queue) {
    std::vector<std::string> all = others;
    all.push_back("--send-queue-bytes=" + std::move(send_queue));
    return all;
  };
  EXPECT_EQ(Parsed(with("193KiB")).limits.send_queue_bytes, 193 * kKiB);
  EXPECT_NE(Refusal(with("197631")).find("--send-queue-bytes: 197631 is less than 197632"), std::string::npos);
  EXPECT_NE(Refusal({"--send-queue-bytes=1572863"}).find("--send-queue-bytes"), std::string::npos);
}

TEST(Options, EachThreadsPartOfPartialFramesHoldsOne) {
  EXPECT_EQ(Parsed({"--partial-frame-bytes-total=131096"}).limits.partial_frame_bytes_total, 131096u);
  EXPECT_NE(Refusal({"--partial-frame-bytes-total=131095"}).find("--partial-frame-bytes-total: 131095"),
            std::string::npos);
  EXPECT_NE(Refusal({"--partial-frame-bytes-total=524383", "--threads=4"}).find("among 4 threads"), std::string::npos);
}

TEST(Options, WhatIsUnknownIsRefused) {
  EXPECT_NE(Refusal({"--no-such-flag"}).find("--no-such-flag"), std::string::npos);
  EXPECT_NE(Refusal({"stray"}), "");
  EXPECT_NE(Refusal({"--queue-count"}).find("--queue-count"), std::string::npos);
}

TEST(Options, HelpNamesEveryFlagAndItsDefaultAndVersionTheProgram) {
  testing::internal::CaptureStdout();
  auto parsed = Parse({"--help"});
  const std::string help = testing::internal::GetCapturedStdout();
  EXPECT_EQ(std::get<int>(parsed), 0);
  for (const Flag& flag : Flags()) EXPECT_NE(help.find("--" + flag.name), std::string::npos) << flag.name;
  EXPECT_NE(help.find("[128KiB]"), std::string::npos);
  EXPECT_NE(help.find("[5s]"), std::string::npos);
  testing::internal::CaptureStdout();
  parsed = Parse({"--version"});
  EXPECT_EQ(std::get<int>(parsed), 0);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "relayd " RELAY_VERSION "\n");
}

}  // namespace
}  // namespace relay::server

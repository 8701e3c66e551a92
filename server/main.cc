// relayd: parses its options, says where it listens, runs until it is told to stop.

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "net/signal.h"
#include "proto/messages.h"
#include "server/descriptors.h"
#include "server/log_sink.h"
#include "server/options.h"
#include "server/threads.h"
#include "spdlog/spdlog.h"

namespace {

constexpr int kFailureExit = 1;
constexpr int kUsageExit = 64;  // EX_USAGE

std::shared_ptr<spdlog::logger> MakeLog(std::shared_ptr<relay::server::LogSink> sink, const std::string& level) {
  auto log = std::make_shared<spdlog::logger>("relayd", std::move(sink));
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ level=%l %v", spdlog::pattern_time_type::utc);
  log->set_level(spdlog::level::from_str(level));
  return log;
}

// Opens /dev/null for each of stdin, stdout and stderr that is closed, or a socket would take its number.
void OpenStandardDescriptors() {
  int descriptor = 0;
  while (descriptor <= STDERR_FILENO) {
    descriptor = open("/dev/null", O_RDWR);
    if (descriptor < 0) return;
  }
  close(descriptor);
}

// What was freed is kept, within bounds, and used again: a system call for each piece of a body, and the pages that the
// system clears for it, cost an eighth of what relaying it does.
void KeepFreedMemory() {
  constexpr int kKeptBytes = 64 << 20;  // two of the largest send queues: giving one back takes 3 ms
  constexpr int kLargestKeptBytes = 1 << 20;
  mallopt(M_TRIM_THRESHOLD, kKeptBytes);
  mallopt(M_MMAP_THRESHOLD, kLargestKeptBytes);
}

// Bounds the connections by what the descriptors allow, so that who comes at the bound is told so.
void FitConnections(relay::server::Options& options, spdlog::logger& log) {
  const uint64_t descriptors = relay::server::RaiseDescriptorLimit();
  constexpr size_t kDescriptorsOfThread = 4;  // of a loop, beside its connections
  const size_t besides = options.listen.size() + kDescriptorsOfThread * (options.threads - 1);
  const uint64_t fit = relay::server::ConnectionsThatFit(descriptors, besides);
  uint32_t& most = options.limits.max_connections;
  if (fit < most) {
    log.warn("event=max_connections_lowered from={} to={} descriptors={}", most, fit, descriptors);
    most = static_cast<uint32_t>(fit);
  }
  relay::server::ReserveDescriptors(static_cast<uint32_t>(relay::server::DescriptorsFor(most, besides)));
}

// It is going: one that comes while connections are closed must not make a failure of it, once nobody watches.
void IgnoreFurtherStops() {
  sigset_t stops;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  sigaddset(&stops, SIGINT);
  sigprocmask(SIG_BLOCK, &stops, nullptr);
}

void LogCounts(spdlog::logger& log, const relay::server::Counts& counts, uint64_t log_lines_lost) {
  const relay::server::Metrics& metrics = counts.metrics;
  log.info(
      "event=metrics connections={} clients={} channels={} exchanges={} held_bytes={} connections_opened={} "
      "requests_offered={} requests_accepted={} requests_refused={} requests_ended={} assignments={} redeliveries={} "
      "passed_over={} extensions={} "
      "frames_read={} frames_forwarded={} frames_crossed={} put_off={} late_frames={} unknown_frames={} "
      "frames_mirrored={} mirrors_lost={} longest_turn_us={} log_lines_lost={}",
      counts.connections, counts.clients, counts.channels, metrics.exchanges_live, metrics.held_bytes,
      metrics.connections_opened, metrics.requests_offered, metrics.requests_accepted, metrics.requests_refused,
      metrics.requests_ended, metrics.assignments, metrics.redeliveries, metrics.passed_over, metrics.extensions,
      metrics.frames_read, metrics.frames_forwarded, metrics.frames_crossed, metrics.put_off, metrics.late_frames,
      metrics.unknown_frames, metrics.frames_mirrored, metrics.mirrors_lost,
      absl::ToInt64Microseconds(counts.longest_turn), log_lines_lost);
  std::string ends;
  for (size_t i = 0; i < relay::server::kEndCount; ++i) {
    if (metrics.ends[i] == 0) continue;
    const std::string_view name = InfoOf(static_cast<relay::server::End>(i)).name;
    absl::StrAppend(&ends, " ", absl::string_view(name.data(), name.size()), "=", metrics.ends[i]);
  }
  log.info("event=ends{}", ends);
}

int Run(relay::server::Options options) {
  const auto log_sink = std::make_shared<relay::server::LogSink>();
  const std::shared_ptr<spdlog::logger> log = MakeLog(log_sink, options.log_level);
  FitConnections(options, *log);
  auto started = relay::server::Threads::Start(options, log);
  if (!started.ok()) {
    std::fprintf(stderr, "relayd: %s\n", std::string(started.status().message()).c_str());
    return absl::IsInvalidArgument(started.status()) ? kUsageExit : kFailureExit;
  }
  relay::server::Threads& threads = **started;
  bool is_stopping = false;
  const auto stop = [&] {
    if (is_stopping) return threads.Stop();
    is_stopping = true;
    log->info("event=draining");
    threads.Drain();
  };
  const auto log_counts = [&] {
    threads.TellCounts([&](const relay::server::Counts& counts) { LogCounts(*log, counts, log_sink->lines_lost()); });
  };
  relay::net::SignalWatcher on_term(threads.loop(), SIGTERM, stop);
  relay::net::SignalWatcher on_int(threads.loop(), SIGINT, stop);
  relay::net::SignalWatcher on_usr1(threads.loop(), SIGUSR1, log_counts);
  if (absl::Status status = threads.StartOthers(); !status.ok()) {
    std::fprintf(stderr, "relayd: %s\n", std::string(status.message()).c_str());
    return kFailureExit;
  }
  for (const std::string& address : threads.addresses()) std::printf("ready %s\n", address.c_str());
  if (std::fflush(stdout) != 0) {
    std::fprintf(stderr, "relayd: write to stdout: %s\n", std::strerror(errno));
    return kFailureExit;
  }
  threads.Run();
  IgnoreFurtherStops();
  log_counts();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  OpenStandardDescriptors();
  KeepFreedMemory();
  relay::proto::SilenceProtobuf();
  auto parsed = relay::server::ParseOptions(argc, argv);
  if (const int* const exit_status = std::get_if<int>(&parsed)) return *exit_status;
  std::signal(SIGPIPE, SIG_IGN);  // whoever read the log may be gone
  return Run(std::get<relay::server::Options>(std::move(parsed)));
}

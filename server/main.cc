// relayd: parses its options, says where it listens, runs until it is told to stop.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <variant>

#include "net/loop.h"
#include "net/signal.h"
#include "proto/messages.h"
#include "server/daemon.h"
#include "server/options.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace {

constexpr int kFailureExit = 1;
constexpr int kUsageExit = 64;  // EX_USAGE

std::shared_ptr<spdlog::logger> MakeLog(const std::string& level) {
  auto log = std::make_shared<spdlog::logger>("relayd", std::make_shared<spdlog::sinks::stderr_sink_st>());
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

int Run(const relay::server::Options& options) {
  const std::shared_ptr<spdlog::logger> log = MakeLog(options.log_level);
  auto loop = relay::net::Loop::Create();
  if (!loop.ok()) {
    std::fprintf(stderr, "relayd: %s\n", std::string(loop.status().message()).c_str());
    return kFailureExit;
  }
  auto daemon = relay::server::Daemon::Start(**loop, options, log);
  if (!daemon.ok()) {
    std::fprintf(stderr, "relayd: %s\n", std::string(daemon.status().message()).c_str());
    return absl::IsInvalidArgument(daemon.status()) ? kUsageExit : kFailureExit;
  }
  bool is_stopping = false;
  const auto stop = [&] {
    if (is_stopping) {
      (*loop)->Stop();
      return;
    }
    is_stopping = true;
    log->info("event=draining");
    (*daemon)->Drain([&] { (*loop)->Stop(); });
  };
  relay::net::SignalWatcher on_term(**loop, SIGTERM, stop);
  relay::net::SignalWatcher on_int(**loop, SIGINT, stop);
  relay::net::SignalWatcher on_usr1(**loop, SIGUSR1, [&] { (*daemon)->LogMetrics(); });
  for (const std::string& address : (*daemon)->addresses()) std::printf("ready %s\n", address.c_str());
  if (std::fflush(stdout) != 0) {
    std::fprintf(stderr, "relayd: write to stdout: %s\n", std::strerror(errno));
    return kFailureExit;
  }
  (*loop)->Run();
  (*daemon)->LogMetrics();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  OpenStandardDescriptors();
  relay::proto::SilenceProtobuf();
  const auto parsed = relay::server::ParseOptions(argc, argv);
  if (const int* const exit_status = std::get_if<int>(&parsed)) return *exit_status;
  return Run(std::get<relay::server::Options>(parsed));
}

// Runs the simulation over a range of seeds, or one again:
//   simulation --seeds 2000 --events 1000
//   simulation --seed 1234 --events 1000
//   simulation --seeds 2000 --count-failures 2000

#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "proto/messages.h"
#include "simulation/world.h"

namespace {

std::atomic<uint64_t> current_seed = 0;

// A crash says its seed, too: digits by hand, since nothing else is safe in a signal handler.
void OnCrash(int signal) {
  char text[] = "simulation: crashed at seed 00000000000000000000\n";
  uint64_t seed = current_seed;
  for (size_t i = sizeof(text) - 3; text[i] == '0'; --i, seed /= 10) text[i] = static_cast<char>('0' + seed % 10);
  static_cast<void>(!write(STDERR_FILENO, text, sizeof(text) - 1));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

// Runs each seed in a process of its own, so that one that crashes or hangs is counted like any other that fails: a
// line each, up to `most` of them. It measures the simulation itself.
int CountFailures(uint64_t first, uint64_t seeds, uint64_t events, uint64_t most) {
  uint64_t failures = 0;
  uint64_t runs = 0;
  for (uint64_t seed = first; runs < seeds && failures < most; ++seed, ++runs) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) std::signal(signal, SIG_DFL);
      const itimerval much = {{}, {static_cast<time_t>(2 + events / 10000), 0}};  // a thousand times what it takes
      setitimer(ITIMER_VIRTUAL, &much, nullptr);
      const std::string failure = relay::simulation::World(seed).Run(events);
      if (failure.empty()) _exit(0);
      std::printf("seed %llu fails at %s\n", static_cast<unsigned long long>(seed),
                  failure.substr(0, failure.find('\n')).c_str());
      std::fflush(stdout);
      _exit(1);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
      std::perror("simulation");
      return 1;
    }
    if (WIFSIGNALED(status)) {
      std::printf("seed %llu %s (signal %d)\n", static_cast<unsigned long long>(seed),
                  WTERMSIG(status) == SIGVTALRM ? "hangs" : "crashes", WTERMSIG(status));
    }
    if (status != 0) ++failures;
  }
  std::printf("%llu of %llu seeds fail\n", static_cast<unsigned long long>(failures),
              static_cast<unsigned long long>(runs));
  return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  relay::proto::SilenceProtobuf();
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) std::signal(signal, OnCrash);
  uint64_t seeds = 2000;
  uint64_t first = 1;
  uint64_t events = 1000;
  std::optional<uint64_t> one;
  CLI::App app("A seeded simulation of the relay core and its clients", "simulation");
  app.add_option("--seeds", seeds, "how many seeds to run")->capture_default_str();
  app.add_option("--first", first, "the first of them")->capture_default_str();
  app.add_option("--events", events, "events of chance in each")->capture_default_str();
  app.add_option("--seed", one, "run this seed alone");
  uint64_t most_failures = 0;
  app.add_option("--count-failures", most_failures, "count seeds that fail, crash or hang, and stop after so many");
  bool trace = false;
  app.add_flag("--trace", trace, "print every frame");
  CLI11_PARSE(app, argc, argv);
  if (one.has_value()) {
    first = *one;
    seeds = 1;
  }
  if (most_failures > 0) return CountFailures(first, seeds, events, most_failures);
  relay::simulation::Counts sum;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    current_seed = seed;
    relay::simulation::World world(seed, trace);
    const std::string failure = world.Run(events);
    const relay::simulation::Counts counts = world.counts();
    if (!failure.empty()) {
      std::printf("seed %llu fails at %s\nagain: simulation --seed %llu --events %llu\n",
                  static_cast<unsigned long long>(seed), failure.c_str(), static_cast<unsigned long long>(seed),
                  static_cast<unsigned long long>(events));
      return 1;
    }
    sum.events += counts.events;
    sum.assignments += counts.assignments;
    sum.redeliveries += counts.redeliveries;
    sum.completed += counts.completed;
    sum.resets += counts.resets;
    sum.hash = sum.hash * 31 + counts.hash;
  }
  std::printf(
      "%llu seeds, %llu events, %llu assignments, %llu redeliveries, %llu completed, %llu resets, trace %016llx\n",
      static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(sum.events),
      static_cast<unsigned long long>(sum.assignments), static_cast<unsigned long long>(sum.redeliveries),
      static_cast<unsigned long long>(sum.completed), static_cast<unsigned long long>(sum.resets),
      static_cast<unsigned long long>(sum.hash));
  return sum.assignments > 0 && sum.redeliveries > 0 && sum.completed > 0 ? 0 : 1;
}

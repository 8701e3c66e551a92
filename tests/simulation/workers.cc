#include "simulation/workers.h"

#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

namespace relay::simulation {
namespace {

constexpr unsigned kMostJobs = 256;

// What the processes share.
struct Shared {
  std::atomic<uint64_t> least_failure = UINT64_MAX;
  Coverage sums[kMostJobs];
};

uint64_t current_seed = 0;

// A crash says its seed, too: digits by hand, since nothing else is safe in a signal handler.
void OnCrash(int signal) {
  char text[] = "simulation: crashed at seed 00000000000000000000\n";
  uint64_t seed = current_seed;
  for (size_t i = sizeof(text) - 3; text[i] == '0'; --i, seed /= 10) text[i] = static_cast<char>('0' + seed % 10);
  static_cast<void>(!write(STDERR_FILENO, text, sizeof(text) - 1));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

std::string RunSeed(uint64_t seed, const Options& options, Coverage& sum) {
  current_seed = seed;
  World world(seed, options);
  std::string failure = world.Run();
  if (failure.empty()) sum.Add(world.coverage());
  return failure;
}

// Every `range.jobs`-th seed, up to the least that is known to fail.
void Work(const Range& range, unsigned job, const Options& options, Shared& shared) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) std::signal(signal, OnCrash);
  for (uint64_t seed = range.first + job; seed < range.first + range.seeds; seed += range.jobs) {
    if (seed > shared.least_failure) return;
    if (RunSeed(seed, options, shared.sums[job]).empty()) continue;
    uint64_t least = shared.least_failure;
    while (seed < least && !shared.least_failure.compare_exchange_weak(least, seed)) {
    }
    return;
  }
}

}  // namespace

bool RunSeeds(const Range& asked, const Options& options, Coverage& sum) {
  Range range = asked;
  range.jobs = std::min({std::max(range.jobs, 1u), kMostJobs,
                         static_cast<unsigned>(std::max<uint64_t>(1, std::min<uint64_t>(range.seeds, kMostJobs)))});
  void* const memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, /*fd=*/-1, /*offset=*/0);
  if (memory == MAP_FAILED) {
    std::printf("mmap of %zu bytes: %s\n", sizeof(Shared), std::strerror(errno));
    return false;
  }
  Shared& shared = *new (memory) Shared;
  bool holds = true;
  if (range.jobs == 1) {
    Work(range, 0, options, shared);
  } else {
    std::vector<pid_t> workers;
    for (unsigned job = 0; job < range.jobs; ++job) {
      const pid_t pid = fork();
      if (pid == 0) {
        Work(range, job, options, shared);
        _exit(0);
      }
      if (pid < 0) {
        std::printf("fork: %s\n", std::strerror(errno));
        holds = false;
        break;
      }
      workers.push_back(pid);
    }
    for (const pid_t pid : workers) {
      int status = 0;
      if (waitpid(pid, &status, 0) != pid || status != 0) holds = false;  // what a crash had to say, it has said
    }
  }
  for (unsigned job = 0; job < range.jobs; ++job) sum.Add(shared.sums[job]);
  if (const uint64_t seed = shared.least_failure; seed != UINT64_MAX) {
    holds = false;
    Coverage nothing;
    const std::string failure = RunSeed(seed, options, nothing);
    std::printf("seed %llu fails at %s\nagain: simulation --seed %llu --events %llu --check-every %llu\n",
                static_cast<unsigned long long>(seed),
                failure.empty() ? "a place that a second run does not find" : failure.c_str(),
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(options.events),
                static_cast<unsigned long long>(options.check_every));
  }
  munmap(memory, sizeof(Shared));
  return holds;
}

namespace {

// Far more than any world takes, in processor time.
constexpr itimerval kMostTime = {{}, {2, 0}};

// What a process of CountFailures tells the one that counts.
struct Told {
  uint64_t seed = 0;  // the one that it runs, or where it stopped
  uint64_t runs = 0;
  char failure[256] = "";
};

// Runs seeds of the range from `first` on in a process of its own, until one of them fails, crashes or hangs; `told`
// says which, and how. Whether all held.
bool RunApart(uint64_t first, uint64_t last, const Options& options, Told& told) {
  told = {.seed = first};
  const pid_t child = fork();
  if (child == 0) {
    for (uint64_t seed = first; seed <= last; ++seed) {
      told.seed = seed;
      ++told.runs;
      setitimer(ITIMER_VIRTUAL, &kMostTime, nullptr);
      const std::string failure = World(seed, options).Run();
      if (failure.empty()) continue;
      std::snprintf(told.failure, sizeof(told.failure), "fails at %s", failure.substr(0, failure.find('\n')).c_str());
      _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) {
    std::printf("fork: %s\n", std::strerror(errno));
    std::exit(1);  // no seed's fault
  }
  if (WIFSIGNALED(status)) {
    std::snprintf(told.failure, sizeof(told.failure), "%s (signal %d)",
                  WTERMSIG(status) == SIGVTALRM ? "hangs" : "crashes", WTERMSIG(status));
  }
  return status == 0;
}

}  // namespace

bool CountFailures(const Range& range, const Options& options, uint64_t most) {
  void* const memory =
      mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, /*fd=*/-1, /*offset=*/0);
  if (memory == MAP_FAILED) {
    std::printf("mmap of %zu bytes: %s\n", sizeof(Told), std::strerror(errno));
    return false;
  }
  Told& told = *new (memory) Told;
  const uint64_t end = range.first + range.seeds;
  uint64_t failures = 0;
  uint64_t next = range.first;
  while (next < end && failures < most) {
    bool holds = RunApart(next, end - 1, options, told);
    next = told.seed + 1;
    // It may have failed of what a world before it has left behind.
    if (!holds && told.runs > 1) holds = RunApart(told.seed, told.seed, options, told);
    if (holds) continue;
    ++failures;
    std::printf("seed %llu %s\n", static_cast<unsigned long long>(told.seed), told.failure);
    std::fflush(stdout);
  }
  munmap(memory, sizeof(Told));
  std::printf("%llu of %llu seeds fail\n", static_cast<unsigned long long>(failures),
              static_cast<unsigned long long>(next - range.first));
  return failures == 0;
}

}  // namespace relay::simulation

// Floods a relayd, one way after the other, while a well-behaved pair goes on, and prints what that cost whom.
//
//   flood --relayd PATH [--seconds N] [--quiet-seconds N] [--rounds N] [--only WORDS] [--bench] [--no-memory]
//
// --seconds are those of a flood in all its rounds, --quiet-seconds those before each round.
//
// Without --bench nothing is decided by time: what is checked is that the named ends were reached, that memory and the
// bytes drawn stay within their bounds, and that the pair lost nothing. --bench checks the pair's p99 and the server's
// CPU, too.
//
// What --bench measures is the server and not who waits for a processor. On two cores relayd has one for itself; the
// attacker and the pair share the other, and there the pair runs first (SCHED_FIFO, where the system allows it; the
// first line says so), so that the answer of a request waits for relayd alone. Quiet, control and flooded p99 are
// measured in this one arrangement, in rounds, and the table has the round whose ratio is the median: what happens in
// fewer than half of them does not count, be it the machine's doing or the relay's. The control is the same flood
// against a port behind which nobody works, on the attacker's core: what the machine alone does to the pair. The
// longest turn is relayd's own word for how long its loop looked at nothing new. It and "most us" are of all rounds: a
// stall shows there if it comes once, and in p99 if it holds up one request in a hundred.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "attacker.h"
#include "cores.h"
#include "floods.h"
#include "pair.h"
#include "process.h"

namespace flood {
namespace {

constexpr double kMiB = 1024 * 1024;
constexpr double kMostRssGrowthBytes = 64 * kMiB;
constexpr double kMostAmplification = 8;
constexpr double kMostRatio = 3;
constexpr double kPairPerSecond = 500;
// Behind a flood, until what it has left is over: a connection that is ended lingers for two seconds.
constexpr double kSettleSeconds = 2.5;

struct Options {
  std::string relayd;
  double seconds = 10;
  double quiet_seconds = 2;
  size_t rounds = 5;
  std::string only;
  bool bench = false;
  bool checks_memory = true;
  std::optional<Cores> cores;  // where to run what
};

void Sleep(double seconds) { usleep(static_cast<useconds_t>(seconds * 1e6)); }

double OfOr0(double a, double b) { return b > 0 ? a / b : 0; }

// Tried in a thread that ends with it.
std::string UrgencyWords() {
  std::string why;
  std::thread([&why] { why = MakeUrgent(); }).join();
  return why.empty() ? "the pair runs first" : "the pair does not run first: " + why;
}

struct Round {
  Latency quiet;
  Latency flooded;
  Toll toll;
  double server_cpu = 0;  // s, beyond what the pair makes

  double ratio() const { return OfOr0(flooded.p99_us, quiet.p99_us); }
};

// The pair alone, and then the flood.
Round RunRound(const Flood& flood, const Options& options, Relayd& relayd, Pair& pair) {
  Round round;
  Sleep(0.1);
  pair.Take();
  const double quiet_begin = relayd.CpuSeconds();
  Sleep(options.quiet_seconds);
  const double quiet_load = (relayd.CpuSeconds() - quiet_begin) / options.quiet_seconds;
  round.quiet = pair.Take();
  const double flood_begin = relayd.CpuSeconds();
  const double seconds = std::max(options.seconds / static_cast<double>(options.rounds), flood.least_seconds);
  round.toll = Attack(flood, relayd.port(), seconds, /*gives_up_early=*/false);
  round.server_cpu = relayd.CpuSeconds() - flood_begin - quiet_load * round.toll.seconds;
  round.flooded = pair.Take();
  return round;
}

// What the rounds cost together, and the latencies of the median.
Round Total(std::vector<Round> rounds) {
  const auto middle = rounds.begin() + static_cast<std::ptrdiff_t>(rounds.size() / 2);
  std::nth_element(rounds.begin(), middle, rounds.end(),
                   [](const Round& a, const Round& b) { return a.ratio() < b.ratio(); });
  Round total;
  total.quiet = middle->quiet;
  total.flooded = middle->flooded;
  for (const Round& round : rounds) {
    total.server_cpu += round.server_cpu;
    total.flooded.most_us = std::max(total.flooded.most_us, round.flooded.most_us);
    total.toll.cpu_seconds += round.toll.cpu_seconds;
    total.toll.connections += round.toll.connections;
    total.toll.sent_bytes += round.toll.sent_bytes;
    total.toll.drawn_bytes += round.toll.drawn_bytes;
    total.toll.most_excess = std::max(total.toll.most_excess, round.toll.most_excess);
  }
  return total;
}

// Runs one flood and prints its row. What broke a bound, in words.
std::vector<std::string> Run(const Flood& flood, const Options& options, uint16_t sink_port) {
  std::vector<std::string> faults;
  Relayd relayd(options.relayd, flood.flags);
  if (options.cores.has_value()) Pin(relayd.pid(), options.cores->server);
  const auto others = options.cores.has_value() ? std::optional<int>(options.cores->others) : std::nullopt;
  Pair pair(relayd.port(), kPairPerSecond, others);
  Latency control;
  if (options.bench) {
    Sleep(0.1);
    pair.Take();
    Attack(flood, sink_port, options.seconds / static_cast<double>(options.rounds), /*gives_up_early=*/true);
    control = pair.Take();
  }
  const size_t quiet_rss = relayd.RssBytes();
  relayd.TakeLongestTurnUs();
  relayd.ForgetPeak();
  std::vector<Round> rounds;
  while (rounds.size() < options.rounds) {
    if (!rounds.empty()) Sleep(kSettleSeconds);
    rounds.push_back(RunRound(flood, options, relayd, pair));
  }
  const auto [quiet, flooded, toll, server_cpu] = Total(std::move(rounds));
  const uint64_t longest_turn_us = relayd.TakeLongestTurnUs();
  const size_t peak_rss = relayd.PeakRssBytes();
  if (const std::string lost = pair.Stop(); !lost.empty()) faults.push_back("the pair: " + lost);
  if (const int code = relayd.Stop(); code != 0) faults.push_back("relayd ended with " + std::to_string(code));
  const auto counts = relayd.Counts();

  std::string ends;
  for (const std::string& end : flood.ends) {
    if (const auto found = counts.find(end); found == counts.end() || found->second == 0) {
      faults.push_back("nothing ended as " + end);
    } else {
      ends += (ends.empty() ? "" : ", ") + end + " " + std::to_string(found->second);
    }
  }
  const double ratio = OfOr0(flooded.p99_us, quiet.p99_us);
  const double cpu_ratio = OfOr0(server_cpu, toll.cpu_seconds);
  const double growth = peak_rss > quiet_rss ? static_cast<double>(peak_rss - quiet_rss) : 0;
  if (options.checks_memory && growth > kMostRssGrowthBytes) faults.push_back("memory");
  if (toll.most_excess > kMostAmplification) faults.push_back("amplification of bytes");
  if (options.bench && ratio > kMostRatio) faults.push_back("p99");
  const bool is_cheap = flood.is_paced || flood.is_unguarded || cpu_ratio <= kMostAmplification;
  if (options.bench && !is_cheap) faults.push_back("amplification of CPU");
  std::string fault_words;
  for (const std::string& fault : faults) fault_words += " !" + fault;
  const auto percentiles = [](const Latency& latency) {
    char text[64];
    std::snprintf(text, sizeof(text), "%.0f %.0f %.0f", latency.p50_us, latency.p90_us, latency.p99_us);
    return std::string(text);
  };
  std::printf(
      "| %s | %s | %s | %s | %.1f | %.0f | %llu | %.0f + %.1f | %llu | %.1f | %.2f | %.1f | %.2f : %.2f = %.1f | %s "
      "|%s\n",
      flood.name.c_str(), percentiles(quiet).c_str(), percentiles(control).c_str(), percentiles(flooded).c_str(), ratio,
      flooded.most_us, static_cast<unsigned long long>(longest_turn_us), static_cast<double>(quiet_rss) / kMiB,
      growth / kMiB, static_cast<unsigned long long>(toll.connections), static_cast<double>(toll.sent_bytes) / kMiB,
      OfOr0(static_cast<double>(toll.drawn_bytes), static_cast<double>(toll.sent_bytes)), toll.most_excess, server_cpu,
      toll.cpu_seconds, cpu_ratio, ends.c_str(), fault_words.c_str());
  std::fflush(stdout);
  return faults;
}

int Main(const Options& given) {
  rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  Options options = given;
  if (options.bench) options.cores = TwoCores();
  if (options.cores.has_value()) {
    Pin(0, options.cores->others);  // the sink, which is forked, stays there, too
    std::printf("relayd on core %d, pair, attacker and the control's port on core %d; %s\n\n", options.cores->server,
                options.cores->others, UrgencyWords().c_str());
  }
  const Sink sink;
  std::puts(
      "| flood | quiet us p50 p90 p99 | control us p50 p90 p99 | flooded us p50 p90 p99 | ratio of p99 | most us "
      "| longest turn us "
      "| RSS MiB | connections | sent MiB | drawn / sent | most of one | CPU s server : attacker | ends |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
  size_t ran = 0;
  std::string failed_words;
  size_t failed = 0;
  for (const Flood& flood : AllFloods()) {
    if (flood.name.find(options.only) == std::string::npos || (flood.is_long && !options.bench)) continue;
    ++ran;
    const std::vector<std::string> faults = Run(flood, options, sink.port());
    if (faults.empty()) continue;
    ++failed;
    failed_words += "  " + flood.name + ":";
    for (const std::string& fault : faults) failed_words += " " + fault + (fault == faults.back() ? "\n" : ",");
  }
  std::printf("\n%zu floods, %zu broke a bound\n%s", ran, failed, failed_words.c_str());
  return ran == 0 || failed > 0 ? 1 : 0;
}

}  // namespace
}  // namespace flood

int main(int argc, char** argv) {
  flood::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool has_value = i + 1 < argc;
    if (word == "--bench") {
      options.bench = true;
    } else if (word == "--no-memory") {
      options.checks_memory = false;
    } else if (word == "--relayd" && has_value) {
      options.relayd = argv[++i];
    } else if (word == "--seconds" && has_value) {
      options.seconds = std::atof(argv[++i]);
    } else if (word == "--quiet-seconds" && has_value) {
      options.quiet_seconds = std::atof(argv[++i]);
    } else if (word == "--rounds" && has_value) {
      options.rounds = std::max<size_t>(1, std::strtoul(argv[++i], nullptr, 10));
    } else if (word == "--only" && has_value) {
      options.only = argv[++i];
    } else {
      std::fprintf(stderr,
                   "flood: --relayd PATH [--seconds N] [--quiet-seconds N] [--rounds N] [--only WORDS] [--bench] "
                   "[--no-memory]\n");
      return 64;
    }
  }
  return flood::Main(options);
}

// Runs the simulation over a range of seeds, or one again:
//   simulation --seeds 2000 --jobs 2
//   simulation --tier nightly
//   simulation --count-failures 2000
//   simulation --seed 1234 --trace

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "proto/messages.h"
#include "simulation/workers.h"

int main(int argc, char** argv) {
  relay::proto::SilenceProtobuf();
  // Less may by chance not have reached every end.
  constexpr uint64_t kSeedsThatReachAll = 20'000;
  const std::map<std::string, uint64_t> tiers = {{"quick", 2000}, {"ci", 200'000}, {"nightly", 5'000'000}};
  relay::simulation::Range range{.first = 1, .seeds = 2000, .jobs = std::max(1u, std::thread::hardware_concurrency())};
  relay::simulation::Options options;
  std::optional<uint64_t> one;
  std::string tier;
  bool checks_all = false;
  CLI::App app("A seeded simulation of the relay core and its clients", "simulation");
  app.add_option("--seeds", range.seeds, "how many seeds to run")->capture_default_str();
  app.add_option("--tier", tier, "as many seeds as belong to quick, ci or nightly")->check(CLI::IsMember(tiers));
  app.add_option("--first", range.first, "the first of them")->capture_default_str();
  app.add_option("--jobs", range.jobs, "processes that share the seeds")->capture_default_str();
  app.add_option("--events", options.events, "events of chance in each")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--check-every", options.check_every, "turns between two full counts of the relay's insides")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--cores", options.cores, "cores of the relay, which share its channels")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_flag("--check-all", checks_all, "count after every turn: --check-every 1");
  app.add_option("--seed", one, "run this seed alone");
  uint64_t most_failures = 0;
  app.add_option("--count-failures", most_failures, "count seeds that fail, crash or hang, and stop after so many");
  app.add_flag("--trace", options.traces, "print every frame");
  CLI11_PARSE(app, argc, argv);
  if (!tier.empty()) range.seeds = tiers.at(tier);
  if (checks_all) options.check_every = 1;
  if (one.has_value()) range = {.first = *one, .seeds = 1, .jobs = 1};
  if (most_failures > 0) return relay::simulation::CountFailures(range, options, most_failures) ? 0 : 1;

  relay::simulation::Coverage sum;
  if (!relay::simulation::RunSeeds(range, options, sum)) return 1;
  std::fputs(sum.Text().c_str(), stdout);
  if (range.seeds < kSeedsThatReachAll || options.cores > 1) return 0;  // several cores are not bounded so tightly
  const std::string missing = sum.Missing();
  if (!missing.empty()) std::printf("what should have happened in so many worlds and did not:\n%s", missing.c_str());
  return missing.empty() ? 0 : 1;
}

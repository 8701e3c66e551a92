// Runs seeds in several processes. What comes of it does not depend on how many there are.

#ifndef RELAY_TESTS_SIMULATION_WORKERS_H_
#define RELAY_TESTS_SIMULATION_WORKERS_H_

#include <cstdint>

#include "simulation/coverage.h"
#include "simulation/world.h"

namespace relay::simulation {

struct Range {
  uint64_t first = 1;
  uint64_t seeds = 0;
  unsigned jobs = 1;
};

// Whether every seed of the range held; `sum` is what happened in all of them. Of those that fail the least is printed,
// with how to run it again; the worlds behind it may not have run.
bool RunSeeds(const Range& range, const Options& options, Coverage& sum);

// Counts the seeds that fail, one after another and up to `most`, with a line each. One that crashes or hangs counts
// like any other: the seeds run in processes that end where one of them fails, and it alone is run again, to be sure
// that it is its own. It measures the simulation itself. Whether none failed.
bool CountFailures(const Range& range, const Options& options, uint64_t most);

}  // namespace relay::simulation

#endif  // RELAY_TESTS_SIMULATION_WORKERS_H_

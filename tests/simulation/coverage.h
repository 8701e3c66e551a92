// What has happened in the simulated worlds: a run in which something never did has not tried it.

#ifndef RELAY_TESTS_SIMULATION_COVERAGE_H_
#define RELAY_TESTS_SIMULATION_COVERAGE_H_

#include <array>
#include <cstdint>
#include <string>

#include "server/ends.h"

namespace relay::simulation {

// Plain numbers, so that it can lie in memory that processes share. A value type.
struct Coverage {
  uint64_t seeds = 0;
  uint64_t undecided = 0;  // of the seeds: worlds that ended early, of several cores alone
  uint64_t events = 0;
  uint64_t turns = 0;
  uint64_t put_off = 0;
  uint64_t frames_read = 0;
  uint64_t frames_late = 0;
  uint64_t frames_unknown = 0;
  uint64_t accepted = 0;
  uint64_t assignments = 0;
  uint64_t redeliveries = 0;
  uint64_t extensions = 0;
  uint64_t sheds = 0;             // requests that were accepted and had to go for older ones
  uint64_t windows_withheld = 0;  // and told later
  uint64_t windows_owed = 0;      // told when the peer read again
  uint64_t passed_over = 0;       // receivers
  uint64_t went_on = 0;           // of them, with a request
  uint64_t lined_up = 0;          // or at the end of the line
  uint64_t windows_dropped = 0;   // owed to a receiver that was lost to the request
  uint64_t early_windows = 0;     // of a response, handed on behind START
  uint64_t cut_together = 0;      // connections that did not read, and did not die alone
  uint64_t mirrors = 0;
  uint64_t mirrors_lost = 0;
  uint64_t drains = 0;
  uint64_t starved = 0;  // requests that nobody was left to take, ended by their time
  uint64_t trace = 0;    // of everything that was written, in whatever order the seeds were run
  std::array<uint64_t, server::kEndCount> ends = {};

  void Add(const Coverage& other);
  // A table.
  std::string Text() const;
  // What a long run should have reached and has not, or nothing.
  std::string Missing() const;
};

}  // namespace relay::simulation

#endif  // RELAY_TESTS_SIMULATION_COVERAGE_H_

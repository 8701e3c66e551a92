// Enumerates the orders of events of small models of the protocol and runs each on the relay core:
//   model            all shapes, as short as ctest wants them
//   model --long     up to 8 steps of everything
//   model --shape X  one of them, with --steps as long as you like

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "model/search.h"
#include "proto/messages.h"

namespace {

using relay::model::Counts;
using relay::model::Kind;
using relay::model::Layout;
using relay::model::Rules;
using relay::model::Search;
using relay::model::Shape;
using Kinds = std::vector<Kind>;

// What runs without anybody's fault.
const Kinds kCourse = {Kind::kStartWhole, Kind::kStartOpen, Kind::kReceive,     Kind::kAnswerWhole,
                       Kind::kAnswerOpen, Kind::kChunk,     Kind::kEnd,         Kind::kAnswerAndReceive,
                       Kind::kWindow,     Kind::kExtend,    Kind::kStartRequire};
// A request and all the ways in which it may lose somebody.
const Kinds kLosses = {Kind::kStartWhole, Kind::kReceive, Kind::kAnswerWhole, Kind::kAnswerOpen,
                       Kind::kRequeue,    Kind::kReset,   Kind::kCut,         Kind::kJoin};
const Kinds kReceiversLost = {Kind::kStartWhole, Kind::kReceive, Kind::kAnswerWhole, Kind::kRequeue, Kind::kCut};
const Kinds kDepartures = {Kind::kStartOpen,        Kind::kReceive,  Kind::kEnd,
                           Kind::kAnswerAndReceive, Kind::kWithdraw, Kind::kLeave,
                           Kind::kTakeOver,         Kind::kJoin,     Kind::kGoaway};
const Kinds kTime = {Kind::kStartWhole, Kind::kReceive, Kind::kAnswerOpen, Kind::kEnd,   Kind::kExtend,
                     Kind::kRequeue,    Kind::kCut,     Kind::kDeadline,   Kind::kDrain, Kind::kDrainOver};
const Kinds kCredit = {Kind::kStartOpen, Kind::kReceive,    Kind::kChunk,
                       Kind::kWindow,    Kind::kAnswerOpen, Kind::kRequeue};
const Kinds kFaults = {Kind::kStartOpen,  Kind::kReceive, Kind::kChunk,         Kind::kEnd,         Kind::kAnswerOpen,
                       Kind::kStartAgain, Kind::kLate,    Kind::kAnswerForeign, Kind::kReceiveBusy, Kind::kWrongSide};

Kinds Everything() {
  Kinds all;
  for (int kind = 0; kind < relay::model::kKinds; ++kind) all.push_back(static_cast<Kind>(kind));
  return all;
}

std::vector<Shape> Orders(bool is_long) {
  const Rules plain;
  const Rules moves = {.is_idempotent = true};
  const Rules pairs = {.layout = Layout::kPairs, .is_idempotent = true};
  const Rules one = {.layout = Layout::kOne, .is_idempotent = true};
  const Rules narrow = {.is_idempotent = true, .queue_count = 1};
  const Rules faulty = {.is_idempotent = true, .has_faults = true};
  const auto steps = [is_long](int quick, int most) { return is_long ? most : quick; };
  return {
      {"course", plain, kCourse, steps(6, 8)},
      {"receivers are lost, a queue of one", narrow, kReceiversLost, 8},
      {"receivers are lost, all on one connection", one, kReceiversLost, 8},
      {"losses, idempotent", moves, kLosses, steps(6, 8)},
      {"losses, not idempotent", plain, kLosses, steps(6, 8)},
      {"losses, a queue of one", narrow, kLosses, steps(6, 8)},
      {"losses, in pairs", pairs, kLosses, steps(7, 8)},
      {"losses, all on one connection", one, kLosses, steps(7, 8)},
      {"losses, two events a turn", moves, kLosses, steps(6, 8), 2},
      {"losses, all in one turn", moves, kLosses, steps(6, 8), 8},
      {"departures", moves, kDepartures, steps(5, 7)},
      {"departures, in pairs", pairs, kDepartures, steps(5, 7)},
      {"time", moves, kTime, steps(6, 8)},
      {"time, not idempotent, two events a turn", plain, kTime, steps(6, 8), 2},
      {"credit", moves, kCredit, steps(7, 8)},
      {"faults", faulty, kFaults, steps(6, 8)},
      {"everything", moves, Everything(), steps(4, 5)},
  };
}

// Further than orders can go: each event once in each state.
std::vector<Shape> States(bool is_long) {
  const Rules faulty = {.is_idempotent = true, .has_faults = true};
  const Rules pairs = {.layout = Layout::kPairs, .is_idempotent = true, .queue_count = 1};
  const Rules one = {.layout = Layout::kOne, .is_idempotent = true};
  const int steps = is_long ? 8 : 5;
  return {
      {"everything", faulty, Everything(), steps},
      {"everything, in pairs, a queue of one", pairs, Everything(), steps},
      {"everything, all on one connection, two events a turn", one, Everything(), steps, 2},
  };
}

// Prints one line; false where relay and model differ.
bool Run(const Shape& shape, bool by_states) {
  const std::clock_t start = std::clock();
  Search search(shape);
  const bool agrees = by_states ? search.RunStates() : search.RunOrders();
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  const Counts& counts = search.counts();
  const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  if (by_states) {
    std::printf("%-52s %2d steps: %9llu events in %8llu states", shape.name.c_str(), shape.steps,
                number(counts.transitions), number(counts.states));
  } else {
    std::printf("%-52s %2d steps: %9llu orders for %10llu, %8llu states", shape.name.c_str(), shape.steps,
                number(counts.orders), number(counts.alike), number(counts.states));
  }
  std::printf(", %10llu frames, %6.1f s of CPU\n", number(counts.frames), seconds);
  std::fflush(stdout);
  if (!agrees) std::printf("%s\n", search.failure().c_str());
  return agrees && counts.frames > 0;
}

}  // namespace

int main(int argc, char** argv) {
  relay::proto::SilenceProtobuf();
  bool is_long = false;
  std::string only;
  int steps = 0;
  CLI::App app("All orders of events of small models, run on the relay core", "model");
  app.add_flag("--long", is_long, "up to 8 steps of each shape");
  app.add_option("--shape", only, "the shapes whose name begins so");
  app.add_option("--steps", steps, "another length than the shape's own");
  CLI11_PARSE(app, argc, argv);
  for (const bool by_states : {false, true}) {
    for (Shape shape : by_states ? States(is_long) : Orders(is_long)) {
      if (!shape.name.starts_with(only)) continue;
      if (steps > 0) shape.steps = steps;
      if (!Run(shape, by_states)) return 1;
    }
  }
  return 0;
}

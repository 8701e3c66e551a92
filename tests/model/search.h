// Every order of events of a model, each run on a relay core and judged frame by frame.

#ifndef RELAY_TESTS_MODEL_SEARCH_H_
#define RELAY_TESTS_MODEL_SEARCH_H_

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "model/core.h"
#include "model/model.h"

namespace relay::model {

// A model and the part of its events that is looked at.
struct Shape {
  std::string name;
  Rules rules;
  std::vector<Kind> kinds;
  int steps;           // of every order
  int turn_steps = 1;  // events in one turn of the relay
};

struct Counts {
  uint64_t orders = 0;       // each run on a core of its own
  uint64_t alike = 0;        // the orders that these stand for, with the two senders, or the two receivers, exchanged
  uint64_t transitions = 0;  // events in states, where it is they that are looked for
  uint64_t states = 0;       // that differ in more than times and ids
  uint64_t frames = 0;       // that the relay told and that were judged
};

// Thread-compatible.
class Search {
 public:
  explicit Search(const Shape& shape);

  // All orders. False where the relay and the model differ: failure() says how.
  bool RunOrders();
  // Each event in each state that `shape.steps` events can reach, by one way to it.
  bool RunStates();

  const Counts& counts() const { return counts_; }
  const std::string& failure() const { return failure_; }

 private:
  // What has to be seen when a turn is over.
  struct TurnEnd {
    std::vector<std::pair<Place, Told>> told;  // by place; without connections that the peer has cut
    std::vector<char> is_cut;                  // by connection
    std::vector<char> is_closed;
  };
  struct Step {
    Event event;
    std::vector<Input> inputs;
    int64_t now_ms;
    std::optional<TurnEnd> turn_end;  // where the turn ends behind this event
  };

  std::vector<Event> Next(const Model& model, uint8_t acted) const;
  Step Apply(Model& model, Event event);
  static TurnEnd EndTurn(Model& model);
  static std::vector<std::pair<Place, Told>> Seen(std::vector<std::pair<Place, Told>> told,
                                                  const std::vector<char>& is_cut);
  // `model` stands behind steps_; `acted` has a bit for each client.
  bool Explore(const Model& model, uint8_t acted);
  // Runs steps_ on a new relay.
  bool Judge(Model model);
  bool Differ(size_t step, const std::string& how);

  const Shape shape_;
  Model root_;
  std::vector<Input> setup_;
  std::vector<Step> steps_;
  int steps_in_turn_ = 0;
  Counts counts_;
  std::unordered_set<std::string> seen_;
  std::string failure_;
};

}  // namespace relay::model

#endif  // RELAY_TESTS_MODEL_SEARCH_H_

// The relay core under the model's events: bytes in, what everybody is told out.

#ifndef RELAY_TESTS_MODEL_CORE_H_
#define RELAY_TESTS_MODEL_CORE_H_

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "model/model.h"
#include "server/relay.h"

namespace relay::model {

class Core {
 public:
  explicit Core(const Rules& rules);

  void Do(const Input& input, int64_t now_ms);
  // What the turn made the relay tell, in order for each place.
  std::vector<std::pair<Place, Told>> EndTurn(int64_t now_ms);

  // The relay has shut or closed it.
  bool is_closed(int connection) const { return connections_[static_cast<size_t>(connection)].is_closed; }
  const server::Relay& relay() const { return relay_; }
  // What is wrong inside the relay, or between it and those who drive it; empty where nothing is.
  const std::string& broken() const { return broken_; }
  // All connections that are left break; then nothing may be left in the relay.
  std::string CheckNothingLeft(int64_t now_ms);

 private:
  struct Connection {
    server::ConnectionId id;
    bool is_closed = false;
  };

  void Read(int connection, const server::Effect& effect, std::vector<std::pair<Place, Told>>& told);

  server::Relay relay_;
  std::vector<Connection> connections_;
  std::deque<std::string> given_;  // to the relay, in this turn
  std::string broken_;
};

}  // namespace relay::model

#endif  // RELAY_TESTS_MODEL_CORE_H_

// A tap on every connection of the simulated relay: it sees each frame that goes in and each that comes out, knows the
// words of PROTOCOL.md and nothing of the relay's insides, and says what must never happen.

#ifndef RELAY_TESTS_SIMULATION_TAP_H_
#define RELAY_TESTS_SIMULATION_TAP_H_

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "proto/frame.h"
#include "server/session.h"

namespace relay::simulation {

using server::ConnectionId;

struct TappedFrame {
  ConnectionId connection;
  proto::Frame frame;
};

// Thread-compatible.
class Tap {
 public:
  Tap(uint64_t initial_window_bytes, absl::Time start) : initial_window_bytes_(initial_window_bytes), now_(start) {}

  // One event of the relay and all that it caused. `in`: the frame that was read, where the event was that; `exact`: it
  // was one frame or nothing of the kind, so that the order of what came of it is known. `ended`: connections that the
  // relay has given up.
  void Step(std::optional<TappedFrame> in, const std::vector<TappedFrame>& out, const std::vector<ConnectionId>& ended,
            bool exact);
  void set_now(absl::Time now) { now_ = now; }
  // Time has passed, and the relay has done what was due.
  void OnTime(absl::Time now);
  // The client of this connection sends nothing any more: who needed that is gone, without a word.
  void OnInputEnd(ConnectionId connection);
  // The relay drains: nobody waits any more, nothing begins.
  void OnDrain();
  // A receiver whose connection was owed too much was passed over: from now on its place in the line is not known here.
  void OnPassedOver() { knows_lines_ = false; }

  // The first thing that was wrong, in words.
  const std::string& broken() const { return broken_; }

  uint64_t assignments() const { return assignments_; }
  uint64_t redeliveries() const { return redeliveries_; }
  uint64_t completed() const { return completed_; }
  uint64_t resets() const { return resets_; }
  size_t live_requests() const { return requests_.size(); }

 private:
  using Place = std::pair<ConnectionId, uint16_t>;  // a slot of a connection
  using Key = std::pair<proto::Uuid, proto::Uuid>;  // a channel and a request
  static constexpr Place kNowhere = {0, 0};

  struct Request {
    Place sender = kNowhere;
    Place receiver = kNowhere;  // nowhere while queued
    uint64_t arrival = 0;
    uint16_t attempt = 0;
    bool is_idempotent = false;
    bool is_whole = false;  // the sender has sent all of it
    bool has_response = false;
    absl::Time ends_at = absl::InfiniteFuture();
    absl::Time extends_to = absl::InfinitePast();
    // What was handed to the reader of each stream, and what that reader has granted.
    uint64_t request_cost = 0;
    uint64_t request_granted = 0;
    uint64_t response_cost = 0;
    uint64_t response_granted = 0;
  };
  using Requests = std::map<Key, Request>;

  void OnIn(const TappedFrame& in);
  void OnOut(const TappedFrame& out);
  // Counts the body of a frame to the reader of its stream.
  void CountCost(Request& request, const TappedFrame& out);
  void OnAssigned(const TappedFrame& out, bool exact);
  void Settle(const std::vector<ConnectionId>& ended);
  // What this place does is over.
  void Abandon(Place place);
  void StopWaiting(Place place);
  // The sender leaves its request, which ends, or the receiver, from which it is taken.
  void Leave(Place place, Requests::iterator request);
  Requests::iterator Find(Place place, const proto::Uuid& id);
  void Broken(const std::string& what, const TappedFrame& frame);

  const uint64_t initial_window_bytes_;
  std::set<ConnectionId> dead_;  // what they say is thrown away
  std::map<Place, proto::Uuid> channels_;
  std::map<Place, Key> busy_;
  Requests requests_;
  std::map<proto::Uuid, std::list<Place>> lines_;

  // Of the step under way.
  std::optional<TappedFrame> in_;
  bool is_exact_ = false;
  bool knows_lines_ = true;
  std::optional<Place> will_wait_;
  std::optional<std::pair<Key, Request>> will_begin_;
  std::vector<Place> left_;
  std::vector<Key> ended_requests_;

  absl::Time now_;
  bool is_draining_ = false;
  uint64_t arrivals_ = 0;
  uint64_t assignments_ = 0;
  uint64_t redeliveries_ = 0;
  uint64_t completed_ = 0;
  uint64_t resets_ = 0;
  std::string broken_;
};

}  // namespace relay::simulation

#endif  // RELAY_TESTS_SIMULATION_TAP_H_

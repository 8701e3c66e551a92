// Several relay cores that look like one: what they say to each other is carried to and fro, in any order that keeps
// what one says to another in its order, until all of it has arrived. So what they do together at each event is what
// one core would do.

#ifndef RELAY_TESTS_SIMULATION_CORES_H_
#define RELAY_TESTS_SIMULATION_CORES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/uuid.h"
#include "server/limits.h"
#include "server/relay.h"
#include "simulation/random.h"

namespace relay::simulation {

// Thread-compatible. As server::Relay, but for what is said here.
class Cores {
 public:
  Cores(const server::Limits& limits, const proto::Uuid& server_id, absl::Time start, uint32_t cores, uint64_t seed);

  server::ConnectionId OnOpen(std::string peer, absl::Time now);
  size_t OnBytes(server::ConnectionId id, std::span<uint8_t> bytes, absl::Time now);
  size_t OnBytes(server::ConnectionId id, std::span<uint8_t> bytes, absl::Time now, uint32_t& work);
  // Whether the connection of the last OnBytes moves to another core: what it left is to be given there, in the next
  // turn.
  bool is_moving() const { return is_moving_; }
  void OnInputEnd(server::ConnectionId id, bool is_broken, absl::Time now);
  void OnUnsent(server::ConnectionId id, size_t bytes, absl::Time now);
  void OnTime(absl::Time now);
  void OnMemoryShort(server::ConnectionId id, absl::Time now);
  void OnMemoryBack();
  void Drain(absl::Time now);

  bool has_effects();
  // Of all cores; none of them moves a connection any more, or reads on.
  std::span<const server::Effect> TakeEffects();
  void EndTurn();

  std::optional<absl::Time> next_deadline() const;
  const server::Metrics& metrics();
  size_t connection_count() const { return Sum(&server::Relay::connection_count); }
  size_t channel_count() const { return Sum(&server::Relay::channel_count); }
  size_t client_count() const { return Sum(&server::Relay::client_count); }
  std::string Check() const;

 private:
  struct Written {
    std::vector<uint8_t> bytes;
    std::vector<std::span<const uint8_t>> slices;
    bool shut = false;
    bool close = false;
  };

  server::Relay& HomeOf(server::ConnectionId id) { return *cores_[home_[id]]; }
  size_t Sum(size_t (server::Relay::*count)() const) const;
  // What the cores say to each other, until there is no more.
  void Carry();
  // That, and the end of a turn of each.
  void EndTurns();

  Random random_;
  std::vector<std::unique_ptr<server::Relay>> cores_;
  std::map<server::ConnectionId, uint32_t> home_;
  std::map<server::ConnectionId, Written> written_;  // in this turn
  std::vector<server::Effect> effects_;
  server::Metrics sum_;
  absl::Time now_;
  std::map<server::ConnectionId, size_t> unsent_;  // as it was told
  std::vector<server::ConnectionId> moved_;        // in this turn
  bool is_moving_ = false;
};

}  // namespace relay::simulation

#endif  // RELAY_TESTS_SIMULATION_CORES_H_

// One thread of relayd: a core, driven by streams on one loop, and by what other threads say to it.

#ifndef RELAY_SERVER_DAEMON_H_
#define RELAY_SERVER_DAEMON_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/stream.h"
#include "net/timer.h"
#include "server/memory_reserve.h"
#include "server/relay.h"
#include "spdlog/spdlog.h"

namespace relay::server {

// A connection that is on its way to another thread. Move-only.
struct Arrival {
  ConnectionId id;
  net::Stream::Parts parts;
};

// What a thread has for another at the end of a turn. Move-only.
struct Letter {
  uint32_t from = 0;
  CrossingBatch batch;
  std::vector<Arrival> arrivals;  // of each connection that the batch moves
};

// What several daemons have in common, and which of them one is. A value type.
struct Identity {
  proto::Uuid server_id;
  absl::Time start;
  Place place;
  std::shared_ptr<Totals> totals;
};

// What there is to say about a daemon. A value type.
struct Counts {
  Metrics metrics;
  size_t connections = 0;
  size_t clients = 0;
  size_t channels = 0;
  absl::Duration longest_turn;

  // Of several daemons together.
  Counts& operator+=(const Counts& other);
};

// Loop thread only. The loop outlives it.
//
// A connection is closed in one way: the core says so in its effects. Whatever happens to a stream is told to the core
// and acted on at the end of the turn.
class Daemon {
 public:
  using Post = std::function<void(uint32_t core, Letter letter)>;

  // One of place.cores: the others have the same server id and totals. `post` is called at the end of a turn.
  Daemon(net::Loop& loop, const Limits& limits, const Identity& identity, std::shared_ptr<spdlog::logger> log,
         Post post);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Accepts what comes there. For the first core alone. Errors name the operation and the address.
  absl::Status Listen(const std::string& url);
  // The addresses that it listens on, with the ports that were taken.
  std::vector<std::string> addresses() const;

  // The calling thread runs the loop from now on.
  void Guard() { reserve_.Guard(); }
  // What another thread has posted.
  void Deliver(Letter letter);

  // Accepts nothing new, lets what runs end up to the drain limit, and calls `stopped` when the last connection of all
  // daemons is closed. Of several that are told, at least one calls.
  void Drain(std::function<void()> stopped);

  // As of now; the longest turn since this was last asked.
  Counts TakeCounts();

 private:
  class Link;

  void Accept(std::unique_ptr<net::Stream> stream);
  void EndTurn();
  // Tells the core of some of those connections whose input has ended, and of the time.
  void TellEnds();
  void TellTime();
  // Asked behind whatever was done for a connection, or for none (0): it ends where memory ran short in that.
  void CheckMemory(ConnectionId id);
  void CarryOut(const Effect& effect);
  void PostLetters();
  // A connection has made so much work in this turn.
  void OnWork(uint32_t work);
  // Says who reads in the next turn.
  void ShareOut();
  void Log(const Notice& notice);

  net::Loop& loop_;
  const std::shared_ptr<spdlog::logger> log_;
  MemoryReserve reserve_;
  bool is_short_of_memory_ = false;
  const uint32_t frames_per_turn_;
  const Place place_;
  const std::shared_ptr<Totals> totals_;
  const Post post_;
  Relay relay_;
  net::Timer timer_;                    // only wakes the loop: what is due is done at the end of every turn
  std::optional<absl::Time> timer_at_;  // nothing once it has fired
  net::Soon more_;                      // keeps the loop from waiting while something is left to do
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  struct Ended {
    ConnectionId connection;
    bool is_broken;
  };
  std::deque<Ended> ended_;  // their input; not told to the core yet
  // Connections that are new, or had more to say than a turn gives them: who was put off first goes on first.
  std::deque<ConnectionId> put_off_;
  std::deque<ConnectionId> put_off_first_;  // from among those who seldom are; the two take turns
  size_t put_off_bytes_ = 0;
  std::vector<ConnectionId> busy_;  // in this turn
  uint32_t work_in_turn_ = 0;
  uint32_t strangers_in_turn_ = 0;  // that were read
  absl::flat_hash_map<ConnectionId, std::unique_ptr<Link>, ConnectionIdHash> links_;
  std::vector<Link*> written_;                   // in this turn
  std::vector<std::vector<Arrival>> departing_;  // by core
  std::function<void()> stopped_;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_DAEMON_H_

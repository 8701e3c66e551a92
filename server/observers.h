// Observers: connections that are shown what the others send and are sent (PROTOCOL.md, "Observers").
//
// A frame that matches is copied once for each observer, as a MIRROR into the turn's memory. An observer is owed no
// more than observer_queue_bytes: what does not fit is counted and told, and holds up nobody. Tokens and takeover keys
// are never shown. With no observer the core asks any() for each frame read and once in a turn, and notes who leaves
// where there may be one.

#ifndef RELAY_SERVER_OBSERVERS_H_
#define RELAY_SERVER_OBSERVERS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "proto/frame.h"
#include "proto/mirror_block.h"
#include "proto/uuid.h"
#include "server/effects.h"
#include "server/instant.h"
#include "server/limits.h"
#include "server/metrics.h"
#include "server/session.h"

namespace relay::server {

// Which frames an observer wants; all of it must hold. A value type.
struct MirrorFilter {
  std::optional<proto::Uuid> channel;
  std::optional<proto::Uuid> client;
  std::optional<proto::Uuid> request;
  uint32_t snap_bytes = 0;

  bool takes_all() const { return !channel.has_value() && !client.has_value() && !request.has_value(); }
};

// Thread-compatible.
class Observers {
 public:
  Observers(const Limits& limits, Effects& effects, Metrics& metrics, Instant start)
      : limits_(limits), effects_(effects), metrics_(metrics), start_(start) {}

  // Whether anybody observes.
  bool any() const { return is_any_; }

  // A connection is an observer from now on, but is shown nothing before Observe. False where there are enough.
  bool Add(Session& session);
  // What `session`, which was added, wants to be shown from now on.
  void Observe(Session& session, const MirrorFilter& filter);
  void Remove(Session& session);

  // For these, but OnLeft, any() holds. A frame is shown as it was read, so before anybody changes it.
  void OnRead(const Session& from, proto::Frame frame, Instant now);
  // All that the turn writes to the connection.
  void OnWritten(const Session& to, Instant now);
  void OnOpened(const Session& session, Instant now);
  void OnEnded(const Session& session, Instant now);
  // The client leaves its slot; what is written there in this turn is still of it, for who asks later in it, too.
  void OnLeft(ConnectionId connection, uint16_t slot, const proto::Uuid& client, const proto::Uuid& channel) {
    left_[{connection, slot}] = {client, channel};
  }
  // An observer has less unsent than before: it is told what it has lost.
  void OnDrained(const Session& session, Instant now);
  void EndTurn() {
    if (!left_.empty()) left_.clear();
  }

 private:
  struct Observer {
    Session* session;
    MirrorFilter filter;
    bool is_observing;
    uint64_t lost;
  };

  // Whom a frame is of.
  struct Who {
    proto::Uuid client = proto::kNilUuid;
    proto::Uuid channel = proto::kNilUuid;
  };

  // What is shown of a frame: its header, and the first bytes of its payload.
  struct Shown {
    std::span<const uint8_t> header;
    std::span<const uint8_t> payload;
  };

  void Mirror(proto::MirrorKind kind, const Session& of, const Shown& shown, const std::optional<Who>& who,
              Instant now);
  void Tell(proto::MirrorKind kind, const Session& of, std::string_view words, Instant now);
  void Append(Observer& observer, proto::MirrorKind kind, ConnectionId connection, const Shown& shown, const Who& who,
              Instant now);
  bool Matches(const MirrorFilter& filter, const Shown& shown, const std::optional<Who>& who) const;
  // Who is, or in this turn was, on the slot.
  std::optional<Who> OnSlot(const Session& session, uint16_t slot) const;
  void Recount();

  const Limits& limits_;
  Effects& effects_;
  Metrics& metrics_;
  const Instant start_;
  bool is_any_ = false;
  uint32_t most_snap_bytes_ = 0;  // that any of them wants
  std::vector<Observer> observers_;
  absl::flat_hash_map<std::pair<ConnectionId, uint16_t>, Who> left_;  // in this turn
  std::string blanked_;
  std::vector<uint8_t> gathered_;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_OBSERVERS_H_

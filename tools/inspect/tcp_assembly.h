// From TCP segments, as a capture saw them, to the bytes that each side read: in order, once, and with a word about
// what is missing.
//
// A hole is waited for, since segments pass each other and are sent again, but not for ever: once the receiver has
// acknowledged what lies behind it and so many packets have passed, or too much is held behind it, it is a gap. Memory
// is bounded whatever the capture says. Connections that are not relay's are told apart by their first bytes. All are
// numbered from 1 in the order of their first packets, as Wireshark's tcp.stream from 0.

#ifndef RELAY_TOOLS_INSPECT_TCP_ASSEMBLY_H_
#define RELAY_TOOLS_INSPECT_TCP_ASSEMBLY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "tools/inspect/packet.h"
#include "tools/inspect/tap.h"

namespace relay::inspect {

// Thread-compatible.
class TcpAssembly {
 public:
  static constexpr uint16_t kRelayPort = 7420;
  static constexpr size_t kMostHeldBytes = size_t{16} << 20;       // of a direction: the largest window that relayd has
  static constexpr size_t kMostHeldBytesInAll = size_t{64} << 20;  // four of those
  static constexpr size_t kMostConnections = 16384;                // that are followed at once, as relayd's
  static constexpr uint64_t kReorderPackets = 256;  // how late a segment may be, once it was acknowledged; or else
  static constexpr uint64_t kPatiencePackets = 16384;

  // `tap` outlives it.
  explicit TcpAssembly(Tap& tap) : tap_(tap) {}

  void Take(const Segment& segment);
  // The capture has ended: what is held is told.
  void Finish();

  // Connections that were skipped, since their first bytes are not relay's.
  uint64_t other_connections() const { return other_connections_; }
  size_t held_bytes() const { return held_bytes_; }
  size_t connections() const { return connections_.size(); }

 private:
  // What came before its turn. Its end may lie behind what was captured of it.
  struct Held {
    std::vector<uint8_t> bytes;
    uint64_t end;
  };

  // What one side sends. Positions are sequence numbers that do not wrap.
  struct Half {
    bool has_next = false;
    uint64_t next = 0;          // the first byte that was not told
    uint64_t acknowledged = 0;  // by the other side
    std::map<uint64_t, Held> held;
    size_t held_bytes = 0;
    uint64_t hole_since = 0;  // in packets of the capture
    bool has_fin = false;
    uint64_t fin = 0;
    bool is_closed = false;
  };

  enum class State : uint8_t { kUndecided, kRelay, kOther, kOver };
  using Key = std::pair<Endpoint, Endpoint>;  // the lesser first

  struct Connection {
    Key key;
    State state = State::kUndecided;
    ConnectionId id = 0;
    absl::Time began;
    bool has_client = false;  // it is known who that is
    size_t client = 0;        // which of the key's ends it is
    bool from_start = false;
    std::array<Half, 2> halves;  // by the end of the key that sends
    std::list<Connection*>::iterator place;
  };

  Connection* Find(const Key& key, const Segment& segment);
  void OnSyn(Connection& connection, size_t from, const Segment& segment);
  // Takes what stands at `position`, now or later.
  void Take(Connection& connection, size_t from, uint64_t position, std::span<const uint8_t> bytes, uint64_t end);
  // Tells bytes that stand at `next`, and a gap up to `end`.
  void Tell(Connection& connection, size_t from, std::span<const uint8_t> bytes, uint64_t end);
  void TellHeld(Connection& connection, size_t from);
  // Nobody knows how much passed before `position`, which no window reaches.
  void SkipTo(Connection& connection, size_t from, uint64_t position);
  // The hole before what is held is a gap.
  void GiveUpHole(Connection& connection, size_t from);
  void GiveUpOldHoles(Connection& connection);
  void TellFin(Connection& connection, size_t from);
  void Decide(Connection& connection, size_t from, std::span<const uint8_t> bytes);
  void Hold(Half& half, uint64_t position, std::span<const uint8_t> bytes, uint64_t end);
  void DropHeld(Half& half);
  void Close(Connection& connection, size_t first);
  // Where its end was not seen, nobody knows what else passed.
  void Remove(Connection& connection);
  Direction DirectionOf(const Connection& connection, size_t from) const {
    return from == connection.client ? Direction::kToServer : Direction::kToClient;
  }

  Tap& tap_;
  absl::flat_hash_map<Key, std::unique_ptr<Connection>> connections_;
  std::list<Connection*> by_use_;  // the one that was silent for longest first
  ConnectionId last_id_ = 0;
  uint64_t packets_ = 0;
  size_t held_bytes_ = 0;
  uint64_t other_connections_ = 0;
  absl::Time now_;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_TCP_ASSEMBLY_H_

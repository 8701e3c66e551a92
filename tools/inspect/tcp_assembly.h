// From TCP segments, as a capture saw them, to the bytes that each side read: in order, once, and with a word about
// what is missing.
//
// A hole is what was not seen before something that was, or that the other side has acknowledged. It is waited for,
// since segments pass each other and are sent again, but not for ever: once it was acknowledged, and so many packets or
// so much time have passed, or too much is held behind it, it is a gap. Until then all that came after it is held, of
// every connection, and told in the order of the packets: what one side says is judged by what the other has said
// before. Memory is bounded whatever the capture says. Connections that are not relay's are told apart by their first
// bytes. All are numbered from 1 in the order of their first packets, as Wireshark's tcp.stream from 0.

#ifndef RELAY_TOOLS_INSPECT_TCP_ASSEMBLY_H_
#define RELAY_TOOLS_INSPECT_TCP_ASSEMBLY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "tools/inspect/packet.h"
#include "tools/inspect/tap.h"

namespace relay::inspect {

// Thread-compatible.
class TcpAssembly {
 public:
  static constexpr size_t kMostHeldBytes = size_t{16} << 20;       // of a direction: the largest window that relayd has
  static constexpr size_t kMostHeldBytesInAll = size_t{64} << 20;  // four of those
  static constexpr size_t kMostConnections = 16384;                // that are followed at once, as relayd's
  static constexpr uint64_t kReorderPackets = 256;  // how late a segment may be, once it was acknowledged; or else
  static constexpr uint64_t kPatiencePackets = 16384;
  static constexpr absl::Duration kReorderTime = absl::Seconds(1);  // the same, in the capture's time
  static constexpr absl::Duration kPatienceTime = absl::Seconds(60);

  static constexpr size_t kMostServers = 1024;  // that are remembered

  // `tap` outlives it. Connections of `port` are relay's, whatever they begin with.
  explicit TcpAssembly(Tap& tap, uint16_t port = kRelayPort) : tap_(tap), port_(port) {}

  void Take(const Segment& segment);
  // What Tap::OnLost tells, in its place.
  void TakeLost(uint64_t frames, absl::Time at);
  // The capture has ended: what is held is told.
  void Finish();

  // Connections that were skipped, since their first bytes are not relay's.
  uint64_t other_connections() const { return other_connections_; }
  size_t held_bytes() const { return held_bytes_; }
  size_t connections() const { return connections_.size(); }

 private:
  struct Connection;
  static constexpr size_t kHeldOverheadBytes = 256;  // a node of the line, one of a map, and what they hold

  // In the order in which those at one position stand.
  enum class What : uint8_t {
    kAcknowledged,  // the other side has read up to here
    kBytes,
    kEnd,
    kSkip,  // nobody knows how much passed before here
    kLost   // `position` frames, of whatever connections
  };
  // Something to be told. Positions are sequence numbers that do not wrap. Its end may lie behind what was captured.
  struct Event {
    What what;
    uint64_t position;
    std::span<const uint8_t> bytes;
    uint64_t end;
  };
  struct Waiting {
    std::shared_ptr<Connection> connection;  // null: kLost
    size_t from;
    Event event;
    std::vector<uint8_t> bytes;  // those of the event
    uint64_t packet;             // in whose place, and at whose time, it is told
    absl::Time at;
    bool is_behind_hole = false;

    size_t cost() const { return bytes.size() + kHeldOverheadBytes; }
  };
  using Line = std::list<Waiting>;
  using Held = std::map<std::pair<uint64_t, What>, Line::iterator>;

  // What one side sends.
  struct Half {
    bool has_next = false;
    uint64_t next = 0;          // the first byte that has not come
    uint64_t told = 0;          // the first byte that was not told
    uint64_t acknowledged = 0;  // by the other side
    // Behind a hole. The line has them in the same order.
    Held held;
    size_t held_bytes = 0;
    bool has_last = false;
    Line::iterator last;  // in the line, of those that are behind no hole
    bool has_fin = false;
    uint64_t fin = 0;
    bool is_closed = false;

    void Begin(uint32_t number) {
      has_next = true;
      next = told = (uint64_t{1} << 32) + number;
    }
  };

  enum class State : uint8_t { kUndecided, kRelay, kOther };
  using Key = std::pair<Endpoint, Endpoint>;  // the lesser first

  struct Connection {
    Key key;
    State state = State::kUndecided;
    bool is_open = false;  // as the tap was told
    ConnectionId id = 0;
    absl::Time began;
    bool has_client = false;  // it is known who that is
    size_t client = 0;        // which of the key's ends it is
    bool from_start = false;
    std::array<Half, 2> halves;  // by the end of the key that sends
    std::list<Connection*>::iterator place;

    bool is_over() const { return halves[0].is_closed && halves[1].is_closed; }
  };
  using Shared = std::shared_ptr<Connection>;

  void TakeInto(const Segment& segment);
  Shared Find(const Key& key, const Segment& segment);
  void OnSyn(const Shared& connection, size_t from, const Segment& segment);
  void OnAcknowledged(const Shared& connection, size_t from, uint32_t number);
  // Tells it, now or later.
  void Take(const Shared& connection, size_t from, const Event& event);
  // Nothing is missing before it. In the line it stands before `place`.
  void Pass(const Shared& connection, size_t from, const Event& event, Line::iterator place);
  void OnPassed(Connection& connection, size_t from, const Event& event);
  Line::iterator Enter(const Shared& connection, size_t from, const Event& event, Line::iterator place);
  void Hold(const Shared& connection, size_t from, const Event& event);
  // What is held and has no hole before it any more.
  void PassHeld(const Shared& connection, size_t from);
  // Nobody knows how much passed before `position`, which no window reaches.
  void SkipTo(const Shared& connection, size_t from, uint64_t position);
  // The hole before what is held is a gap.
  void GiveUpHole(const Shared& connection, size_t from);
  void GiveUpFirstHole() { GiveUpHole(Shared(line_.front().connection), line_.front().from); }
  // Tells what waits for no hole.
  void TellLine();
  void Tell(Connection& connection, size_t from, const Event& event, absl::Time at);
  void TellGap(Connection& connection, size_t from, uint64_t position, absl::Time at);
  void Open(const Connection& connection, absl::Time at);
  void Decide(Connection& connection, size_t from, std::span<const uint8_t> bytes);
  // Where it began, its beginning says more than who its server is.
  bool IsServer(const Connection& connection, const Endpoint& end) const {
    return end.port == port_ || (!connection.from_start && servers_.contains(end));
  }
  void DropHeld(Half& half);
  void Drop(Half& half, Held::iterator held);
  void Close(const Shared& connection, size_t first);
  // Where its end was not seen, nobody knows what else passed.
  void Remove(Shared connection);
  Direction DirectionOf(const Connection& connection, size_t from) const {
    return from == connection.client ? Direction::kToServer : Direction::kToClient;
  }

  Tap& tap_;
  const uint16_t port_;
  absl::flat_hash_set<Endpoint> servers_;  // of connections that are relay's
  absl::flat_hash_map<Key, Shared> connections_;
  std::list<Connection*> by_use_;  // the one that was silent for longest first
  Line line_;                      // in the order of packets; where it is not empty, its first is behind a hole
  ConnectionId last_id_ = 0;
  uint64_t packets_ = 0;
  size_t held_bytes_ = 0;  // in the line
  uint64_t other_connections_ = 0;
  absl::Time now_;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_TCP_ASSEMBLY_H_

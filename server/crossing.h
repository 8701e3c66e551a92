// What cores say to each other (ARCHITECTURE.md, "More than one core"). A connection is at home on one core; another
// one that owns a channel of its clients knows it as a guest, by the same id. What the connection says on such a slot
// crosses to the guest, and what the guest is written crosses back.

#ifndef RELAY_SERVER_CROSSING_H_
#define RELAY_SERVER_CROSSING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/frame.h"
#include "proto/uuid.h"
#include "server/ends.h"
#include "server/instant.h"
#include "server/session.h"
#include "server/turn_memory.h"

namespace relay::server {

// Which of how many cores one is. A value type.
struct Place {
  uint32_t core = 0;
  uint32_t cores = 1;

  bool is_alone() const { return cores == 1; }
  // The core that has the channel. Names hash to ids that are spread already; ids that were chosen otherwise are mixed.
  uint32_t OwnerOf(const proto::Uuid& channel) const {
    const uint64_t mixed =
        (proto::LoadBig<uint64_t>(channel.data) ^ proto::LoadBig<uint64_t>(channel.data + 8)) * 0x9e3779b97f4a7c15;
    return static_cast<uint32_t>(((mixed >> 32) * cores) >> 32);
  }
};

// One thing said. A value type; its bytes are in the batch, in the order of the crossings.
struct Crossing {
  enum class Kind : uint8_t {
    // From the home to the guest.
    kOpen,      // bytes: the peer's address. number: 1 for an observer
    kFrames,    // bytes: of the connection
    kUnsent,    // number: bytes written to the connection and not yet sent
    kInputEnd,  // behind GOAWAY
    kAskSlot,   // is there still a client on the slot?
    kPing,      // number: which
    kClose,     // the connection has ended
    // From the guest to the home.
    kWritten,  // bytes: for the connection
    kFreed,    // the slot has no client any more
    kHeld,     // the slot has one
    kPong,     // number: of the kPing; behind all that was said before it
    kDrains,   // nothing new is handed to it from here on
    kIdle,     // drains or leaves, and nothing runs any more
    kRefused,  // the connection is to end so. bytes: words
    // Between the two cores.
    kTaken,  // number: bytes worked on; of the guest's kWritten, or of all kFrames where the connection is 0
    kMoved,  // the connection is at home here from now on. bytes: the peer's address
  };

  Kind kind;
  End end = End::kNone;
  uint16_t slot = 0;
  ConnectionId connection = 0;
  uint64_t number = 0;
  size_t bytes = 0;
};

// All that one core says to another in a turn.
struct CrossingBatch {
  std::vector<Crossing> crossings;
  std::vector<SessionState> moved;  // of each kMoved
  Bytes bytes;

  bool empty() const { return crossings.empty(); }
};

// A core's side of all crossings. Thread-compatible.
class Crossings {
 public:
  // So much of what connections say is on its way to another core before they have to wait, and is worked on there in
  // one turn: some 10,000 small frames.
  static constexpr size_t kMostBytes = size_t{256} << 10;
  // What was worked on is told in such steps.
  static constexpr size_t kToldBytes = kMostBytes / 8;

  explicit Crossings(const Place& place) : others_(place.cores) {}

  void Say(uint32_t to, const Crossing& crossing, std::span<const uint8_t> bytes = {}) {
    CrossingBatch& batch = others_[to].batch;
    std::vector<Crossing>& said = batch.crossings;
    batch.bytes.insert(batch.bytes.end(), bytes.begin(), bytes.end());
    using Kind = Crossing::Kind;
    const bool goes_on = !said.empty() && said.back().kind == crossing.kind &&
                         said.back().connection == crossing.connection &&
                         (crossing.kind == Kind::kFrames || crossing.kind == Kind::kWritten);
    if (!goes_on) said.push_back(crossing);
    said.back().bytes += bytes.size();
    if (crossing.kind == Kind::kFrames) others_[to].on_their_way += bytes.size();
  }
  void Say(uint32_t to, const Crossing& crossing, std::string_view words) {
    Say(to, crossing, std::span(reinterpret_cast<const uint8_t*>(words.data()), words.size()));
  }
  void SayMoved(uint32_t to, const SessionState& state) { others_[to].batch.moved.push_back(state); }

  // Whether what is on its way to `core` is as much as may be.
  bool is_full(uint32_t core) const { return others_[core].on_their_way >= kMostBytes; }
  // `core` has worked on so much. True where that makes room.
  bool OnTaken(uint32_t core, size_t bytes) {
    const bool was_full = is_full(core);
    others_[core].on_their_way -= bytes;
    return was_full && !is_full(core);
  }
  // So many bytes of kFrames were worked on: `core` hears of it now and then.
  void Took(uint32_t core, size_t bytes) {
    size_t& untold = others_[core].untold;
    untold += bytes;
    if (untold >= kToldBytes) Say(core, {.kind = Crossing::Kind::kTaken, .number = std::exchange(untold, 0)});
  }

  // The connection waits, and is told to read on when `core` has taken what is on its way, or answered.
  std::vector<ConnectionId>& waiting_for(uint32_t core) { return others_[core].waiting; }

  CrossingBatch Take(uint32_t to) { return std::exchange(others_[to].batch, {}); }
  bool any() const {
    return std::any_of(others_.begin(), others_.end(), [](const Other& other) { return !other.batch.empty(); });
  }

 private:
  struct Other {
    CrossingBatch batch;
    size_t on_their_way = 0;
    size_t untold = 0;
    std::vector<ConnectionId> waiting;
  };

  std::vector<Other> others_;  // by core
};

}  // namespace relay::server

#endif  // RELAY_SERVER_CROSSING_H_

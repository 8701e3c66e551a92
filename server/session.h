// What the core knows of one connection: how far its handshake came, which client stands on which slot, what is to be
// written to it at the end of the turn. Plain state; the rules are in Relay and Exchanges.

#ifndef RELAY_SERVER_SESSION_H_
#define RELAY_SERVER_SESSION_H_

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "proto/frame.h"
#include "proto/uuid.h"
#include "registry/exchange.h"
#include "server/ends.h"
#include "server/instant.h"
#include "server/timer_wheel.h"

namespace relay::server {

// Never used again, so that what comes late for a connection finds nothing.
using ConnectionId = uint64_t;

// The server counts connections itself, so nobody can choose ids that collide.
struct ConnectionIdHash {
  size_t operator()(ConnectionId id) const { return id * 0x9e3779b97f4a7c15; }
};

struct Session;

// A client where it is joined. Owned by the slot table of its session.
struct Client : registry::Client {
  Client(Session& its_session, uint16_t its_slot) : session(&its_session), slot(its_slot) {}

  Session* const session;
  const uint16_t slot;
  using Hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

  std::string takeover_key;
  Deadline wait_over{Deadline::Of::kClient, this};
  Hook passed_over_hook;  // where it was passed over
};

// The clients of a connection by slot. Low slots, which every client library uses first, are an array; the others a
// map, so that one JOIN of slot 65535 does not cost half a megabyte. Thread-compatible.
class SlotTable {
 public:
  size_t size() const { return size_; }

  Client* Find(uint16_t slot) const {
    if (slot < low_.size()) return low_[slot].get();
    if (slot < kLowSlots || high_.empty()) return nullptr;
    const auto found = high_.find(slot);
    return found == high_.end() ? nullptr : found->second.get();
  }

  // `slot` is free.
  void Add(std::unique_ptr<Client> client) {
    const uint16_t slot = client->slot;
    ++size_;
    if (slot < kLowSlots) {
      if (slot >= low_.size()) low_.resize(slot + size_t{1});
      low_[slot] = std::move(client);
    } else {
      high_.emplace(slot, std::move(client));
    }
  }

  // Frees the client of `slot`.
  void Remove(uint16_t slot) {
    --size_;
    if (slot < kLowSlots) {
      low_[slot].reset();
    } else {
      high_.erase(slot);
    }
  }

  // By slot, the low ones first; the order depends on nothing but what was joined.
  std::vector<Client*> All() const;
  // Some of those that are idle: `most` of them, at least 1, or all where there are fewer.
  std::vector<Client*> Idle(size_t most) const;

 private:
  static constexpr size_t kLowSlots = 1024;  // 8 KiB at the most

  std::vector<std::unique_ptr<Client>> low_;
  absl::flat_hash_map<uint16_t, std::unique_ptr<Client>> high_;
  size_t size_ = 0;
};

struct Exchange;

// A WINDOW that waits until the session's send queue has drained: only the newest is worth sending. A member of its
// exchange.
struct OwedWindow : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  OwedWindow(Exchange& its_exchange, uint8_t its_direction) : exchange(&its_exchange), direction(its_direction) {}

  Exchange* const exchange;
  const uint8_t direction;  // flag::kRequest or flag::kResponse
};

// How a live connection is to end, once its idle clients have left. A value type.
struct Doom {
  End end = End::kNone;
  bool has_last_words = false;
  std::string_view words = {};  // the last ones, where the end's own do not say it; of static storage
};

// What a connection takes along to another core. A value type.
struct SessionState {
  Instant last_read;
  Instant last_sent;
  uint64_t pings = 0;
  double frame_tokens = 0;  // below zero: overspent
  double reset_tokens = 0;
  double control_tokens = 0;
  Instant tokens_at;
  uint32_t control_frames_owed = 0;
  Instant due_at;  // its deadline, on the way
};

// Of a connection some of whose clients are on channels of other cores: its guests there.
struct Elsewhere {
  struct Slot {
    uint32_t core;
    proto::Uuid client;
    proto::Uuid channel;
  };
  struct Guest {
    bool is_open = false;
    bool drains = false;
    size_t untold_bytes = 0;  // that it has written, and does not know to be taken
  };

  // A PING of the connection, which is answered when what it stands behind was said on all cores.
  struct Ping {
    std::array<uint8_t, proto::kPingBytes> payload;
    uint32_t guests;  // that have not answered
  };

  absl::flat_hash_map<uint16_t, Slot> slots;
  std::vector<Guest> guests;  // by core
  uint32_t busy_guests = 0;
  std::deque<Ping> pings;
  uint64_t pings_answered = 0;
};

// Of a session that stands for a connection whose home is another core.
struct GuestRole {
  bool said_idle = false;
  bool said_gone = false;
  bool is_closed_at_home = false;
  std::string last_words = {};
};

// Owned by Relay. Thread-compatible.
struct Session : SessionState {
  using Hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

  enum class State : uint8_t {
    kPreface,  // nothing yet, or a part of the preface
    kHello,    // the preface came
    kOpen,
    kLingering,  // the last words are written and the write side is shut; input is thrown away
    kGone,       // to be closed at the end of the turn
    kMoved,      // to be at home on another core from the end of the turn on
  };

  // What a frame that is only dropped, answered from what is known, or carries nothing, takes of control_tokens.
  static constexpr double kSaysNothing = 1.0 / 8;

  // What refusing a frame takes beside the frame itself, in units of Relay::OnBytes.
  static constexpr uint32_t kWorkOfError = 16;

  Session(ConnectionId its_id, std::string its_peer, uint32_t its_home)
      : id(its_id), peer(std::move(its_peer)), home(its_home) {}

  bool is_live() const { return state < State::kLingering; }
  bool is_doomed() const { return doom.end != End::kNone; }

  // The peer draws an error that is its own doing, or a refusal that is not.
  void DrawError() {
    reset_tokens -= 1;
    work_of_errors += kWorkOfError;
  }
  void DrawRefusal() {
    control_tokens -= kSaysNothing;
    work_of_errors += kWorkOfError;
  }

  const ConnectionId id;
  const std::string peer;  // its address, for logs
  State state = State::kPreface;
  End end = End::kNone;           // set from kLingering on
  bool is_leaving = false;        // said GOAWAY: nothing new
  bool input_ended = false;       // after GOAWAY
  bool is_told_to_go = false;     // was sent GOAWAY for a drain
  bool is_idle_at_drain = false;  // the server drains and nothing runs here any more
  bool is_suspect = false;        // was silent too long when last judged; a poll has to come in between
  bool is_observer = false;       // is shown what others say, and has no clients
  bool was_shut = false;          // the effect that shuts the write side was taken
  bool is_dirty = false;          // stands in the list of effects

  Doom doom;

  size_t partial_frame_bytes = 0;  // changed by PartialFrames alone
  Hook partial_frame_hook;

  SlotTable slots;
  uint32_t exchanges = 0;  // ends of live exchanges that its clients hold

  std::vector<std::span<const uint8_t>> out;  // to be written at the end of the turn, adjacent slices merged
  size_t out_bytes = 0;
  size_t unsent_bytes = 0;  // what the transport still holds from earlier turns; changed by SendQueues alone
  Hook send_queue_hook;
  boost::intrusive::list<OwedWindow, boost::intrusive::constant_time_size<false>> owed_windows;

  // Clients that wait, and are given nothing before the send queue has drained or the turn is over.
  boost::intrusive::list<Client, boost::intrusive::member_hook<Client, Client::Hook, &Client::passed_over_hook>,
                         boost::intrusive::constant_time_size<false>>
      passed_over;
  size_t given_bytes = 0;  // of queued requests that its clients were handed in this turn
  Deadline goes_on{Deadline::Of::kPassedOver, this};

  Deadline deadline{Deadline::Of::kSession, this};  // HELLO's, the next heartbeat, or the end of lingering
  size_t lingered_bytes = 0;
  uint32_t work_of_errors = 0;  // drawn since OnBytes began

  bool is_waiting = false;               // its next frame cannot be taken before another core has answered
  bool reads_on = false;                 // it waited, and has not heard yet that it need not any more
  uint32_t home;                         // the core that has, or is to have, the connection itself
  size_t on_their_way = 0;               // of a guest: bytes written and not known to be taken at home
  std::unique_ptr<Elsewhere> elsewhere;  // null where all its clients are on channels of this core
  std::unique_ptr<GuestRole> guest;      // null where it is at home
};

}  // namespace relay::server

#endif  // RELAY_SERVER_SESSION_H_

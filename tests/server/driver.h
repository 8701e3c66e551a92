// Drives a Relay without a socket: peers that speak frames and read what the core wants written, a clock that moves
// only when told, and a network that sends everything at once, or nothing to a peer that is stalled.

#ifndef RELAY_TESTS_SERVER_DRIVER_H_
#define RELAY_TESTS_SERVER_DRIVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "proto/frame.h"
#include "proto/messages.h"
#include "proto/start_block.h"
#include "proto/uuid.h"
#include "server/limits.h"
#include "server/relay.h"

namespace relay::server {

// An id that is the same in every run: `number` in its last bytes.
proto::Uuid Id(uint64_t number);

// A frame that a peer was sent. A value type.
struct Seen {
  proto::FrameType type;
  uint8_t flags;
  uint16_t slot;
  proto::Uuid id;
  std::string payload;

  // The named end and the code of a RESET, LEAVE or GOAWAY.
  v1::Status status() const;
  std::string end() const { return status().end(); }
  absl::StatusCode code() const { return proto::CodeFromWire(status().code()); }
  // The block of a START, and the body behind its Start.
  proto::StartBlock block() const;
  std::string body() const;
  uint64_t window() const;
};

// What a START is made of.
struct StartOptions {
  uint8_t flags = 0;       // beside REQUEST or RESPONSE
  std::string start = {};  // the bytes in the place of the Start message
  std::string body = {};
  uint32_t timeout_ms = 0;
  uint32_t max_extension_ms = 0;
};

// Builders of whole frames.
std::string FrameOf(proto::FrameType type, uint8_t flags, uint16_t slot, const proto::Uuid& id,
                    std::string_view payload = {});
std::string FrameOf(proto::FrameType type, uint16_t slot, const proto::Uuid& id,
                    const google::protobuf::MessageLite& message);
std::string HelloFrame(uint32_t version = proto::kVersion);
std::string JoinFrame(uint16_t slot, const proto::Uuid& client, std::string_view channel, std::string_view key = {});
std::string ReceiveFrame(uint16_t slot, std::optional<uint32_t> wait_ms = std::nullopt);
std::string WithdrawFrame(uint16_t slot);
std::string StartFrame(uint8_t direction, uint16_t slot, const proto::Uuid& id, const StartOptions& options = {});
std::string ChunkFrame(uint8_t flags, uint16_t slot, const proto::Uuid& id, std::string_view body);
std::string EndFrame(uint8_t flags, uint16_t slot, const proto::Uuid& id, std::string_view payload = {});
std::string WindowFrame(uint8_t flags, uint16_t slot, const proto::Uuid& id, uint64_t window);
std::string ExtendFrame(uint16_t slot, const proto::Uuid& id, uint32_t ms);
std::string ResetFrame(uint16_t slot, const proto::Uuid& id, absl::StatusCode code, bool requeue = false,
                       std::string_view message = "because");
std::string LeaveFrame(uint16_t slot, const proto::Uuid& client);
std::string PingFrame(uint64_t number = 1);
std::string GoawayFrame();

class Driver;

// One end of a connection. Owned by its Driver.
class Peer {
 public:
  // Bytes for the relay: a turn of their own, unless the driver is inside InOneTurn.
  void Send(std::string_view bytes);
  // The input of the relay ends, cleanly or broken.
  void CloseInput();
  void Break();

  // Until Resume, nothing that is written to this peer leaves the relay's side.
  void Stall() { is_stalled_ = true; }
  // Sends what waits; the relay hears of it.
  void Resume();
  // The relay hears that so much is unsent, whatever waits.
  void ReportUnsent(size_t bytes);

  // What has come since the last call; frames are whole.
  std::vector<Seen> Take();
  // The only frame that has come since; fails the test where it is another number.
  Seen TakeOne();
  // The last frame that came since is a GOAWAY for `end`, and nothing can follow it: the connection is refused.
  void ExpectRefused(End end);
  // Whether nothing has come.
  bool is_quiet() const { return inbox_.empty(); }

  // Where bytes stood; compared, never read.
  struct Place {
    uintptr_t begin;
    size_t size;

    bool contains(const Place& other) const { return begin <= other.begin && other.begin + other.size <= begin + size; }
  };
  // The slices of the last turn that wrote to this peer.
  const std::vector<Place>& last_slices() const { return slices_; }
  // What the relay was given by the last Send.
  const Place& last_given() const { return given_; }

  bool was_shut() const { return was_shut_; }
  bool was_closed() const { return was_closed_; }
  size_t waiting_bytes() const { return waiting_.size(); }
  ConnectionId connection() const { return connection_; }

 private:
  friend class Driver;
  Peer(Driver& driver, ConnectionId connection) : driver_(driver), connection_(connection) {}

  Driver& driver_;
  const ConnectionId connection_;
  std::string rest_;     // given to the relay and not taken
  std::string inbox_;    // came from the relay, not yet looked at
  std::string waiting_;  // written by the relay while stalled
  size_t reported_unsent_ = 0;
  std::vector<Place> slices_;
  Place given_ = {};
  bool is_stalled_ = false;
  bool was_shut_ = false;
  bool was_closed_ = false;
};

// Thread-compatible. Checks all of the relay's invariants after every turn.
class Driver {
 public:
  explicit Driver(const Limits& limits = {});

  Relay& relay() { return relay_; }
  const Metrics& metrics() const { return relay_.metrics(); }
  uint64_t count(End end) const { return relay_.metrics().count(end); }
  absl::Time now() const { return now_; }

  // A connection that has said nothing.
  Peer& Connect();
  // One that has said HELLO and read WELCOME.
  Peer& Open();
  // One with a client on slot 1 (and so on) of `channel`.
  Peer& Joined(std::string_view channel, uint16_t clients = 1);
  // The id of the client that Joined put on `slot` of `peer`.
  static proto::Uuid ClientId(const Peer& peer, uint16_t slot = 1);

  // Everything that `events` does is one turn of the loop.
  void InOneTurn(const std::function<void()>& events);
  // Time passes, with a turn at its end; nobody sends anything meanwhile.
  void Advance(absl::Duration time);
  // As many small steps, with a PING of each open peer at every step, so that all stay alive.
  void AdvanceAlive(absl::Duration time, absl::Duration step, std::span<Peer* const> peers);
  void Drain();

  // Every connection ends; then nothing is left in the relay.
  void ExpectNothingLeft();
  // The notices of the last turn that had any.
  const std::vector<Notice>& notices() const { return notices_; }

 private:
  friend class Peer;

  void EndTurn();
  void CarryOut(const Effect& effect, std::vector<Peer*>& written);
  Peer* Find(ConnectionId id);

  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1000);
  Relay relay_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<std::unique_ptr<uint8_t[]>> turn_bytes_;  // given to OnBytes; freed at the turn's end
  std::vector<Notice> notices_;
  bool is_in_turn_ = false;
};

}  // namespace relay::server

#endif  // RELAY_TESTS_SERVER_DRIVER_H_

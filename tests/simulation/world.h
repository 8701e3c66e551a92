// A relay core, client protocols and a network between them, all in one thread and without a clock: what happens next
// is drawn from a seed.
//
// Links split, delay, stall, break and fall silent; a peer of another kind says whatever comes to its mind. Clients
// know what was sent, so they judge what arrives; the Tap judges the relay's frames; Relay::Check its insides.

#ifndef RELAY_TESTS_SIMULATION_WORLD_H_
#define RELAY_TESTS_SIMULATION_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "client/protocol.h"
#include "proto/uuid.h"
#include "server/limits.h"
#include "server/relay.h"
#include "simulation/random.h"
#include "simulation/tap.h"

namespace relay::simulation {

// A stream of bytes that both sides can compute, so that the reader can judge any part of it.
struct Sent {
  uint64_t seed = 0;
  uint64_t bytes = 0;  // sent so far
  bool is_whole = false;

  char At(uint64_t i) const { return static_cast<char>(((seed ^ i) * 0x9e3779b97f4a7c15) >> 56); }
  std::string Next(uint64_t count) const {
    std::string text(count, '\0');
    for (uint64_t i = 0; i < count; ++i) text[i] = At(bytes + i);
    return text;
  }
  // Whether `text` stands at `at` in what was sent.
  bool Has(std::string_view text, uint64_t at) const {
    if (at + text.size() > bytes) return false;
    for (uint64_t i = 0; i < text.size(); ++i) {
      if (text[i] != At(at + i)) return false;
    }
    return true;
  }
};

inline std::string ChannelName(size_t i) { return "channel-" + std::to_string(i); }

struct Counts {
  uint64_t events = 0;
  uint64_t assignments = 0;
  uint64_t redeliveries = 0;
  uint64_t completed = 0;
  uint64_t resets = 0;
  uint64_t hash = 0;
};

// Thread-compatible.
class World {
 public:
  // `trace`: prints every frame that the relay reads or writes.
  explicit World(uint64_t seed, bool trace = false);
  ~World();

  // Runs so many events of chance, then lets everybody finish and leave. Empty where nothing was wrong, else what was.
  std::string Run(uint64_t events);

  Counts counts() const;

 private:
  // A logical client and what it does.
  struct Actor {
    enum class State { kOut, kIdle, kWaiting, kSending, kServing, kLeaving };

    proto::Uuid id = {};
    size_t channel = 0;
    std::string key;
    uint16_t slot = 0;
    State state = State::kOut;
    bool is_receiver = false;
    bool never_sends = false;
    bool is_withdrawing = false;
    bool is_foreign = false;  // serves a request of the wild one
    proto::Uuid exchange = {};
    uint16_t attempt = 0;
    uint64_t to_send = 0;  // of the stream that goes out
    bool has_responded = false;
    uint64_t received = 0;  // of the stream that comes in
    bool in_is_whole = false;
    uint64_t unconsumed = 0;  // cost taken in and not given back
  };

  // What was sent in one exchange: the request, and the response of each attempt.
  struct Story {
    proto::Uuid sender = {};
    Sent request;
    bool is_idempotent = false;
    std::map<uint16_t, Sent> responses;
    std::map<uint16_t, proto::Uuid> receivers;
  };

  // A connection, or what was left of one: the relay's end of it, and the client's where that lives.
  struct Link {
    ConnectionId connection = 0;
    std::unique_ptr<client::Protocol> protocol;  // null where the client is gone, or is the wild one
    std::vector<Actor> actors;
    bool is_wild = false;
    bool is_open = true;      // the relay still holds it
    bool is_stalled = false;  // nothing gets through for now
    bool has_eof = false;     // the relay sends nothing behind `down`
    std::string arrived;      // the beginning of a frame, at the relay
    std::string up;           // on its way to the relay
    std::string down;         // on its way to the client
    std::string kept;         // the beginning of a frame, at the client
  };

  void Fail(const std::string& what);
  void Step();

  // The network.
  void Connect(Link& link);
  void CarryUp(Link& link, size_t most);
  void CarryDown(Link& link, size_t most);
  void Cut(Link& link);
  void PassTime(absl::Duration by);
  // Collects what the relay wants done after one event, shows it to the tap and puts it on the links.
  void Settle(std::optional<TappedFrame> in, bool exact);
  void Collect(Link& link);
  void ReportUnsent(Link& link);
  Link* Find(ConnectionId connection);

  // The clients.
  void Act(Link& link);
  void ActIdle(Link& link, Actor& actor);
  uint64_t BodyBytes();
  void BeginRequest(Link& link, Actor& actor);
  void SendMore(Link& link, Actor& actor, uint64_t most);
  void RespondMore(Link& link, Actor& actor, uint64_t most);
  void Consume(Link& link, Actor& actor);
  bool MayEndSo(std::string_view end) const;
  void OnEvent(Link& link, const client::Event& event);
  void OnBody(Actor& actor, const client::Event& event);
  void CheckWhole(const Actor& actor);
  void ForgetOperation(Actor& actor);
  void ActWild(Link& link);

  // The end: no more faults, everybody finishes what was begun.
  void Finish();
  std::string WhatGoesOn() const;
  bool FinishActor(Link& link, Actor& actor);

  void Trace(const char* direction, const TappedFrame& frame) const;

  Random random_;
  const bool trace_;
  server::Limits limits_;
  absl::Time now_;
  std::unique_ptr<server::Relay> relay_;
  std::unique_ptr<Tap> tap_;
  std::vector<proto::Uuid> channels_;
  std::vector<std::unique_ptr<Link>> links_;
  std::map<proto::Uuid, Story> stories_;
  std::vector<uint64_t> weights_;
  proto::Uuid wild_id_ = {};
  bool wild_is_among_us_ = false;  // joins a channel of the others, and never receives there
  uint64_t hash_ = 0xcbf29ce484222325;
  bool is_coarse_ = false;  // bytes reach the relay in lumps, not frame by frame
  bool is_heavy_ = false;   // many bodies are larger than a window
  bool is_finishing_ = false;
  uint64_t events_ = 0;
  std::string failure_;
};

}  // namespace relay::simulation

#endif  // RELAY_TESTS_SIMULATION_WORLD_H_

// A relay core, client protocols and a network between them, all in one thread and without a clock: what happens next
// is drawn from a seed.
//
// Links split, delay, stall, break and fall silent; peers of another kind say whatever comes to their mind. Clients
// know what was sent, so they judge what arrives; the Reference says what the relay must write and count; the Tap
// judges its frames one by one; Relay::Check its insides.

#ifndef RELAY_TESTS_SIMULATION_WORLD_H_
#define RELAY_TESTS_SIMULATION_WORLD_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "client/protocol.h"
#include "proto/uuid.h"
#include "server/limits.h"
#include "simulation/cores.h"
#include "simulation/coverage.h"
#include "simulation/random.h"
#include "simulation/reference.h"
#include "simulation/story.h"
#include "simulation/tap.h"

namespace relay::simulation {

struct Options {
  uint64_t events = 1000;
  bool traces = false;        // prints every frame that the relay reads or writes
  uint64_t check_every = 16;  // turns between two times at which the relay counts everything again
  uint32_t cores = 1;         // that the relay has
};

// Thread-compatible.
class World {
 public:
  World(uint64_t seed, const Options& options);
  ~World();

  // Runs events of chance, then lets everybody finish and leave. Empty where nothing was wrong, else what was.
  std::string Run();

  Coverage coverage() const;

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
    bool is_miser = false;  // gives credit back only at the end
    bool has_given_up = false;
    bool is_withdrawing = false;
    bool is_foreign = false;  // whoever is on the other side may say anything
    size_t story = 0;
    proto::Uuid exchange = {};
    uint16_t attempt = 0;
    uint64_t to_send = 0;  // of the stream that goes out
    uint64_t sent = 0;
    bool has_responded = false;
    uint64_t received = 0;  // of the stream that comes in
    bool in_is_whole = false;
    uint64_t unconsumed = 0;   // cost taken in and not given back
    uint64_t extra_given = 0;  // credit given beyond what was taken
  };

  // A connection, or what was left of one: the relay's end of it, and the client's where that lives.
  struct Link {
    ConnectionId connection = 0;
    std::unique_ptr<client::Protocol> protocol;  // null where the client is gone, or is a wild one
    std::vector<Actor> actors;
    // Of requests that were sent and served, by slot: what is late of them must not fit another one.
    std::set<std::pair<uint16_t, proto::Uuid>> used_ids;
    bool is_wild = false;
    bool observes = false;     // a wild one that said so, and says little else
    bool is_onlooker = false;  // and nothing else, ever
    bool is_open = true;       // the relay still holds it
    bool is_stalled = false;   // nothing gets through for now
    bool is_deaf = false;      // nothing gets to the client, who goes on talking
    bool is_leaving = false;   // the client has said GOAWAY
    bool has_preface = false;
    bool is_away = false;       // the client connects again, but not at once
    bool has_eof = false;       // the relay sends nothing behind `down`
    bool is_shut = false;       // the client sends nothing any more
    std::string arrived;        // the beginning of a frame, at the relay
    std::string up;             // on its way to the relay
    std::string down;           // on its way to the client
    std::string kept;           // the beginning of a frame, at the client
    size_t unsent = 0;          // what the relay was last told of `down`
    absl::Time last_arrival;    // of bytes at the relay
    uint64_t judged_since = 0;  // how often the relay has looked at the time since

    struct Part {
      uint16_t slot = 0;
      proto::Uuid exchange = {};
      bool serves = false;
    };
    std::vector<Part> parts;          // that a wild one has in exchanges, or had
    std::set<uint16_t> joined_slots;  // by a wild one
  };

  void Fail(const std::string& what);
  void Step();

  // How the world is made.
  void DrawLimits();
  void BoundByCore();
  void DrawLinks();
  void AddActor(Link& link, size_t channel, bool never_sends);
  proto::Uuid DrawId();
  void Remember(const proto::Uuid& request);
  static void RememberPart(Link& link, const Link::Part& part);

  // The network.
  void Connect(Link& link);
  void CarryUp(Link& link, size_t most);
  void CarryDown(Link& link, size_t most);
  // All that is on its way to the relay, as one turn of its loop.
  void CarryAllUp();
  void Cut(Link& link);
  void Forget(Link& link);
  void ShutInput(Link& link);
  void PassTime(absl::Duration by);
  // The reference and the relay do what is due. False where the order of that is not known, and the world ends with it.
  bool DoWhatIsDue();
  void DrainRelay();
  void LoseMemory();
  // Collects what the relay wants done after one event, shows it to the judges and puts it on the links.
  void Settle(std::optional<TappedFrame> in, bool exact);
  void OnHandedOut(Link& link, const proto::Frame& start);
  void Collect(Link& link);
  bool TellUnsent(Link& link);
  Link* Find(ConnectionId connection);
  void Trace(const char* direction, const TappedFrame& frame) const;

  // The clients.
  void Act(Link& link);
  void ActIdle(Link& link, Actor& actor);
  void ActBusy(Link& link, Actor& actor);
  void Join(Link& link, Actor& actor);
  void Leave(Link& link, Actor& actor);
  void GiveBack(Link& link, Actor& actor);
  uint64_t BodyBytes();
  void BeginRequest(Link& link, Actor& actor);
  void SendMore(Link& link, Actor& actor, uint64_t most);
  void RespondMore(Link& link, Actor& actor, uint64_t most);
  void Consume(Link& link, Actor& actor);
  static void ForgetOperation(Actor& actor);

  // What the clients hear.
  bool MayEndSo(const Actor& actor, std::string_view end) const;
  void OnEvent(Link& link, const client::Event& event);
  void OnRequest(Actor& actor, const client::Event& event);
  void OnResponse(Actor& actor, const client::Event& event);
  void OnReset(Actor& actor, const client::Event& event);
  void OnBody(Actor& actor, const client::Event& event);
  void CheckWhole(const Actor& actor);
  const Sent& Incoming(const Actor& actor) const;
  std::optional<size_t> StoryOf(const v1::Start& head) const;

  // The wild ones.
  void ActWild(Link& link);
  void Plot(Link& link);
  void PlotUnread(Link& link);
  void Babble(Link& link);
  void ConnectWild(Link& link);
  std::string WildPayload(proto::FrameType type);
  void Observe(Link& link);

  // The end: no more faults, everybody finishes what was begun.
  void Finish();
  bool FinishRound();
  void FinishRounds();
  void Lose(Link& link);
  void FinishActor(Link& link, Actor& actor, bool& is_busy);
  void FinishStarved();
  void FinishDrain();
  std::string WhatGoesOn() const;

  Random random_;
  const uint64_t seed_;
  const Options options_;
  server::Limits limits_;
  absl::Time now_;
  std::unique_ptr<Cores> relay_;
  std::unique_ptr<Reference> reference_;
  std::unique_ptr<Tap> tap_;
  std::vector<proto::Uuid> channels_;
  std::vector<std::unique_ptr<Link>> links_;
  std::deque<std::string> lumps_;  // what the relay was given in this turn
  std::vector<Story> stories_;
  std::vector<uint64_t> weights_;
  std::vector<proto::Uuid> wild_ids_;
  std::set<proto::Uuid> impersonated_;   // client ids that a wild one has taken
  std::vector<proto::Uuid> recent_ids_;  // of requests: for whoever guesses
  bool ids_collide_ = false;
  bool has_wild_ = false;
  bool is_coarse_ = false;    // bytes reach the relay in lumps, not frame by frame, and several in one turn
  bool is_in_turn_ = false;   // more is to come before the relay's turn ends
  bool is_crowded_ = false;   // a turn that carries much is soon too much for several who should read it
  bool is_lagging_ = false;   // what is written is read late, so that much is owed
  bool is_fickle_ = false;    // receivers give back much of what they are handed
  bool is_heavy_ = false;     // many bodies are larger than a window
  size_t socket_bytes_ = 0;   // so much of what is on its way counts as sent
  uint64_t patience_ms_ = 0;  // the longest time that passes at once
  std::optional<uint64_t> drains_at_;
  bool is_draining_ = false;
  bool loses_memory_ = false;
  bool is_short_of_memory_ = false;
  bool is_finishing_ = false;
  bool is_undecided_ = false;
  uint64_t events_ = 0;
  uint64_t turns_ = 0;
  uint64_t moves_ = 0;  // of bytes on a link
  uint64_t hash_ = 0;
  uint64_t starved_ = 0;
  uint64_t heartbeat_ends_ = 0;
  std::string failure_;
};

inline std::string ChannelName(size_t i) { return "channel-" + std::to_string(i); }

}  // namespace relay::simulation

#endif  // RELAY_TESTS_SIMULATION_WORLD_H_

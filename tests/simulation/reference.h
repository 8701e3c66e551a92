// A relay as PROTOCOL.md describes it, in the plainest way: maps and lists that are searched from end to end, and
// nothing counted ahead that can be counted when it is asked for.
//
// It is told what the simulated relay is told, and says what that one must write, count and close. Shared with it are
// the wire (proto/) and the tables of ends and limits, no more. What belongs to one slot is judged in its order; how
// the frames of different slots mix is not laid down.

#ifndef RELAY_TESTS_SIMULATION_REFERENCE_H_
#define RELAY_TESTS_SIMULATION_REFERENCE_H_

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "proto/frame.h"
#include "proto/messages.h"
#include "proto/mirror_block.h"
#include "proto/uuid.h"
#include "server/crossing.h"
#include "server/ends.h"
#include "server/limits.h"
#include "server/metrics.h"
#include "server/session.h"
#include "simulation/coverage.h"

namespace relay::simulation {

using server::ConnectionId;
using server::End;

// What the relay has done to one connection at the end of a turn.
struct Output {
  ConnectionId connection = 0;
  std::vector<proto::Frame> frames;
  bool shuts = false;
  bool closes = false;
};

// Thread-compatible.
class Reference {
 public:
  // Of a relay of several cores, whom is told that a connection ends may say last words to it that come too late.
  Reference(const server::Limits& limits, const proto::Uuid& server_id, absl::Time start, uint32_t cores)
      : limits_(limits), server_id_(server_id), start_(start), cores_{0, cores}, now_(start) {}
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;

  // The events of server::Relay. `bytes` are read and left alone. Where they are not all, more come in the next turn.
  void OnOpen(ConnectionId id, absl::Time now);
  size_t OnBytes(ConnectionId id, std::span<uint8_t> bytes, absl::Time now, bool is_all = true);
  void OnInputEnd(ConnectionId id, bool is_broken, absl::Time now);
  void OnUnsent(ConnectionId id, size_t bytes, absl::Time now);
  void OnTime(absl::Time now);
  void Drain(absl::Time now);
  void OnMemoryShort(ConnectionId id, absl::Time now);
  void OnMemoryBack() { is_short_of_memory_ = false; }

  // A turn ends, and this is what came of it.
  void EndTurn(const std::vector<Output>& outputs);
  // Whether something is still to be done before the next event.
  bool has_more() const;
  // What the relay has counted so far.
  void Judge(const server::Metrics& counted);

  // The first thing that was not as it must be, in words.
  const std::string& broken() const { return broken_; }
  size_t live_requests() const { return requests_.size(); }
  // What only it can tell: sheds and WINDOWs.
  const Coverage& coverage() const { return coverage_; }
  // Whether somebody who is joined there has waited on the channel, or does.
  bool HasReceiver(const proto::Uuid& channel) const;
  // What may still be held for its queue.
  uint64_t RoomInQueue(const proto::Uuid& channel);
  // Whether the slot receives a request, and waits for a WINDOW until its connection has drained.
  bool OwesWindow(ConnectionId connection, uint16_t slot);
  // Whether somebody waits there now.
  bool HasWaiting(const proto::Uuid& channel) const {
    const auto line = lines_.find(channel);
    return line != lines_.end() && !line->second.empty();
  }

 private:
  enum class State : uint8_t { kPreface, kHello, kOpen, kLingering, kGone };
  enum class Doing : uint8_t { kNothing, kWaiting, kSending, kReceiving };

  // Something to be done at a time, in whole milliseconds since the start; what is due together, in the order in which
  // it was set, but requests without a timeout of their own first.
  struct Timer {
    bool is_set = false;
    uint64_t tick = 0;
    uint64_t order = 0;
  };

  struct Expected {
    std::string bytes;                 // the whole frame; the header alone where a status follows
    std::optional<v1::Status> status;  // of RESET, LEAVE and GOAWAY
    bool has_words = false;            // and its words are somebody's own
    std::optional<size_t> room = {};   // a MIRROR is not written where it would take the turn's output beyond this

    uint16_t slot() const { return proto::LoadBig<uint16_t>(reinterpret_cast<const uint8_t*>(bytes.data()) + 6); }
  };

  struct Request;
  struct Peer;

  struct Slot {
    Peer* peer = nullptr;
    uint16_t number = 0;
    proto::Uuid client = {};
    proto::Uuid channel = {};
    std::string key;
    bool has_received = false;
    Doing doing = Doing::kNothing;
    Request* request = nullptr;
    Timer wait_over;
  };

  struct Stream {
    uint64_t cost = 0;
    uint64_t window = 0;
    bool has_started = false;
    bool has_ended = false;
  };

  struct Request {
    proto::Uuid channel = {};
    proto::Uuid id = {};
    Slot* sender = nullptr;
    Slot* receiver = nullptr;
    uint64_t arrival = 0;
    uint16_t attempt = 0;
    Stream request;
    Stream response;
    uint64_t withheld = 0;
    bool request_is_owed = false;  // a WINDOW that waits for the reader of a full connection
    bool response_is_owed = false;
    std::vector<std::string> held;
    bool may_move = false;
    bool has_timeout = false;
    uint32_t wait_us = 0;
    absl::Time read_at;
    absl::Time ends_at;
    absl::Time extends_to;
    Timer over;

    uint64_t held_bytes() const {
      uint64_t bytes = 0;
      for (const std::string& frame : held) bytes += frame.size();
      return bytes;
    }
  };

  // How fast a channel's queue is served: what left it in the last whole second in which it was not empty, or in the
  // part of the first one that has passed.
  struct Pace {
    absl::Time since;  // what is counted is counted up to here
    absl::Duration time;
    uint64_t left = 0;
    absl::Duration time_before;
    uint64_t left_before = 0;
    absl::Time promised = absl::InfinitePast();  // what becomes free until then is for others

    void Count(absl::Time now, uint64_t more_left);
  };

  // What an observer asks for.
  struct Wanted {
    std::optional<proto::Uuid> channel;
    std::optional<proto::Uuid> client;
    std::optional<proto::Uuid> request;
    size_t snap_bytes = 0;
  };

  // Whom a frame is of.
  struct Who {
    proto::Uuid channel = {};
    proto::Uuid client = {};
  };

  // What each core has of its own of a connection: who was passed over, and what was given of queued requests in this
  // turn.
  struct Share {
    std::list<Slot*> passed_over;  // the first to be passed over first
    size_t given = 0;
    Timer goes_on;
  };

  struct Peer {
    ConnectionId id = 0;
    State state = State::kPreface;
    End end = End::kNone;
    bool is_observer = false;
    std::optional<Wanted> wanted;  // of an observer that has asked
    uint64_t lost = 0;             // MIRRORs, not told yet
    bool is_leaving = false;
    bool input_ended = false;
    bool is_idle_at_drain = false;
    bool is_suspect = false;
    bool was_shut = false;
    std::map<uint16_t, Slot> slots;
    std::map<uint32_t, Share> shares;  // by core
    std::vector<Expected> out;
    size_t unsent = 0;
    size_t partial = 0;  // has come of a frame that is not whole
    uint64_t partial_since = 0;
    uint64_t unsent_since = 0;  // when its size last came to another number of bits
    uint32_t owed = 0;
    absl::Time last_read;
    absl::Time last_sent;
    Timer timer;
    uint64_t pings = 0;
    size_t lingered = 0;
    double frame_tokens = 0;
    double reset_tokens = 0;
    double control_tokens = 0;
    absl::Time tokens_at;

    bool is_live() const { return state < State::kLingering; }
  };

  using Key = std::pair<proto::Uuid, proto::Uuid>;  // a channel and a request

  // Connections.
  Peer* Find(ConnectionId id);
  Slot* FindSlot(Peer& peer, uint16_t number);
  uint32_t CountLive(bool unauthenticated) const;
  End OnFrame(Peer& peer, const proto::Frame& frame);
  End OnHello(Peer& peer, const proto::Frame& frame);
  End OnJoin(Peer& peer, const proto::Frame& frame);
  End OnLeave(Peer& peer, const proto::Frame& frame);
  End OnGoaway(Peer& peer, const proto::Frame& frame);
  void RefillTokens(Peer& peer);
  // What a frame takes of the rate of control frames: a whole one, or an eighth where it is dropped, changes or carries
  // nothing.
  static constexpr double kWhole = 1;
  static constexpr double kSaysNothing = 0.125;
  End CheckTokens(const Peer& peer) const;
  void Refuse(Peer& peer, End end);
  void Kill(Peer& peer, End end);
  void Finish(Peer& peer, End end, State state);
  void RemoveSlot(Slot& slot);
  static std::vector<Slot*> SlotsOf(Peer& peer);
  void RemoveSlots(const std::vector<Slot*>& leaving);  // together
  bool IsDone(const Peer& peer) const;
  void OnTimer(Peer& peer);
  absl::Time PingAt(absl::Time last_sent) const;
  void SetPartial(Peer& peer, size_t bytes, bool is_new);
  void SetUnsent(Peer& peer, size_t bytes);
  void CutSendQueues();
  // Ends those who do not read, as `outputs` show.
  void CutWhoDoesNotRead(const std::vector<Output>& outputs);
  static const Output& OutputOf(const Peer& peer, const std::vector<Output>& outputs);
  // What of an output is known by now: the frames behind it came later.
  static size_t BytesSoFar(const Peer& peer, const Output& output);
  void Stop();

  // Channels.
  Slot* FindClient(const proto::Uuid& channel, const proto::Uuid& client);
  size_t CountChannels() const;
  size_t CountClients() const;
  std::vector<Request*> Queue(const proto::Uuid& channel);  // oldest first
  uint64_t HeldBytes() const;
  bool HasClients(const proto::Uuid& channel) const;
  // A request has come to the queue, or back to it.
  void OnQueued(const Request& request);
  uint32_t RetryAfterMs(const proto::Uuid& channel, End bound, uint64_t bytes);
  std::list<Slot*>& Line(const proto::Uuid& channel) { return lines_[channel]; }

  // Exchanges.
  End OnStart(Peer& peer, Slot* slot, const proto::Frame& frame);
  End OnRequest(Peer& peer, Slot* slot, const proto::Frame& frame);
  End RefusalOf(const Peer& peer, const Slot* slot, const proto::Frame& frame);
  End OnResponse(Slot& slot, const proto::Frame& frame);
  void OnBody(Peer& peer, Slot* slot, const proto::Frame& frame);
  End OnWindow(Slot* slot, const proto::Frame& frame);
  End OnExtend(Slot* slot, const proto::Frame& frame);
  End OnReset(Peer& peer, Slot* slot, const proto::Frame& frame);
  End OnReceive(Peer& peer, Slot* slot, const proto::Frame& frame);
  void BeginReceive(Peer& peer, Slot* slot, uint16_t number, std::optional<uint32_t> wait_ms);
  void WaitOver(Slot& slot);
  void StopWaiting(Slot& slot);
  bool Admit(Request& request, Peer& from, Stream& stream, uint64_t cost);
  void PassResponse(Request& request, std::string bytes);
  bool MayMove(const Request& request) const;
  void Keep(Request& request, const proto::Frame& frame);
  void StopKeeping(Request& request);
  void Shed(proto::Uuid channel);  // not that of a request, which may be shed
  void Assign(Request& request, Slot& receiver);
  void HandOut(Request& request, Slot& receiver);
  // The oldest one that still has time, if any. Whether the receiver has it, or was passed over.
  bool HandOutHeld(Slot& receiver);
  Share& ShareOf(const Slot& slot) { return slot.peer->shares[cores_.OwnerOf(slot.channel)]; }
  bool IsBehind(const Peer& peer, const Share& share) const {
    return peer.unsent + share.given > limits_.send_queue_mark_bytes;
  }
  // Who has waited longest and can be given something, or null.
  Slot* NextReceiver(const proto::Uuid& channel);
  void PassOver(Slot& slot);
  void GoOn(Peer& peer, Share& share);
  void GoOnLater(const Peer& peer, Share& share);
  void TellWindow(Request& request, uint8_t direction);
  void SendOwedWindows(Peer& peer);
  uint32_t MillisecondsLeft(absl::Time until) const;
  void Abandon(Slot& slot);
  void HandOutGivenBack();
  void LoseReceiver(Request& request, End end, const Expected& to_sender, bool may_requeue);
  void Fault(Request& request, Peer& from, End end);
  void ResetBoth(Request& request, End end, uint32_t retry_after_ms = 0);
  void EndRequest(Request& request, End end);

  // The rules of the wire.
  static bool HasGoodHeader(const proto::Frame& frame);
  static bool HasGoodBlock(std::string_view start_payload, bool is_response);
  static bool IsNobodysFault(End end);
  static absl::StatusCode CodeOf(End end);

  // What is to be written.
  static std::string BytesOf(const proto::Frame& frame) {
    return {reinterpret_cast<const char*>(frame.bytes().data()), frame.bytes().size()};
  }
  static std::string Header(proto::FrameType type, uint8_t flags, uint16_t slot, const proto::Uuid& id,
                            std::string_view payload = {});
  static Expected StatusFrame(proto::FrameType type, uint16_t slot, const proto::Uuid& id, End end,
                              bool may_have_run = false);
  void Write(Peer& to, Expected frame);
  void RefuseOperation(Peer& peer, uint16_t slot, const proto::Uuid& id, End end, uint32_t retry_after_ms = 0);
  static void CountOwed(Peer& peer) { peer.owed += peer.unsent > 0 ? 1 : 0; }

  // Observers.
  End OnObserve(Peer& peer, const proto::Frame& frame);
  void ShowRead(const Peer& from, const proto::Frame& frame);
  // All that the turn has written, and whom it has ended.
  void ShowTurn(const std::vector<Output>& outputs);
  void ShowFrame(proto::MirrorKind kind, const Peer& of, std::string_view header, std::string_view payload,
                 const std::optional<Who>& who);
  void ShowWords(proto::MirrorKind kind, const Peer& of, std::string_view words);
  void Mirror(Peer& to, proto::MirrorKind kind, ConnectionId of, std::string_view shown, const Who& who);
  // Takes back the MIRRORs for which an observer's queue had no room.
  void LoseMirrors(const std::vector<Output>& outputs);
  bool TakesMirror(Peer& to, Expected& mirror, size_t bytes_before);
  static bool Wants(const Wanted& wanted, std::string_view header, const std::optional<Who>& who);
  std::optional<Who> WhoIsOn(const Peer& peer, uint16_t slot) const;
  void NoteLeft(const Slot& slot) { left_[{slot.peer->id, slot.number}] = {slot.channel, slot.client}; }

  // Time.
  void Set(Timer& timer, absl::Time at);
  struct Due {
    Timer* timer = nullptr;
    Peer* peer = nullptr;
    Slot* slot = nullptr;
    Request* request = nullptr;
    Share* share = nullptr;
  };
  Due NextDue();

  // Judging.
  void Compare(Peer& peer, const Output& output);
  std::string Differs(const Expected& expected, const proto::Frame& frame) const;
  void Broken(std::string what);

  const server::Limits& limits_;
  const proto::Uuid server_id_;
  const absl::Time start_;
  const server::Place cores_;  // of any one of them
  absl::Time now_;
  uint64_t tick_ = 0;
  uint64_t timers_set_ = 0;
  uint64_t arrivals_ = 0;
  uint64_t queues_grown_ = 0;
  uint64_t partials_begun_ = 0;
  std::map<ConnectionId, Peer> peers_;
  std::map<Key, Request> requests_;
  std::map<proto::Uuid, std::list<Slot*>> lines_;
  std::map<proto::Uuid, Pace> paces_;
  std::map<std::pair<ConnectionId, uint16_t>, Who> left_;  // their slots, in this turn
  bool is_draining_ = false;
  bool is_short_of_memory_ = false;
  Timer drain_over_;
  server::Metrics metrics_;
  Coverage coverage_;
  std::string broken_;
};

}  // namespace relay::simulation

#endif  // RELAY_TESTS_SIMULATION_REFERENCE_H_

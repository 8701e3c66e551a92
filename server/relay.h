// The relay core: bytes of connections in, effects out. No socket, no clock, no thread, no lock.
//
// It owns the sessions and everything that hangs on them: decoding, the handshake, joins, heartbeats, the ends of
// connections. Routing is in Exchanges, who waits for whom in the registry. The rules are those of PROTOCOL.md.

#ifndef RELAY_SERVER_RELAY_H_
#define RELAY_SERVER_RELAY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "proto/frame.h"
#include "proto/uuid.h"
#include "registry/registry.h"
#include "server/crossing.h"
#include "server/effects.h"
#include "server/ends.h"
#include "server/exchanges.h"
#include "server/instant.h"
#include "server/limits.h"
#include "server/metrics.h"
#include "server/observers.h"
#include "server/partial_frames.h"
#include "server/send_queues.h"
#include "server/session.h"
#include "server/timer_wheel.h"

namespace relay::server {

// What is to be done to one connection at the end of a turn, in this order.
struct Effect {
  ConnectionId connection;
  std::span<const std::span<const uint8_t>> write;  // good until EndTurn
  bool shut;                                        // no more writes: shut that side behind what is unsent
  bool close;                                       // close at once; the core has forgotten the connection
  bool reads_on;                                    // it need not wait any more (Waits)
  uint32_t home;  // the core that it is at home on now: forgotten here where that is another one, which has still to
                  // be told what is unsent
};

// What all cores together may not have too much of. Thread-safe: counts that a connection or a client changes when it
// comes and when it goes, and nothing of a request.
struct Totals {
  std::atomic<uint32_t> connections = 0;
  std::atomic<uint32_t> live = 0;  // of the connections
  std::atomic<uint32_t> clients = 0;
  std::atomic<uint32_t> channels = 0;
};

// Thread-compatible: one thread, one core.
//
// A turn is any number of On... calls, then TakeEffects, then EndTurn. Bytes given to OnBytes stay where they are, and
// may be written to by the core, until EndTurn. Calls for a connection that is gone do nothing.
class Relay {
 public:
  // `start` is the beginning of the time that the On... calls tell.
  Relay(const Limits& limits, const proto::Uuid& server_id, absl::Time start)
      : Relay(limits, server_id, start, Place(), std::make_shared<Totals>()) {}
  // One of several: all have the same limits but `..._bytes_total`, of which each has its part, the same id, start and
  // totals. OnOpen is for the first of them.
  Relay(const Limits& limits, const proto::Uuid& server_id, absl::Time start, const Place& place,
        std::shared_ptr<Totals> totals);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // A connection was accepted. `peer` is its address, for the log.
  ConnectionId OnOpen(std::string peer, absl::Time now);
  // Bytes have come. Returns how many were taken; the rest is the beginning of a frame, to be given again in front of
  // what comes next.
  size_t OnBytes(ConnectionId id, std::span<uint8_t> bytes, absl::Time now) {
    uint32_t work = std::numeric_limits<uint32_t>::max();
    return OnBytes(id, bytes, now, work);
  }
  // The same, and does no more than `work`, which becomes what is left of it. A frame is one, or a few where it makes
  // more work. At 0 the rest may hold whole frames, and wants to be given again when the others have had their turn.
  size_t OnBytes(ConnectionId id, std::span<uint8_t> bytes, absl::Time now, uint32_t& work);
  // No more bytes will come. `is_broken`: the connection failed and can take none either.
  void OnInputEnd(ConnectionId id, bool is_broken, absl::Time now) {
    uint32_t work = std::numeric_limits<uint32_t>::max();
    OnInputEnd(id, is_broken, now, work);
  }
  // The same, and does no more than `work`, which becomes what is left of it. False where it has to be told again.
  bool OnInputEnd(ConnectionId id, bool is_broken, absl::Time now, uint32_t& work);
  // So many bytes of earlier turns are not yet sent.
  void OnUnsent(ConnectionId id, size_t bytes, absl::Time now);
  // Does what is due. Peers are judged here, so a turn calls it after it has read what was there.
  void OnTime(absl::Time now) {
    uint32_t work = std::numeric_limits<uint32_t>::max();
    OnTime(now, work);
  }
  // The same, in the order in which it fell due, and no more than `work`, which becomes what is left of it. At 0 there
  // may be more.
  void OnTime(absl::Time now, uint32_t& work);
  // An allocation has failed in what the connection asked for: it ends, and nothing begins until OnMemoryBack. There
  // is no such connection where it failed elsewhere.
  void OnMemoryShort(ConnectionId id, absl::Time now);
  void OnMemoryBack();
  // What `core` has said. `batch` is kept until EndTurn.
  void OnCrossings(uint32_t core, CrossingBatch batch, absl::Time now);
  // Whether OnBytes left what it left for another core, which has to answer first, or has the connection from the end
  // of the turn on: it wants nothing before an effect says so.
  bool Waits(ConnectionId id) const;
  // The server drains: nothing begins any more, what is assigned runs on to the drain limit. Everybody is told.
  void Drain(absl::Time now);

  // Whether the turn has anything to carry out.
  bool has_effects() { return !effects_.touched().empty() || !effects_.notices().empty() || !delivered_.empty(); }
  // Says to other cores what their connections are written, so far in this turn. TakeEffects does it for the rest.
  void TellHomes();
  // What is to be done at the end of the turn. Good until EndTurn; no On... call in between.
  std::span<const Effect> TakeEffects();
  // Lines for the log, of this turn.
  std::span<const Notice> notices() { return effects_.notices(); }
  void EndTurn();
  // What is to be said to each other core, behind EndTurn.
  bool has_crossings() const { return crossings_.any(); }
  CrossingBatch TakeCrossings(uint32_t to) { return crossings_.Take(to); }

  // When OnTime has something to do next.
  std::optional<absl::Time> next_deadline() const;

  const Metrics& metrics() const { return metrics_; }
  size_t unsent_bytes() const { return send_queues_.total_bytes(); }
  size_t partial_frame_bytes() const { return partial_frames_.total_bytes(); }
  // Has said HELLO, and its last words are not written yet.
  bool IsOpen(ConnectionId id) const;
  // At home here.
  size_t connection_count() const { return sessions_.size() - guests_; }
  size_t channel_count() const { return registry_.channel_count(); }
  size_t client_count() const { return clients_; }

  // The first broken invariant of all state, in words; empty where all hold. O(everything), for tests.
  std::string Check() const;

 private:
  Session* Find(ConnectionId id);
  // Takes the preface if all of it is there; nothing where it is wrong.
  std::optional<size_t> TakePreface(Session& session, std::span<const uint8_t> bytes);
  // Each returns the end of the connection that the frame causes, or kNone. `words` say which rule was broken, where
  // the end's own do not.
  End OnFrame(Session& session, proto::Frame frame, std::string_view& words);
  End OnHello(Session& session, proto::Frame frame);
  End OnJoin(Session& session, proto::Frame frame, std::string_view& words);
  // False where the payload is malformed.
  static bool ParseJoin(proto::Frame frame, v1::Join& join, std::string_view& words);
  End OnLeave(Session& session, proto::Frame frame);
  End OnPing(Session& session, proto::Frame frame);
  End OnGoaway(Session& session, proto::Frame frame);
  End OnObserve(Session& session, proto::Frame frame, std::string_view& words);

  // Of several cores. What must not be taken yet: it waits for another core, or its connection moves there.
  [[gnu::cold]] bool IsHeldUp(Session& session, proto::Frame frame);
  bool HoldUpJoin(Session& session, proto::Frame frame);
  void Wait(Session& session, uint32_t core);
  void WakeWaiting(uint32_t core);
  // Hands a frame to the core that has its slot; false where that is here.
  [[gnu::cold]] bool Cross(Session& session, proto::Frame frame);
  void CrossTo(uint32_t core, const Session& session, proto::Frame frame);
  void CrossToGuests(const Session& session, proto::Frame frame);
  void JoinElsewhere(Session& session, proto::Frame frame, uint32_t owner, const proto::Uuid& client,
                     const proto::Uuid& channel);
  void OpenGuest(Session& home, uint32_t core);
  // Says GOAWAY as soon as no core hands anything new to the connection.
  void TellDrain(Session& home);
  void CloseGuests(Session& home, End end);
  // Says something to all guests of the session.
  void TellGuests(const Session& home, const Crossing& crossing);
  void OnCrossing(uint32_t from, const Crossing& crossing, std::span<uint8_t> bytes);
  void OnGuestOpened(uint32_t home, const Crossing& crossing, std::string peer);
  void OnGuestFrames(uint32_t from, Session* guest, std::span<uint8_t> frames);
  void OnToldToHome(uint32_t from, Session& home, const Crossing& crossing, std::span<const uint8_t> bytes);
  void OnMoved(ConnectionId id, std::string peer, const SessionState& state);
  // PONG is behind all that the guests said before.
  void PingGuests(Session& home, proto::Frame ping);
  void OnPong(Session& home, uint64_t number);
  void FreeSlot(Session& home, uint32_t from, uint16_t slot);
  // What a guest was written, and its end, at the end of the turn.
  void TellHome(Session& guest);
  void TellHomeDrain(Session& guest);
  void SetUnsent(Session& session, size_t bytes);
  size_t slots_of(const Session& session) const;
  void RefuseJoin(Session& session, uint16_t slot, const proto::Uuid& client, End refusal);
  void CountChannels();

  // A client's place on its connection and channel ends. The slot is free afterwards.
  void RemoveClient(Client& client);
  void RemoveClients(const std::vector<Client*>& clients);  // together

  // The ends of a connection: with last words that are given time to arrive, or at once.
  void Refuse(Session& session, End end, std::string_view words = {});
  void Kill(Session& session, End end);
  void Finish(Session& session, End end, Session::State state);
  // Ends the connection. Where it has many clients, those that are idle leave first, as many as `work` allows; false,
  // and no work left, where that was not all: then CarryOutDoom goes on.
  [[gnu::cold]] bool DoomTo(Session& session, const Doom& doom, uint32_t& work);
  [[gnu::cold]] bool CarryOutDoom(Session& session, uint32_t& work);
  // Its receivers leave the line.
  void StopWaiting(Session& session);
  // Ends who has left and is done.
  void Settle(Session& session);
  // Ends those for whom the turn has written more than they may leave unread. They die together: what their receivers
  // give back goes to none of them. True where others may have been brought to theirs by it.
  bool CutFullQueues();

  // Shows observers what the turn writes and whom it ends.
  void MirrorTurn();
  // Cuts those who have been at one frame for the longest, until all partial frames together are within their bound.
  void CutPartialFrames();
  // Cuts those who read least, until all send queues together are within their bound.
  void CutSendQueues();

  // All live sessions, by id.
  std::vector<Session*> LiveSessions() const;
  // The drain limit: everything ends, everybody is told.
  void Stop();
  void SendGoaway(Session& session, End end, std::string_view words = {});

  // Nothing is left to run or to send on a connection that is to begin nothing any more.
  bool IsDone(const Session& session) const;
  void OnDeadline(Session& session, uint32_t& work);
  // When PING is due to who was sent something last at `last_sent`: a 64th of the interval early at the most, so that
  // many are due together and thousands of connections wake the process a few times a second.
  Instant PingAt(Instant last_sent) const;
  // What a connection begins with.
  void GrantTokens(Session& session) const;
  // Gives the session what its rates have earned since the last time.
  void RefillTokens(Session& session);
  // The rate that the session has overspent, or kNone.
  static End CheckTokens(const Session& session);
  void SetNow(absl::Time now) {
    if (now == told_) return;  // as most events of a turn are of one time
    told_ = now;
    now_ = InstantOf(now);
    exchanges_.set_now(now_);
  }

  const Limits limits_;
  const proto::Uuid server_id_;
  const Place place_;
  const std::shared_ptr<Totals> totals_;
  absl::Time told_;  // what now_ was made of
  Instant now_;
  TimerWheel wheel_;
  Metrics metrics_;
  Effects effects_;
  Observers observers_;
  registry::Registry registry_;
  Exchanges exchanges_;
  PartialFrames partial_frames_;
  SendQueues send_queues_;
  Crossings crossings_;
  absl::flat_hash_map<ConnectionId, std::unique_ptr<Session>, ConnectionIdHash> sessions_;
  ConnectionId last_id_ = 0;
  uint32_t guests_ = 0;           // of the sessions
  uint32_t unauthenticated_ = 0;  // of the live ones
  uint32_t clients_ = 0;          // joined, on all sessions
  uint32_t channels_told_ = 0;    // in the totals
  v1::Join join_;                 // the last one: kept for what its strings would take each time
  bool is_draining_ = false;
  bool is_short_of_memory_ = false;
  Deadline drain_over_{Deadline::Of::kRelay, this};
  std::vector<Effect> taken_;
  std::vector<ConnectionId> gone_guests_;  // to be forgotten at the end of the turn
  std::vector<CrossingBatch> delivered_;   // in this turn
  std::vector<Session*> done_;             // to be settled once it is known whether their last words were sent
};

}  // namespace relay::server

#endif  // RELAY_SERVER_RELAY_H_

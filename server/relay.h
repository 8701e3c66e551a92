// The relay core: bytes of connections in, effects out. No socket, no clock, no thread, no lock.
//
// It owns the sessions and everything that hangs on them: decoding, the handshake, joins, heartbeats, the ends of
// connections. Routing is in Exchanges, who waits for whom in the registry. The rules are those of PROTOCOL.md.

#ifndef RELAY_SERVER_RELAY_H_
#define RELAY_SERVER_RELAY_H_

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
#include "server/effects.h"
#include "server/ends.h"
#include "server/exchanges.h"
#include "server/instant.h"
#include "server/limits.h"
#include "server/metrics.h"
#include "server/observers.h"
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
};

// Thread-compatible: one thread, one core.
//
// A turn is any number of On... calls, then TakeEffects, then EndTurn. Bytes given to OnBytes stay where they are, and
// may be written to by the core, until EndTurn. Calls for a connection that is gone do nothing.
class Relay {
 public:
  // `start` is the beginning of the time that the On... calls tell.
  Relay(const Limits& limits, const proto::Uuid& server_id, absl::Time start);
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
  void OnInputEnd(ConnectionId id, bool is_broken, absl::Time now);
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
  // The server drains: nothing begins any more, what is assigned runs on to the drain limit. Everybody is told.
  void Drain(absl::Time now);

  // Whether the turn has anything to carry out.
  bool has_effects() { return !effects_.touched().empty() || !effects_.notices().empty(); }
  // What is to be done at the end of the turn. Good until EndTurn; no On... call in between.
  std::span<const Effect> TakeEffects();
  // Lines for the log, of this turn.
  std::span<const Notice> notices() { return effects_.notices(); }
  void EndTurn();

  // When OnTime has something to do next.
  std::optional<absl::Time> next_deadline() const;

  const Metrics& metrics() const { return metrics_; }
  size_t unsent_bytes() const { return send_queues_.total_bytes(); }
  // Has said HELLO, and its last words are not written yet.
  bool IsOpen(ConnectionId id) const;
  size_t connection_count() const { return sessions_.size(); }
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
  End OnLeave(Session& session, proto::Frame frame);
  End OnPing(Session& session, proto::Frame frame);
  End OnGoaway(Session& session, proto::Frame frame);
  End OnObserve(Session& session, proto::Frame frame, std::string_view& words);

  // A client's place on its connection and channel ends. The slot is free afterwards.
  void RemoveClient(Client& client);
  void RemoveClients(const std::vector<Client*>& clients);  // together

  // The ends of a connection: with last words that are given time to arrive, or at once.
  void Refuse(Session& session, End end, std::string_view words = {});
  void Kill(Session& session, End end);
  void Finish(Session& session, End end, Session::State state);
  // Ends who has left and is done.
  void Settle(Session& session);
  // Ends those for whom the turn has written more than they may leave unread. They die together: what their receivers
  // give back goes to none of them. True where others may have been brought to theirs by it.
  bool CutFullQueues();

  // Shows observers what the turn writes and whom it ends.
  void MirrorTurn();
  // Cuts those who read least, until all send queues together are within their bound.
  void CutSendQueues();

  // All live sessions, by id.
  std::vector<Session*> LiveSessions() const;
  // The drain limit: everything ends, everybody is told.
  void Stop();
  void SendGoaway(Session& session, End end, std::string_view words = {});

  // Nothing is left to run or to send on a connection that is to begin nothing any more.
  bool IsDone(const Session& session) const;
  void OnDeadline(Session& session);
  // When PING is due to who was sent something last at `last_sent`: a 64th of the interval early at the most, so that
  // many are due together and thousands of connections wake the process a few times a second.
  Instant PingAt(Instant last_sent) const;
  // Gives the session what its rates have earned since the last time.
  void RefillTokens(Session& session);
  // The rate that the session has overspent, or kNone.
  static End CheckTokens(const Session& session);
  void SetNow(absl::Time now) {
    now_ = InstantOf(now);
    exchanges_.set_now(now_);
  }

  const Limits limits_;
  const proto::Uuid server_id_;
  Instant now_;
  TimerWheel wheel_;
  Metrics metrics_;
  Effects effects_;
  Observers observers_;
  registry::Registry registry_;
  Exchanges exchanges_;
  SendQueues send_queues_;
  absl::flat_hash_map<ConnectionId, std::unique_ptr<Session>, ConnectionIdHash> sessions_;
  ConnectionId last_id_ = 0;
  uint32_t live_ = 0;             // of the sessions
  uint32_t unauthenticated_ = 0;  // of the live ones
  uint32_t clients_ = 0;          // joined, on all sessions
  bool is_draining_ = false;
  bool is_short_of_memory_ = false;
  Deadline drain_over_{Deadline::Of::kRelay, this};
  std::vector<Effect> taken_;
  std::vector<Session*> done_;  // to be settled once it is known whether their last words were sent
};

}  // namespace relay::server

#endif  // RELAY_SERVER_RELAY_H_

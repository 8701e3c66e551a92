// Routing: requests meet receivers, and every frame of an exchange goes to its other side or nowhere (PROTOCOL.md, "The
// life of an exchange", "Waiting", "Time", "Ends that are not END", "Credit").

#ifndef RELAY_SERVER_EXCHANGES_H_
#define RELAY_SERVER_EXCHANGES_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "proto/frame.h"
#include "registry/channel.h"
#include "server/crossing.h"
#include "server/effects.h"
#include "server/ends.h"
#include "server/exchange.h"
#include "server/instant.h"
#include "server/limits.h"
#include "server/metrics.h"
#include "server/session.h"
#include "server/timer_wheel.h"

namespace relay::server {

// Thread-compatible. Works on clients and sessions that Relay owns; owns the exchanges.
//
// The On... functions take a frame of a live session whose header is in order, and the client on its slot, null where
// none is joined. They return the end of the connection if the frame is a fault of it, else kNone.
class Exchanges {
 public:
  Exchanges(const Limits& limits, Effects& effects, TimerWheel& wheel, Metrics& metrics)
      : limits_(limits),
        effects_(effects),
        wheel_(wheel),
        metrics_(metrics),
        max_request_time_(NanosecondsOf(limits.max_request_time)) {}

  void set_now(Instant now) { now_ = now; }

  // From now on nothing begins, and nothing is handed out again.
  void StopAdmitting() { is_admitting_ = false; }
  // Meanwhile no request begins.
  void set_short_of_memory(bool is_short) { is_short_of_memory_ = is_short; }

  End OnStart(Session& session, Client* client, proto::Frame frame);
  void OnBody(Session& session, Client* client, proto::Frame frame);  // CHUNK and END
  End OnWindow(Client* client, proto::Frame frame);
  End OnReset(Session& session, Client* client, proto::Frame frame);
  End OnExtend(Client* client, proto::Frame frame);
  End OnReceive(Session& session, Client* client, proto::Frame frame);

  // The client's RECEIVE has waited as long as it asked for.
  void WaitOver(Client& client);
  // The exchange's time has passed.
  void TimeOver(Exchange& exchange);
  // The client stops waiting, unanswered.
  void StopWaiting(Client& client);
  // The client leaves: its operation ends, it is idle. The other side is told. Requests that go back to their queue are
  // handed out by HandOutGivenBack, once all that leave together have done so.
  void Abandon(Client& client);
  void HandOutGivenBack();
  // The server drains: what the client waits for ends, and a request of it that is still queued; it is told of that.
  void Drain(Client& client);
  // The server stops: the client's operation ends, and both sides are told.
  void Stop(Client& client);
  // The session's send queue has drained below its mark.
  void SendOwedWindows(Session& session);
  // The session's send queue has drained, a turn is over in which it was given much, or another of its clients begins
  // to wait: those that were passed over are given what is queued, or stand at the end of their lines.
  void GoOn(Session& session);
  // The same behind this turn, where what else is owed to the session is known.
  void GoOnLater(Session& session);

 private:
  End OnRequest(Session& session, Client* client, proto::Frame frame);
  // The bound that keeps a request from joining the queue with `bytes` held for it, or kNone.
  End QueueRefusal(const registry::Channel& channel, size_t bytes) const;
  // When there will be room for a request of so many bytes that was turned away at `bound`; 0 where nobody can say.
  uint32_t RetryAfterMs(registry::Channel& channel, End bound, size_t bytes);
  End OnResponse(Client& client, Exchange& exchange, proto::Frame frame);
  void BeginReceive(Session& session, Client* client, uint16_t slot, std::optional<uint32_t> wait_ms);

  // True if the stream takes a frame of this cost; else the exchange has ended with the fault.
  bool Admit(Exchange& exchange, Session& from, Stream& stream, uint64_t cost);
  void PassRequest(Exchange& exchange, proto::Frame frame);
  void PassResponse(Exchange& exchange, proto::Frame frame);

  void Hold(Exchange& exchange, proto::Frame frame);
  void Release(Exchange& exchange);
  void Shed(registry::Channel& channel);
  bool IsRedeliverable(const Exchange& exchange) const;
  // Adds a frame of an assigned exchange to the copy for another receiver, as long as there may be one.
  void KeepOrStop(Exchange& exchange, proto::Frame frame);
  // Gives up the copy and the WINDOW that were kept for another receiver.
  void StopKeeping(Exchange& exchange);

  // Why there is no client: a drain has refused its JOIN, perhaps.
  End NotJoined() const { return is_admitting_ ? End::kSlotNotJoined : End::kStopping; }
  // What is known to be owed to the session. Of a guest, what is on its way and may never be told to be taken is not.
  static size_t OwedBytes(const Session& session) {
    return session.unsent_bytes + (session.on_their_way < Crossings::kToldBytes ? 0 : session.on_their_way);
  }
  // Whether that is so much that its clients are given nothing.
  bool IsBehind(const Session& session) const {
    return OwedBytes(session) + session.given_bytes > limits_.send_queue_mark_bytes;
  }
  // The receiver that has waited longest and can be given something; who stood before it is passed over.
  Client* NextReceiver(registry::Channel& channel) {
    while (registry::Client* const first = channel.first_in_line()) {
      auto& client = static_cast<Client&>(*first);
      if (!IsBehind(*client.session)) return &client;
      PassOver(client);
    }
    return nullptr;
  }
  [[gnu::cold]] void PassOver(Client& client);
  // The oldest request of the queue; those whose time has passed before the clock said so end here and are not handed
  // out.
  Exchange* OldestInTime(registry::Channel& channel) {
    while (registry::Exchange* const oldest = channel.oldest()) {
      auto& exchange = static_cast<Exchange&>(*oldest);
      if (exchange.ends_at > now_) return &exchange;
      TimeOver(exchange);
    }
    return nullptr;
  }
  void HandOutHeld(Exchange& exchange, Client& receiver);
  // `frames` are the exchange's REQUEST frames, START first.
  void HandOut(Exchange& exchange, Client& receiver, std::span<uint8_t> frames);
  void TellWindow(Exchange& exchange, uint8_t direction);

  // The receiver is lost to the exchange: another one gets it, or the sender gets `status`.
  void LoseReceiver(Exchange& exchange, End end, v1::Status status, bool may_requeue);

  // The ends. ResetSender and ResetReceiver tell; End forgets.
  void Fault(Exchange& exchange, Session& from, End end);
  void ResetBoth(Exchange& exchange, End end, std::string_view words = {});
  void ResetSender(const Exchange& exchange, v1::Status status);
  void ResetReceiver(const Exchange& exchange, v1::Status status);
  void EndExchange(Exchange& exchange, End end);

  const Limits& limits_;
  Effects& effects_;
  TimerWheel& wheel_;
  Metrics& metrics_;
  ExchangePool pool_;
  std::vector<registry::Channel*> given_back_to_;
  const Nanoseconds max_request_time_;
  Instant now_;
  bool is_admitting_ = true;
  bool is_short_of_memory_ = false;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_EXCHANGES_H_

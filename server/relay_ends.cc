// The ends of connections and of their clients: who is refused, who is cut for what it is owed, who is silent too long.

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/messages.h"
#include "server/relay.h"

namespace relay::server {

using proto::FrameType;
using State = Session::State;

namespace {

// Of each heartbeat_interval.
constexpr int kPingTimes = 64;

// Of a connection that ends, so many clients leave together with it. A turn has time for that.
constexpr size_t kClientsAtOnce = 128;

// In the units of OnBytes: of one client, and of what is written, shut, logged and closed for one connection alone
// where its time is over.
constexpr uint32_t kWorkOfLeaving = 4;
constexpr uint32_t kWorkOfEnd = 256;

}  // namespace

void Relay::RemoveClient(Client& client) {
  if (limits_.allow_observers) {
    observers_.OnLeft(client.session->id, client.slot, client.id, client.channel->id());
  }
  exchanges_.Abandon(client);
  exchanges_.HandOutGivenBack();
  registry_.Remove(client);
  CountChannels();
  if (const Session& session = *client.session; session.guest != nullptr) {
    crossings_.Say(session.home, {.kind = Crossing::Kind::kFreed, .slot = client.slot, .connection = session.id});
  }
  client.session->slots.Remove(client.slot);
  --clients_;
  --totals_->clients;
}

void Relay::RemoveClients(const std::vector<Client*>& clients) {
  // In this order, so that what a receiver gives back goes to none of them, and not back to a queue that its sender is
  // about to leave.
  using registry::Operation;
  for (const Operation last_doing : {Operation::kWaiting, Operation::kSending}) {
    for (Client* const client : clients) {
      if (client->operation == last_doing) exchanges_.Abandon(*client);
    }
  }
  // The youngest first, so that each goes to the very head of its queue.
  std::vector<Client*> receiving;
  std::copy_if(clients.begin(), clients.end(), std::back_inserter(receiving),
               [](const Client* client) { return client->operation == Operation::kReceiving; });
  std::sort(receiving.begin(), receiving.end(),
            [](const Client* a, const Client* b) { return a->exchange->arrival > b->exchange->arrival; });
  for (Client* const client : receiving) exchanges_.Abandon(*client);
  exchanges_.HandOutGivenBack();
  for (Client* const client : clients) RemoveClient(*client);
}

void Relay::Refuse(Session& session, End end, std::string_view words) {
  RemoveClients(session.slots.All());
  if (session.guest != nullptr) {
    session.guest->last_words = words;
    return Finish(session, end, State::kGone);
  }
  SendGoaway(session, end, words);
  Finish(session, end, State::kLingering);
}

void Relay::SendGoaway(Session& session, End end, std::string_view words) {
  effects_.Send(session, FrameType::kGoaway, 0, proto::kNilUuid, StatusOf(end, words));
}

void Relay::Kill(Session& session, End end) {
  RemoveClients(session.slots.All());
  Finish(session, end, State::kGone);
}

void Relay::Finish(Session& session, End end, State state) {
  if (session.is_live() && session.is_observer) observers_.Remove(session);
  if (session.is_live() && session.guest == nullptr) {
    --totals_->live;
    if (session.state != State::kOpen) --unauthenticated_;
    CloseGuests(session, end);
    metrics_.Count(end);
    effects_.Note({Notice::Level::kInfo, "connection_end", session.id, session.peer, end, ""});
  }
  if (std::exchange(session.is_waiting, false)) session.reads_on = true;
  session.doom = {};
  session.end = end;
  session.state = state;
  partial_frames_.Set(session, 0, false);
  if (state == State::kLingering) {
    wheel_.Set(session.deadline, now_ + NanosecondsOf(limits_.linger_time));
  } else {
    session.deadline.Unset();
    SetUnsent(session, 0);
  }
  effects_.Touch(session);
}

void Relay::StopWaiting(Session& session) {
  for (Client* const client : session.slots.All()) {
    if (client->operation == registry::Operation::kWaiting) exchanges_.StopWaiting(*client);
  }
}

bool Relay::DoomTo(Session& session, const Doom& doom, uint32_t& work) {
  session.doom = doom;
  if (session.slots.size() > kClientsAtOnce) StopWaiting(session);  // nobody is handed what it will not do
  return CarryOutDoom(session, work);
}

bool Relay::CarryOutDoom(Session& session, uint32_t& work) {
  if (session.slots.size() > kClientsAtOnce) {
    const size_t most = std::max(1u, work / kWorkOfLeaving);
    const std::vector<Client*> idle = session.slots.Idle(most);
    for (Client* const client : idle) RemoveClient(*client);
    if (idle.size() == most) {
      work = 0;
      return false;
    }
    work -= static_cast<uint32_t>(idle.size()) * kWorkOfLeaving;
  }
  work -= std::min(work, static_cast<uint32_t>(session.slots.size()) * kWorkOfLeaving);
  const Doom doom = session.doom;
  doom.has_last_words ? Refuse(session, doom.end, doom.words) : Kill(session, doom.end);
  return true;
}

void Relay::CutPartialFrames() {
  while (partial_frames_.total_bytes() > limits_.partial_frame_bytes_total) {
    Kill(partial_frames_.Oldest(), End::kPartialFrameBytesTotal);
  }
}

void Relay::CutSendQueues() {
  while (send_queues_.total_bytes() > limits_.send_queue_bytes_total) {
    Session& largest = *send_queues_.Largest();
    if (largest.is_live()) {
      Kill(largest, End::kSendQueueBytesTotal);
    } else {
      Finish(largest, largest.end, State::kGone);
    }
  }
}

bool Relay::CutFullQueues() {
  std::vector<Session*> cut;
  for (Session* const session : effects_.touched()) {
    if (!session->is_live()) continue;
    const size_t bytes = session->unsent_bytes + session->out_bytes + session->on_their_way;
    if (bytes > limits_.send_queue_bytes) cut.push_back(session);
  }
  if (cut.empty()) return false;
  std::vector<Client*> clients;
  for (const Session* const session : cut) {
    const std::vector<Client*> of_session = session->slots.All();
    clients.insert(clients.end(), of_session.begin(), of_session.end());
  }
  RemoveClients(clients);
  for (Session* const session : cut) Finish(*session, End::kSendQueue, State::kGone);
  return true;
}

void Relay::Settle(Session& session) {
  if (!IsDone(session)) return;
  if (session.guest != nullptr) {
    if (!std::exchange(session.guest->said_idle, true)) {
      crossings_.Say(session.home, {.kind = Crossing::Kind::kIdle, .connection = session.id});
    }
    return;
  }
  if (session.out_bytes > 0) return;
  if (session.is_leaving) {
    RemoveClients(session.slots.All());
    Finish(session, End::kGoaway, session.input_ended ? State::kGone : State::kLingering);
  } else if (!session.is_idle_at_drain) {
    // What the peer sent before it heard of the drain is still answered; a peer that stays is closed then.
    session.is_idle_at_drain = true;
    wheel_.Set(session.deadline, now_ + NanosecondsOf(limits_.linger_time));
  }
}

bool Relay::IsDone(const Session& session) const {
  return (session.is_leaving || is_draining_) && session.is_live() && !session.is_doomed() && session.exchanges == 0 &&
         session.unsent_bytes == 0 && (session.elsewhere == nullptr || session.elsewhere->busy_guests == 0);
}

Instant Relay::PingAt(Instant last_sent) const {
  const Nanoseconds interval = NanosecondsOf(limits_.heartbeat_interval);
  const Instant at = last_sent + interval;
  return at - at.time_since_epoch() % (interval / kPingTimes);
}

void Relay::OnDeadline(Session& session, uint32_t& work) {
  switch (session.state) {
    case State::kPreface:
    case State::kHello:
      work -= std::min(work, kWorkOfEnd);
      Refuse(session, End::kHelloTimeout);
      return;
    case State::kLingering:
      work -= std::min(work, kWorkOfEnd);
      Finish(session, session.end, State::kGone);
      return;
    case State::kGone:
    case State::kMoved:
      return;
    case State::kOpen:
      break;
  }
  if (session.is_idle_at_drain) {
    RemoveClients(session.slots.All());
    Finish(session, End::kStopping, State::kLingering);
    return;
  }
  if (session.is_doomed()) {
    if (!CarryOutDoom(session, work)) wheel_.Set(session.deadline, now_);
    return;
  }
  const Instant dead_at = session.last_read + NanosecondsOf(limits_.heartbeat_interval) * limits_.heartbeat_misses;
  const bool is_judged = !session.input_ended || session.unsent_bytes > 0;
  if (is_judged && now_ >= dead_at) {
    if (!std::exchange(session.is_suspect, true)) {
      // Judged again in the next turn: the loop may have slept, and what the peer sent is not yet read.
      wheel_.Set(session.deadline, now_ + std::chrono::milliseconds(1));
      return;
    }
    if (!DoomTo(session, {.end = End::kHeartbeat}, work)) wheel_.Set(session.deadline, now_);
    return;
  }
  Instant ping_at = PingAt(session.last_sent);
  if (now_ >= ping_at) {
    uint8_t payload[proto::kPingBytes];
    proto::StoreBig<uint64_t>(payload, ++session.pings);
    effects_.SendPayload(session, FrameType::kPing, 0, 0, proto::kNilUuid, payload);
    ping_at = PingAt(now_);
  }
  wheel_.Set(session.deadline, is_judged ? std::min(ping_at, dead_at) : ping_at);
}

}  // namespace relay::server

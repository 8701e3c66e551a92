#include "server/relay.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace relay::server {

using proto::Frame;
using proto::FrameType;
using State = Session::State;

namespace {

// What a peer says behind its end is read and thrown away at the pace of small frames.
constexpr size_t kThrownAwayBytesPerWork = 32;

// In the same units: what is answered to a connection that nothing else may be written to, some 13 us.
constexpr uint32_t kWorkOfWelcome = 256;
// And a PING. It takes as long, but a turn has to have many of them: each turn costs beside what it does, and with
// 10,000 idle connections that would be more than the PINGs.
constexpr uint32_t kWorkOfPing = 64;
// As much as send_queue_mark_bytes is handed out.
constexpr uint32_t kWorkOfGoingOn = 256;

// How much work a frame makes, in units of what a small one that is handed on does.
uint32_t WorkOf(const Frame& frame) {
  if (!frame.has_known_type()) return 1;
  switch (frame.type()) {
    case FrameType::kHello:
      return kWorkOfWelcome;
    case FrameType::kJoin:
      return 12;
    case FrameType::kLeave:
    case FrameType::kReset:
    case FrameType::kObserve:
      return 4;
    case FrameType::kStart:
      return 3;
    case FrameType::kWelcome:
    case FrameType::kReceive:
    case FrameType::kChunk:
    case FrameType::kEnd:
    case FrameType::kWindow:
    case FrameType::kPing:
    case FrameType::kPong:
    case FrameType::kGoaway:
    case FrameType::kExtend:
    case FrameType::kMirror:
      return 1;
  }
  return 1;
}

uint32_t WorkOf(Deadline::Of of) {
  switch (of) {
    case Deadline::Of::kRelay:
      return 1;
    case Deadline::Of::kSession:
      return kWorkOfPing;
    case Deadline::Of::kPassedOver:
      return kWorkOfGoingOn;
    case Deadline::Of::kClient:
      return 2;
    case Deadline::Of::kExchange:
      return 8;
  }
  return 1;
}

}  // namespace

Relay::Relay(const Limits& limits, const proto::Uuid& server_id, absl::Time start, const Place& place,
             std::shared_ptr<Totals> totals)
    : limits_(limits),
      server_id_(server_id),
      place_(place),
      totals_(std::move(totals)),
      told_(start),
      now_(InstantOf(start)),
      wheel_(now_),
      effects_(metrics_),
      observers_(limits_, effects_, metrics_, now_),
      exchanges_(limits_, effects_, wheel_, metrics_),
      crossings_(place) {
  exchanges_.set_now(now_);
}

Relay::~Relay() {
  for (auto& [id, session] : sessions_) RemoveClients(session->slots.All());
}

Session* Relay::Find(ConnectionId id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() || found->second->state >= State::kGone ? nullptr : found->second.get();
}

bool Relay::IsOpen(ConnectionId id) const {
  const auto found = sessions_.find(id);
  return found != sessions_.end() && found->second->state == State::kOpen;
}

// ---- Events --------------------------------------------------------------------------------------------------------

ConnectionId Relay::OnOpen(std::string peer, absl::Time now) {
  SetNow(now);
  ++metrics_.connections_opened;
  const ConnectionId id = ++last_id_;
  auto owned = std::make_unique<Session>(id, std::move(peer), place_.core);
  Session& session = *owned;
  session.last_read = now_;
  session.last_sent = now_;
  GrantTokens(session);
  sessions_.emplace(id, std::move(owned));
  if (observers_.any()) observers_.OnOpened(session, now_);
  const uint32_t connections = ++totals_->connections;
  const uint32_t live = ++totals_->live;
  ++unauthenticated_;
  wheel_.Set(session.deadline, now_ + NanosecondsOf(limits_.hello_timeout));
  if (is_draining_) {
    Refuse(session, End::kStopping);
  } else if (is_short_of_memory_) {
    Refuse(session, End::kMemory);
  } else if (connections > 2 * size_t{limits_.max_connections}) {
    Kill(session, End::kMaxConnections);  // so many linger that there is no room for last words
  } else if (live > limits_.max_connections) {
    Refuse(session, End::kMaxConnections);
  } else if (unauthenticated_ > limits_.max_unauthenticated) {
    Refuse(session, End::kMaxUnauthenticated);
  }
  return id;
}

size_t Relay::OnBytes(ConnectionId id, std::span<uint8_t> bytes, absl::Time now, uint32_t& work) {
  SetNow(now);
  Session* const session = Find(id);
  if (session == nullptr) return bytes.size();
  session->last_read = now_;
  session->is_suspect = false;
  RefillTokens(*session);
  session->work_of_errors = 0;
  size_t taken = 0;
  if (session->state == State::kPreface) {
    const std::optional<size_t> preface = TakePreface(*session, bytes);
    if (!preface.has_value()) {
      Refuse(*session, End::kBadPreface);
    } else if (session->state == State::kPreface) {
      return 0;
    } else {
      taken = *preface;
    }
  }
  if (session->is_doomed()) return CarryOutDoom(*session, work) ? bytes.size() : 0;
  while (session->is_live()) {
    if (work <= session->work_of_errors) {
      work = 0;
      ++metrics_.put_off;
      return taken;
    }
    const uint32_t most =
        session->state == State::kOpen
            ? limits_.max_payload_bytes
            : std::min<uint32_t>(limits_.max_payload_bytes, limits_.hello_bytes - uint32_t{proto::kHeaderBytes});
    Frame frame;
    const proto::Decoded decoded = proto::DecodeFrame(bytes.subspan(taken), most, frame);
    if (decoded == proto::Decoded::kNeedMore) {
      work -= session->work_of_errors;
      partial_frames_.Set(*session, bytes.size() - taken, taken > 0);
      if (partial_frames_.total_bytes() > limits_.partial_frame_bytes_total) [[unlikely]]
        CutPartialFrames();
      return taken;
    }
    std::string_view words;
    End end = End::kPayloadTooLarge;
    if (decoded == proto::Decoded::kFrame) {
      // Of several cores: what is of a channel of another one, and a JOIN, which may be.
      const bool is_join = static_cast<FrameType>(frame.bytes()[4]) == FrameType::kJoin;
      if (!place_.is_alone() && (is_join || session->elsewhere != nullptr)) [[unlikely]] {
        if (IsHeldUp(*session, frame)) {
          work = 0;
          return taken;
        }
        if (Cross(*session, frame)) {
          taken += frame.bytes().size();
          --work;
          continue;
        }
      }
      taken += frame.bytes().size();
      work -= std::min(work, WorkOf(frame));
      end = OnFrame(*session, frame, words);
    }
    if (end == End::kNone) continue;
    if (!DoomTo(*session, {.end = end, .has_last_words = true, .words = words}, work)) {
      // The frame is kept, so that the connection is called up again.
      return taken - (decoded == proto::Decoded::kFrame ? frame.bytes().size() : 0);
    }
  }
  if (session->state == State::kLingering) {
    work -= static_cast<uint32_t>(std::min<size_t>(work, (bytes.size() - taken) / kThrownAwayBytesPerWork));
    session->lingered_bytes += bytes.size() - taken;
    if (session->lingered_bytes > limits_.linger_bytes) Finish(*session, session->end, State::kGone);
  }
  return bytes.size();
}

bool Relay::OnInputEnd(ConnectionId id, bool is_broken, absl::Time now, uint32_t& work) {
  SetNow(now);
  Session* const session = Find(id);
  if (session == nullptr) return true;
  if (session->is_doomed() && !CarryOutDoom(*session, work)) return false;
  if (session->state == State::kGone) return true;
  if (session->state == State::kLingering) {
    session->input_ended = true;
    if (is_broken || session->unsent_bytes == 0) Finish(*session, session->end, State::kGone);
  } else if (session->is_leaving && !is_broken) {
    session->input_ended = true;
    // What needs more of it than has come can only be waited for in vain.
    std::vector<Client*> lost;
    for (Client* const client : session->slots.All()) {
      if (client->exchange == nullptr) continue;
      const auto& exchange = static_cast<const Exchange&>(*client->exchange);
      if (exchange.receiver == client || !exchange.request.has_ended) lost.push_back(client);
    }
    RemoveClients(lost);
    TellGuests(*session, {.kind = Crossing::Kind::kInputEnd});
    effects_.Touch(*session);
  } else {
    return DoomTo(*session, {.end = is_broken ? End::kPeerLost : End::kPeerClosed}, work);
  }
  return true;
}

void Relay::OnUnsent(ConnectionId id, size_t bytes, absl::Time now) {
  SetNow(now);
  Session* const session = Find(id);
  if (session == nullptr) return;
  if (bytes < session->unsent_bytes) session->control_frames_owed = 0;  // the peer reads
  // That is the one sign of life that a peer gives whose input has ended.
  if (session->input_ended && (bytes < session->unsent_bytes || session->unsent_bytes == 0)) session->last_read = now_;
  const bool has_drained = bytes < session->unsent_bytes;
  SetUnsent(*session, bytes);
  TellGuests(*session, {.kind = Crossing::Kind::kUnsent, .number = bytes});
  if (session->is_observer && has_drained) observers_.OnDrained(*session, now_);
  if (session->is_live()) {
    exchanges_.SendOwedWindows(*session);
    exchanges_.GoOn(*session);
    if (bytes > limits_.send_queue_bytes || bytes == 0) effects_.Touch(*session);
  } else if (session->input_ended && bytes == 0) {
    Finish(*session, session->end, State::kGone);
  }
  CutSendQueues();
}

void Relay::OnTime(absl::Time now, uint32_t& work) {
  SetNow(now);
  while (work > 0) {
    Deadline* const deadline = wheel_.Expire(now_);
    if (deadline == nullptr) return;
    work -= std::min(work, WorkOf(deadline->of()));
    switch (deadline->of()) {
      case Deadline::Of::kRelay:
        Stop();
        break;
      case Deadline::Of::kSession:
        OnDeadline(*static_cast<Session*>(deadline->owner()), work);
        break;
      case Deadline::Of::kPassedOver:
        exchanges_.GoOn(*static_cast<Session*>(deadline->owner()));
        break;
      case Deadline::Of::kClient:
        exchanges_.WaitOver(*static_cast<Client*>(deadline->owner()));
        break;
      case Deadline::Of::kExchange:
        exchanges_.TimeOver(*static_cast<Exchange*>(deadline->owner()));
        break;
    }
  }
}

void Relay::OnMemoryShort(ConnectionId id, absl::Time now) {
  SetNow(now);
  is_short_of_memory_ = true;
  exchanges_.set_short_of_memory(true);
  Session* const session = Find(id);
  effects_.Note(
      {Notice::Level::kWarning, "memory_short", id, session == nullptr ? "" : session->peer, End::kMemory, ""});
  if (session != nullptr && session->is_live()) Refuse(*session, End::kMemory);
}

void Relay::OnMemoryBack() {
  is_short_of_memory_ = false;
  exchanges_.set_short_of_memory(false);
}

std::vector<Session*> Relay::LiveSessions() const {
  std::vector<Session*> live;
  for (const auto& [id, session] : sessions_) {
    if (session->is_live()) live.push_back(session.get());
  }
  std::sort(live.begin(), live.end(), [](const Session* a, const Session* b) { return a->id < b->id; });
  return live;
}

void Relay::Drain(absl::Time now) {
  SetNow(now);
  is_draining_ = true;
  exchanges_.StopAdmitting();
  wheel_.Set(drain_over_, now_ + NanosecondsOf(limits_.drain_timeout));
  for (Session* const session : LiveSessions()) {
    if (session->state != State::kOpen) {
      Refuse(*session, End::kStopping);
      continue;
    }
    for (Client* const client : session->slots.All()) exchanges_.Drain(*client);
    if (session->guest == nullptr) {
      TellDrain(*session);
    } else {
      TellHomeDrain(*session);
    }
  }
}

void Relay::Stop() {
  const std::vector<Session*> live = LiveSessions();
  for (Session* const session : live) {
    for (Client* const client : session->slots.All()) exchanges_.Stop(*client);
  }
  for (Session* const session : live) Refuse(*session, End::kStopping);
}

// ---- Effects -------------------------------------------------------------------------------------------------------

std::span<const Effect> Relay::TakeEffects() {
  std::vector<Session*>& touched = effects_.touched();
  while (CutFullQueues()) {
  }
  for (size_t i = 0; i < touched.size(); ++i) Settle(*touched[i]);  // may touch others
  if (observers_.any()) MirrorTurn();
  taken_.clear();
  for (Session* const session : touched) {
    if (session->guest != nullptr) {
      TellHome(*session);
      continue;
    }
    const bool shuts = session->state == State::kLingering && !session->was_shut;
    if (shuts) session->was_shut = true;
    if (session->out_bytes > 0) session->last_sent = now_;
    taken_.push_back({session->id, session->out, shuts, session->state == State::kGone,
                      std::exchange(session->reads_on, false), session->home});
  }
  return taken_;
}

void Relay::MirrorTurn() {
  const std::vector<Session*>& touched = effects_.touched();
  for (size_t i = 0; i < touched.size(); ++i) {  // observers are touched by it
    const Session& session = *touched[i];
    observers_.OnWritten(session, now_);
    const bool is_at_an_end = session.state == State::kLingering || session.state == State::kGone;
    if (is_at_an_end && !session.was_shut) observers_.OnEnded(session, now_);
  }
}

void Relay::EndTurn() {
  for (Session* const session : effects_.touched()) {
    if (session->out_bytes > 0 && IsDone(*session)) done_.push_back(session);
  }
  effects_.EndTurn();
  observers_.EndTurn();
  for (Session* const session : done_) effects_.Touch(*session);
  done_.clear();
  for (const Effect& effect : taken_) {
    if (effect.close) --totals_->connections;
    if (effect.close || effect.home != place_.core) sessions_.erase(effect.connection);
  }
  taken_.clear();
  for (const ConnectionId id : gone_guests_) sessions_.erase(id);
  gone_guests_.clear();
  delivered_.clear();
}

std::optional<absl::Time> Relay::next_deadline() const {
  const std::optional<Instant> next = wheel_.next();
  return next.has_value() ? std::optional(TimeOf(*next)) : std::nullopt;
}

std::string Relay::Check() const {
  if (std::string broken = registry_.Check(); !broken.empty()) return broken;
  uint32_t unauthenticated = 0;
  uint32_t clients = 0;
  uint64_t held_bytes = 0;
  size_t unsent_bytes = 0;
  size_t partial_bytes = 0;
  for (const auto& [id, session] : sessions_) {
    if (session->guest == nullptr) unsent_bytes += session->unsent_bytes;
    partial_bytes += session->partial_frame_bytes;
    if (session->is_live() && session->state != State::kOpen) ++unauthenticated;
    if (session->state != State::kOpen && session->slots.size() != 0) return "a connection without WELCOME has clients";
    clients += static_cast<uint32_t>(session->slots.size());
    if (session->slots.size() > limits_.max_clients_per_connection) return "a connection has too many clients";
    size_t busy = 0;
    for (const Client* const client : session->slots.All()) {
      if (client->session != session.get()) return "a client stands on another connection's slot";
      if (registry_.Find(client->channel->id()) != client->channel) return "a client's channel is gone";
      if (client->is_passed_over != client->passed_over_hook.is_linked()) {
        return "a client was passed over, and its connection does not know it";
      }
      if (client->exchange == nullptr) continue;
      ++busy;
      const auto& exchange = static_cast<const Exchange&>(*client->exchange);
      if (exchange.queued_bytes != exchange.held.size()) return "an exchange's held bytes are miscounted";
      for (const Stream& stream : {exchange.request, exchange.response}) {
        if (stream.cost > stream.window) return "a stream has cost more than its window";
      }
      if (exchange.sender == client) held_bytes += exchange.held.size();
      if (exchange.attempt > limits_.attempts) return "a request was handed out too often";
    }
    const bool may_wait = session->unsent_bytes > limits_.send_queue_mark_bytes || session->on_their_way > 0;
    if (!session->passed_over.empty() && !may_wait && !session->goes_on.is_set()) {
      return "clients were passed over, and nothing will call them up";
    }
    if (busy != session->exchanges) return "a connection's exchanges are miscounted";
    for (const OwedWindow& owed : session->owed_windows) {
      const bool is_request = owed.direction == proto::flag::kRequest;
      const Client* const to = is_request ? owed.exchange->sending_client() : owed.exchange->receiving_client();
      if (to == nullptr || to->session != session.get()) return "a WINDOW is owed to who does not write its stream";
    }
  }
  if (unauthenticated != unauthenticated_) return "connections without HELLO are miscounted";
  if (registry_.channel_count() != channels_told_) return "the channels of all cores are miscounted";
  if (clients != clients_) return "the clients of all connections are miscounted";
  if (partial_bytes != partial_frames_.total_bytes()) return "the bytes of all partial frames are miscounted";
  if (partial_bytes > limits_.partial_frame_bytes_total) return "partial frames hold too many bytes";
  if (unsent_bytes != send_queues_.total_bytes()) return "the bytes of all send queues are miscounted";
  if (unsent_bytes > limits_.send_queue_bytes_total) return "the send queues hold too many bytes";
  if (held_bytes != metrics_.held_bytes) return "the held bytes of all exchanges are miscounted";
  if (metrics_.requests_offered != metrics_.requests_accepted + metrics_.requests_refused) {
    return "offered is not accepted and refused";
  }
  if (metrics_.requests_accepted != metrics_.exchanges_live + metrics_.requests_ended) {
    return "accepted is not queued, assigned and ended";
  }
  return "";
}

}  // namespace relay::server

// Several cores: connections that move to the core of their first channel, and what crosses for their other channels.

#include <algorithm>
#include <limits>
#include <utility>

#include "proto/messages.h"
#include "server/relay.h"

namespace relay::server {

using proto::Frame;
using proto::FrameType;
using Kind = Crossing::Kind;
using State = Session::State;

// ---- Before a frame is taken ---------------------------------------------------------------------------------------

bool Relay::IsHeldUp(Session& session, Frame frame) {
  if (session.guest != nullptr || session.state != State::kOpen || !frame.has_known_type()) return false;
  if (frame.type() == FrameType::kJoin) return HoldUpJoin(session, frame);
  if (session.elsewhere == nullptr) return false;
  const auto found = session.elsewhere->slots.find(frame.slot());
  if (found == session.elsewhere->slots.end() || !crossings_.is_full(found->second.core)) return false;
  Wait(session, found->second.core);
  return true;
}

bool Relay::HoldUpJoin(Session& session, Frame frame) {
  v1::Join join;
  std::string_view words;
  if (session.is_observer || !ParseJoin(frame, join, words)) return false;  // a fault, whatever it is
  if (session.elsewhere != nullptr) {
    // Whether the slot is free is known over there, behind all that was said on it before.
    const auto found = session.elsewhere->slots.find(frame.slot());
    if (found == session.elsewhere->slots.end()) return false;
    crossings_.Say(found->second.core, {.kind = Kind::kAskSlot, .slot = frame.slot(), .connection = session.id});
    Wait(session, found->second.core);
    return true;
  }
  const uint32_t owner = place_.OwnerOf(*proto::UuidFromBytes(join.channel_id()));
  if (owner == place_.core || session.slots.size() > 0 || session.is_leaving || is_draining_) return false;
  SetUnsent(session, 0);
  partial_frames_.Set(session, 0, false);
  if (session.out_bytes > 0) session.last_sent = now_;
  session.state = State::kMoved;
  session.home = owner;
  session.due_at = wheel_.When(session.deadline);
  session.deadline.Unset();
  crossings_.SayMoved(session.home, session);
  crossings_.Say(session.home, {.kind = Kind::kMoved, .connection = session.id}, session.peer);
  effects_.Touch(session);
  return true;
}

void Relay::Wait(Session& session, uint32_t core) {
  session.is_waiting = true;
  crossings_.waiting_for(core).push_back(session.id);
}

void Relay::WakeWaiting(uint32_t core) {
  for (const ConnectionId id : std::exchange(crossings_.waiting_for(core), {})) {
    Session* const session = Find(id);
    if (session == nullptr || !std::exchange(session->is_waiting, false)) continue;
    session->reads_on = true;
    effects_.Touch(*session);
  }
}

bool Relay::Waits(ConnectionId id) const {
  const auto found = sessions_.find(id);
  return found != sessions_.end() && (found->second->is_waiting || found->second->state == State::kMoved);
}

// ---- At home -------------------------------------------------------------------------------------------------------

bool Relay::Cross(Session& session, Frame frame) {
  if (session.elsewhere == nullptr || !frame.has_known_type()) return false;
  const auto found = session.elsewhere->slots.find(frame.slot());
  if (found == session.elsewhere->slots.end()) return false;
  if (observers_.any()) observers_.OnRead(session, frame, now_);
  ++metrics_.frames_read;
  session.frame_tokens -= 1;
  CrossTo(found->second.core, session, frame);
  if (const End end = CheckTokens(session); end != End::kNone) Refuse(session, end);
  return true;
}

void Relay::CrossTo(uint32_t core, const Session& session, Frame frame) {
  ++metrics_.frames_crossed;
  crossings_.Say(core, {.kind = Kind::kFrames, .connection = session.id}, frame.bytes());
}

void Relay::CrossToGuests(const Session& session, Frame frame) {
  if (session.elsewhere == nullptr) return;
  for (uint32_t core = 0; core < place_.cores; ++core) {
    if (session.elsewhere->guests[core].is_open) CrossTo(core, session, frame);
  }
}

void Relay::JoinElsewhere(Session& session, Frame frame, uint32_t owner, const proto::Uuid& client,
                          const proto::Uuid& channel) {
  OpenGuest(session, owner);
  session.elsewhere->slots[frame.slot()] = {owner, client, channel};
  CrossTo(owner, session, frame);
}

void Relay::OpenGuest(Session& home, uint32_t core) {
  if (core == place_.core) return;
  if (home.elsewhere == nullptr) {
    home.elsewhere = std::make_unique<Elsewhere>();
    home.elsewhere->guests.resize(place_.cores);
  }
  if (std::exchange(home.elsewhere->guests[core].is_open, true)) return;
  ++home.elsewhere->busy_guests;
  crossings_.Say(core, {.kind = Kind::kOpen, .connection = home.id, .number = home.is_observer ? 1u : 0u}, home.peer);
  if (home.unsent_bytes > 0) {
    crossings_.Say(core, {.kind = Kind::kUnsent, .connection = home.id, .number = home.unsent_bytes});
  }
}

void Relay::TellGuests(const Session& home, const Crossing& crossing) {
  if (home.elsewhere == nullptr) return;
  Crossing to_guest = crossing;
  to_guest.connection = home.id;
  for (uint32_t core = 0; core < place_.cores; ++core) {
    if (home.elsewhere->guests[core].is_open) crossings_.Say(core, to_guest);
  }
}

void Relay::CloseGuests(Session& home, End end) {
  if (home.elsewhere == nullptr) return;
  TellGuests(home, {.kind = Kind::kClose, .end = end});
  for (Elsewhere::Guest& guest : home.elsewhere->guests) guest.is_open = false;
}

void Relay::PingGuests(Session& home, Frame ping) {
  Elsewhere& elsewhere = *home.elsewhere;
  Elsewhere::Ping& asked = elsewhere.pings.emplace_back();
  std::copy(ping.payload().begin(), ping.payload().end(), asked.payload.begin());
  asked.guests = static_cast<uint32_t>(std::count_if(elsewhere.guests.begin(), elsewhere.guests.end(),
                                                     [](const Elsewhere::Guest& guest) { return guest.is_open; }));
  TellGuests(home, {.kind = Kind::kPing, .number = elsewhere.pings_answered + elsewhere.pings.size() - 1});
}

void Relay::OnPong(Session& home, uint64_t number) {
  Elsewhere& elsewhere = *home.elsewhere;
  --elsewhere.pings[number - elsewhere.pings_answered].guests;
  while (!elsewhere.pings.empty() && elsewhere.pings.front().guests == 0) {
    effects_.SendPayload(home, FrameType::kPong, 0, 0, proto::kNilUuid, elsewhere.pings.front().payload);
    elsewhere.pings.pop_front();
    ++elsewhere.pings_answered;
  }
}

void Relay::FreeSlot(Session& home, uint32_t from, uint16_t slot) {
  const auto found = home.elsewhere->slots.find(slot);
  if (found == home.elsewhere->slots.end() || found->second.core != from) return;
  if (limits_.allow_observers) observers_.OnLeft(home.id, slot, found->second.client, found->second.channel);
  home.elsewhere->slots.erase(found);
  WakeWaiting(from);
}

void Relay::TellDrain(Session& home) {
  if (!is_draining_) return;
  if (home.elsewhere != nullptr) {
    const auto still_begins = [](const Elsewhere::Guest& guest) { return guest.is_open && !guest.drains; };
    if (std::any_of(home.elsewhere->guests.begin(), home.elsewhere->guests.end(), still_begins)) return;
  }
  if (!std::exchange(home.is_told_to_go, true)) SendGoaway(home, End::kStopping);
}

size_t Relay::slots_of(const Session& session) const {
  return session.slots.size() + (session.elsewhere == nullptr ? 0 : session.elsewhere->slots.size());
}

// ---- What is heard of another core ---------------------------------------------------------------------------------

void Relay::OnCrossings(uint32_t core, CrossingBatch batch, absl::Time now) {
  SetNow(now);
  CrossingBatch& kept = delivered_.emplace_back(std::move(batch));
  std::span<uint8_t> rest = kept.bytes;
  size_t moved = 0;
  for (const Crossing& crossing : kept.crossings) {
    const std::span<uint8_t> bytes = rest.first(crossing.bytes);
    rest = rest.subspan(crossing.bytes);
    if (crossing.kind == Kind::kMoved) {
      OnMoved(crossing.connection, std::string(bytes.begin(), bytes.end()), kept.moved[moved++]);
    } else {
      OnCrossing(core, crossing, bytes);
    }
  }
}

void Relay::OnCrossing(uint32_t from, const Crossing& crossing, std::span<uint8_t> bytes) {
  Session* const session = Find(crossing.connection);
  switch (crossing.kind) {
    case Kind::kOpen:
      return OnGuestOpened(from, crossing, std::string(bytes.begin(), bytes.end()));
    case Kind::kFrames:
      return OnGuestFrames(from, session, bytes);
    case Kind::kUnsent:
      return OnUnsent(crossing.connection, crossing.number, TimeOf(now_));
    case Kind::kInputEnd:
      return OnInputEnd(crossing.connection, /*is_broken=*/false, TimeOf(now_));
    case Kind::kAskSlot:
      if (session == nullptr || session->slots.Find(crossing.slot) == nullptr) return;
      return crossings_.Say(from, {.kind = Kind::kHeld, .slot = crossing.slot, .connection = session->id});
    case Kind::kPing:
      if (session == nullptr) return;
      TellHome(*session);
      return crossings_.Say(from, {.kind = Kind::kPong, .connection = session->id, .number = crossing.number});
    case Kind::kClose:
      if (session == nullptr) return;
      session->guest->is_closed_at_home = true;
      if (crossing.end == End::kStopping) {
        for (Client* const client : session->slots.All()) exchanges_.Stop(*client);
      }
      return Kill(*session, crossing.end);
    case Kind::kTaken:
      if (crossing.connection == 0) {
        if (crossings_.OnTaken(from, crossing.number)) WakeWaiting(from);
      } else if (session != nullptr) {
        session->on_their_way -= crossing.number;
        exchanges_.GoOnLater(*session);
        if (session->is_observer) observers_.OnDrained(*session, now_);
      }
      return;
    case Kind::kWritten:
    case Kind::kFreed:
    case Kind::kHeld:
    case Kind::kPong:
    case Kind::kDrains:
    case Kind::kIdle:
    case Kind::kRefused:
      if (session != nullptr && session->is_live()) OnToldToHome(from, *session, crossing, bytes);
      return;
    case Kind::kMoved:
      return;
  }
}

void Relay::OnToldToHome(uint32_t from, Session& home, const Crossing& crossing, std::span<const uint8_t> bytes) {
  Elsewhere::Guest& guest = home.elsewhere->guests[from];
  switch (crossing.kind) {
    case Kind::kWritten:
      effects_.Write(home, bytes);
      guest.untold_bytes += bytes.size();
      if (guest.untold_bytes < Crossings::kToldBytes) return;
      return crossings_.Say(
          from, {.kind = Kind::kTaken, .connection = home.id, .number = std::exchange(guest.untold_bytes, 0)});
    case Kind::kFreed:
      return FreeSlot(home, from, crossing.slot);
    case Kind::kHeld:
      ++metrics_.frames_read;  // the JOIN that waited
      return Refuse(home, End::kSlotBound);
    case Kind::kPong:
      return OnPong(home, crossing.number);
    case Kind::kDrains:
      guest.drains = true;
      return TellDrain(home);
    case Kind::kIdle:
      --home.elsewhere->busy_guests;
      return effects_.Touch(home);
    case Kind::kRefused:
      guest.is_open = false;
      if (crossing.end == End::kSendQueue) return Kill(home, crossing.end);
      return Refuse(home, crossing.end, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    default:
      return;
  }
}

// ---- As a guest ----------------------------------------------------------------------------------------------------

void Relay::OnGuestOpened(uint32_t home, const Crossing& crossing, std::string peer) {
  auto owned = std::make_unique<Session>(crossing.connection, std::move(peer), home);
  Session& guest = *owned;
  guest.guest = std::make_unique<GuestRole>();
  guest.state = State::kOpen;
  guest.is_observer = crossing.number != 0;
  GrantTokens(guest);
  guest.frame_tokens = std::numeric_limits<double>::infinity();  // they are counted at home
  sessions_.emplace(guest.id, std::move(owned));
  ++guests_;
  if (guest.is_observer && !observers_.Add(guest)) Refuse(guest, End::kMaxObservers);
  if (is_draining_) TellHomeDrain(guest);
}

void Relay::OnGuestFrames(uint32_t from, Session* guest, std::span<uint8_t> frames) {
  crossings_.Took(from, frames.size());
  if (guest == nullptr) return;
  const uint64_t frames_read = metrics_.frames_read;  // at home, where they are counted
  OnBytes(guest->id, frames, TimeOf(now_));
  metrics_.frames_read = frames_read;
}

void Relay::TellHomes() {
  for (Session* const session : effects_.touched()) {
    if (session->guest == nullptr) continue;
    TellHome(*session);
    Settle(*session);
  }
}

void Relay::TellHome(Session& guest) {
  GuestRole& role = *guest.guest;
  for (const std::span<const uint8_t> slice : guest.out) {
    crossings_.Say(guest.home, {.kind = Kind::kWritten, .connection = guest.id}, slice);
  }
  guest.on_their_way += std::exchange(guest.out_bytes, 0);
  guest.out.clear();
  if (guest.state != State::kGone || std::exchange(role.said_gone, true)) return;
  if (!role.is_closed_at_home) {
    crossings_.Say(guest.home, {.kind = Kind::kRefused, .end = guest.end, .connection = guest.id}, role.last_words);
  }
  gone_guests_.push_back(guest.id);
  --guests_;
}

void Relay::TellHomeDrain(Session& guest) {
  TellHome(guest);  // GOAWAY is behind it
  crossings_.Say(guest.home, {.kind = Kind::kDrains, .connection = guest.id});
  effects_.Touch(guest);
}

void Relay::OnMoved(ConnectionId id, std::string peer, const SessionState& state) {
  auto owned = std::make_unique<Session>(id, std::move(peer), place_.core);
  Session& session = *owned;
  static_cast<SessionState&>(session) = state;
  session.state = State::kOpen;
  sessions_.emplace(id, std::move(owned));
  wheel_.Set(session.deadline, session.due_at);
  if (is_draining_) TellDrain(session);
}

// ---- Counted together ----------------------------------------------------------------------------------------------

void Relay::SetUnsent(Session& session, size_t bytes) {
  if (session.guest == nullptr) {
    send_queues_.Set(session, bytes);
  } else {
    session.unsent_bytes = bytes;
  }
}

void Relay::CountChannels() {
  const auto channels = static_cast<uint32_t>(registry_.channel_count());
  totals_->channels += channels - std::exchange(channels_told_, channels);
}

}  // namespace relay::server

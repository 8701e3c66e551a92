// The frames of a connection: how far the handshake is, who joins and leaves, and where everything else goes.

#include <algorithm>
#include <utility>

#include "proto/channel_name.h"
#include "proto/messages.h"
#include "proto/start_block.h"
#include "server/relay.h"

namespace relay::server {
namespace {

using proto::Frame;
using proto::FrameType;
using State = Session::State;

constexpr size_t kMaxKeyBytes = 64;

// Takes the same time wherever the texts differ.
bool SameSecret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace

std::optional<size_t> Relay::TakePreface(Session& session, std::span<const uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string_view expected = proto::kPreface.substr(0, text.size());
  if (text.substr(0, expected.size()) != expected) return std::nullopt;
  if (expected.size() == proto::kPreface.size()) session.state = State::kHello;
  return expected.size();
}

End Relay::OnFrame(Session& session, Frame frame, std::string_view& words) {
  if (observers_.any()) [[unlikely]]
    observers_.OnRead(session, frame, now_);
  ++metrics_.frames_read;
  session.frame_tokens -= 1;
  if (session.state == State::kHello && (!frame.has_known_type() || frame.type() != FrameType::kHello)) {
    return End::kBeforeHello;
  }
  if (!frame.has_known_type()) {
    ++metrics_.unknown_frames;
    session.control_tokens -= Session::kSaysNothing;
    return CheckTokens(session);
  }
  if (const proto::HeaderFault fault = proto::CheckHeader(frame); fault != proto::HeaderFault::kNone) {
    words = proto::RuleOf(fault);
    return End::kBadHeader;
  }
  End end = End::kNone;
  const uint64_t late_frames = metrics_.late_frames;
  switch (frame.type()) {
    case FrameType::kHello:
      end = OnHello(session, frame);
      break;
    case FrameType::kMirror:
    case FrameType::kWelcome:
      end = End::kServerFrame;
      break;
    case FrameType::kJoin:
      end = OnJoin(session, frame, words);
      break;
    case FrameType::kLeave:
      end = OnLeave(session, frame);
      break;
    case FrameType::kReceive:
      end = exchanges_.OnReceive(session, session.slots.Find(frame.slot()), frame);
      break;
    case FrameType::kStart:
      end = exchanges_.OnStart(session, session.slots.Find(frame.slot()), frame);
      if (end == End::kBadStart) {
        words = proto::RuleOf(proto::CheckStart(frame.payload(), frame.has(proto::flag::kResponse)));
      }
      break;
    case FrameType::kChunk:
      if (frame.payload().empty() && !frame.has(proto::flag::kFin)) session.control_tokens -= Session::kSaysNothing;
      [[fallthrough]];
    case FrameType::kEnd:
      exchanges_.OnBody(session, session.slots.Find(frame.slot()), frame);
      break;
    case FrameType::kWindow:
      end = exchanges_.OnWindow(session.slots.Find(frame.slot()), frame);
      break;
    case FrameType::kReset:
      end = exchanges_.OnReset(session, session.slots.Find(frame.slot()), frame);
      break;
    case FrameType::kExtend:
      session.control_tokens -= Session::kSaysNothing;
      end = exchanges_.OnExtend(session.slots.Find(frame.slot()), frame);
      break;
    case FrameType::kPing:
      end = OnPing(session, frame);
      break;
    case FrameType::kPong:
      session.control_tokens -= Session::kSaysNothing;
      end = frame.payload().size() == proto::kPingBytes ? End::kNone : End::kMalformed;
      break;
    case FrameType::kGoaway:
      end = OnGoaway(session, frame);
      break;
    case FrameType::kObserve:
      end = OnObserve(session, frame, words);
      break;
  }
  if (end != End::kNone || !session.is_live()) return end;
  if (metrics_.late_frames != late_frames) session.control_tokens -= Session::kSaysNothing;
  if (end = CheckTokens(session); end != End::kNone) return end;
  if (session.control_frames_owed > limits_.control_frames_owed) return End::kControlFramesOwed;
  return End::kNone;
}

void Relay::GrantTokens(Session& session) const {
  constexpr double kNoBound = std::numeric_limits<double>::infinity();
  session.tokens_at = now_;
  session.frame_tokens = limits_.frames_per_second == 0 ? kNoBound : limits_.frames_per_second;
  session.reset_tokens = limits_.resets_per_second == 0 ? kNoBound : limits_.reset_burst;
  session.control_tokens = limits_.control_frames_per_second == 0 ? kNoBound : limits_.control_frame_burst;
}

void Relay::RefillTokens(Session& session) {
  // Nearly always all is there.
  if (limits_.frames_per_second == 0 && session.control_tokens >= limits_.control_frame_burst &&
      session.reset_tokens >= limits_.reset_burst) {
    session.tokens_at = now_;
    return;
  }
  const double seconds = std::chrono::duration<double>(now_ - session.tokens_at).count();
  session.tokens_at = now_;
  const double frames = limits_.frames_per_second;
  session.frame_tokens = std::min(std::max(session.frame_tokens, frames), session.frame_tokens + seconds * frames);
  const double most_control = std::max<double>(session.control_tokens, limits_.control_frame_burst);
  session.control_tokens = std::min(most_control, session.control_tokens + seconds * limits_.control_frames_per_second);
  const double most_resets = std::max<double>(session.reset_tokens, limits_.reset_burst);
  session.reset_tokens = std::min(most_resets, session.reset_tokens + seconds * limits_.resets_per_second);
}

End Relay::CheckTokens(const Session& session) {
  if (session.frame_tokens < 0) return End::kFramesPerSecond;
  if (session.control_tokens < 0) return End::kControlFramesPerSecond;
  return session.reset_tokens < 0 ? End::kResetsPerSecond : End::kNone;
}

End Relay::OnHello(Session& session, Frame frame) {
  if (session.state != State::kHello) return End::kSecondHello;
  v1::Hello hello;
  if (!proto::ParseMessage(frame.payload_text(), hello)) return End::kMalformed;
  if (hello.version() != proto::kVersion) return End::kBadVersion;
  if (hello.observer()) {
    if (!limits_.allow_observers) return End::kObserver;
    if (!observers_.Add(session)) return End::kMaxObservers;
    session.is_observer = true;
  }
  session.state = State::kOpen;
  --unauthenticated_;
  v1::Welcome welcome;
  welcome.set_server_id(server_id_.data, proto::kUuidBytes);
  welcome.set_agent("relayd/" RELAY_VERSION);
  welcome.set_max_payload_bytes(limits_.max_payload_bytes);
  welcome.set_initial_window_bytes(limits_.initial_window_bytes);
  welcome.set_max_window_bytes(limits_.max_window_bytes);
  welcome.set_max_clients_per_connection(limits_.max_clients_per_connection);
  welcome.set_max_start_bytes(limits_.max_start_bytes);
  welcome.set_heartbeat_interval_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(limits_.heartbeat_interval)));
  welcome.set_heartbeat_misses(limits_.heartbeat_misses);
  welcome.set_max_attempts(limits_.attempts);
  effects_.Send(session, FrameType::kWelcome, 0, proto::kNilUuid, welcome);
  wheel_.Set(session.deadline, PingAt(now_));
  return End::kNone;
}

bool Relay::ParseJoin(Frame frame, v1::Join& join, std::string_view& words) {
  if (!proto::ParseMessage(frame.payload_text(), join)) return false;
  const std::optional<proto::Uuid> client_id = proto::UuidFromBytes(join.client_id());
  if (!client_id.has_value() || *client_id == proto::kNilUuid || join.channel_id().size() != proto::kUuidBytes) {
    words = "JOIN has a client id, not nil, and a channel id of 16 bytes each";
    return false;
  }
  if (join.key().size() > kMaxKeyBytes) {
    words = "a takeover key has at most 64 bytes";
    return false;
  }
  return true;
}

End Relay::OnJoin(Session& session, Frame frame, std::string_view& words) {
  if (session.is_observer) return End::kObserverRole;
  session.control_tokens -= 1;
  v1::Join& join = join_;
  if (!ParseJoin(frame, join, words)) return End::kMalformed;
  const std::optional<proto::Uuid> client_id = proto::UuidFromBytes(join.client_id());
  const std::optional<proto::Uuid> channel_id = proto::UuidFromBytes(join.channel_id());
  const uint16_t slot = frame.slot();
  const bool is_elsewhere = session.elsewhere != nullptr && session.elsewhere->slots.contains(slot);
  if (is_elsewhere || session.slots.Find(slot) != nullptr) return End::kSlotBound;
  const std::string& name = join.channel_name();
  if (!name.empty() && (!proto::CheckChannelName(name).ok() || proto::ChannelId(name) != *channel_id)) {
    return End::kChannelName;
  }
  const uint32_t owner = place_.OwnerOf(*channel_id);
  End refusal = End::kNone;
  registry::Channel* const channel = registry_.Find(*channel_id);
  registry::Client* const live = channel == nullptr ? nullptr : channel->FindClient(*client_id);
  if (session.is_leaving) {
    refusal = End::kConnectionLeaving;
  } else if (is_draining_) {
    refusal = End::kStopping;
  } else if (is_short_of_memory_) {
    refusal = End::kMemory;
  } else if (live != nullptr &&
             (join.key().empty() || !SameSecret(join.key(), static_cast<Client*>(live)->takeover_key))) {
    refusal = End::kClientLive;
  } else if (slots_of(session) >= limits_.max_clients_per_connection) {
    refusal = End::kClientLimit;
  } else if (owner != place_.core) {
    // Whether the client is live, or one too many, is known there.
    JoinElsewhere(session, frame, owner, *client_id, *channel_id);
    return End::kNone;
  } else if (live == nullptr && totals_->clients >= limits_.max_clients) {
    refusal = End::kMaxClients;
  } else if (channel == nullptr && totals_->channels >= limits_.max_channels) {
    refusal = End::kChannelLimit;
  }
  if (refusal != End::kNone) {
    RefuseJoin(session, slot, *client_id, refusal);
    return End::kNone;
  }
  if (live != nullptr) {
    auto& older = static_cast<Client&>(*live);
    metrics_.Count(End::kTakenOver);
    effects_.Send(*older.session, FrameType::kLeave, older.slot, older.id, StatusOf(End::kTakenOver));
    RemoveClient(older);
  }
  auto client = std::make_unique<Client>(session, slot);
  client->id = *client_id;
  client->takeover_key = join.key();
  registry_.Open(*channel_id).AddClient(*client);
  session.slots.Add(std::move(client));
  ++clients_;
  ++totals_->clients;
  CountChannels();
  return End::kNone;
}

void Relay::RefuseJoin(Session& session, uint16_t slot, const proto::Uuid& client, End refusal) {
  metrics_.Count(refusal);
  if (!IsFaultless(refusal)) session.DrawError();  // JOIN has counted by itself
  Effects::CountOwed(session);
  effects_.Send(session, FrameType::kLeave, slot, client, StatusOf(refusal));
  if (session.guest != nullptr) {
    crossings_.Say(session.home, {.kind = Crossing::Kind::kFreed, .slot = slot, .connection = session.id});
  }
}

End Relay::OnLeave(Session& session, Frame frame) {
  session.control_tokens -= 1;
  Client* const client = session.slots.Find(frame.slot());
  if (client == nullptr || client->id != frame.id()) {
    ++metrics_.late_frames;
    return End::kNone;
  }
  v1::Status status;
  if (!proto::ParseMessage(frame.payload_text(), status)) return End::kMalformed;
  metrics_.Count(End::kLeft);
  RemoveClient(*client);
  Effects::CountOwed(session);
  effects_.Send(session, FrameType::kLeave, frame.slot(), frame.id(), StatusOf(End::kLeft));
  return End::kNone;
}

End Relay::OnPing(Session& session, Frame frame) {
  session.control_tokens -= 1;
  if (frame.payload().size() != proto::kPingBytes) return End::kMalformed;
  Effects::CountOwed(session);
  if (session.elsewhere != nullptr) {
    PingGuests(session, frame);
  } else {
    effects_.SendPayload(session, FrameType::kPong, 0, 0, proto::kNilUuid, frame.payload());
  }
  return End::kNone;
}

End Relay::OnGoaway(Session& session, Frame frame) {
  v1::Status status;
  if (!proto::ParseMessage(frame.payload_text(), status)) return End::kMalformed;
  if (session.is_leaving) return End::kNone;
  session.is_leaving = true;
  if (session.is_observer) observers_.Remove(session);
  StopWaiting(session);
  CrossToGuests(session, frame);
  effects_.Touch(session);
  return End::kNone;
}

End Relay::OnObserve(Session& session, Frame frame, std::string_view& words) {
  if (!session.is_observer) return End::kObserverRole;
  session.control_tokens -= 1;
  v1::Observe observe;
  if (!proto::ParseMessage(frame.payload_text(), observe)) return End::kMalformed;
  MirrorFilter filter;
  for (const auto& [bytes, id] :
       {std::pair(&observe.channel_id(), &filter.channel), std::pair(&observe.client_id(), &filter.client),
        std::pair(&observe.request_id(), &filter.request)}) {
    *id = proto::UuidFromBytes(*bytes);
    if (bytes->empty() || id->has_value()) continue;
    words = "the ids of OBSERVE have 16 bytes each, or none";
    return End::kMalformed;
  }
  constexpr uint32_t kBesideBytes = proto::kMirrorBlockBytes + proto::kHeaderBytes;
  filter.snap_bytes = std::min(observe.snap_bytes(), limits_.max_payload_bytes - kBesideBytes);
  if (session.is_leaving) return End::kNone;
  observers_.Observe(session, filter);
  if (session.guest == nullptr) {
    for (uint32_t core = 0; core < place_.cores; ++core) OpenGuest(session, core);
    CrossToGuests(session, frame);
  }
  return End::kNone;
}

}  // namespace relay::server

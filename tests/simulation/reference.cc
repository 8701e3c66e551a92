// Connections: the handshake, joins, heartbeats, ends.

#include "simulation/reference.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "proto/channel_name.h"

namespace relay::simulation {

using proto::Frame;
using proto::FrameType;
using proto::kNilUuid;

Reference::Peer* Reference::Find(ConnectionId id) {
  const auto found = peers_.find(id);
  return found == peers_.end() || found->second.state == State::kGone ? nullptr : &found->second;
}

Reference::Slot* Reference::FindSlot(Peer& peer, uint16_t number) {
  const auto found = peer.slots.find(number);
  return found == peer.slots.end() ? nullptr : &found->second;
}

uint32_t Reference::CountLive(bool unauthenticated) const {
  return static_cast<uint32_t>(std::count_if(peers_.begin(), peers_.end(), [&](const auto& at) {
    return at.second.is_live() && (!unauthenticated || at.second.state != State::kOpen);
  }));
}

// ---- Events --------------------------------------------------------------------------------------------------------

void Reference::OnOpen(ConnectionId id, absl::Time now) {
  now_ = now;
  ++metrics_.connections_opened;
  if (peers_.contains(id)) Broken("a connection's number is used again");
  Peer& peer = peers_[id];
  peer.id = id;
  ShowWords(proto::MirrorKind::kOpened, peer, "simulated");
  peer.last_read = peer.last_sent = peer.tokens_at = now;
  constexpr double kNoBound = std::numeric_limits<double>::infinity();
  peer.frame_tokens = limits_.frames_per_second == 0 ? kNoBound : limits_.frames_per_second;
  peer.reset_tokens = limits_.resets_per_second == 0 ? kNoBound : limits_.reset_burst;
  peer.control_tokens = limits_.control_frames_per_second == 0 ? kNoBound : limits_.control_frame_burst;
  Set(peer.timer, now + limits_.hello_timeout);
  if (is_draining_) {
    Refuse(peer, End::kStopping);
  } else if (is_short_of_memory_) {
    Refuse(peer, End::kMemory);
  } else if (peers_.size() > 2 * size_t{limits_.max_connections}) {
    Kill(peer, End::kMaxConnections);
  } else if (CountLive(false) > limits_.max_connections) {
    Refuse(peer, End::kMaxConnections);
  } else if (CountLive(true) > limits_.max_unauthenticated) {
    Refuse(peer, End::kMaxUnauthenticated);
  }
}

size_t Reference::OnBytes(ConnectionId id, std::span<uint8_t> bytes, absl::Time now, bool is_all) {
  now_ = now;
  Peer* const peer = Find(id);
  if (peer == nullptr) return bytes.size();
  peer->last_read = now;
  peer->is_suspect = false;
  RefillTokens(*peer);
  size_t taken = 0;
  if (peer->state == State::kPreface) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::string_view expected = proto::kPreface.substr(0, text.size());
    if (!text.starts_with(expected)) {
      Refuse(*peer, End::kBadPreface);
    } else if (expected.size() < proto::kPreface.size()) {
      return 0;
    } else {
      peer->state = State::kHello;
      taken = proto::kPreface.size();
    }
  }
  while (peer->is_live()) {
    uint32_t most = limits_.max_payload_bytes;
    if (peer->state != State::kOpen) {
      most = std::min(most, limits_.hello_bytes - static_cast<uint32_t>(proto::kHeaderBytes));
    }
    Frame frame;
    const proto::Decoded decoded = proto::DecodeFrame(bytes.subspan(taken), most, frame);
    if (decoded == proto::Decoded::kNeedMore) {
      if (is_all) SetPartial(*peer, bytes.size() - taken, taken > 0);
      return taken;
    }
    End end = End::kPayloadTooLarge;
    if (decoded == proto::Decoded::kFrame) {
      taken += frame.bytes().size();
      end = OnFrame(*peer, frame);
    }
    if (end != End::kNone) Refuse(*peer, end);
  }
  if (peer->state == State::kLingering) {
    peer->lingered += bytes.size() - taken;
    if (peer->lingered > limits_.linger_bytes) Finish(*peer, peer->end, State::kGone);
  }
  return bytes.size();
}

void Reference::OnInputEnd(ConnectionId id, bool is_broken, absl::Time now) {
  now_ = now;
  Peer* const peer = Find(id);
  if (peer == nullptr) return;
  if (peer->state == State::kLingering) {
    peer->input_ended = true;
    if (is_broken || peer->unsent == 0) Finish(*peer, peer->end, State::kGone);
    return;
  }
  if (is_broken || !peer->is_leaving) return Kill(*peer, is_broken ? End::kPeerLost : End::kPeerClosed);
  peer->input_ended = true;
  // Their streams need more of it than has come.
  std::vector<Slot*> lost = SlotsOf(*peer);
  std::erase_if(lost, [](const Slot* slot) {
    return slot->doing != Doing::kReceiving && (slot->doing != Doing::kSending || slot->request->request.has_ended);
  });
  RemoveSlots(lost);
}

void Reference::OnUnsent(ConnectionId id, size_t bytes, absl::Time now) {
  now_ = now;
  Peer* const peer = Find(id);
  if (peer == nullptr) return;
  const bool reads = bytes < peer->unsent;
  if (reads) peer->owed = 0;
  if (peer->input_ended && (reads || peer->unsent == 0)) peer->last_read = now;
  SetUnsent(*peer, bytes);
  if (reads && peer->wanted.has_value() && !peer->is_leaving) Mirror(*peer, proto::MirrorKind::kLost, 0, "", {});
  if (peer->is_live()) {
    SendOwedWindows(*peer);
    for (auto& [core, share] : peer->shares) GoOn(*peer, share);
  } else if (peer->input_ended && bytes == 0) {
    Finish(*peer, peer->end, State::kGone);
  }
  CutSendQueues();
}

void Reference::SetUnsent(Peer& peer, size_t bytes) {
  if (std::bit_width(bytes) != std::bit_width(peer.unsent)) peer.unsent_since = ++queues_grown_;
  peer.unsent = bytes;
}

// The frames that are not whole hold so much together; who has been at one for the longest ends.
void Reference::SetPartial(Peer& peer, size_t bytes, bool is_new) {
  if (is_new || peer.partial == 0) peer.partial_since = ++partials_begun_;
  peer.partial = bytes;
  for (;;) {
    size_t total = 0;
    Peer* oldest = nullptr;
    for (auto& [id, other] : peers_) {
      total += other.partial;
      if (other.partial > 0 && (oldest == nullptr || other.partial_since < oldest->partial_since)) oldest = &other;
    }
    if (total <= limits_.partial_frame_bytes_total) return;
    Kill(*oldest, End::kPartialFrameBytesTotal);
  }
}

// Of those whose queue is the largest, but for a factor of two, the one where it has been so for the longest.
void Reference::CutSendQueues() {
  for (;;) {
    size_t total = 0;
    Peer* largest = nullptr;
    for (auto& [id, peer] : peers_) {
      total += peer.unsent;
      const auto rank = [](const Peer& p) {
        return std::pair(-static_cast<int>(std::bit_width(p.unsent)), p.unsent_since);
      };
      if (largest == nullptr || rank(peer) < rank(*largest)) largest = &peer;
    }
    if (total <= limits_.send_queue_bytes_total) return;
    if (largest->is_live()) {
      Kill(*largest, End::kSendQueueBytesTotal);
    } else {
      Finish(*largest, largest->end, State::kGone);
    }
  }
}

void Reference::Drain(absl::Time now) {
  now_ = now;
  is_draining_ = true;
  Set(drain_over_, now + limits_.drain_timeout);
  for (auto& [id, peer] : peers_) {
    if (!peer.is_live()) continue;
    if (peer.state != State::kOpen) {
      Refuse(peer, End::kStopping);
      continue;
    }
    for (auto& [number, slot] : peer.slots) {
      if (slot.doing == Doing::kWaiting) StopWaiting(slot);
      if (slot.request != nullptr && slot.request->receiver == nullptr) ResetBoth(*slot.request, End::kStopping);
    }
    Write(peer, StatusFrame(FrameType::kGoaway, 0, kNilUuid, End::kStopping));
  }
}

void Reference::OnMemoryShort(ConnectionId id, absl::Time now) {
  now_ = now;
  is_short_of_memory_ = true;
  Peer* const peer = Find(id);
  if (peer != nullptr && peer->is_live()) Refuse(*peer, End::kMemory);
}

void Reference::Stop() {
  for (auto& [id, peer] : peers_) {
    for (auto& [number, slot] : peer.slots) {
      if (slot.request != nullptr) ResetBoth(*slot.request, End::kStopping);
    }
  }
  for (auto& [id, peer] : peers_) {
    if (peer.is_live()) Refuse(peer, End::kStopping);
  }
}

// ---- Frames --------------------------------------------------------------------------------------------------------

End Reference::OnFrame(Peer& peer, const Frame& frame) {
  ShowRead(peer, frame);
  ++metrics_.frames_read;
  peer.frame_tokens -= 1;
  const bool is_known = frame.has_known_type();
  if (peer.state == State::kHello && (!is_known || frame.type() != FrameType::kHello)) return End::kBeforeHello;
  if (!is_known) {
    ++metrics_.unknown_frames;
    peer.control_tokens -= kSaysNothing;
    return CheckTokens(peer);
  }
  if (!HasGoodHeader(frame)) return End::kBadHeader;
  Slot* const slot = FindSlot(peer, frame.slot());
  const uint64_t late_before = metrics_.late_frames;
  End end = End::kNone;
  switch (frame.type()) {
    case FrameType::kHello:
      end = OnHello(peer, frame);
      break;
    case FrameType::kWelcome:
    case FrameType::kMirror:
      end = End::kServerFrame;
      break;
    case FrameType::kObserve:
      end = OnObserve(peer, frame);
      break;
    case FrameType::kJoin:
      peer.control_tokens -= kWhole;
      end = peer.is_observer ? End::kObserverRole : OnJoin(peer, frame);
      break;
    case FrameType::kLeave:
      peer.control_tokens -= kWhole;
      end = OnLeave(peer, frame);
      break;
    case FrameType::kReceive:
      end = OnReceive(peer, slot, frame);
      break;
    case FrameType::kStart:
      end = OnStart(peer, slot, frame);
      break;
    case FrameType::kChunk:
      if (frame.payload().empty() && !frame.has(proto::flag::kFin)) peer.control_tokens -= kSaysNothing;
      [[fallthrough]];
    case FrameType::kEnd:
      OnBody(peer, slot, frame);
      break;
    case FrameType::kWindow:
      end = OnWindow(slot, frame);
      break;
    case FrameType::kReset:
      end = OnReset(peer, slot, frame);
      break;
    case FrameType::kExtend:
      peer.control_tokens -= kSaysNothing;
      end = OnExtend(slot, frame);
      break;
    case FrameType::kPing:
      peer.control_tokens -= kWhole;
      if (frame.payload().size() != proto::kPingBytes) return End::kMalformed;
      CountOwed(peer);
      Write(peer, {Header(FrameType::kPong, 0, 0, kNilUuid, frame.payload_text()), {}});
      break;
    case FrameType::kPong:
      peer.control_tokens -= kSaysNothing;
      if (frame.payload().size() != proto::kPingBytes) return End::kMalformed;
      break;
    case FrameType::kGoaway:
      end = OnGoaway(peer, frame);
      break;
  }
  if (metrics_.late_frames != late_before) peer.control_tokens -= kSaysNothing;
  if (end == End::kNone && peer.is_live()) end = CheckTokens(peer);
  if (end == End::kNone && peer.owed > limits_.control_frames_owed) end = End::kControlFramesOwed;
  return end;
}

void Reference::RefillTokens(Peer& peer) {
  const double seconds = absl::ToDoubleSeconds(now_ - peer.tokens_at);
  peer.tokens_at = now_;
  const auto refill = [&](double& tokens, double rate, double most) {
    tokens = std::min(std::max(tokens, most), tokens + seconds * rate);
  };
  refill(peer.frame_tokens, limits_.frames_per_second, limits_.frames_per_second);
  refill(peer.control_tokens, limits_.control_frames_per_second, limits_.control_frame_burst);
  refill(peer.reset_tokens, limits_.resets_per_second, limits_.reset_burst);
}

End Reference::CheckTokens(const Peer& peer) const {
  if (peer.frame_tokens < 0) return End::kFramesPerSecond;
  if (peer.control_tokens < 0) return End::kControlFramesPerSecond;
  return peer.reset_tokens < 0 ? End::kResetsPerSecond : End::kNone;
}

End Reference::OnHello(Peer& peer, const Frame& frame) {
  if (peer.state == State::kOpen) return End::kSecondHello;
  v1::Hello hello;
  if (!proto::ParseMessage(frame.payload_text(), hello)) return End::kMalformed;
  if (hello.version() != proto::kVersion) return End::kBadVersion;
  if (hello.observer()) {
    if (!limits_.allow_observers) return End::kObserver;
    const auto observers = std::count_if(peers_.begin(), peers_.end(), [](const auto& at) {
      return at.second.is_observer && at.second.is_live() && !at.second.is_leaving;
    });
    if (static_cast<uint32_t>(observers) >= limits_.max_observers) return End::kMaxObservers;
    peer.is_observer = true;
  }
  peer.state = State::kOpen;
  Write(peer, {Header(FrameType::kWelcome, 0, 0, kNilUuid), {}});
  Set(peer.timer, PingAt(now_));
  return End::kNone;
}

End Reference::OnJoin(Peer& peer, const Frame& frame) {
  v1::Join join;
  if (!proto::ParseMessage(frame.payload_text(), join)) return End::kMalformed;
  const auto client = proto::UuidFromBytes(join.client_id());
  const auto channel = proto::UuidFromBytes(join.channel_id());
  if (!client.has_value() || *client == kNilUuid || !channel.has_value()) return End::kMalformed;
  if (join.key().size() > 64) return End::kMalformed;
  if (peer.slots.contains(frame.slot())) return End::kSlotBound;
  const std::string& name = join.channel_name();
  if (!name.empty() && (!proto::CheckChannelName(name).ok() || proto::ChannelId(name) != *channel)) {
    return End::kChannelName;
  }
  Slot* const live = FindClient(*channel, *client);
  End refusal = End::kNone;
  if (peer.is_leaving) {
    refusal = End::kConnectionLeaving;
  } else if (is_draining_) {
    refusal = End::kStopping;
  } else if (is_short_of_memory_) {
    refusal = End::kMemory;
  } else if (live != nullptr && (join.key().empty() || join.key() != live->key)) {
    refusal = End::kClientLive;
  } else if (peer.slots.size() >= limits_.max_clients_per_connection) {
    refusal = End::kClientLimit;
  } else if (live == nullptr && CountClients() >= limits_.max_clients) {
    refusal = End::kMaxClients;
  } else if (!HasClients(*channel) && CountChannels() >= limits_.max_channels) {
    refusal = End::kChannelLimit;
  }
  if (refusal != End::kNone) {
    metrics_.Count(refusal);
    if (!IsNobodysFault(refusal)) peer.reset_tokens -= 1;
    CountOwed(peer);
    Write(peer, StatusFrame(FrameType::kLeave, frame.slot(), *client, refusal));
    return End::kNone;
  }
  if (live != nullptr) {
    metrics_.Count(End::kTakenOver);
    Write(*live->peer, StatusFrame(FrameType::kLeave, live->number, *client, End::kTakenOver));
    RemoveSlot(*live);
  }
  Slot& slot = peer.slots[frame.slot()];
  slot.peer = &peer;
  slot.number = frame.slot();
  slot.client = *client;
  slot.channel = *channel;
  slot.key = join.key();
  return End::kNone;
}

End Reference::OnLeave(Peer& peer, const Frame& frame) {
  Slot* const slot = FindSlot(peer, frame.slot());
  if (slot == nullptr || slot->client != frame.id()) {
    ++metrics_.late_frames;
    return End::kNone;
  }
  v1::Status status;
  if (!proto::ParseMessage(frame.payload_text(), status)) return End::kMalformed;
  metrics_.Count(End::kLeft);
  RemoveSlot(*slot);
  CountOwed(peer);
  Write(peer, StatusFrame(FrameType::kLeave, frame.slot(), frame.id(), End::kLeft));
  return End::kNone;
}

End Reference::OnGoaway(Peer& peer, const Frame& frame) {
  v1::Status status;
  if (!proto::ParseMessage(frame.payload_text(), status)) return End::kMalformed;
  peer.is_leaving = true;
  for (auto& [number, slot] : peer.slots) {
    if (slot.doing == Doing::kWaiting) StopWaiting(slot);
  }
  return End::kNone;
}

// ---- Ends ----------------------------------------------------------------------------------------------------------

void Reference::RemoveSlot(Slot& slot) {
  NoteLeft(slot);
  Abandon(slot);
  HandOutGivenBack();
  const proto::Uuid channel = slot.channel;
  slot.peer->slots.erase(uint16_t{slot.number});
  if (!HasClients(channel)) paces_.erase(channel);
}

std::vector<Reference::Slot*> Reference::SlotsOf(Peer& peer) {
  std::vector<Slot*> slots;
  for (auto& [number, slot] : peer.slots) slots.push_back(&slot);
  return slots;
}

void Reference::RemoveSlots(const std::vector<Slot*>& leaving) {
  // Nothing that is given back goes to somebody who dies in the same moment, or comes from one.
  for (const Doing last : {Doing::kWaiting, Doing::kSending, Doing::kReceiving}) {
    for (Slot* const slot : leaving) {
      if (slot->doing == last) Abandon(*slot);
    }
  }
  HandOutGivenBack();
  for (const Slot* const slot : leaving) {
    NoteLeft(*slot);
    const proto::Uuid channel = slot->channel;
    slot->peer->slots.erase(uint16_t{slot->number});
    if (!HasClients(channel)) paces_.erase(channel);
  }
}

void Reference::Refuse(Peer& peer, End end) {
  RemoveSlots(SlotsOf(peer));
  Write(peer, StatusFrame(FrameType::kGoaway, 0, kNilUuid, end));
  Finish(peer, end, State::kLingering);
}

void Reference::Kill(Peer& peer, End end) {
  RemoveSlots(SlotsOf(peer));
  Finish(peer, end, State::kGone);
}

void Reference::Finish(Peer& peer, End end, State state) {
  if (peer.is_live()) metrics_.Count(end);
  peer.end = end;
  peer.state = state;
  peer.timer.is_set = false;
  if (state == State::kLingering) Set(peer.timer, now_ + limits_.linger_time);
  if (state == State::kGone) SetUnsent(peer, 0);
  peer.partial = 0;
}

bool Reference::IsDone(const Peer& peer) const {
  if (!peer.is_live() || (!peer.is_leaving && !is_draining_) || peer.unsent != 0) return false;
  return std::none_of(peer.slots.begin(), peer.slots.end(), [](const auto& at) { return at.second.request; });
}

}  // namespace relay::simulation

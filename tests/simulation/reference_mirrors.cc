// Observers: which frames each is shown, and how much of them. What there was no room for is lost, told and nobody
// else's concern. The order in which a turn's connections are shown is the relay's own.

#include <algorithm>

#include "simulation/reference.h"

namespace relay::simulation {

using proto::Frame;
using proto::FrameType;
using proto::kNilUuid;
using proto::MirrorKind;

namespace {

// What may be seen of a message: all but its secret; nothing where it holds what the message has no place for.
template <typename Message>
std::string WithoutSecret(std::string_view payload, std::string* (Message::*secret_of)()) {
  Message message;
  if (!proto::ParseMessage(payload, message)) return "";
  message.DiscardUnknownFields();
  if (message.SerializeAsString() != payload) return "";
  const std::string secret = *(message.*secret_of)();
  std::string shown(payload);
  if (!secret.empty()) shown.replace(shown.rfind(secret), secret.size(), secret.size(), '\0');
  return shown;
}

std::string_view TextOf(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

End Reference::OnObserve(Peer& peer, const Frame& frame) {
  if (!peer.is_observer) return End::kObserverRole;
  peer.control_tokens -= kWhole;
  v1::Observe observe;
  if (!proto::ParseMessage(frame.payload_text(), observe)) return End::kMalformed;
  for (const std::string& id : {observe.channel_id(), observe.client_id(), observe.request_id()}) {
    if (!id.empty() && id.size() != proto::kUuidBytes) return End::kMalformed;
  }
  constexpr size_t kBesideBytes = 56 + 24;  // the block and the header of what is shown
  const size_t snap_bytes = std::min<size_t>(observe.snap_bytes(), limits_.max_payload_bytes - kBesideBytes);
  peer.wanted = {proto::UuidFromBytes(observe.channel_id()), proto::UuidFromBytes(observe.client_id()),
                 proto::UuidFromBytes(observe.request_id()), snap_bytes};
  return End::kNone;
}

void Reference::ShowRead(const Peer& from, const Frame& frame) {
  std::string payload;
  std::optional<Who> who = WhoIsOn(from, frame.slot());
  if (frame.has_known_type() && frame.type() == FrameType::kHello) {
    payload = WithoutSecret<v1::Hello>(frame.payload_text(), &v1::Hello::mutable_token);
  } else if (frame.has_known_type() && frame.type() == FrameType::kJoin) {
    payload = WithoutSecret<v1::Join>(frame.payload_text(), &v1::Join::mutable_key);
    v1::Join join;
    who.reset();
    if (proto::ParseMessage(frame.payload_text(), join)) {
      const auto channel = proto::UuidFromBytes(join.channel_id());
      const auto client = proto::UuidFromBytes(join.client_id());
      if (channel.has_value() && client.has_value()) who = {*channel, *client};
    }
  } else if (frame.has_known_type()) {
    payload = frame.payload_text();
  }
  ShowFrame(MirrorKind::kRead, from, TextOf(frame.bytes()).substr(0, proto::kHeaderBytes), payload, who);
}

void Reference::ShowTurn(const std::vector<Output>& outputs) {
  for (const Output& output : outputs) {
    const auto peer = peers_.find(output.connection);
    if (peer == peers_.end()) continue;
    for (const Frame& frame : output.frames) {
      ShowFrame(MirrorKind::kWritten, peer->second, TextOf(frame.bytes()).substr(0, proto::kHeaderBytes),
                frame.payload_text(), WhoIsOn(peer->second, frame.slot()));
    }
    const bool has_ended = !peer->second.is_live() && !peer->second.was_shut;
    if (has_ended) ShowWords(MirrorKind::kEnded, peer->second, server::InfoOf(peer->second.end).name);
  }
}

void Reference::ShowFrame(MirrorKind kind, const Peer& of, std::string_view header, std::string_view payload,
                          const std::optional<Who>& who) {
  if (of.is_observer) return;
  for (auto& [id, peer] : peers_) {
    if (!peer.wanted.has_value() || peer.is_leaving || !Wants(*peer.wanted, header, who)) continue;
    std::string shown(header);
    shown += payload.substr(0, peer.wanted->snap_bytes);
    Mirror(peer, kind, of.id, shown, who.value_or(Who()));
  }
}

void Reference::ShowWords(MirrorKind kind, const Peer& of, std::string_view words) {
  if (of.is_observer) return;
  for (auto& [id, peer] : peers_) {
    if (!peer.wanted.has_value() || peer.is_leaving) continue;
    const bool wants_all =
        !peer.wanted->channel.has_value() && !peer.wanted->client.has_value() && !peer.wanted->request.has_value();
    if (wants_all) Mirror(peer, kind, of.id, words, {});
  }
}

void Reference::Mirror(Peer& to, MirrorKind kind, ConnectionId of, std::string_view shown, const Who& who) {
  std::string payload(proto::kMirrorBlockBytes, '\0');
  const auto time_us = static_cast<uint64_t>(absl::ToInt64Microseconds(now_ - start_));
  proto::MirrorBlock({reinterpret_cast<uint8_t*>(payload.data()), payload.size()})
      .Write(of, time_us, 0, kind, who.channel, who.client);
  payload += shown;
  const size_t most = std::min(limits_.observer_queue_bytes, limits_.send_queue_bytes / 2);
  Expected frame = {Header(FrameType::kMirror, 0, 0, kNilUuid, payload), {}};
  frame.room = most - std::min(most, to.unsent);
  Write(to, std::move(frame));
}

void Reference::LoseMirrors(const std::vector<Output>& outputs) {
  for (auto& at : peers_) {
    Peer& peer = at.second;
    if (!peer.is_observer) continue;
    std::vector<Expected> frames;
    frames.swap(peer.out);
    for (Expected& frame : frames) {
      if (frame.room.has_value() && !TakesMirror(peer, frame, BytesSoFar(peer, OutputOf(peer, outputs)))) continue;
      peer.out.push_back(std::move(frame));
    }
  }
}

bool Reference::TakesMirror(Peer& to, Expected& mirror, size_t bytes_before) {
  uint8_t* const block = reinterpret_cast<uint8_t*>(&mirror.bytes[proto::kHeaderBytes]);
  const bool has_room = bytes_before + mirror.bytes.size() <= *mirror.room;
  mirror.room.reset();
  if (block[20] == static_cast<uint8_t>(MirrorKind::kLost)) {
    if (!has_room || to.lost == 0) return false;
  } else if (!has_room) {
    ++to.lost;
    ++metrics_.mirrors_lost;
    return false;
  }
  ++metrics_.frames_mirrored;
  proto::StoreBig<uint32_t>(block + 16, static_cast<uint32_t>(std::exchange(to.lost, 0)));
  return true;
}

bool Reference::Wants(const Wanted& wanted, std::string_view header, const std::optional<Who>& who) {
  const std::string_view id = header.substr(8);
  const bool is_leave = header[4] == static_cast<char>(FrameType::kLeave);  // its id is a client's
  if (wanted.request.has_value() && (is_leave || id != proto::BytesOf(*wanted.request))) return false;
  if (wanted.channel.has_value() && !(who.has_value() && who->channel == *wanted.channel)) return false;
  if (!wanted.client.has_value()) return true;
  return is_leave ? id == proto::BytesOf(*wanted.client) : who.has_value() && who->client == *wanted.client;
}

std::optional<Reference::Who> Reference::WhoIsOn(const Peer& peer, uint16_t slot) const {
  if (const auto now = peer.slots.find(slot); now != peer.slots.end())
    return Who{now->second.channel, now->second.client};
  const auto before = left_.find({peer.id, slot});
  return before == left_.end() ? std::nullopt : std::optional(before->second);
}

}  // namespace relay::simulation

// The wild ones: they know the words of the protocol and say them as they please.

#include <algorithm>
#include <array>
#include <iterator>

#include "proto/channel_name.h"
#include "proto/messages.h"
#include "proto/start_block.h"
#include "simulation/world.h"

namespace relay::simulation {

using proto::FrameType;
using proto::kNilUuid;
namespace flag = proto::flag;

void World::ConnectWild(Link& link) {
  link.observes = link.is_onlooker || random_.OneIn(20);
  link.up = proto::kPreface;
  if (random_.OneIn(20)) link.up[random_.Below(link.up.size())] = 'X';
  if (random_.OneIn(20)) return;  // and says nothing more for now
  if (random_.OneIn(30)) {
    // Too early, whether it is known or not.
    const auto type = random_.OneIn(2) ? static_cast<FrameType>(99) : FrameType::kPing;
    proto::AppendFrame(link.up, type, 0, 0, kNilUuid, std::string(proto::kPingBytes, 'p'));
  }
  v1::Hello hello;
  hello.set_version(random_.OneIn(20) ? 2 : proto::kVersion);
  hello.set_observer(link.observes);
  if (random_.OneIn(2)) hello.set_token("token");
  if (random_.OneIn(20)) hello.set_agent(std::string(5000, 'x'));
  proto::AppendMessage(link.up, FrameType::kHello, 0, 0, kNilUuid, hello);
  if (link.observes && random_.OneIn(2)) Observe(link);
}

void World::Observe(Link& link) {
  proto::AppendFrame(link.up, FrameType::kObserve, 0, 0, kNilUuid, WildPayload(FrameType::kObserve));
}

void World::ActWild(Link& link) {
  if (!link.is_open) return;
  if (random_.OneIn(200)) {
    for (uint64_t i = random_.Below(40); i > 0; --i) link.up.push_back(static_cast<char>(random_.Next()));
    return;
  }
  if (random_.OneIn(40)) link.is_deaf = true;
  if (link.is_onlooker || (link.observes && !random_.OneIn(20))) {
    if (random_.OneIn(5)) return Observe(link);
    if (random_.OneIn(40)) return proto::AppendMessage(link.up, FrameType::kGoaway, 0, 0, kNilUuid, v1::Status());
    return proto::AppendFrame(link.up, FrameType::kPing, 0, 0, kNilUuid, std::string(proto::kPingBytes, 'o'));
  }
  if (random_.OneIn(400)) return Observe(link);
  if (random_.OneIn(12)) return random_.OneIn(4) ? PlotUnread(link) : Plot(link);
  const uint64_t frames = random_.OneIn(20) ? random_.Between(10, 40) : random_.Between(1, 3);
  for (uint64_t i = 0; i < frames; ++i) Babble(link);
}

// One exchange up to a bound of it, or one step beyond: a request of its own, or the answer to one that it was handed.
void World::Plot(Link& link) {
  if (link.joined_slots.empty()) return Babble(link);
  const bool serves = !link.parts.empty() && link.parts.back().serves;
  const bool answers = serves && !random_.OneIn(4);
  Link::Part part;
  if (answers) {
    part = link.parts.back();
    if (random_.OneIn(2)) link.parts.pop_back();
  } else {
    part.slot = *std::next(link.joined_slots.begin(), static_cast<long>(random_.Below(link.joined_slots.size())));
    if (!serves && random_.OneIn(2)) {
      return proto::AppendFrame(link.up, FrameType::kReceive, 0, part.slot, kNilUuid, {});
    }
    part.exchange = DrawId();
    RememberPart(link, part);
  }
  const uint8_t direction = answers ? flag::kResponse : flag::kRequest;
  const auto say = [&](FrameType type, uint8_t flags, std::string_view payload) {
    proto::AppendFrame(link.up, type, flags, part.slot, part.exchange, payload);
  };
  const uint64_t beyond = random_.Below(2);
  const uint8_t other_direction = answers ? flag::kRequest : flag::kResponse;
  const auto window = [&](uint64_t total, uint8_t of) {
    char payload[sizeof(uint64_t)];
    proto::StoreBig<uint64_t>(reinterpret_cast<uint8_t*>(payload), total);
    say(FrameType::kWindow, of, {payload, sizeof(payload)});
  };
  if (answers && random_.OneIn(2)) {
    // What it grants before it answers may be kept back: only the most of it counts.
    for (int i = 0; i < 2; ++i) window(limits_.initial_window_bytes + random_.Below(2000), other_direction);
  }
  std::string start(proto::kStartBlockBytes, '\0');
  if (answers && random_.OneIn(8)) {
    // Neither is the receiver's to say.
    proto::StartBlock block({reinterpret_cast<uint8_t*>(start.data()), start.size()});
    random_.OneIn(2) ? block.set_timeout_ms(1) : block.set_max_extension_ms(1);
  }
  if (!random_.OneIn(8)) say(FrameType::kStart, direction, start);
  switch (random_.Below(7)) {
    case 0: {
      constexpr uint64_t kMost = 60000;
      uint64_t left = limits_.initial_window_bytes + beyond;
      while (left > 0) {
        // None of them leaves less than a CHUNK costs.
        uint64_t cost = std::min(left, kMost);
        if (left > cost && left - cost < proto::kChunkOverheadBytes) cost -= proto::kChunkOverheadBytes;
        say(FrameType::kChunk, direction, std::string(cost - proto::kChunkOverheadBytes, 'w'));
        left -= cost;
      }
      break;
    }
    case 1:
      say(FrameType::kEnd, direction, std::string(limits_.max_start_bytes + beyond, 'w'));
      break;
    case 2:
      window(limits_.max_window_bytes + beyond, other_direction);
      break;
    case 3:
      if (beyond == 1) say(FrameType::kStart, direction, std::string(proto::kStartBlockBytes, '\0'));
      break;
    case 4:
      say(FrameType::kEnd, direction, {});
      if (beyond == 1) say(FrameType::kChunk, direction, "w");
      break;
    case 5:
      // In the other side's name.
      if (beyond == 1) say(FrameType::kStart, other_direction, std::string(proto::kStartBlockBytes, '\0'));
      if (beyond == 0) window(limits_.initial_window_bytes + 100, direction);
      break;
    default:
      window(limits_.initial_window_bytes + random_.Below(100), other_direction);
      break;
  }
}

// Faults of several exchanges, up to the bound of the answers that it may be owed, or one step beyond.
void World::PlotUnread(Link& link) {
  if (link.joined_slots.empty()) return Babble(link);
  link.is_deaf = true;
  const uint16_t slot = *link.joined_slots.begin();
  for (uint64_t i = random_.Between(1, std::min(limits_.control_frames_owed, 5u) + 2); i > 0; --i) {
    const proto::Uuid id = DrawId();
    for (int starts = 0; starts < 2; ++starts) {
      proto::AppendFrame(link.up, FrameType::kStart, flag::kRequest, slot, id,
                         std::string(proto::kStartBlockBytes, '\0'));
    }
  }
}

void World::Babble(Link& link) {
  // Now and then one thing about a header is as it must not be.
  enum : uint64_t { kNothing, kType, kFlag, kSlot, kId };
  uint64_t odd = random_.OneIn(40) ? random_.Between(kType, kId) : uint64_t{kNothing};
  FrameType type = static_cast<FrameType>(random_.Between(3, 14));
  // Most flags belong to these, each to some of them, and the most to START.
  if (random_.OneIn(100)) {
    odd = kFlag;
    type = random_.OneIn(2) ? FrameType::kStart : static_cast<FrameType>(random_.Between(7, 9));
  }
  const bool answers = !link.parts.empty() && link.parts.back().serves && random_.OneIn(6);
  if (answers || (link.is_leaving && random_.OneIn(3))) type = FrameType::kStart;
  if (odd == kType) type = static_cast<FrameType>(random_.Between(1, 18));
  if (random_.OneIn(60)) type = static_cast<FrameType>(random_.Between(17, 19));  // nobody knows these
  // Whoever leaves with nothing under way is gone at once.
  const uint64_t one_in = type == FrameType::kGoaway && !link.parts.empty() ? 3 : 8;
  if ((type == FrameType::kGoaway || type == FrameType::kLeave) && !random_.OneIn(one_in)) type = FrameType::kJoin;
  if (type == FrameType::kGoaway) link.is_leaving = true;
  auto slot = static_cast<uint16_t>(random_.Between(1, 3));
  const proto::Uuid own = wild_ids_[random_.Below(wild_ids_.size())];
  // Joining twice is the end of it all, so it is rare.
  if (type == FrameType::kJoin && link.joined_slots.contains(slot) && !random_.OneIn(20)) type = FrameType::kChunk;
  if (type == FrameType::kJoin) {
    link.joined_slots.insert(slot);
    v1::Join join;
    proto::Uuid client = own;
    if (random_.OneIn(8)) {
      const Link& other = *links_[random_.Below(links_.size())];
      if (!other.actors.empty()) client = other.actors[random_.Below(other.actors.size())].id;
      impersonated_.insert(client);
    }
    const uint64_t where = random_.Below(channels_.size() + 1);
    const bool is_of_others = where < channels_.size();
    const proto::Uuid channel = is_of_others ? channels_[where] : proto::ChannelId("wild");
    join.set_client_id(std::string(proto::BytesOf(random_.OneIn(200) ? kNilUuid : client)));
    join.set_channel_id(std::string(proto::BytesOf(channel)));
    if (random_.OneIn(10)) join.set_channel_name(is_of_others && !random_.OneIn(8) ? ChannelName(where) : "wild");
    if (random_.OneIn(4)) {
      std::string key(random_.OneIn(40) ? 65 : 8, 'k');
      if (random_.OneIn(3)) key[random_.Below(key.size())] = 'l';
      join.set_key(key);
    }
    proto::AppendMessage(link.up, FrameType::kJoin, 0, slot, kNilUuid, join);
    return;
  }
  const bool is_of_exchange = type >= FrameType::kStart && type <= FrameType::kReset;
  const bool has_slot =
      is_of_exchange || type == FrameType::kLeave || type == FrameType::kReceive || type == FrameType::kExtend;
  const bool has_id = has_slot && type != FrameType::kReceive;
  proto::Uuid id = kNilUuid;
  if (type == FrameType::kLeave) {
    id = own;
  } else if (has_id) {
    id = recent_ids_.empty() || random_.OneIn(3) ? DrawId() : recent_ids_[random_.Below(recent_ids_.size())];
  }
  // What has begun is rarely begun again, or it never gets far.
  const bool begins = type == FrameType::kStart && !answers && odd != kFlag && !random_.OneIn(4);
  if (begins) id = DrawId();
  const bool is_of_part =
      has_id && !begins && type != FrameType::kLeave && !link.parts.empty() && (answers || !random_.OneIn(3));
  bool is_request = begins || random_.OneIn(2);
  if (is_of_part) {
    const Link::Part& part = answers ? link.parts.back() : link.parts[random_.Below(link.parts.size())];
    slot = part.slot;
    id = part.exchange;
    // In the direction in which it may mean something, as a rule.
    if (answers || !random_.OneIn(4)) is_request = part.serves == (type == FrameType::kWindow);
  }
  uint8_t flags = 0;
  if (type >= FrameType::kStart && type <= FrameType::kWindow) {
    flags = is_request ? flag::kRequest : flag::kResponse;
    if (type == FrameType::kStart && flags == flag::kRequest) {
      Remember(id);
      RememberPart(link, {slot, id, /*serves=*/false});
    }
    if (type <= FrameType::kChunk && random_.OneIn(3)) flags = static_cast<uint8_t>(flags | flag::kFin);
    if (is_request && type == FrameType::kStart && random_.OneIn(2)) {
      flags = static_cast<uint8_t>(flags | (random_.OneIn(2) ? flag::kIdempotent : flag::kRequireReceiver));
    }
    const bool ends = type == FrameType::kEnd || (flags & flag::kFin) != 0;
    if (!is_request && ends && random_.OneIn(2)) flags = static_cast<uint8_t>(flags | flag::kReceive);
  }
  const bool floods = type == FrameType::kChunk && random_.OneIn(is_of_part ? 4 : 12);
  const bool is_empty = floods && random_.OneIn(3);
  const std::string payload = is_empty ? "" : floods ? std::string(60000, 'w') : WildPayload(type);
  const uint64_t times = is_empty ? random_.Between(20, 200) : floods ? random_.Between(2, 6) : 1;
  // Those that belong to few frames more often: of a request's START, and RECEIVE.
  const uint64_t bit = random_.OneIn(2) ? random_.Between(3, 5) : random_.Below(8);
  if (odd == kFlag) flags = static_cast<uint8_t>(flags ^ (1u << bit));
  if (odd == kId) id = id == kNilUuid ? DrawId() : kNilUuid;
  const bool is_on_slot = has_slot != (odd == kSlot);
  for (uint64_t i = 0; i < times; ++i) {
    proto::AppendFrame(link.up, type, flags, is_on_slot ? slot : uint16_t{0}, id, payload);
  }
  // One WINDOW behind another, which may be less.
  if (type == FrameType::kWindow && random_.OneIn(2)) {
    proto::AppendFrame(link.up, type, flags, is_on_slot ? slot : uint16_t{0}, id, WildPayload(type));
  }
}

std::string World::WildPayload(FrameType type) {
  std::string payload;
  if (random_.OneIn(200) || type > FrameType::kMirror) {
    for (uint64_t i = random_.Below(60); i > 0; --i) payload.push_back(static_cast<char>(random_.Next()));
    return payload;
  }
  constexpr std::array<uint64_t, 5> kSizes = {0, 1, 1000, 5000, 60000};
  switch (type) {
    case FrameType::kStart: {
      payload.assign(proto::kStartBlockBytes, '\0');
      proto::StartBlock block({reinterpret_cast<uint8_t*>(payload.data()), payload.size()});
      if (random_.OneIn(6)) block.set_timeout_ms(static_cast<uint32_t>(random_.Scaled(5000)));
      if (random_.OneIn(6)) block.set_max_extension_ms(static_cast<uint32_t>(random_.Scaled(10000)));
      if (random_.OneIn(50)) payload[random_.Below(payload.size())] = 1;
      // At a bound, one below it or one above: of the head, or of all that one window takes.
      const auto about = [&](uint64_t bound) { return bound - 1 + random_.Below(3); };
      uint64_t head_bytes = random_.OneIn(4) ? 5 : 0;
      uint64_t body_bytes = random_.OneIn(20) ? kSizes[random_.Below(kSizes.size())] : random_.Below(50);
      if (random_.OneIn(8)) head_bytes = about(limits_.max_start_bytes);
      if (random_.OneIn(20)) body_bytes = about(limits_.initial_window_bytes - proto::kChunkOverheadBytes);
      if (proto::kStartBlockBytes + head_bytes + body_bytes > limits_.max_payload_bytes) body_bytes = 0;
      const uint64_t missing = random_.OneIn(100) ? body_bytes + 1 : 0;
      block.set_start_bytes(static_cast<uint16_t>(head_bytes + missing));
      payload.append(head_bytes + body_bytes, 'w');
      if (random_.OneIn(200)) payload.pop_back();
      break;
    }
    case FrameType::kChunk:
      payload.assign(random_.OneIn(8) ? kSizes[random_.Below(kSizes.size())] : random_.Below(50), 'w');
      break;
    case FrameType::kEnd:
      if (random_.OneIn(2)) payload.assign(random_.OneIn(4) ? 50 : limits_.max_start_bytes - 1 + random_.Below(3), 'w');
      break;
    case FrameType::kWindow: {
      // Within what may be granted, about as much, and beyond, far sometimes.
      const uint64_t most = limits_.max_window_bytes;
      uint64_t window = random_.OneIn(3) ? random_.Below(3 * most) : random_.Below(most);
      if (random_.OneIn(4)) window = most + random_.Below(200);
      if (random_.OneIn(20)) window = random_.Next();
      payload.assign(sizeof(uint64_t), '\0');
      proto::StoreBig<uint64_t>(reinterpret_cast<uint8_t*>(payload.data()), window);
      break;
    }
    case FrameType::kPing:
    case FrameType::kPong:
      payload.assign(proto::kPingBytes, static_cast<char>(random_.Next()));
      break;
    case FrameType::kExtend:
      payload.assign(proto::kExtendBytes, '\0');
      proto::StoreBig<uint32_t>(reinterpret_cast<uint8_t*>(payload.data()),
                                static_cast<uint32_t>(random_.Scaled(9999)));
      break;
    case FrameType::kReceive: {
      v1::Receive receive;
      if (random_.OneIn(3)) receive.set_wait_ms(static_cast<uint32_t>(random_.Scaled(2000)));
      receive.set_withdraw(random_.OneIn(4));
      payload = receive.SerializeAsString();
      break;
    }
    case FrameType::kReset: {
      v1::Reset reset;
      reset.mutable_status()->set_code(static_cast<uint32_t>(random_.Below(20)));
      reset.mutable_status()->set_message(std::string(random_.OneIn(4) ? 2000 : 0, 'w'));
      if (random_.OneIn(2)) reset.mutable_status()->set_retry_after_ms(7);
      reset.mutable_status()->set_may_have_run(random_.OneIn(2));
      reset.mutable_status()->set_end("made_up");
      reset.set_requeue(random_.OneIn(2));
      payload = reset.SerializeAsString();
      break;
    }
    case FrameType::kHello:
    case FrameType::kWelcome:
    case FrameType::kJoin:
    case FrameType::kLeave:
    case FrameType::kGoaway:
    case FrameType::kMirror:
      break;
    case FrameType::kObserve: {
      v1::Observe observe;
      const Link& other = *links_[random_.Below(links_.size())];
      if (random_.OneIn(5)) {
        observe.set_channel_id(std::string(proto::BytesOf(channels_[random_.Below(channels_.size())])));
      }
      if (random_.OneIn(4)) {
        proto::Uuid client = wild_ids_.empty() ? kNilUuid : wild_ids_.front();
        if (!other.actors.empty()) client = other.actors[random_.Below(other.actors.size())].id;
        observe.set_client_id(std::string(proto::BytesOf(client)));
      }
      if (random_.OneIn(8) && !recent_ids_.empty()) {
        observe.set_request_id(std::string(proto::BytesOf(recent_ids_[random_.Below(recent_ids_.size())])));
      }
      if (random_.OneIn(30)) observe.set_request_id("short");
      constexpr std::array<uint32_t, 4> kSnaps = {0, 100, UINT32_MAX, UINT32_MAX};
      observe.set_snap_bytes(kSnaps[random_.Below(kSnaps.size())]);
      payload = observe.SerializeAsString();
      break;
    }
  }
  return payload;
}

}  // namespace relay::simulation

#include "simulation/world.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "proto/channel_name.h"
#include "proto/messages.h"

namespace relay::simulation {
namespace {

using client::Event;
using proto::Frame;
using proto::FrameType;
using proto::kNilUuid;
namespace flag = proto::flag;

constexpr uint64_t kAll = UINT64_MAX;

enum Choice : size_t { kUp, kDown, kAct, kWild, kTime, kStall, kCut, kChoices };

}  // namespace

World::World(uint64_t seed, bool trace) : random_(seed), trace_(trace), now_(absl::UnixEpoch() + absl::Hours(1)) {
  limits_.max_payload_bytes = 64 * server::kKiB;
  limits_.initial_window_bytes = static_cast<uint32_t>(64 * server::kKiB << random_.Below(3));
  limits_.max_clients_per_connection = 8;
  limits_.attempts = static_cast<uint32_t>(random_.Between(1, 3));
  limits_.queue_count = static_cast<uint32_t>(random_.OneIn(2) ? random_.Between(1, 3) : 1000);
  limits_.queue_bytes = random_.OneIn(3) ? random_.Between(1024, 100000) : 64 * server::kMiB;
  limits_.queue_bytes_total = random_.OneIn(4) ? random_.Between(1024, 200000) : 512 * server::kMiB;
  limits_.send_queue_mark_bytes = random_.OneIn(2) ? random_.Between(100, 10000) : server::kMiB;
  limits_.send_queue_bytes = random_.OneIn(8) ? 200 * server::kKiB : 64 * server::kMiB;
  limits_.heartbeat_interval = absl::Milliseconds(static_cast<int64_t>(random_.Between(100, 5000)));
  limits_.heartbeat_misses = static_cast<uint32_t>(random_.Between(2, 3));
  limits_.hello_timeout = absl::Seconds(2);
  limits_.reset_burst = random_.OneIn(4) ? 10 : 1000;
  limits_.drain_timeout = absl::Seconds(1);
  relay_ = std::make_unique<server::Relay>(limits_, random_.Id(), now_);
  tap_ = std::make_unique<Tap>(limits_.initial_window_bytes, now_);
  is_coarse_ = random_.OneIn(4);
  is_heavy_ = random_.OneIn(4);
  // Faults are rare in some worlds and absent in others: one that breaks all the time never gets far.
  weights_ = {random_.Between(10, 40), random_.Between(10, 40), random_.Between(10, 60)};
  for (const uint64_t most : {8u, 4u, 2u, 1u}) weights_.push_back(random_.OneIn(2) ? 0 : random_.Below(most + 1));

  const size_t channels = random_.Between(1, 3);
  for (size_t i = 0; i < channels; ++i) channels_.push_back(proto::ChannelId(ChannelName(i)));
  wild_id_ = random_.Id();
  wild_is_among_us_ = random_.OneIn(2);
  const size_t links = random_.Between(1, 5);
  for (size_t i = 0; i < links + 1; ++i) {
    Link& link = *links_.emplace_back(std::make_unique<Link>());
    link.is_wild = i == links;
    const size_t actors = link.is_wild ? 0 : random_.Between(1, 5);
    for (size_t k = 0; k < actors; ++k) {
      Actor& actor = link.actors.emplace_back();
      actor.id = random_.Id();
      actor.channel = random_.Below(channels);
      actor.key = std::string(proto::BytesOf(random_.Id()));
      actor.is_receiver = random_.OneIn(2);
    }
    // Every channel has a receiver, or its requests could never end.
    for (size_t k = 0; i == 0 && k < channels; ++k) {
      Actor& actor = link.actors.emplace_back();
      actor.id = random_.Id();
      actor.channel = k;
      actor.key = std::string(proto::BytesOf(random_.Id()));
      actor.is_receiver = true;
      actor.never_sends = true;
    }
    Connect(link);
  }
}

World::~World() = default;

void World::Fail(const std::string& what) {
  if (failure_.empty()) failure_ = absl::StrCat("event ", events_, ": ", what);
}

std::string World::Run(uint64_t events) {
  while (events_ < events && failure_.empty()) Step();
  if (failure_.empty()) Finish();
  return failure_;
}

Counts World::counts() const {
  return {events_, tap_->assignments(), tap_->redeliveries(), tap_->completed(), tap_->resets(), hash_};
}

void World::Step() {
  ++events_;
  uint64_t sum = 0;
  for (const uint64_t weight : weights_) sum += weight;
  uint64_t drawn = random_.Below(sum);
  size_t choice = 0;
  while (drawn >= weights_[choice]) drawn -= weights_[choice++];
  Link& link = *links_[random_.Below(links_.size())];
  if (link.is_stalled && (link.protocol != nullptr || link.is_wild) && random_.OneIn(30)) link.is_stalled = false;
  switch (choice) {
    case kUp:
      CarryUp(link, random_.OneIn(3) ? random_.Scaled(100) : kAll);
      break;
    case kDown:
      CarryDown(link, random_.OneIn(3) ? random_.Scaled(100) : kAll);
      break;
    case kAct:
      Act(link);
      break;
    case kWild:
      ActWild(*links_.back());
      break;
    case kTime:
      PassTime(absl::Milliseconds(static_cast<int64_t>(random_.Scaled(6000))));
      break;
    case kStall:
      link.is_stalled = true;
      break;
    case kCut:
      if (!link.is_stalled) Cut(link);
      break;
    default:
      break;
  }
}

// ---- The network ---------------------------------------------------------------------------------------------------

void World::Connect(Link& link) {
  link.connection = relay_->OnOpen("simulated", now_);
  link.is_open = true;
  link.is_stalled = false;
  link.has_eof = false;
  link.up.clear();
  link.down.clear();
  link.kept.clear();
  link.arrived.clear();
  if (link.is_wild) {
    link.up = proto::kPreface;
    v1::Hello hello;
    hello.set_version(proto::kVersion);
    proto::AppendMessage(link.up, FrameType::kHello, 0, 0, kNilUuid, hello);
  } else {
    link.protocol = std::make_unique<client::Protocol>("simulated", now_);
    Collect(link);
  }
  Settle(std::nullopt, false);
}

World::Link* World::Find(ConnectionId connection) {
  for (const auto& link : links_) {
    if (link->connection == connection && link->is_open) return link.get();
  }
  return nullptr;
}

void World::CarryUp(Link& link, size_t most) {
  if (link.is_stalled || !link.is_open || link.up.empty()) return;
  const size_t bytes = std::min(most, link.up.size());
  link.arrived.append(link.up, 0, bytes);
  link.up.erase(0, bytes);
  const bool begins = link.arrived.substr(0, proto::kPreface.size()) == proto::kPreface;
  while (!link.arrived.empty() && link.is_open) {
    std::vector<uint8_t> buffer(link.arrived.begin(), link.arrived.end());
    std::span<uint8_t> given = buffer;
    std::optional<TappedFrame> tapped;
    std::vector<uint8_t> seen;  // the relay rewrites what it hands on
    if (!is_coarse_ && !begins) {
      Frame frame;
      if (proto::DecodeFrame(given, limits_.max_payload_bytes, frame) == proto::Decoded::kFrame) {
        given = frame.bytes();
        seen.assign(given.begin(), given.end());
        tapped = TappedFrame{link.connection, Frame(seen)};
      }
    } else if (!is_coarse_) {
      given = given.first(std::min(given.size(), proto::kPreface.size() + proto::kHeaderBytes));
    }
    const size_t taken = relay_->OnBytes(link.connection, given, now_);
    if (taken > given.size()) Fail("the relay took more than it was given");
    link.arrived.erase(0, taken);
    Settle(tapped, tapped.has_value());
    if (taken == 0) return;
    if (!is_coarse_ && begins) {
      // The preface was cut off where HELLO's header ends, so both come again whole.
      link.up.insert(0, link.arrived);
      link.arrived.clear();
      return;
    }
  }
}

void World::CarryDown(Link& link, size_t most) {
  if (link.is_stalled) return;
  const size_t bytes = std::min(most, link.down.size());
  link.kept.append(link.down, 0, bytes);
  link.down.erase(0, bytes);
  ReportUnsent(link);
  if (link.protocol == nullptr) {
    link.kept.clear();
    if (link.is_wild && !link.is_open && !is_finishing_) Connect(link);
    return;
  }
  std::vector<uint8_t> buffer(link.kept.begin(), link.kept.end());
  std::span<uint8_t> input = buffer;
  link.protocol->OnRead(now_);
  while (link.protocol != nullptr) {
    const Event event = link.protocol->Next(input);
    if (event.kind == Event::Kind::kNone) break;
    OnEvent(link, event);
  }
  link.kept.assign(input.begin(), input.end());
  Collect(link);
  if (link.down.empty() && (link.has_eof || !link.is_open)) Cut(link);
}

void World::ReportUnsent(Link& link) {
  if (!link.is_open) return;
  relay_->OnUnsent(link.connection, link.down.size(), now_);
  Settle(std::nullopt, false);
}

void World::Collect(Link& link) {
  if (link.protocol == nullptr) return;
  std::string output;
  link.protocol->TakeOutput(output, now_);
  link.up += output;
}

void World::Cut(Link& link) {
  link.protocol.reset();
  for (Actor& actor : link.actors) {
    ForgetOperation(actor);
    actor.is_withdrawing = false;
    actor.slot = 0;
    actor.state = Actor::State::kOut;
  }
  const bool falls_silent = !is_finishing_ && !link.is_wild && link.is_open && links_.size() < 8 && random_.OneIn(3);
  if (falls_silent) {
    // The relay is not told: what is left of the link stays, without a client.
    auto rest = std::make_unique<Link>();
    rest->connection = link.connection;
    rest->is_stalled = true;
    links_.insert(links_.begin(), std::move(rest));
  } else if (link.is_open) {
    relay_->OnInputEnd(link.connection, random_.OneIn(2), now_);
    Settle(std::nullopt, false);
  }
  link.is_open = false;
  Connect(link);
}

void World::PassTime(absl::Duration by) {
  now_ += by;
  relay_->OnTime(now_);
  Settle(std::nullopt, false);
  if (!is_coarse_) tap_->OnTime(now_);
  for (size_t i = 0; i < links_.size(); ++i) {
    Link& link = *links_[i];
    if (link.protocol == nullptr) continue;
    const bool lives = link.protocol->OnTime(now_);
    Collect(link);
    if (!lives) Cut(link);
  }
}

void World::Settle(std::optional<TappedFrame> in, bool exact) {
  if (in.has_value()) Trace("->", *in);
  while (relay_->has_effects()) {
    std::vector<std::string> written;
    std::vector<ConnectionId> ended;
    const std::span<const server::Effect> effects = relay_->TakeEffects();
    for (const server::Effect& effect : effects) {
      std::string& bytes = written.emplace_back();
      for (const std::span<const uint8_t> slice : effect.write) bytes.append(slice.begin(), slice.end());
      if (effect.shut || effect.close) ended.push_back(effect.connection);
      for (const char c : bytes) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3;
      Link* const link = Find(effect.connection);
      if (link == nullptr) continue;
      link->down += bytes;
      if (effect.shut) link->has_eof = true;
      if (effect.close) link->is_open = false;
    }
    std::vector<TappedFrame> out;
    for (size_t i = 0; i < effects.size(); ++i) {
      std::span<uint8_t> rest(reinterpret_cast<uint8_t*>(written[i].data()), written[i].size());
      while (!rest.empty()) {
        Frame frame;
        if (proto::DecodeFrame(rest, UINT32_MAX, frame) != proto::Decoded::kFrame) {
          Fail("the relay wrote something that is not a frame");
          return;
        }
        out.push_back({effects[i].connection, frame});
        rest = rest.subspan(frame.bytes().size());
      }
    }
    for (const TappedFrame& frame : out) Trace("<-", frame);
    if (!is_coarse_) tap_->Step(in, out, ended, exact);
    in.reset();
    relay_->EndTurn();
  }
  if (in.has_value() && !is_coarse_) tap_->Step(in, {}, {}, exact);
  if (std::string broken = relay_->Check(); !broken.empty()) Fail(broken);
  if (!tap_->broken().empty()) Fail(tap_->broken());
}

void World::Trace(const char* direction, const TappedFrame& frame) const {
  if (!trace_) return;
  const std::string type(frame.frame.has_known_type() ? proto::NameOf(frame.frame.type()) : "?");
  std::printf("%6llu %s connection %llu slot %u %s flags %02x id %s, %zu bytes\n",
              static_cast<unsigned long long>(events_), direction, static_cast<unsigned long long>(frame.connection),
              frame.frame.slot(), type.c_str(), frame.frame.flags(), proto::ToString(frame.frame.id()).c_str(),
              frame.frame.payload().size());
}

// ---- The end -------------------------------------------------------------------------------------------------------

bool World::FinishActor(Link& link, Actor& actor) {
  client::Protocol& protocol = *link.protocol;
  switch (actor.state) {
    case Actor::State::kOut:
      if (!actor.is_receiver) return false;
      actor.slot = protocol.Join(actor.id, channels_[actor.channel], ChannelName(actor.channel), actor.key);
      if (actor.slot != 0) actor.state = Actor::State::kIdle;
      return true;
    case Actor::State::kIdle:
      if (actor.is_receiver && protocol.Receive(actor.slot, std::nullopt)) actor.state = Actor::State::kWaiting;
      return false;
    case Actor::State::kWaiting:
      return false;
    case Actor::State::kLeaving:
      return true;
    case Actor::State::kSending:
      Consume(link, actor);
      SendMore(link, actor, 70000);
      return true;
    case Actor::State::kServing:
      Consume(link, actor);
      if (actor.in_is_whole || actor.is_foreign) RespondMore(link, actor, 70000);
      return true;
  }
  return true;
}

std::string World::WhatGoesOn() const {
  std::string text;
  for (const auto& link : links_) {
    for (const Actor& actor : link->actors) {
      absl::StrAppend(&text, "\n  connection ", link->connection, " slot ", actor.slot, " channel ", actor.channel,
                      actor.is_receiver ? " receiver" : " sender", " state ", static_cast<int>(actor.state),
                      " exchange ", proto::ToString(actor.exchange), " to send ", actor.to_send, " received ",
                      actor.received, actor.in_is_whole ? " whole" : "", " credit ",
                      link->protocol == nullptr ? 0 : link->protocol->credit(actor.slot));
    }
  }
  return text;
}

void World::Finish() {
  is_finishing_ = true;
  std::vector<std::unique_ptr<Link>> lost;
  for (auto& link : links_) {
    link->is_stalled = false;
    if (link->protocol == nullptr) lost.push_back(std::move(link));
  }
  std::erase(links_, nullptr);
  for (const auto& link : lost) relay_->OnInputEnd(link->connection, true, now_);
  Settle(std::nullopt, false);
  bool is_busy = true;
  for (int round = 0; is_busy && failure_.empty(); ++round) {
    if (round > 2000) return Fail("with every fault gone, something does not end:" + WhatGoesOn());
    is_busy = false;
    for (const auto& link : links_) {
      for (Actor& actor : link->actors) is_busy = FinishActor(*link, actor) || is_busy;
      Collect(*link);
      is_busy = is_busy || !link->up.empty() || !link->down.empty();
      CarryUp(*link, kAll);
    }
    for (const auto& link : links_) CarryDown(*link, kAll);
  }
  if (!failure_.empty()) return;
  if (relay_->metrics().exchanges_live != 0 || tap_->live_requests() != 0)
    return Fail("an exchange outlived its clients");
  if (random_.OneIn(2)) {
    tap_->OnDrain();
    relay_->Drain(now_);
    Settle(std::nullopt, false);
  }
  for (const auto& link : links_) {
    relay_->OnInputEnd(link->connection, false, now_);
    Settle(std::nullopt, false);
  }
  PassTime(absl::Hours(1));
  const server::Metrics& metrics = relay_->metrics();
  if (relay_->connection_count() != 0 || relay_->client_count() != 0 || relay_->channel_count() != 0 ||
      metrics.held_bytes != 0 || metrics.exchanges_live != 0 || relay_->next_deadline().has_value()) {
    Fail("everybody has left, and something is still there");
  }
}

}  // namespace relay::simulation

// Links: bytes there and back, and what the relay does at the end of each turn.

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "proto/messages.h"
#include "proto/start_block.h"
#include "simulation/world.h"

namespace relay::simulation {

using client::Event;
using proto::Frame;
using proto::FrameType;

namespace {

uint64_t HashOf(std::string_view bytes, uint64_t hash) {
  constexpr uint64_t kPrime = 0x9e3779b97f4a7c15;
  for (; bytes.size() >= sizeof(uint64_t); bytes.remove_prefix(sizeof(uint64_t))) {
    hash = (hash ^ proto::LoadBig<uint64_t>(reinterpret_cast<const uint8_t*>(bytes.data()))) * kPrime;
    hash ^= hash >> 29;
  }
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
  return hash ^ (hash >> 31);
}

}  // namespace

void World::Connect(Link& link) {
  link.connection = relay_->OnOpen("simulated", now_);
  reference_->OnOpen(link.connection, now_);
  link.is_open = true;
  link.is_away = false;
  link.parts.clear();
  link.joined_slots.clear();
  link.unsent = 0;
  link.is_stalled = link.is_deaf = link.has_eof = link.is_leaving = link.is_shut = link.has_preface = false;
  link.last_arrival = now_;
  link.judged_since = 0;
  for (std::string* const bytes : {&link.up, &link.down, &link.kept, &link.arrived}) bytes->clear();
  if (link.is_wild) {
    ConnectWild(link);
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
  ++moves_;
  link.arrived.append(link.up, 0, bytes);
  link.up.erase(0, bytes);
  if (!is_in_turn_) lumps_.clear();
  std::string& lump = lumps_.emplace_back();
  lump.swap(link.arrived);
  std::span<uint8_t> rest(reinterpret_cast<uint8_t*>(lump.data()), lump.size());
  const ConnectionId connection = link.connection;
  while (!rest.empty() && link.is_open && link.connection == connection && failure_.empty()) {
    std::span<uint8_t> given = rest;
    std::optional<TappedFrame> tapped;
    std::vector<uint8_t> seen;  // the relay rewrites what it hands on
    if (!link.has_preface) {
      if (!is_coarse_) given = given.first(std::min(given.size(), proto::kPreface.size()));
      link.has_preface = given.size() >= proto::kPreface.size();
    } else if (Frame frame;
               !is_coarse_ && proto::DecodeFrame(given, limits_.max_payload_bytes, frame) == proto::Decoded::kFrame) {
      given = frame.bytes();
      seen.assign(given.begin(), given.end());
      tapped = TappedFrame{connection, Frame(seen)};
    }
    link.last_arrival = now_;
    link.judged_since = 0;
    size_t expected = 0;
    size_t taken = 0;
    if (is_coarse_ && random_.OneIn(2)) {
      // So much work and no more: how far that reaches is the relay's to say.
      std::vector<uint8_t> before(given.begin(), given.end());
      auto work = static_cast<uint32_t>(random_.Between(1, 20));
      taken = relay_->OnBytes(connection, given, now_, work);
      const bool is_all = work > 0 && !relay_->is_moving();
      const size_t told = is_all ? before.size() : std::min(taken, before.size());
      expected = reference_->OnBytes(connection, std::span(before).first(told), now_, is_all);
    } else {
      std::vector<uint8_t> before(given.begin(), given.end());
      taken = relay_->OnBytes(connection, given, now_);
      const size_t told = relay_->is_moving() ? std::min(taken, before.size()) : before.size();
      expected = reference_->OnBytes(connection, std::span(before).first(told), now_);
    }
    if (taken != expected) Fail(absl::StrCat("the relay took ", taken, " bytes where ", expected, " are right"));
    const bool goes_on = relay_->is_moving();
    if (goes_on && taken == 0) tapped.reset();
    const bool was_in_turn = std::exchange(is_in_turn_, is_in_turn_ && !goes_on);
    Settle(tapped, tapped.has_value());
    is_in_turn_ = was_in_turn;
    rest = rest.subspan(std::min(taken, rest.size()));
    if (taken == 0 && !goes_on) break;
  }
  if (link.is_open && link.connection == connection) {
    link.arrived.assign(reinterpret_cast<const char*>(rest.data()), rest.size());
  }
}

void World::CarryAllUp() {
  is_in_turn_ = true;
  for (const auto& link : links_) CarryUp(*link, UINT64_MAX);
  const bool is_decided = DoWhatIsDue();
  is_in_turn_ = false;
  if (is_decided) Settle(std::nullopt, false);
}

void World::CarryDown(Link& link, size_t most) {
  if (link.is_stalled || link.is_deaf) return;
  const size_t bytes = std::min(most, link.down.size());
  if (bytes > 0) ++moves_;
  link.kept.append(link.down, 0, bytes);
  link.down.erase(0, bytes);
  if (TellUnsent(link)) Settle(std::nullopt, false);
  if (link.protocol == nullptr) {
    link.kept.clear();
    if (link.is_wild && !link.is_open && !is_finishing_) link.is_away = true;
    return;
  }
  std::span<uint8_t> input(reinterpret_cast<uint8_t*>(link.kept.data()), link.kept.size());
  const client::Protocol* const protocol = link.protocol.get();
  link.protocol->OnRead(now_);
  while (failure_.empty()) {
    const Event event = link.protocol->Next(input);
    if (event.kind == Event::Kind::kNone) break;
    OnEvent(link, event);
    if (link.protocol.get() != protocol) return;
  }
  link.kept.erase(0, link.kept.size() - input.size());
  Collect(link);
  if (link.down.empty() && (link.has_eof || !link.is_open)) Cut(link);
}

// What the socket has not taken. Whether that is news.
bool World::TellUnsent(Link& link) {
  const size_t unsent = link.down.size() - std::min(link.down.size(), socket_bytes_);
  if (!link.is_open || unsent == link.unsent) return false;
  link.unsent = unsent;
  reference_->OnUnsent(link.connection, unsent, now_);
  relay_->OnUnsent(link.connection, unsent, now_);
  return true;
}

void World::Collect(Link& link) {
  if (link.protocol == nullptr) return;
  std::string output;
  link.protocol->TakeOutput(output, now_);
  if (!link.is_shut) link.up += output;
}

void World::Forget(Link& link) {
  link.protocol.reset();
  link.used_ids.clear();
  for (Actor& actor : link.actors) {
    ForgetOperation(actor);
    actor.is_withdrawing = false;
    actor.slot = 0;
    actor.state = Actor::State::kOut;
  }
}

void World::Cut(Link& link) {
  Forget(link);
  const bool is_told = link.is_open && (is_finishing_ || link.is_wild || links_.size() >= 12 || !random_.OneIn(3));
  const bool is_broken = is_finishing_ || random_.OneIn(2);
  if (link.is_open && !(is_told && is_broken)) {
    // What is left of it, without a client: the relay was not told, or keeps it for what is still to be read.
    auto rest = std::make_unique<Link>();
    rest->connection = link.connection;
    rest->is_stalled = true;
    rest->unsent = link.unsent;
    rest->last_arrival = link.last_arrival;
    rest->judged_since = link.judged_since;
    links_.push_back(std::move(rest));
  }
  link.is_open = false;
  if (is_told) {
    tap_->OnInputEnd(link.connection);
    reference_->OnInputEnd(link.connection, is_broken, now_);
    relay_->OnInputEnd(link.connection, is_broken, now_);
    Settle(std::nullopt, false);
  }
  link.is_away = !is_finishing_;
}

void World::ShutInput(Link& link) {
  link.is_shut = true;
  tap_->OnInputEnd(link.connection);
  reference_->OnInputEnd(link.connection, false, now_);
  relay_->OnInputEnd(link.connection, false, now_);
  Settle(std::nullopt, false);
}

bool World::DoWhatIsDue() {
  const auto ended = [this] {
    const auto& ends = relay_->metrics().ends;
    return std::accumulate(ends.begin(), ends.end(), uint64_t{0});
  };
  const uint64_t ended_before = ended();
  for (const auto& link : links_) ++link->judged_since;
  reference_->OnTime(now_);
  relay_->OnTime(now_);
  // What falls due together on several cores is done in an order that nobody knows.
  is_undecided_ = is_undecided_ || (options_.cores > 1 && ended() - ended_before > 1);
  return !is_undecided_;
}

void World::PassTime(absl::Duration by) {
  now_ += by;
  if (!DoWhatIsDue()) return;
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

// An allocation fails, for a connection or for nobody; or there is room again.
void World::LoseMemory() {
  is_short_of_memory_ = !is_short_of_memory_;
  if (is_short_of_memory_) {
    const ConnectionId id = random_.OneIn(3) ? 0 : links_[random_.Below(links_.size())]->connection;
    reference_->OnMemoryShort(id, now_);
    relay_->OnMemoryShort(id, now_);
  } else {
    reference_->OnMemoryBack();
    relay_->OnMemoryBack();
  }
  Settle(std::nullopt, false);
}

void World::DrainRelay() {
  is_draining_ = true;
  tap_->OnDrain();
  reference_->Drain(now_);
  relay_->Drain(now_);
  Settle(std::nullopt, false);
}

// ---- The end of a turn ---------------------------------------------------------------------------------------------

void World::Settle(std::optional<TappedFrame> in, bool exact) {
  if (is_in_turn_) return;
  if (in.has_value()) Trace("->", *in);
  bool is_first = true;
  while (is_first || relay_->has_effects() || reference_->has_more()) {
    is_first = false;
    ++turns_;
    std::vector<std::string> written;
    std::vector<ConnectionId> ended;
    std::vector<Output> outputs;
    std::vector<TappedFrame> out;
    uint64_t silent = 0;
    if (relay_->has_effects()) {
      const std::span<const server::Effect> effects = relay_->TakeEffects();
      written.reserve(effects.size());
      for (const server::Effect& effect : effects) {
        std::string& bytes = written.emplace_back();
        for (const std::span<const uint8_t> slice : effect.write) bytes.append(slice.begin(), slice.end());
        Output& output = outputs.emplace_back(Output{effect.connection, {}, effect.shut, effect.close});
        if (effect.shut || effect.close) ended.push_back(effect.connection);
        hash_ = HashOf(bytes, hash_ + effect.connection * 4 + (effect.shut ? 2 : 0) + (effect.close ? 1 : 0));
        Link* const link = Find(effect.connection);
        std::span<uint8_t> rest(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
        while (!rest.empty()) {
          Frame frame;
          if (proto::DecodeFrame(rest, UINT32_MAX, frame) != proto::Decoded::kFrame) {
            return Fail("the relay wrote something that is not a frame");
          }
          output.frames.push_back(frame);
          out.push_back({effect.connection, frame});
          Trace("<-", out.back());
          if (link != nullptr && frame.type() == FrameType::kStart) OnHandedOut(*link, frame);
          rest = rest.subspan(frame.bytes().size());
        }
        if (link == nullptr) continue;
        link->down += bytes;
        if (effect.shut) link->has_eof = true;
        if (!effect.close) continue;
        link->is_open = false;
        const absl::Duration silence = now_ - link->last_arrival;
        const bool was_polled = link->judged_since >= 2;
        if (was_polled && silence >= limits_.heartbeat_interval * limits_.heartbeat_misses) ++silent;
      }
      if (relay_->metrics().count(End::kHeartbeat) - heartbeat_ends_ > silent) {
        Fail("a peer was taken for dead before its time");
      }
      heartbeat_ends_ = relay_->metrics().count(End::kHeartbeat);
    }
    reference_->EndTurn(outputs);
    if (relay_->metrics().passed_over > 0) tap_->OnPassedOver();
    if (!is_coarse_) tap_->Step(in, out, ended, exact);
    in.reset();
    relay_->EndTurn();
    for (const Output& output : outputs) {
      if (Link* const link = Find(output.connection); link != nullptr) TellUnsent(*link);
    }
    if (!reference_->broken().empty()) Fail(reference_->broken());
    if (!tap_->broken().empty()) Fail(tap_->broken());
    if (!failure_.empty()) return;
  }
  reference_->Judge(relay_->metrics());
  if (!reference_->broken().empty()) Fail(reference_->broken());
  if (turns_ % options_.check_every == 0) {
    if (std::string broken = relay_->Check(); !broken.empty()) Fail(broken);
  }
}

void World::OnHandedOut(Link& link, const Frame& start) {
  if (!start.has(proto::flag::kRequest)) return;
  if (link.is_wild) RememberPart(link, {start.slot(), start.id(), /*serves=*/true});
  const proto::StartBlock block(start.payload());
  v1::Start head;
  const auto number = proto::ParseMessage(block.start(), head) ? StoryOf(head) : std::nullopt;
  if (!number.has_value()) return;
  Story& story = stories_[*number];
  ++story.handed_out;
  if (story.is_over) Fail("a request was handed out after its end");
  if (story.handed_out > (story.is_idempotent ? limits_.attempts : 1)) Fail("a request was handed out too often");
  if (link.is_wild) story.wild_attempts.insert(block.attempt());
}

void World::Trace(const char* direction, const TappedFrame& frame) const {
  if (!options_.traces) return;
  const std::string type(frame.frame.has_known_type() ? proto::NameOf(frame.frame.type()) : "?");
  std::printf("%6llu %s connection %llu slot %u %s flags %02x id %s, %zu bytes\n",
              static_cast<unsigned long long>(events_), direction, static_cast<unsigned long long>(frame.connection),
              frame.frame.slot(), type.c_str(), frame.frame.flags(), proto::ToString(frame.frame.id()).c_str(),
              frame.frame.payload().size());
}

}  // namespace relay::simulation

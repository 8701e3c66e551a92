// What the clients of the simulated world do.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/start_block.h"
#include "simulation/world.h"

namespace relay::simulation {

using proto::kNilUuid;

namespace {

// Of a request whose story is told so, and of its responses.
std::string HeadOf(size_t story) {
  v1::Start head;
  head.set_method(absl::StrCat(story));
  return head.SerializeAsString();
}

}  // namespace

void World::Act(Link& link) {
  if (link.protocol == nullptr || link.actors.empty() || link.is_shut) return;
  if (link.is_deaf && random_.OneIn(4)) {
    // The answers pile up.
    Collect(link);
    proto::AppendFrame(link.up, proto::FrameType::kPing, 0, 0, kNilUuid, std::string(proto::kPingBytes, 'p'));
  }
  Actor& actor = link.actors[random_.Below(link.actors.size())];
  const bool is_behind = link.is_deaf || link.unsent > limits_.send_queue_mark_bytes;
  if (is_behind && random_.OneIn(2)) {
    for (Actor& other : link.actors) {
      if (reference_->OwesWindow(link.connection, other.slot)) return GiveBack(link, other);
    }
  }
  switch (actor.state) {
    case Actor::State::kOut:
      if (!link.is_leaving) Join(link, actor);
      break;
    case Actor::State::kIdle:
      if (!link.is_leaving) ActIdle(link, actor);
      break;
    case Actor::State::kWaiting:
      if (random_.OneIn(10)) {
        if (link.protocol->Withdraw(actor.slot)) actor.is_withdrawing = true;
      } else if (random_.OneIn(is_behind ? 8 : 60)) {
        Leave(link, actor);  // a request may be on its way to it
      }
      break;
    case Actor::State::kSending:
    case Actor::State::kServing:
      ActBusy(link, actor);
      break;
    case Actor::State::kLeaving:
      break;
  }
  Collect(link);
}

void World::Join(Link& link, Actor& actor) {
  actor.slot = link.protocol->Join(actor.id, channels_[actor.channel], ChannelName(actor.channel), actor.key);
  if (actor.slot != 0) actor.state = Actor::State::kIdle;
}

void World::Leave(Link& link, Actor& actor) {
  link.protocol->Leave(actor.slot);
  ForgetOperation(actor);
  actor.state = Actor::State::kLeaving;
}

// What it was handed, whether it has heard of that or not.
void World::GiveBack(Link& link, Actor& actor) {
  if (actor.state == Actor::State::kServing && !actor.has_responded) {
    link.protocol->Reset(actor.slot, actor.exchange, UnavailableError("not now"), true);
    ForgetOperation(actor);
  } else if (actor.state == Actor::State::kWaiting) {
    Leave(link, actor);
  }
  Collect(link);
}

void World::ActIdle(Link& link, Actor& actor) {
  if (random_.OneIn(40)) {
    Leave(link, actor);
  } else if (actor.never_sends || actor.is_receiver != random_.OneIn(10)) {
    std::optional<absl::Duration> wait;
    if (random_.OneIn(3)) wait = absl::Milliseconds(static_cast<int64_t>(random_.Scaled(3000)));
    if (link.protocol->Receive(actor.slot, wait)) actor.state = Actor::State::kWaiting;
  } else {
    BeginRequest(link, actor);
  }
}

void World::ActBusy(Link& link, Actor& actor) {
  const bool is_sender = actor.state == Actor::State::kSending;
  if (random_.OneIn(2)) Consume(link, actor);
  // Credit beyond what was taken, while the promise to the relay holds: never further than max_window_bytes.
  const bool is_early = is_sender ? actor.received == 0 : !actor.has_responded;
  const uint64_t most_extra = limits_.max_window_bytes - limits_.initial_window_bytes;
  if (actor.extra_given < most_extra && link.protocol->is_welcome() && random_.OneIn(is_early ? 2 : 8)) {
    const uint64_t most = most_extra - actor.extra_given;
    const uint64_t extra = random_.Between(1, random_.OneIn(2) ? most : std::min<uint64_t>(most, 100));
    actor.extra_given += extra;
    link.protocol->Consumed(actor.slot, actor.exchange, extra);
    const bool is_told = extra >= limits_.initial_window_bytes / 2;
    if (is_told && random_.OneIn(3)) {
      // Behind its WINDOW one that says less, which means nothing.
      Collect(link);
      char payload[sizeof(uint64_t)];
      proto::StoreBig<uint64_t>(reinterpret_cast<uint8_t*>(payload),
                                limits_.initial_window_bytes + random_.Below(extra));
      const uint8_t of = is_sender ? proto::flag::kResponse : proto::flag::kRequest;
      proto::AppendFrame(link.up, proto::FrameType::kWindow, of, actor.slot, actor.exchange,
                         {payload, sizeof(payload)});
    }
  }
  if (!is_sender && random_.OneIn(4)) {
    Collect(link);
    char payload[proto::kExtendBytes];
    proto::StoreBig<uint32_t>(reinterpret_cast<uint8_t*>(payload), static_cast<uint32_t>(random_.Scaled(10000)));
    proto::AppendFrame(link.up, proto::FrameType::kExtend, 0, actor.slot, actor.exchange, {payload, sizeof(payload)});
  }
  const bool may_give_back = !is_sender && !actor.has_responded;
  const bool is_behind = link.is_deaf || link.unsent > limits_.send_queue_mark_bytes;
  if (may_give_back && random_.OneIn(link.is_leaving || is_behind || is_fickle_ ? 3 : 15)) {
    GiveBack(link, actor);
  } else if (random_.OneIn(100)) {
    Leave(link, actor);
  } else if (random_.OneIn(40)) {
    const Status status = random_.OneIn(8) ? Status() : AbortedError(std::string(random_.Scaled(2000), 'x'));
    link.protocol->Reset(actor.slot, actor.exchange, status, random_.OneIn(2));
    ForgetOperation(actor);
  } else if (is_sender) {
    // To the very bound of the queue now and then.
    const uint64_t room = random_.OneIn(4) ? reference_->RoomInQueue(channels_[actor.channel]) : 0;
    const bool may_fill = room > proto::kHeaderBytes && room < 100000;
    SendMore(link, actor, may_fill ? room - proto::kHeaderBytes : random_.Scaled(200000));
  } else if (random_.OneIn(2)) {
    RespondMore(link, actor, random_.Scaled(200000));
  }
}

uint64_t World::BodyBytes() {
  if (is_heavy_ && random_.OneIn(2)) return random_.Between(50000, 500000);
  return random_.OneIn(10) ? random_.Scaled(100000) : random_.Scaled(2000);
}

void World::BeginRequest(Link& link, Actor& actor) {
  const proto::Uuid id = DrawId();
  if (link.used_ids.contains({actor.slot, id})) return;
  Story story;
  story.sender = actor.id;
  story.is_idempotent = random_.OneIn(2);
  story.request.seed = random_.Next();
  client::RequestStart start;
  start.head = HeadOf(stories_.size());
  start.is_idempotent = story.is_idempotent;
  start.requires_receiver = random_.OneIn(10);
  if (random_.OneIn(3)) start.timeout = absl::Milliseconds(static_cast<int64_t>(random_.Scaled(5000)));
  const uint64_t bytes = BodyBytes();
  const std::string first = story.request.Next(random_.OneIn(2) ? bytes : random_.Below(bytes + 1));
  const bool is_whole = first.size() == bytes;
  Collect(link);
  const size_t at = link.up.size() + proto::kHeaderBytes;
  const auto taken = link.protocol->Start(actor.slot, id, start, first, is_whole);
  if (!taken.has_value()) return;
  Collect(link);
  proto::StartBlock block({reinterpret_cast<uint8_t*>(link.up.data()) + at, proto::kStartBlockBytes});
  if (random_.OneIn(2)) block.set_max_extension_ms(static_cast<uint32_t>(random_.Scaled(10000)));
  ForgetOperation(actor);
  actor.state = Actor::State::kSending;
  actor.exchange = id;
  actor.story = stories_.size();
  actor.to_send = bytes;
  story.request.bytes = *taken;
  story.request.is_whole = is_whole && *taken == first.size();
  stories_.push_back(std::move(story));
  link.used_ids.emplace(actor.slot, id);
  Remember(id);
}

void World::SendMore(Link& link, Actor& actor, uint64_t most) {
  Sent& sent = stories_[actor.story].request;
  if (sent.is_whole) return;
  const std::string more = sent.Next(std::min(most, actor.to_send - sent.bytes));
  const bool is_whole = sent.bytes + more.size() == actor.to_send;
  const size_t taken = link.protocol->Write(actor.slot, actor.exchange, more, is_whole, false);
  sent.bytes += taken;
  sent.is_whole = is_whole && taken == more.size();
}

void World::RespondMore(Link& link, Actor& actor, uint64_t most) {
  Sent foreign;
  foreign.bytes = actor.sent;
  Sent& sent = actor.is_foreign ? foreign : stories_[actor.story].responses[actor.attempt];
  if (!actor.has_responded) {
    sent.seed = random_.Next();
    actor.to_send = BodyBytes();
  }
  const bool ends_apart = random_.OneIn(4);
  const bool goes_on = actor.is_receiver && !actor.is_withdrawing && !link.is_leaving && random_.OneIn(2);
  const std::string more = sent.Next(std::min(most, actor.to_send - sent.bytes));
  const bool is_all = sent.bytes + more.size() == actor.to_send;
  size_t taken = 0;
  if (!actor.has_responded) {
    const std::string head = actor.is_foreign ? "" : HeadOf(actor.story);
    const auto first = link.protocol->Respond(actor.slot, actor.exchange, head, more, is_all && !ends_apart, goes_on);
    if (!first.has_value()) return;
    actor.has_responded = true;
    taken = *first;
  } else {
    taken = link.protocol->Write(actor.slot, actor.exchange, more, is_all && !ends_apart, goes_on);
  }
  sent.bytes += taken;
  actor.sent = sent.bytes;
  if (!is_all || taken != more.size()) return;
  if (ends_apart) link.protocol->End(actor.slot, actor.exchange, {}, goes_on);
  sent.is_whole = true;
  ForgetOperation(actor);
  if (goes_on) actor.state = Actor::State::kWaiting;
}

void World::Consume(Link& link, Actor& actor) {
  if (actor.is_miser && !is_finishing_) return;
  const bool is_part = random_.OneIn(4) && !is_finishing_;
  const uint64_t cost = is_part ? random_.Below(actor.unconsumed + 1) : actor.unconsumed;
  link.protocol->Consumed(actor.slot, actor.exchange, cost);
  actor.unconsumed -= cost;
}

void World::ForgetOperation(Actor& actor) {
  actor.exchange = kNilUuid;
  actor.is_foreign = false;
  actor.has_responded = false;
  actor.in_is_whole = false;
  actor.received = actor.unconsumed = actor.extra_given = 0;
  actor.to_send = actor.sent = 0;
  actor.attempt = 0;
  actor.state = Actor::State::kIdle;
}

}  // namespace relay::simulation

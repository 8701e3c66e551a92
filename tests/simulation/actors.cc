// What the clients of the simulated world do and expect, and what the wild one says.

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "proto/channel_name.h"
#include "proto/messages.h"
#include "simulation/world.h"

namespace relay::simulation {

using client::Event;
using proto::FrameType;
using proto::kNilUuid;
namespace flag = proto::flag;

// ---- The clients ---------------------------------------------------------------------------------------------------

void World::Act(Link& link) {
  if (link.protocol == nullptr || link.actors.empty()) return;
  Actor& actor = link.actors[random_.Below(link.actors.size())];
  switch (actor.state) {
    case Actor::State::kOut:
      actor.slot = link.protocol->Join(actor.id, channels_[actor.channel], ChannelName(actor.channel), actor.key);
      if (actor.slot != 0) actor.state = Actor::State::kIdle;
      break;
    case Actor::State::kIdle:
      ActIdle(link, actor);
      break;
    case Actor::State::kWaiting:
      if (random_.OneIn(10) && link.protocol->Withdraw(actor.slot)) actor.is_withdrawing = true;
      break;
    case Actor::State::kSending:
      if (random_.OneIn(2)) Consume(link, actor);
      if (random_.OneIn(40)) {
        link.protocol->Reset(actor.slot, actor.exchange, CancelledError("chance"), false);
        ForgetOperation(actor);
      } else {
        SendMore(link, actor, random_.Scaled(70000));
      }
      break;
    case Actor::State::kServing:
      if (random_.OneIn(2)) Consume(link, actor);
      if (random_.OneIn(30)) {
        link.protocol->Reset(actor.slot, actor.exchange, AbortedError("chance"), random_.OneIn(2));
        ForgetOperation(actor);
      } else if (random_.OneIn(2)) {
        RespondMore(link, actor, random_.Scaled(70000));
      }
      break;
    case Actor::State::kLeaving:
      break;
  }
  Collect(link);
}

void World::ActIdle(Link& link, Actor& actor) {
  if (random_.OneIn(30)) {
    link.protocol->Leave(actor.slot);
    actor.state = Actor::State::kLeaving;
  } else if (actor.never_sends || actor.is_receiver != random_.OneIn(10)) {
    std::optional<absl::Duration> wait;
    if (random_.OneIn(3)) wait = absl::Milliseconds(static_cast<int64_t>(random_.Scaled(3000)));
    if (link.protocol->Receive(actor.slot, wait)) actor.state = Actor::State::kWaiting;
  } else {
    BeginRequest(link, actor);
  }
}

uint64_t World::BodyBytes() {
  if (is_heavy_ && random_.OneIn(2)) return random_.Between(50000, 500000);
  return random_.OneIn(10) ? random_.Scaled(100000) : random_.Scaled(2000);
}

void World::BeginRequest(Link& link, Actor& actor) {
  const proto::Uuid id = random_.Id();
  Story story;
  story.sender = actor.id;
  story.is_idempotent = random_.OneIn(2);
  story.request.seed = random_.Next();
  client::RequestStart start;
  start.head.set_method("chance");
  start.is_idempotent = story.is_idempotent;
  start.requires_receiver = random_.OneIn(10);
  if (random_.OneIn(4)) start.timeout = absl::Milliseconds(static_cast<int64_t>(random_.Between(1, 5000)));
  const uint64_t bytes = BodyBytes();
  const std::string first = story.request.Next(random_.OneIn(2) ? bytes : random_.Below(bytes + 1));
  const bool is_whole = first.size() == bytes;
  const auto taken = link.protocol->Start(actor.slot, id, start, first, is_whole);
  if (!taken.has_value()) return;
  actor.state = Actor::State::kSending;
  actor.exchange = id;
  actor.to_send = bytes;
  story.request.bytes = *taken;
  story.request.is_whole = is_whole && *taken == first.size();
  stories_.emplace(id, std::move(story));
}

void World::SendMore(Link& link, Actor& actor, uint64_t most) {
  Sent& sent = stories_.at(actor.exchange).request;
  if (sent.is_whole) return;
  const std::string more = sent.Next(std::min(most, actor.to_send - sent.bytes));
  const bool is_whole = sent.bytes + more.size() == actor.to_send;
  const size_t taken = link.protocol->Write(actor.slot, actor.exchange, more, is_whole, false);
  sent.bytes += taken;
  sent.is_whole = is_whole && taken == more.size();
}

void World::RespondMore(Link& link, Actor& actor, uint64_t most) {
  Sent foreign;
  foreign.bytes = actor.to_send;
  Sent& sent = actor.is_foreign ? foreign : stories_.at(actor.exchange).responses[actor.attempt];
  if (!actor.has_responded && !actor.is_foreign) {
    sent.seed = random_.Next();
    actor.to_send = BodyBytes();
  }
  const bool ends_apart = random_.OneIn(4);
  const bool goes_on = actor.is_receiver && !actor.is_withdrawing && random_.OneIn(2);
  const std::string more = sent.Next(std::min(most, actor.to_send - sent.bytes));
  const bool is_all = sent.bytes + more.size() == actor.to_send;
  size_t taken = 0;
  if (!actor.has_responded) {
    const auto first = link.protocol->Respond(actor.slot, actor.exchange, {}, more, is_all && !ends_apart, goes_on);
    if (!first.has_value()) return;
    actor.has_responded = true;
    taken = *first;
  } else {
    taken = link.protocol->Write(actor.slot, actor.exchange, more, is_all && !ends_apart, goes_on);
  }
  sent.bytes += taken;
  if (!is_all || taken != more.size()) return;
  if (ends_apart) link.protocol->End(actor.slot, actor.exchange, {}, goes_on);
  sent.is_whole = true;
  ForgetOperation(actor);
  if (goes_on) actor.state = Actor::State::kWaiting;
}

void World::Consume(Link& link, Actor& actor) {
  const uint64_t cost = random_.OneIn(4) && !is_finishing_ ? random_.Below(actor.unconsumed + 1) : actor.unconsumed;
  link.protocol->Consumed(actor.slot, actor.exchange, cost);
  actor.unconsumed -= cost;
}

void World::ForgetOperation(Actor& actor) {
  actor.exchange = kNilUuid;
  actor.is_foreign = false;
  actor.has_responded = false;
  actor.in_is_whole = false;
  actor.received = 0;
  actor.unconsumed = 0;
  actor.to_send = 0;
  actor.attempt = 0;
  actor.state = Actor::State::kIdle;
}

// Whether an exchange of clients that keep the rules can have this end.
bool World::MayEndSo(std::string_view end) const {
  constexpr std::string_view kEnds[] = {"deadline",      "queue_count", "queue_bytes", "queue_bytes_total",
                                        "sender_reset",  "sender_lost", "no_receiver", "receiver_reset",
                                        "receiver_lost", "stopping"};
  if (std::find(std::begin(kEnds), std::end(kEnds), end) != std::end(kEnds)) return true;
  // The wild one may have begun a request with the id of one that was still on its way.
  return wild_is_among_us_ && end == "id_live";
}

void World::OnEvent(Link& link, const Event& event) {
  const auto found = std::find_if(link.actors.begin(), link.actors.end(),
                                  [&](const Actor& a) { return a.slot == event.slot && event.slot != 0; });
  if (event.kind == Event::Kind::kFault)
    return Fail(absl::StrCat("a client faults the relay: ", event.status.message()));
  if (event.kind == Event::Kind::kWelcome) return;
  if (event.kind == Event::Kind::kGoaway) {
    for (Actor& actor : link.actors) {
      if (actor.state == Actor::State::kWaiting && !actor.is_withdrawing) actor.state = Actor::State::kIdle;
    }
    return;
  }
  if (found == link.actors.end()) return Fail("an event for a slot that nobody has");
  Actor& actor = *found;
  const bool is_of_exchange =
      event.kind == Event::Kind::kResponse || event.kind == Event::Kind::kBody || event.kind == Event::Kind::kEnd;
  if (is_of_exchange && event.id != actor.exchange)
    return Fail("an event of an exchange that the client has no part in");
  switch (event.kind) {
    case Event::Kind::kLeft:
      ForgetOperation(actor);
      actor.is_withdrawing = false;
      actor.slot = 0;
      actor.state = Actor::State::kOut;
      break;
    case Event::Kind::kNothingCame:
      if (actor.state != Actor::State::kWaiting) return Fail("a wait ended that was none");
      actor.state = Actor::State::kIdle;
      break;
    case Event::Kind::kWithdrawn:
      actor.is_withdrawing = false;
      if (actor.state == Actor::State::kWaiting) actor.state = Actor::State::kIdle;
      break;
    case Event::Kind::kDiscarded:
      if (stories_.contains(event.id)) return Fail("a request came damaged");
      actor.state = Actor::State::kIdle;
      break;
    case Event::Kind::kRequest: {
      if (actor.state != Actor::State::kWaiting) return Fail("a request for a client that does not wait");
      ForgetOperation(actor);
      actor.state = Actor::State::kServing;
      actor.exchange = event.id;
      actor.attempt = event.attempt;
      actor.is_foreign = event.other_client == wild_id_;
      if (actor.is_foreign) return;
      const auto story = stories_.find(event.id);
      if (story == stories_.end()) return Fail("a request that nobody sent");
      if (story->second.sender != event.other_client) return Fail("a request with another's name on it");
      if (!story->second.receivers.emplace(event.attempt, actor.id).second) return Fail("an attempt counted twice");
      OnBody(actor, event);
      break;
    }
    case Event::Kind::kResponse: {
      const auto& receivers = stories_.at(event.id).receivers;
      const auto receiver = receivers.find(event.attempt);
      if (receiver == receivers.end() || receiver->second != event.other_client) {
        return Fail("a response of somebody who was not assigned");
      }
      actor.attempt = event.attempt;
      OnBody(actor, event);
      break;
    }
    case Event::Kind::kBody:
      if (!actor.is_foreign) OnBody(actor, event);
      break;
    case Event::Kind::kEnd:
      actor.in_is_whole = true;
      CheckWhole(actor);
      if (actor.state == Actor::State::kSending) ForgetOperation(actor);
      break;
    case Event::Kind::kReset:
      if (!actor.is_foreign && !MayEndSo(event.status.end())) {
        return Fail("a client that kept the rules was reset: " + event.status.end());
      }
      if (event.id == actor.exchange) ForgetOperation(actor);
      break;
    default:
      break;
  }
}

void World::OnBody(Actor& actor, const Event& event) {
  const Story& story = stories_.at(actor.exchange);
  const bool is_response = actor.state == Actor::State::kSending;
  const Sent& sent = is_response ? story.responses.at(actor.attempt) : story.request;
  if (!sent.Has(event.body, actor.received)) return Fail("bytes that were not sent there");
  actor.received += event.body.size();
  actor.unconsumed += event.cost;
  if (!event.is_last) return;
  actor.in_is_whole = true;
  CheckWhole(actor);
  if (is_response) ForgetOperation(actor);
}

void World::CheckWhole(const Actor& actor) {
  if (actor.is_foreign) return;
  const Story& story = stories_.at(actor.exchange);
  const Sent& sent = actor.state == Actor::State::kSending ? story.responses.at(actor.attempt) : story.request;
  if (!sent.is_whole || sent.bytes != actor.received) Fail("a stream ended that was not whole");
}

// ---- The wild one --------------------------------------------------------------------------------------------------

void World::ActWild(Link& link) {
  if (!link.is_open) return;
  if (random_.OneIn(50)) {
    for (uint64_t i = random_.Below(40); i > 0; --i) link.up.push_back(static_cast<char>(random_.Next()));
    return;
  }
  const auto type = static_cast<FrameType>(random_.Between(random_.OneIn(8) ? 1 : 3, random_.OneIn(8) ? 15 : 10));
  if (type == FrameType::kJoin || random_.OneIn(6)) {
    v1::Join join;
    const proto::Uuid channel = wild_is_among_us_ ? channels_[0] : proto::ChannelId("wild");
    join.set_client_id(std::string(proto::BytesOf(wild_id_)));
    join.set_channel_id(std::string(proto::BytesOf(channel)));
    proto::AppendMessage(link.up, FrameType::kJoin, 0, static_cast<uint16_t>(random_.Between(1, 2)), kNilUuid, join);
    return;
  }
  if (wild_is_among_us_ && type == FrameType::kReceive) return;
  proto::Uuid id = random_.Id();
  if (!stories_.empty() && random_.OneIn(2)) {
    auto story = stories_.lower_bound(id);
    if (story == stories_.end()) story = stories_.begin();
    id = story->first;
  }
  const bool has_id = type == FrameType::kLeave || (type >= FrameType::kStart && type <= FrameType::kReset);
  if (type == FrameType::kLeave) id = wild_id_;
  if (has_id == random_.OneIn(30)) id = kNilUuid;
  uint8_t flags = 0;
  if (type >= FrameType::kStart && type <= FrameType::kWindow) {
    flags = random_.OneIn(2) ? flag::kRequest : flag::kResponse;
    if (random_.OneIn(3)) flags = static_cast<uint8_t>(flags | (1u << random_.Between(2, 5)));
  }
  if (random_.OneIn(30)) flags = static_cast<uint8_t>(random_.Next());
  if (wild_is_among_us_) flags = flags & static_cast<uint8_t>(~flag::kReceive);
  std::string payload;
  if (type == FrameType::kStart) payload.assign(proto::kHeaderBytes + 16, '\0');
  if (type == FrameType::kWindow || type == FrameType::kPing) payload.assign(8, static_cast<char>(random_.Below(2)));
  for (uint64_t i = random_.OneIn(4) ? random_.Below(60) : 0; i > 0; --i) {
    payload.push_back(static_cast<char>(random_.Next()));
  }
  proto::AppendFrame(link.up, type, flags, static_cast<uint16_t>(random_.OneIn(20) ? 0 : random_.Between(1, 2)), id,
                     payload);
}

}  // namespace relay::simulation

// The end of a world: the faults stop, and everybody finishes what was begun and leaves.

#include "absl/strings/str_cat.h"
#include "proto/messages.h"
#include "simulation/world.h"

namespace relay::simulation {
namespace {

constexpr uint64_t kAll = UINT64_MAX;
constexpr int kMostRounds = 3000;

}  // namespace

void World::FinishActor(Link& link, Actor& actor, bool& is_busy) {
  client::Protocol& protocol = *link.protocol;
  if (link.is_shut) return;  // it only reads what was still to come
  switch (actor.state) {
    case Actor::State::kOut:
      // Once: it may be refused for good, where limits are tight.
      if (!actor.is_receiver || actor.has_given_up || link.is_leaving || is_draining_) return;
      Join(link, actor);
      actor.has_given_up = actor.slot == 0;
      break;
    case Actor::State::kIdle:
      if (!actor.is_receiver || link.is_leaving || is_draining_) return;
      if (protocol.Receive(actor.slot, std::nullopt)) actor.state = Actor::State::kWaiting;
      break;
    case Actor::State::kWaiting:
      return;
    case Actor::State::kLeaving:
      break;
    case Actor::State::kSending:
      Consume(link, actor);
      SendMore(link, actor, 70000);
      break;
    case Actor::State::kServing:
      Consume(link, actor);
      if (actor.in_is_whole || actor.is_foreign) RespondMore(link, actor, 70000);
      break;
  }
  is_busy = true;
}

// Everything that is under way moves on. False where nothing is.
bool World::FinishRound() {
  bool is_busy = false;
  const uint64_t moves = moves_;
  for (const auto& link : links_) {
    if (link->protocol == nullptr) continue;
    for (Actor& actor : link->actors) FinishActor(*link, actor, is_busy);
    Collect(*link);
    is_busy = is_busy || !link->up.empty() || !link->down.empty();
    CarryUp(*link, kAll);
  }
  for (const auto& link : links_) CarryDown(*link, kAll);
  return is_busy && moves_ != moves;
}

void World::FinishRounds() {
  int rounds = 0;
  while (failure_.empty() && FinishRound()) {
    if (++rounds > kMostRounds) Fail("with every fault gone, something does not end:" + WhatGoesOn());
  }
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

void World::Lose(Link& link) {
  Forget(link);
  if (!link.is_open) return;
  link.is_open = false;
  tap_->OnInputEnd(link.connection);
  reference_->OnInputEnd(link.connection, true, now_);
  relay_->OnInputEnd(link.connection, true, now_);
  Settle(std::nullopt, false);
}

void World::Finish() {
  is_finishing_ = true;
  if (is_short_of_memory_) LoseMemory();
  for (const auto& link : links_) {
    if (link->protocol == nullptr) Lose(*link);
  }
  std::erase_if(links_, [](const auto& link) { return link->protocol == nullptr; });
  for (const auto& link : links_) link->is_stalled = link->is_deaf = false;
  FinishRounds();
  // Whoever is half closed can wait for what it may not ask for.
  for (const auto& link : links_) {
    if (link->is_shut && failure_.empty()) Lose(*link);
  }
  FinishRounds();
  if (!failure_.empty()) return;
  FinishStarved();
  if (!failure_.empty()) return;
  if (relay_->metrics().exchanges_live != 0 || reference_->live_requests() != 0) {
    return Fail("an exchange outlived its clients:" + WhatGoesOn());
  }
  if (!is_draining_ && random_.OneIn(2)) DrainRelay();
  if (is_draining_ && random_.OneIn(2)) {
    FinishDrain();
  } else {
    for (const auto& link : links_) {
      if (!link->is_open) continue;
      reference_->OnInputEnd(link->connection, false, now_);
      relay_->OnInputEnd(link->connection, false, now_);
      Settle(std::nullopt, false);
    }
    for (const auto& link : links_) link->protocol.reset();
    // Whoever did not read the last words is suspected, then found dead, and lingers no longer than that.
    for (int i = 0; i < 3; ++i) PassTime(absl::Hours(1));
  }
  if (!failure_.empty()) return;
  const server::Metrics& metrics = relay_->metrics();
  if (relay_->connection_count() != 0 || relay_->client_count() != 0 || relay_->channel_count() != 0 ||
      metrics.held_bytes != 0 || metrics.exchanges_live != 0 || relay_->next_deadline().has_value()) {
    Fail("everybody has left, and something is still there");
  }
}

// What is left waits for somebody who is not there: a receiver that could not join, or who does not read. Nothing waits
// for longer than its time.
void World::FinishStarved() {
  if (relay_->metrics().exchanges_live == 0) return;
  for (const auto& link : links_) {
    for (const Actor& actor : link->actors) {
      if (actor.state != Actor::State::kSending && actor.state != Actor::State::kServing) continue;
      if (actor.state == Actor::State::kServing && !link->is_shut) {
        return Fail("a receiver waits for what its sender has:" + WhatGoesOn());
      }
      if (reference_->HasReceiver(channels_[actor.channel]) && reference_->HasWaiting(channels_[actor.channel])) {
        return Fail("a request waits beside a receiver that waits:" + WhatGoesOn());
      }
    }
  }
  const uint64_t ended_before = relay_->metrics().requests_ended;
  PassTime(limits_.max_request_time + absl::Milliseconds(1));
  starved_ += relay_->metrics().requests_ended - ended_before;
}

// A drain ends in its time, whatever anybody does.
void World::FinishDrain() {
  for (const auto& link : links_) link->protocol.reset();
  PassTime(limits_.drain_timeout + absl::Milliseconds(1));
  PassTime(limits_.linger_time + absl::Milliseconds(1));
  if (relay_->connection_count() != 0) Fail("a drain did not end in its time");
}

}  // namespace relay::simulation

// What the clients of the simulated world hear, and whether it can be so.

#include <algorithm>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "simulation/world.h"

namespace relay::simulation {

using client::Event;

namespace {

template <size_t kCount>
bool IsOneOf(std::string_view end, const std::string_view (&ends)[kCount]) {
  return std::find(std::begin(ends), std::end(ends), end) != std::end(ends);
}

// Of an exchange in which both sides keep the rules.
constexpr std::string_view kOfSender[] = {"deadline",          "queue_count",    "queue_bytes",
                                          "queue_bytes_total", "receiver_reset", "receiver_lost",
                                          "no_receiver",       "stopping",       "memory"};
constexpr std::string_view kOfReceiver[] = {"deadline", "sender_reset", "sender_lost", "stopping"};
// Of one whose other side does not.
constexpr std::string_view kOfFaults[] = {"second_start",  "not_started",    "after_end",     "start_too_large",
                                          "end_too_large", "window_overrun", "window_too_far"};

}  // namespace

std::optional<size_t> World::StoryOf(const v1::Start& head) const {
  size_t number = 0;
  if (!absl::SimpleAtoi(head.method(), &number) || number >= stories_.size()) return std::nullopt;
  return number;
}

const Sent& World::Incoming(const Actor& actor) const {
  const Story& story = stories_[actor.story];
  return actor.state == Actor::State::kSending ? story.responses.at(actor.attempt) : story.request;
}

// Whether the client, who keeps the rules, can be told of this end.
bool World::MayEndSo(const Actor& actor, std::string_view end) const {
  const bool is_sender = actor.state == Actor::State::kSending;
  if (is_sender ? IsOneOf(end, kOfSender) : IsOneOf(end, kOfReceiver)) return true;
  const bool is_with_wild = is_sender ? !stories_[actor.story].wild_attempts.empty() : actor.is_foreign;
  if (is_with_wild && IsOneOf(end, kOfFaults)) return true;
  return is_sender && end == "id_live" && (ids_collide_ || has_wild_);
}

void World::OnEvent(Link& link, const Event& event) {
  if (event.kind == Event::Kind::kFault) {
    return Fail(absl::StrCat("a client faults the relay: ", event.status.message()));
  }
  if (event.kind == Event::Kind::kWelcome) return;
  if (event.kind == Event::Kind::kGoaway) {
    for (Actor& actor : link.actors) {
      if (actor.state == Actor::State::kWaiting && !actor.is_withdrawing) actor.state = Actor::State::kIdle;
    }
    return;
  }
  const auto found = std::find_if(link.actors.begin(), link.actors.end(),
                                  [&](const Actor& a) { return a.slot == event.slot && event.slot != 0; });
  if (found == link.actors.end()) return Fail("an event for a slot that nobody has");
  Actor& actor = *found;
  const bool is_of_exchange =
      event.kind == Event::Kind::kResponse || event.kind == Event::Kind::kBody || event.kind == Event::Kind::kEnd;
  if (is_of_exchange && event.id != actor.exchange) {
    return Fail("an event of an exchange that the client has no part in");
  }
  switch (event.kind) {
    case Event::Kind::kLeft:
      ForgetOperation(actor);
      actor.is_withdrawing = false;
      actor.slot = 0;
      actor.state = Actor::State::kOut;
      actor.has_given_up = is_finishing_;
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
      if (!has_wild_) return Fail("a request came damaged");
      actor.state = Actor::State::kIdle;
      break;
    case Event::Kind::kRequest:
      link.used_ids.emplace(event.slot, event.id);
      OnRequest(actor, event);
      break;
    case Event::Kind::kResponse:
      OnResponse(actor, event);
      break;
    case Event::Kind::kBody:
      OnBody(actor, event);
      break;
    case Event::Kind::kEnd:
      actor.in_is_whole = true;
      CheckWhole(actor);
      if (actor.state == Actor::State::kSending) {
        stories_[actor.story].is_over = true;
        ForgetOperation(actor);
      }
      break;
    case Event::Kind::kReset:
      OnReset(actor, event);
      break;
    default:
      break;
  }
}

void World::OnRequest(Actor& actor, const Event& event) {
  if (actor.state != Actor::State::kWaiting) return Fail("a request for a client that does not wait");
  ForgetOperation(actor);
  actor.state = Actor::State::kServing;
  actor.exchange = event.id;
  actor.attempt = event.attempt;
  const auto number = StoryOf(event.head);
  const bool is_wild = std::find(wild_ids_.begin(), wild_ids_.end(), event.other_client) != wild_ids_.end();
  actor.is_foreign = is_wild || (!number.has_value() && impersonated_.contains(event.other_client));
  if (actor.is_foreign) return OnBody(actor, event);
  if (!number.has_value()) return Fail("a request that nobody sent");
  actor.story = *number;
  Story& story = stories_[*number];
  if (story.sender != event.other_client) return Fail("a request with another's name on it");
  if (event.is_idempotent != story.is_idempotent) return Fail("a request came with other flags");
  if (!story.receivers.emplace(event.attempt, actor.id).second) return Fail("an attempt counted twice");
  OnBody(actor, event);
}

void World::OnResponse(Actor& actor, const Event& event) {
  const Story& story = stories_[actor.story];
  actor.attempt = event.attempt;
  actor.is_foreign = story.wild_attempts.contains(event.attempt);
  if (actor.is_foreign) return OnBody(actor, event);
  const auto receiver = story.receivers.find(event.attempt);
  if (receiver == story.receivers.end() || receiver->second != event.other_client) {
    return Fail("a response of somebody who was not assigned");
  }
  if (StoryOf(event.head) != actor.story) return Fail("the response to another request");
  OnBody(actor, event);
}

void World::OnReset(Actor& actor, const Event& event) {
  // The protocol's own word for a response that cannot be read has no end, and only a wild one sends such.
  if (actor.is_foreign || (event.status.end().empty() && has_wild_)) return ForgetOperation(actor);
  const std::string_view end = event.status.end();
  if (!MayEndSo(actor, end)) return Fail(absl::StrCat("a client that kept the rules was reset: ", std::string(end)));
  if (actor.state == Actor::State::kSending) {
    Story& story = stories_[actor.story];
    story.is_over = true;
    // One of several cores hands out what another one, where the receiver is no more, does not write.
    const bool may_be_lost = options_.cores > 1 && event.status.may_have_run();
    if (event.status.may_have_run() != (story.handed_out > 0) && !may_be_lost) {
      Fail(absl::StrCat("may_have_run is ", event.status.may_have_run(), " of a request that was handed out ",
                        story.handed_out, " times"));
    }
  }
  ForgetOperation(actor);
}

void World::OnBody(Actor& actor, const Event& event) {
  const bool is_response = actor.state == Actor::State::kSending;
  actor.unconsumed += event.cost;
  if (!actor.is_foreign && !Incoming(actor).Has(event.body, actor.received)) {
    return Fail("bytes that were not sent there");
  }
  actor.received += event.body.size();
  if (!event.is_last) return;
  actor.in_is_whole = true;
  CheckWhole(actor);
  if (!is_response) return;
  stories_[actor.story].is_over = true;
  ForgetOperation(actor);
}

void World::CheckWhole(const Actor& actor) {
  if (actor.is_foreign) return;
  const Sent& sent = Incoming(actor);
  if (!sent.is_whole || sent.bytes != actor.received) Fail("a stream ended that was not whole");
}

}  // namespace relay::simulation

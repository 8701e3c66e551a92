#include "client/roster.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/wire.h"

namespace relay::client {
namespace {

using Kind = Operation::Kind;
using Phase = Operation::Phase;

// So much output may wait for the socket before bodies are left where they are: a few gathered writes.
constexpr size_t kOutputMarkBytes = size_t{512} * 1024;

// The server ends an exchange whose time is over. Only when it has not for so long does the client do so itself.
constexpr absl::Duration kServerGrace = absl::Seconds(1);

// Ends that mean something here, by the server's names and our own.
constexpr std::string_view kStopping = "stopping";
constexpr std::string_view kNoReceiver = "no_receiver";
constexpr std::string_view kIdLive = "id_live";
constexpr std::string_view kDeadline = "deadline";

std::string Milliseconds(absl::Duration duration) { return absl::StrCat(absl::ToInt64Milliseconds(duration), " ms"); }

Status BusyError(StatusCode code, const Participant& participant, absl::Time now) {
  const Operation& holder = *participant.current;
  return Status(code, "client " + participant.id.ToString() + " is busy with " + std::string(holder.spec().name) +
                          " since " + Milliseconds(now - holder.submitted));
}

}  // namespace

void Roster::Submit(std::shared_ptr<Operation> operation, absl::Time now) {
  const auto& participant = operation->participant();
  if (is_closed_) return operation->End(FailedPreconditionError("the connection was closed"));
  if (participant->has_left) return operation->End(CancelledError("the client was dropped"));
  members_.try_emplace(participant.get(), participant);
  operation->submitted = now;
  if (participant->current == nullptr) return Begin(std::move(operation), now);
  if (operation->spec().if_busy == IfBusy::kFail) {
    return operation->End(BusyError(StatusCode::kFailedPrecondition, *participant, now));
  }
  if (const auto wish = operation->wish_to_end()) return operation->End(*wish);
  operation->SetQueued();
  auto& queue = participant->queue;
  const auto place = queue.insert(queue.end(), std::move(operation));
  (*place)->place = place;
  Arm(**place);
}

void Roster::Begin(std::shared_ptr<Operation> operation, absl::Time now) {
  operation->participant()->current = operation;
  operation->turn_since = now;
  operation->SetTurn();
  // One that ends at once begins the next, so a long line of such would be a deep stack.
  if (is_beginning_) return begun_.push_back(std::move(operation));
  is_beginning_ = true;
  while (true) {
    if (operation->phase() == Phase::kTurn) Advance(*operation, now);
    if (begun_.empty()) break;
    operation = std::move(begun_.front());
    begun_.pop_front();
  }
  is_beginning_ = false;
}

void Roster::Look(const std::shared_ptr<Operation>& operation, absl::Time now) {
  switch (operation->phase()) {
    case Phase::kNew:  // what it is to do waits until it is submitted
    case Phase::kEnded:
      return;
    case Phase::kQueued:
      if (const auto wish = operation->wish_to_end()) End(*operation, *wish, now);
      return;
    case Phase::kTurn:
    case Phase::kWaiting:
    case Phase::kRunning:
      return Advance(*operation, now);
  }
}

void Roster::Advance(Operation& operation, absl::Time now) {
  Participant& participant = *operation.participant();
  const bool begins = operation.phase() == Phase::kTurn;
  if (begins) UnbindFromLeaving(participant);
  // A running exchange needs no new connection, only its own.
  const bool can_advance = begins ? is_up() && operation.not_before <= now : participant.session != nullptr;
  if (!can_advance) {
    const auto wish = operation.wish_to_end();
    if (wish.has_value()) return End(operation, *wish, now);
    return Arm(operation);
  }
  operation.not_before = absl::InfinitePast();
  if (participant.session == nullptr) {
    Bind(participant);
    if (participant.session == nullptr) {
      return End(
          operation,
          ResourceExhaustedError(absl::StrCat("the server takes no more than ", session_->protocol.limits().max_clients,
                                              " clients on a connection")),
          now);
    }
  }
  Session& session = *participant.session;
  const bool goes_on = !session.is_leaving && !participant.queue.empty() && participant.queue.front()->IsEndlessWait();
  const bool was_blocked = operation.is_blocked;
  const auto verdict = operation.Advance(session.protocol, participant.slot, now, kOutputMarkBytes, goes_on);
  if (verdict.has_value()) return End(operation, *verdict, now);
  if (operation.is_blocked && !was_blocked) session.blocked.push_back(participant.current);
  Arm(operation);
}

void Roster::End(Operation& operation, const Status& status, absl::Time now) {
  Participant& participant = *operation.participant();
  const bool was_current = participant.current.get() == &operation;
  std::shared_ptr<Operation> ended;
  if (was_current) {
    ended = std::move(participant.current);
  } else {
    ended = std::move(*operation.place);
    participant.queue.erase(ended->place);
  }
  Disarm(*ended);
  ended->End(status);

  if (was_current) UnbindFromLeaving(participant);
  if (was_current && participant.has_left) return Part(participant);
  if (!was_current || participant.queue.empty()) return;
  auto next = std::move(participant.queue.front());
  participant.queue.pop_front();
  Disarm(*next);
  const Session* const session = participant.session;
  if (session == nullptr || !session->protocol.IsWaiting(participant.slot)) return Begin(std::move(next), now);
  next->SetWaiting();
  participant.current = std::move(next);
}

void Roster::WindUp(Participant& participant, const Status& status, absl::Time now) {
  while (!participant.queue.empty()) End(*participant.queue.back(), status, now);
  Operation* const current = participant.current.get();
  if (current == nullptr || !current->is_serving()) return;
  const auto verdict = current->Advance(participant.session->protocol, participant.slot, now, SIZE_MAX, false);
  if (verdict.has_value()) End(*current, *verdict, now);
}

void Roster::Leave(const std::shared_ptr<Participant>& participant, absl::Time now) {
  const Status why = CancelledError("the client was dropped");
  WindUp(*participant, why, now);
  participant->has_left = true;
  if (participant->current == nullptr) return Part(*participant);
  if (!participant->current->is_answering()) End(*participant->current, why, now);
}

void Roster::Part(Participant& participant) {
  if (participant.session != nullptr) {
    participant.session->protocol.Leave(participant.slot);
    Unbind(participant);
  }
  members_.erase(&participant);
}

void Roster::Bind(Participant& participant) {
  Session& session = *session_;
  participant.slot =
      session.protocol.Join(ToWire(participant.id), participant.channel_id, participant.channel_name, participant.key);
  if (participant.slot == 0) return;
  participant.session = &session;
  if (session.by_slot.size() <= participant.slot) session.by_slot.resize(participant.slot + size_t{1});
  session.by_slot[participant.slot] = participant.current->participant();
  ++session.bound;
}

void Roster::Unbind(Participant& participant) {
  Session& session = *std::exchange(participant.session, nullptr);
  session.by_slot[std::exchange(participant.slot, uint16_t{0})] = nullptr;
  --session.bound;
}

void Roster::UnbindFromLeaving(Participant& participant) {
  if (participant.session != nullptr && participant.session->is_leaving) Unbind(participant);
}

std::vector<std::shared_ptr<Participant>> Roster::members() const {
  std::vector<std::shared_ptr<Participant>> members;
  members.reserve(members_.size());
  for (const auto& [key, member] : members_) members.push_back(member);
  return members;
}

void Roster::AdvanceAll(absl::Time now) {
  for (const auto& member : members()) {
    if (member->current != nullptr) Advance(*member->current, now);
  }
}

void Roster::OnConnected(Session& session, absl::Time now) {
  session_ = &session;
  AdvanceAll(now);
}

void Roster::OnGoaway(Session& session, absl::Time now) {
  session_ = nullptr;
  session.is_leaving = true;
  away_since_ = now;
  away_why_ = UnavailableError("the server takes no new operations");
  for (const auto& member : members()) {
    if (member->session != &session) continue;
    if (member->current == nullptr) {
      Unbind(*member);
    } else {
      member->current->OnGoaway();
    }
  }
  AdvanceAll(now);
}

void Roster::OnLost(Session& session, const Status& why, uint64_t sent_bytes, absl::Time now) {
  if (session_ == &session) {
    session_ = nullptr;
    away_since_ = now;
    away_why_ = why;
  }
  for (const auto& member : members()) {
    const bool was_here = member->session == &session;
    if (was_here) Unbind(*member);
    if (member->current == nullptr) continue;
    if (!was_here) {
      Arm(*member->current);
    } else if (const auto verdict = member->current->OnLost(why, sent_bytes)) {
      EndOrSendAgain(*member->current, *verdict, now);
    } else {
      Advance(*member->current, now);
    }
  }
}

void Roster::OnEvent(Session& session, const Event& event, absl::Time now) {
  if (is_closed_ && event.kind == Event::Kind::kRequest) {
    session.protocol.Reset(event.slot, event.id, UnavailableError("the receiver has closed"), true);
  }
  const auto& by_slot = session.by_slot;
  if (event.slot == 0 || event.slot >= by_slot.size() || by_slot[event.slot] == nullptr) return;
  Participant& participant = *by_slot[event.slot];
  if (event.kind == Event::Kind::kLeft) return OnLeft(participant, event.status, now);
  Operation* const operation = participant.current.get();
  if (operation == nullptr) return;
  if (const auto verdict = operation->OnEvent(session.protocol, event)) {
    if (event.kind == Event::Kind::kReset) return EndOrSendAgain(*operation, *verdict, now);
    return End(*operation, *verdict, now);
  }
  operation->Deliver();
  if (event.kind == Event::Kind::kCredit || operation->phase() == Phase::kTurn) Advance(*operation, now);
}

void Roster::OnLeft(Participant& participant, const Status& why, absl::Time now) {
  const bool is_leaving = participant.session->is_leaving;
  Unbind(participant);
  const std::shared_ptr<Operation> operation = participant.current;
  if (operation == nullptr) return;
  if (why.end() != kStopping) {
    operation->OnLeft(why);
    return End(*operation, why, now);
  }
  // A join that crossed GOAWAY: nothing has begun here, and the next connection is to come. Of a server with several
  // cores one may say so before all of them drain, and GOAWAY is said.
  const auto verdict = operation->OnLost(why, 0);
  if (verdict.has_value()) return EndOrSendAgain(*operation, *verdict, now);
  if (!is_leaving) operation->not_before = now + backoff_.Draw(0);
  Advance(*operation, now);
}

void Roster::EndOrSendAgain(Operation& operation, const Status& status, absl::Time now) {
  if (!MaySendAgain(operation, status, now) || !operation.SendAgain()) return End(operation, status, now);
  operation.turn_since = now;
  operation.not_before =
      now + std::max(backoff_.Draw(operation.sendings() - 1), absl::Milliseconds(status.retry_after().count()));
  Advance(operation, now);
}

bool Roster::MaySendAgain(Operation& operation, const Status& status, absl::Time now) const {
  if (status.end() == kConnectionLost) return true;
  const bool is_refused = status.code() == StatusCode::kUnavailable && status.end() != kNoReceiver &&
                          (!status.may_have_run() || status.end() == kStopping);
  // The server has not yet buried what was sent before.
  const bool is_early = status.end() == kIdLive && operation.sendings() > 1;
  if (!is_refused && !is_early) return false;
  operation.refused_since = std::min(operation.refused_since, now);
  return now - operation.refused_since <= wait_for_connection_;
}

void Roster::Unblock(Session& session, absl::Time now) {
  for (const auto& operation : std::exchange(session.blocked, {})) {
    if (operation->phase() != Phase::kRunning) continue;
    operation->is_blocked = false;
    Advance(*operation, now);
  }
}

void Roster::Close(const Status& why) {
  is_closed_ = true;
  for (const auto& member : members()) {
    WindUp(*member, why, absl::UnixEpoch());
    if (member->current != nullptr) {
      if (member->session != nullptr) {
        member->current->ResetForClose(member->session->protocol, member->slot, why);
      }
      End(*member->current, why, absl::UnixEpoch());
    }
    if (member->session != nullptr) Unbind(*member);
  }
  members_.clear();
}

absl::Time Roster::DeadlineOf(const Operation& operation) const {
  const auto limit = operation.spec().limit;
  const absl::Time own = limit.has_value() ? operation.submitted + *limit : absl::InfiniteFuture();
  const bool is_send = operation.spec().kind == Kind::kSend;
  switch (operation.phase()) {
    case Phase::kQueued:
      return own;
    case Phase::kTurn: {
      if (is_up()) {
        const absl::Time until = is_send ? own : absl::InfiniteFuture();
        return operation.not_before == absl::InfinitePast() ? until : std::min(until, operation.not_before);
      }
      if (!is_send) return own;
      return std::min(own, std::max(away_since_, operation.turn_since) + wait_for_connection_);
    }
    case Phase::kRunning:
      if (!is_send) return absl::InfiniteFuture();
      return std::max(own, operation.submitted + operation.spec().max_extension) + kServerGrace;
    case Phase::kNew:
    case Phase::kWaiting:
    case Phase::kEnded:
      break;
  }
  return absl::InfiniteFuture();
}

void Roster::Arm(Operation& operation) {
  const absl::Time deadline = DeadlineOf(operation);
  if (deadline == operation.armed) return;
  Disarm(operation);
  operation.armed = deadline;
  if (deadline != absl::InfiniteFuture()) deadlines_.emplace(deadline, &operation);
}

void Roster::Disarm(Operation& operation) {
  if (operation.armed == absl::InfiniteFuture()) return;
  deadlines_.erase({operation.armed, &operation});
  operation.armed = absl::InfiniteFuture();
}

void Roster::OnTime(absl::Time now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    Operation& operation = *deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    operation.armed = absl::InfiniteFuture();
    OnDeadline(operation, now);
  }
}

void Roster::OnDeadline(Operation& operation, absl::Time now) {
  const Participant& participant = *operation.participant();
  const auto limit = operation.spec().limit;
  if (operation.phase() == Phase::kQueued) {
    return End(operation, BusyError(StatusCode::kDeadlineExceeded, participant, now), now);
  }
  if (operation.phase() == Phase::kRunning) {
    operation.ResetLate(participant.session->protocol, participant.slot);
    Status status = DeadlineExceededError("no answer within " + Milliseconds(now - operation.submitted));
    return End(operation, status.set_end(kDeadline), now);
  }
  const bool is_over = limit.has_value() && operation.submitted + *limit <= now;
  if (!is_over && is_up()) return Advance(operation, now);  // to be sent again
  const bool was_sent = operation.sendings() > 0;
  if (!is_over) {
    Status status =
        UnavailableError("no connection for " + Milliseconds(now - away_since_) + ": " + away_why_.message());
    return End(operation, was_sent ? status.set_end(kConnectionLost) : status, now);
  }
  if (operation.spec().kind == Kind::kReceive) {
    return End(operation,
               DeadlineExceededError("nothing came within " + Milliseconds(*limit) + "; there was no connection"), now);
  }
  if (!was_sent) {
    return End(operation, DeadlineExceededError("nothing was sent within " + Milliseconds(*limit)), now);
  }
  Status status = DeadlineExceededError("no answer within " + Milliseconds(*limit) + "; the connection was lost");
  End(operation, status.set_end(kDeadline), now);
}

}  // namespace relay::client

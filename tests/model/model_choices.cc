// What the model's participants may do next.

#include "absl/strings/str_cat.h"
#include "model/model.h"

namespace relay::model {

std::string ToString(const Event& event) {
  static constexpr const char* kNames[kKinds] = {"StartWhole",    "StartOpen", "StartRequire", "StartAgain",
                                                 "Receive",       "Withdraw",  "AnswerWhole",  "AnswerAndReceive",
                                                 "AnswerOpen",    "Requeue",   "Extend",       "ReceiveBusy",
                                                 "AnswerForeign", "Chunk",     "End",          "Reset",
                                                 "Window",        "WrongSide", "Late",         "Leave",
                                                 "Join",          "TakeOver",  "Cut",          "Goaway",
                                                 "Deadline",      "Drain",     "DrainOver"};
  const char* const name = kNames[static_cast<size_t>(event.kind)];
  if (event.kind >= Kind::kDeadline) return name;
  return absl::StrCat(Sends(event.who) ? "S" : "R", event.who % 2 + 1, ".", name);
}

bool Model::CanHappen(Event event) const {
  const Client& client = At(event.who);
  switch (event.kind) {
    case Kind::kDeadline:
      return live_count() > 0;
    case Kind::kDrain:
      return !is_draining_;
    case Kind::kDrainOver:
      return is_draining_ && !is_stopped_;
    case Kind::kJoin:
      return client.doing == Doing::kAbsent;
    case Kind::kLeave:
      return IsJoined(event.who);
    case Kind::kTakeOver:
      return IsJoined(event.who) && !is_draining_;
    case Kind::kCut:
    case Kind::kGoaway:
      return IsJoined(event.who) && ClientsOn(client.connection).front() == event.who &&
             (event.kind == Kind::kCut || !On(client.connection).is_leaving);
    case Kind::kWrongSide:
      return client.request != kNobody;
    case Kind::kLate:
      return IsJoined(event.who) && client.last != kNobody && client.last != client.request;
    default:
      return Sends(event.who) ? CanSend(event) : CanReceive(event);
  }
}

bool Model::CanSend(Event event) const {
  const Client& client = At(event.who);
  if (client.doing == Doing::kIdle) {
    return event.kind == Kind::kStartWhole || event.kind == Kind::kStartOpen || event.kind == Kind::kStartRequire ||
           (event.kind == Kind::kStartAgain && OthersRequest(event.who) != kNobody);
  }
  if (client.doing != Doing::kSending) return false;
  if (event.kind == Kind::kChunk || event.kind == Kind::kEnd) {
    return rules_.has_faults || !Of(client.request).has_ended;
  }
  return event.kind == Kind::kReset || event.kind == Kind::kWindow || event.kind == Kind::kStartAgain;
}

bool Model::CanReceive(Event event) const {
  const Client& client = At(event.who);
  if (event.kind == Kind::kReceive) return client.doing == Doing::kIdle;
  const bool is_busy = client.doing == Doing::kWaiting || client.doing == Doing::kReceiving;
  if (event.kind == Kind::kWithdraw || event.kind == Kind::kReceiveBusy) return is_busy;
  if (event.kind == Kind::kAnswerForeign) return IsJoined(event.who) && OthersRequest(event.who) != kNobody;
  if (client.doing != Doing::kReceiving) return false;
  const bool is_answered = Of(client.request).is_answered;
  switch (event.kind) {
    case Kind::kAnswerWhole:
    case Kind::kAnswerAndReceive:
    case Kind::kAnswerOpen:
      return rules_.has_faults || !is_answered;
    case Kind::kChunk:
    case Kind::kEnd:
      return rules_.has_faults || is_answered;
    case Kind::kRequeue:
    case Kind::kReset:
    case Kind::kWindow:
    case Kind::kExtend:
      return true;
    default:
      return false;
  }
}

}  // namespace relay::model

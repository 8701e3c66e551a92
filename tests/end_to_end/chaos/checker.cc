#include "checker.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <unordered_map>
#include <utility>

namespace relay::chaos {
namespace {

using Kind = Event::Kind;

// One handing-out, as its receiver recorded it.
struct Delivery {
  const Event* delivered = nullptr;
  const Event* body_read = nullptr;
  const Event* answer = nullptr;
  const Event* answered = nullptr;
};

// All that was recorded of one key.
struct Send {
  std::vector<const Event*> begins;
  std::vector<const Event*> ends;
  const Event* named = nullptr;
  std::map<std::pair<uint32_t, uint32_t>, Delivery> deliveries;  // by actor and number
};

using Sends = std::unordered_map<uint64_t, Send>;

Sends Gather(const History& history) {
  Sends sends;
  for (const Event& event : history) {
    Send& send = sends[event.key];
    const std::pair<uint32_t, uint32_t> place(event.actor, event.delivery);
    switch (event.kind) {
      case Kind::kBegin:
        send.begins.push_back(&event);
        break;
      case Kind::kNamed:
        send.named = &event;
        break;
      case Kind::kEnd:
        send.ends.push_back(&event);
        break;
      case Kind::kDelivered:
        send.deliveries[place].delivered = &event;
        break;
      case Kind::kBodyRead:
        send.deliveries[place].body_read = &event;
        break;
      case Kind::kAnswer:
        send.deliveries[place].answer = &event;
        break;
      case Kind::kAnswered:
        send.deliveries[place].answered = &event;
        break;
    }
  }
  return sends;
}

// Judges one Send.
class Judge {
 public:
  Judge(uint64_t key, const Send& send, const CheckOptions& options, std::vector<Violation>& found)
      : key_(key), send_(send), options_(options), found_(found) {}

  void Run() {
    if (send_.begins.size() != 1) {
      Find(Rule::kOneBegin, "begun " + std::to_string(send_.begins.size()) + " times");
      return;
    }
    const Event& begin = *send_.begins.front();
    JudgeDeliveries(begin);
    if (send_.ends.empty() && options_.killed.contains(begin.actor)) return;
    if (send_.ends.size() != 1) {
      Find(Rule::kOneEnd, "ended " + std::to_string(send_.ends.size()) + " times");
      return;
    }
    JudgeEnd(begin, *send_.ends.front());
  }

 private:
  void Find(Rule rule, std::string words) { found_.push_back({rule, key_, std::move(words)}); }

  int64_t LastMoment(const Event& begin) const {
    return begin.at_us + int64_t{begin.timeout_ms} * 1000 + options_.slack_us;
  }

  void JudgeDeliveries(const Event& begin) {
    if (!begin.is_idempotent && send_.deliveries.size() > 1) {
      Find(Rule::kPlainOnce, "handed out " + std::to_string(send_.deliveries.size()) + " times");
    }
    const Event* first = send_.named;
    for (const auto& [place, delivery] : send_.deliveries) {
      if (delivery.delivered == nullptr || delivery.delivered->at_us < begin.at_us) {
        Find(Rule::kOneBegin, "worked on before it was begun");
        continue;
      }
      const Event& delivered = *delivery.delivered;
      const uint32_t most = begin.is_idempotent ? options_.max_attempts : 1;
      if (delivered.attempt < 1 || delivered.attempt > most) {
        Find(Rule::kAttemptsInBounds, "attempt " + std::to_string(delivered.attempt));
      }
      if (delivery.body_read != nullptr && delivery.body_read->sum != begin.sum) {
        Find(Rule::kWholeBody, "another body was read");
      }
      if (begin.timeout_ms != 0 && delivered.at_us > LastMoment(begin)) {
        Find(Rule::kNotExpired, "handed out when its time was over");
      }
      if (first == nullptr) first = &delivered;
      if (delivered.request != first->request) Find(Rule::kOneId, "handed out by another id");
    }
  }

  void JudgeEnd(const Event& begin, const Event& end) {
    if (end.at_us < begin.at_us) Find(Rule::kOneEnd, "ended before it was begun");
    if (begin.timeout_ms != 0 && end.at_us > LastMoment(begin)) Find(Rule::kEndsInTime, "ended late");
    if (end.code == StatusCode::kOk) JudgeAnswer(Rule::kTrueSuccess, end);
    if (end.code == kReceiversWord) JudgeAnswer(Rule::kTrueFailure, end);
    if (end.code != StatusCode::kOk && !end.may_have_run && !send_.deliveries.empty()) {
      Find(Rule::kTrueMayHaveRun, "may_have_run is false, but a receiver saw it");
    }
  }

  // That exactly one receiver said what the sender heard.
  void JudgeAnswer(Rule rule, const Event& end) {
    int answers = 0;
    for (const auto& [place, delivery] : send_.deliveries) {
      if (delivery.answer == nullptr || delivery.answer->code != end.code || delivery.answer->sum != end.sum) continue;
      ++answers;
      if (delivery.answer->at_us > end.at_us) Find(rule, "answered behind its end");
      if (delivery.answered != nullptr && delivery.answered->code != StatusCode::kOk) {
        Find(rule, "the receiver was told that its answer had failed");
      }
    }
    if (answers != 1) Find(rule, std::to_string(answers) + " receivers have said that");
  }

  const uint64_t key_;
  const Send& send_;
  const CheckOptions& options_;
  std::vector<Violation>& found_;
};

// No two Sends share an id.
void JudgeIds(const History& history, std::vector<Violation>& found) {
  std::unordered_map<Uuid, uint64_t> keys;
  for (const Event& event : history) {
    if (event.kind != Kind::kNamed && event.kind != Kind::kDelivered) continue;
    const auto [place, is_new] = keys.try_emplace(event.request, event.key);
    if (!is_new && place->second != event.key) found.push_back({Rule::kOneId, event.key, "bears another Send's id"});
  }
}

}  // namespace

std::string_view NameOf(Rule rule) {
  switch (rule) {
    case Rule::kOneBegin:
      return "one_begin";
    case Rule::kOneEnd:
      return "one_end";
    case Rule::kEndsInTime:
      return "ends_in_time";
    case Rule::kTrueSuccess:
      return "true_success";
    case Rule::kTrueFailure:
      return "true_failure";
    case Rule::kTrueMayHaveRun:
      return "true_may_have_run";
    case Rule::kPlainOnce:
      return "plain_once";
    case Rule::kAttemptsInBounds:
      return "attempts_in_bounds";
    case Rule::kWholeBody:
      return "whole_body";
    case Rule::kOneId:
      return "one_id";
    case Rule::kNotExpired:
      return "not_expired";
  }
  return "?";
}

std::vector<Violation> Check(const History& history, const CheckOptions& options) {
  std::vector<Violation> found;
  for (const auto& [key, send] : Gather(history)) Judge(key, send, options, found).Run();
  JudgeIds(history, found);
  return found;
}

Summary Summarize(const History& history) {
  Summary summary;
  for (const auto& [key, send] : Gather(history)) {
    ++summary.sends;
    summary.deliveries += send.deliveries.size();
    if (send.deliveries.size() > 1) ++summary.redelivered;
    if (send.ends.empty()) {
      ++summary.unended;
      continue;
    }
    const Event& end = *send.ends.front();
    if (end.code == StatusCode::kOk) {
      ++summary.succeeded;
    } else if (end.code == kReceiversWord) {
      ++summary.failed_by_receiver;
    } else if (!end.may_have_run) {
      ++summary.not_run;
    } else {
      ++summary.may_have_run;
      if (!send.deliveries.empty()) ++summary.of_which_seen;
    }
  }
  return summary;
}

Summary& operator+=(Summary& sum, const Summary& more) {
  sum.sends += more.sends;
  sum.succeeded += more.succeeded;
  sum.failed_by_receiver += more.failed_by_receiver;
  sum.not_run += more.not_run;
  sum.may_have_run += more.may_have_run;
  sum.of_which_seen += more.of_which_seen;
  sum.unended += more.unended;
  sum.deliveries += more.deliveries;
  sum.redelivered += more.redelivered;
  return sum;
}

std::string ToString(const Summary& summary) {
  std::ostringstream out;
  out << summary.sends << " sends: " << summary.succeeded << " succeeded, " << summary.failed_by_receiver
      << " failed by their receiver, " << summary.not_run << " did not run, " << summary.may_have_run
      << " may have run (" << summary.of_which_seen << " had), " << summary.unended << " lost with their sender; "
      << summary.deliveries << " deliveries, " << summary.redelivered << " sends delivered more than once";
  return out.str();
}

std::string Story(const History& history, uint64_t key) {
  History own;
  std::copy_if(history.begin(), history.end(), std::back_inserter(own),
               [key](const Event& event) { return event.key == key; });
  std::stable_sort(own.begin(), own.end(), [](const Event& a, const Event& b) { return a.at_us < b.at_us; });
  std::string story;
  for (const Event& event : own) story += "    " + ToString(event) + "\n";
  return story;
}

}  // namespace relay::chaos

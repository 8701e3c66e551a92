// Whether a history keeps the relay's promise: every Send ends in exactly one way, and that way is true.

#ifndef RELAY_TESTS_END_TO_END_CHAOS_CHECKER_H_
#define RELAY_TESTS_END_TO_END_CHAOS_CHECKER_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "history.h"

namespace relay::chaos {

// The status with which receivers of a run fail on purpose; nobody else says it.
inline constexpr StatusCode kReceiversWord = StatusCode::kOutOfRange;

enum class Rule {
  kOneBegin,          // a key is begun once, and before anything else happens to it
  kOneEnd,            // and ends once, unless its sender was killed
  kEndsInTime,        // within its timeout
  kTrueSuccess,       // a reply is what exactly one receiver answered to this request, whole and without a failure
  kTrueFailure,       // and so is a receiver's own failure
  kTrueMayHaveRun,    // may_have_run is false only where no receiver saw the request
  kPlainOnce,         // a request that is not idempotent is handed out once at most
  kAttemptsInBounds,  // attempts count from 1 to the server's most, and a plain request has one
  kWholeBody,         // a body that was read to its end is the one that was sent
  kOneId,             // all handings-out of a Send bear its id, and no other Send's do
  kNotExpired,        // nothing is handed out when its time is over
};
inline constexpr size_t kRuleCount = 11;
std::string_view NameOf(Rule rule);

struct Violation {
  Rule rule;
  uint64_t key = 0;
  std::string words;
};

struct CheckOptions {
  // How much later than its timeout a Send may end, or a request be handed out: the machine's slowness, no more.
  int64_t slack_us = 20'000'000;
  uint32_t max_attempts = 3;
  // Processes that the run has killed: what they have not recorded is not missed.
  std::set<uint32_t> killed;
};

// Pure. `history` is in any order.
std::vector<Violation> Check(const History& history, const CheckOptions& options);

// What happened, for the reader of a run: that it was not idle is not the checker's matter.
struct Summary {
  uint64_t sends = 0;
  uint64_t succeeded = 0;
  uint64_t failed_by_receiver = 0;
  uint64_t not_run = 0;        // ended otherwise, may_have_run false
  uint64_t may_have_run = 0;   // ended otherwise, may_have_run true
  uint64_t of_which_seen = 0;  // by a receiver
  uint64_t unended = 0;        // of killed senders
  uint64_t deliveries = 0;
  uint64_t redelivered = 0;  // Sends that were handed out more than once
};
Summary Summarize(const History& history);
Summary& operator+=(Summary& sum, const Summary& more);
std::string ToString(const Summary& summary);

// The records of one Send, a line each, in order of time.
std::string Story(const History& history, uint64_t key);

}  // namespace relay::chaos

#endif  // RELAY_TESTS_END_TO_END_CHAOS_CHECKER_H_

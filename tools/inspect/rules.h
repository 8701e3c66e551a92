// The rules of PROTOCOL.md that a trace can break, each with a name, its words and where it stands. Those that relayd
// has a named end for bear that name.

#ifndef RELAY_TOOLS_INSPECT_RULES_H_
#define RELAY_TOOLS_INSPECT_RULES_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace relay::inspect {

enum class Rule : uint8_t {
  kNone,
  // Of the connection.
  kBadPreface,
  kBeforeHello,
  kSecondHello,
  kBeforeWelcome,
  kSecondWelcome,
  kServerFrame,
  kClientFrame,
  kObserverRole,
  kBadVersion,
  kBadHeader,  // of a frame, the words are those of proto::RuleOf
  kPayloadTooLarge,
  kHelloTooLarge,
  kPayloadBeforeWelcome,
  kMalformed,
  kBadStart,  // the words are those of proto::RuleOf
  kSlotBound,
  kSlotLeaving,
  kChannelName,
  kLimits,
  kNilReset,
  kAfterFault,
  kReceiveHandedOn,
  // Of a slot.
  kSlotNotJoined,
  kSlotBusy,
  kConnectionLeaving,
  kBeforeEcho,
  kIdLive,
  kNotWaiting,
  kNoWithdrawal,
  kAttempt,
  // Of an exchange.
  kSecondStart,
  kNotStarted,
  kAfterEnd,
  kStartTooLarge,
  kEndTooLarge,
  kWindowOverrun,
  kWindowTooFar,
  kNotAssigned,
  kNotBegun,
  kWrongWay,
};

inline constexpr size_t kRuleCount = static_cast<size_t>(Rule::kWrongWay) + 1;

struct RuleInfo {
  std::string_view name;
  std::string_view words;
  std::string_view section;  // of PROTOCOL.md
};

const RuleInfo& InfoOf(Rule rule);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_RULES_H_

// The names of ends: every way in which an exchange, a client or a connection can end is one value here, with its
// wire status, the name that logs, metrics and `Status.end` bear, and its words.

#ifndef RELAY_SERVER_ENDS_H_
#define RELAY_SERVER_ENDS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace relay::server {

enum class End : uint8_t {
  kNone,
  // Of an exchange.
  kCompleted,
  kDeadline,
  kQueueCount,
  kQueueBytes,
  kQueueBytesTotal,
  kSenderReset,
  kSenderLost,
  kReceiverReset,
  kReceiverLost,
  kNoReceiver,
  kSecondStart,
  kNotStarted,
  kAfterEnd,
  kStartTooLarge,
  kEndTooLarge,
  kWindowTooFar,
  kWindowOverrun,
  kStopping,
  // Of an operation that did not begin.
  kMemory,  // or of a connection, a join
  kSlotNotJoined,
  kSlotBusy,
  kConnectionLeaving,
  kIdLive,
  // Of a client.
  kLeft,
  kTakenOver,
  kClientLive,
  kClientLimit,
  kMaxClients,
  kChannelLimit,
  // Of a connection.
  kPeerClosed,
  kPeerLost,
  kGoaway,
  kBadPreface,
  kBadVersion,
  kBeforeHello,
  kSecondHello,
  kObserver,
  kBadHeader,
  kPayloadTooLarge,
  kMalformed,
  kServerFrame,
  kBadStart,
  kSlotBound,
  kObserverRole,
  kChannelName,
  kHelloTimeout,
  kHeartbeat,
  kPartialFrameBytesTotal,
  kSendQueue,
  kSendQueueBytesTotal,
  kControlFramesOwed,
  kMaxConnections,
  kMaxUnauthenticated,
  kMaxObservers,
  kFramesPerSecond,
  kResetsPerSecond,
  kControlFramesPerSecond,
};

inline constexpr size_t kEndCount = static_cast<size_t>(End::kControlFramesPerSecond) + 1;

struct EndInfo {
  absl::StatusCode code;
  std::string_view name;
  std::string_view words;  // at most 100 bytes
};

const EndInfo& InfoOf(End end);

// Of an operation that did not begin: the server has no room for it, nobody to give it to or no time, and its peer has
// done nothing wrong.
bool IsFaultless(End end);

}  // namespace relay::server

#endif  // RELAY_SERVER_ENDS_H_

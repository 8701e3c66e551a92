// What a header, a start block and an end must be: PROTOCOL.md's tables once more, so that a slip in the library that
// reads the wire is one that somebody sees.

#include "absl/status/status.h"
#include "simulation/reference.h"

namespace relay::simulation {

using proto::Frame;
using proto::FrameType;
namespace flag = proto::flag;

bool Reference::HasGoodHeader(const Frame& frame) {
  const FrameType type = frame.type();
  const bool is_stream =
      type == FrameType::kStart || type == FrameType::kChunk || type == FrameType::kEnd || type == FrameType::kWindow;
  const bool has_no_id = type == FrameType::kHello || type == FrameType::kWelcome || type == FrameType::kPing ||
                         type == FrameType::kPong || type == FrameType::kGoaway || type == FrameType::kJoin ||
                         type == FrameType::kReceive || type == FrameType::kObserve || type == FrameType::kMirror;
  const bool is_of_connection = has_no_id && type != FrameType::kJoin && type != FrameType::kReceive;
  if ((frame.slot() == 0) != is_of_connection) return false;
  const bool is_nil = frame.id() == proto::kNilUuid;
  if (type != FrameType::kReset && is_nil != has_no_id) return false;
  const uint8_t flags = frame.flags();
  if (!is_stream) return flags == 0;
  const bool is_request = (flags & flag::kRequest) != 0;
  const bool is_response = (flags & flag::kResponse) != 0;
  if (is_request == is_response) return false;
  uint8_t allowed = flag::kRequest | flag::kResponse;
  if (type == FrameType::kStart || type == FrameType::kChunk) allowed |= flag::kFin;
  if (type == FrameType::kStart && is_request) allowed |= flag::kIdempotent | flag::kRequireReceiver;
  const bool ends = type == FrameType::kEnd || (flags & allowed & flag::kFin) != 0;
  if (is_response && ends) allowed |= flag::kReceive;
  return (flags & ~allowed) == 0;
}

bool Reference::HasGoodBlock(std::string_view payload, bool is_response) {
  constexpr size_t kBlockBytes = 40;
  if (payload.size() < kBlockBytes) return false;
  const auto is_zero = [&](size_t from, size_t to) {
    return payload.substr(from, to - from).find_first_not_of('\0') == std::string_view::npos;
  };
  const auto at = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(payload[i])); };
  if (payload.size() < kBlockBytes + at(26) * 256 + at(27)) return false;
  if (!is_zero(0, 16) || !is_zero(20, 26)) return false;
  return !is_response || (is_zero(16, 20) && is_zero(28, 32));
}

bool Reference::IsNobodysFault(End end) {
  switch (end) {
    case End::kQueueCount:
    case End::kQueueBytes:
    case End::kQueueBytesTotal:
    case End::kMemory:
    case End::kNoReceiver:
    case End::kStopping:
      return true;
    default:
      return false;
  }
}

absl::StatusCode Reference::CodeOf(End end) {
  using Code = absl::StatusCode;
  switch (end) {
    case End::kNone:
    case End::kCompleted:
    case End::kLeft:
    case End::kPeerClosed:
    case End::kGoaway:
      return Code::kOk;
    case End::kDeadline:
    case End::kHelloTimeout:
      return Code::kDeadlineExceeded;
    case End::kMemory:
    case End::kQueueCount:
    case End::kQueueBytes:
    case End::kQueueBytesTotal:
    case End::kWindowOverrun:
    case End::kClientLimit:
    case End::kChannelLimit:
    case End::kSendQueue:
    case End::kPartialFrameBytesTotal:
    case End::kSendQueueBytesTotal:
    case End::kControlFramesOwed:
    case End::kMaxConnections:
    case End::kMaxUnauthenticated:
    case End::kMaxObservers:
    case End::kFramesPerSecond:
    case End::kResetsPerSecond:
    case End::kMaxClients:
    case End::kControlFramesPerSecond:
      return Code::kResourceExhausted;
    case End::kSenderReset:
    case End::kSenderLost:
      return Code::kCancelled;
    case End::kReceiverReset:
    case End::kReceiverLost:
    case End::kNoReceiver:
    case End::kStopping:
    case End::kPeerLost:
    case End::kHeartbeat:
      return Code::kUnavailable;
    case End::kSlotNotJoined:
    case End::kSlotBusy:
    case End::kConnectionLeaving:
      return Code::kFailedPrecondition;
    case End::kIdLive:
    case End::kClientLive:
      return Code::kAlreadyExists;
    case End::kTakenOver:
      return Code::kAborted;
    case End::kBadVersion:
      return Code::kUnimplemented;
    case End::kObserver:
      return Code::kPermissionDenied;
    case End::kSecondStart:
    case End::kNotStarted:
    case End::kAfterEnd:
    case End::kStartTooLarge:
    case End::kEndTooLarge:
    case End::kWindowTooFar:
    case End::kBadPreface:
    case End::kBeforeHello:
    case End::kSecondHello:
    case End::kBadHeader:
    case End::kPayloadTooLarge:
    case End::kMalformed:
    case End::kServerFrame:
    case End::kBadStart:
    case End::kSlotBound:
    case End::kObserverRole:
    case End::kChannelName:
      return Code::kInvalidArgument;
  }
  return Code::kUnknown;
}

}  // namespace relay::simulation

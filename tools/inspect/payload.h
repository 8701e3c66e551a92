// What the payload of a frame says, parsed once for all who look at it.

#ifndef RELAY_TOOLS_INSPECT_PAYLOAD_H_
#define RELAY_TOOLS_INSPECT_PAYLOAD_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "proto/frame.h"
#include "proto/messages.h"
#include "proto/mirror_block.h"
#include "proto/start_block.h"

namespace relay::inspect {

// Only what belongs to the type that was parsed last holds. One is used again and again, so that parsing takes no
// memory. Thread-compatible.
struct Payload {
  enum class State : uint8_t {
    kParsed,
    kCut,        // not all of what is needed was captured
    kMalformed,  // the message does not parse, or has a wrong size
    kBadStart,   // `start_fault` says why
  };

  // `payload` is what is known of the `payload_bytes` that the header declares; the type is known.
  void Parse(proto::FrameType type, uint8_t flags, std::span<uint8_t> payload, uint32_t payload_bytes,
             bool from_server);

  State state = State::kParsed;
  proto::StartFault start_fault = proto::StartFault::kNone;

  v1::Hello hello;
  v1::Welcome welcome;
  v1::Join join;
  v1::Status status;  // LEAVE, GOAWAY
  v1::Receive receive;
  v1::End end;
  v1::Reset reset;
  v1::Start start;
  v1::Observe observe;
  uint64_t window = 0;
  uint32_t extend_ms = 0;

  // MIRROR.
  proto::MirrorKind mirror_kind = proto::MirrorKind::kLost;
  uint64_t mirror_connection = 0;
  uint32_t mirror_lost = 0;
  uint8_t mirror_type = 0;  // of the frame that it shows, 0 for none

  // START.
  proto::Uuid other_client;
  uint32_t timeout_ms = 0;
  uint32_t max_extension_ms = 0;
  uint32_t queue_wait_us = 0;
  uint16_t attempt = 0;
  uint16_t start_bytes = 0;
  // START and CHUNK.
  uint64_t body_bytes = 0;
  std::span<const uint8_t> body;  // what is known of it
};

// Zeroes the token of a HELLO and the key of a JOIN, as far as `payload` has them.
void HideSecret(proto::FrameType type, std::span<uint8_t> payload);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_PAYLOAD_H_

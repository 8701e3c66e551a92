// Between the protobuf messages of relay.proto and what our code works with.

#ifndef RELAY_PROTO_MESSAGES_H_
#define RELAY_PROTO_MESSAGES_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "proto/frame.h"
#include "proto/relay.pb.h"
#include "proto/uuid.h"

namespace relay::proto {

// Appends a frame whose payload is `message`.
void AppendMessage(std::string& out, FrameType type, uint8_t flags, uint16_t slot, const Uuid& id,
                   const google::protobuf::MessageLite& message);

// False where the payload is not such a message; a `string` field that is not UTF-8 counts as that.
inline bool ParseMessage(std::string_view payload, google::protobuf::MessageLite& message) {
  if (payload.empty()) {  // what the parser takes long to find out
    message.Clear();
    return true;
  }
  return message.ParseFromArray(payload.data(), static_cast<int>(payload.size()));
}

// A code from the wire, checked: one that is not canonical is UNKNOWN.
absl::StatusCode CodeFromWire(uint32_t code);

// Keeps protobuf from writing about what peers send to stderr. Once, before other threads start.
void SilenceProtobuf();

}  // namespace relay::proto

#endif  // RELAY_PROTO_MESSAGES_H_

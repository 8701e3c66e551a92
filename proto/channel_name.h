// How a channel's name becomes its id (PROTOCOL.md, "Words").

#ifndef RELAY_PROTO_CHANNEL_NAME_H_
#define RELAY_PROTO_CHANNEL_NAME_H_

#include <cstddef>
#include <string_view>

#include "absl/status/status.h"
#include "proto/uuid.h"

namespace relay::proto {

// Long enough for a path or a host name, short enough to log.
inline constexpr size_t kMaxChannelNameBytes = 255;

// OK for 1 to kMaxChannelNameBytes bytes of UTF-8 without control characters; else INVALID_ARGUMENT with the rule.
absl::Status CheckChannelName(std::string_view name);

// The UUID that the name spells, or else UUIDv5(UUIDv5(NAMESPACE_URL, "relay:channel"), name). `name` has passed
// CheckChannelName.
Uuid ChannelId(std::string_view name);

}  // namespace relay::proto

#endif  // RELAY_PROTO_CHANNEL_NAME_H_

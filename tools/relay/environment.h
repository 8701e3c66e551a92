// What the command of `relay receive --exec` finds in its environment about the request.

#ifndef RELAY_TOOLS_RELAY_ENVIRONMENT_H_
#define RELAY_TOOLS_RELAY_ENVIRONMENT_H_

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "relay/request.h"

namespace relay::tools {

// RELAY_META_ and the key in upper case, with '_' for whatever is no letter or digit of ASCII.
std::string MetadataVariable(std::string_view key);

// `inherited`, of the form NAME=VALUE, without any RELAY_META_* and without those that are set here: RELAY_CHANNEL,
// RELAY_REQUEST_ID, RELAY_SENDER_ID, RELAY_METHOD, RELAY_CONTENT_TYPE, RELAY_ATTEMPT, RELAY_TIMEOUT_MS (where there is
// a timeout) and the metadata. Values whose keys give the same name are joined by newlines, in their order. A value
// with a NUL byte, which no environment can hold, is left out.
std::vector<std::string> CommandEnvironment(const RequestInfo& info, std::string_view channel,
                                            std::optional<std::chrono::milliseconds> remaining,
                                            std::span<const std::string> inherited);

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_ENVIRONMENT_H_

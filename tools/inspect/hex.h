// A hex dump, as people paste it from a terminal, to bytes.

#ifndef RELAY_TOOLS_INSPECT_HEX_H_
#define RELAY_TOOLS_INSPECT_HEX_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace relay::inspect {

// Takes what xxd, hexdump -C, od -tx1 and `relay inspect -v` write, and hexadecimal digits alone: an offset before the
// bytes and text behind them are left out, and a '*' is the line before it again up to the next offset.
// INVALID_ARGUMENT names the line and what is wrong with it.
absl::StatusOr<std::string> BytesOfHexDump(std::string_view text);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_HEX_H_

// A hex dump, as people paste it from a terminal, to bytes.

#ifndef RELAY_TOOLS_INSPECT_HEX_H_
#define RELAY_TOOLS_INSPECT_HEX_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/inspect/byte_input.h"

namespace relay::inspect {

struct HexDump {
  std::string bytes;
  std::vector<ByteInput::Hole> holes;  // where the offsets of the lines leave some out
};

// Takes what xxd, hexdump -C, od -tx1 and `relay inspect -v` write, and hexadecimal digits alone: an offset before the
// bytes and text behind them are left out, and a '*' is the line before it again up to the next offset.
// INVALID_ARGUMENT names the line and what is wrong with it.
absl::StatusOr<HexDump> ParseHexDump(std::string_view text);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_HEX_H_

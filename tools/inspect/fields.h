// All that there is to know about a frame, as names and values: what -v shows, --json writes and --filter asks for.
// JSON.md explains the names.

#ifndef RELAY_TOOLS_INSPECT_FIELDS_H_
#define RELAY_TOOLS_INSPECT_FIELDS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tools/inspect/seen.h"

namespace relay::inspect {

using Metadata = std::vector<std::pair<std::string, std::string>>;  // values may be any bytes
using Value = std::variant<std::string, uint64_t, bool, Metadata>;

struct Field {
  std::string_view name;
  Value value;
};

// In the order in which people ask. What does not belong to the frame, or is not known, is left out.
std::vector<Field> FieldsOf(const SeenFrame& frame);

// One of them. Nothing where the frame does not have it.
std::optional<Value> FieldOf(const SeenFrame& frame, std::string_view name);

enum class FieldKind : uint8_t {
  kText,
  kId,  // a UUID
  kTime,
  kNumber,
  kBool,       // false where it is left out
  kKnownBool,  // not known where it is left out
  kMetadata,
};
struct FieldInfo {
  std::string_view name;
  FieldKind kind;
  // Of one that has few values: all of them, but for numbers that this version does not know ("type 77", "code 99").
  std::vector<std::string> (*values)() = nullptr;
  uint64_t most = UINT64_MAX;  // of a number
};
// Every field that a frame can have.
std::span<const FieldInfo> AllFields();

std::vector<std::string> AllStatusNames();
// Those that a relay names, and what an exchange ends with where none is named.
std::vector<std::string> AllEndNames();

// As JSON.md writes them.
std::string TimeText(absl::Time at);
std::string_view NameOf(Direction direction);

// The value in one line of printable text.
std::string TextOf(const Value& value);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_FIELDS_H_

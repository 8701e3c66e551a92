// All that there is to know about an exchange that has ended, as names and values: what --requests --json writes and
// --filter asks for. JSON.md explains the names.

#ifndef RELAY_TOOLS_INSPECT_EXCHANGE_FIELDS_H_
#define RELAY_TOOLS_INSPECT_EXCHANGE_FIELDS_H_

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "tools/inspect/fields.h"
#include "tools/inspect/seen.h"

namespace relay::inspect {

std::vector<Field> FieldsOf(const Exchange& exchange);
std::optional<Value> FieldOf(const Exchange& exchange, std::string_view name);
std::span<const FieldInfo> AllExchangeFields();

// Until the first byte of the response, or nothing where none came.
std::optional<absl::Duration> FirstByte(const Exchange& exchange);
// Nothing where the source knows no times.
std::optional<absl::Duration> Total(const Exchange& exchange);
// "completed" with OK, a completed one's status where that is another, else the end's name.
std::string EndWords(const Exchange& exchange);
bool IsGoodEnd(const Exchange& exchange);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_EXCHANGE_FIELDS_H_

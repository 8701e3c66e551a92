// Frames in words: short ids, sizes and times that keep to their columns, what a payload says.

#ifndef RELAY_TOOLS_INSPECT_WORDS_H_
#define RELAY_TOOLS_INSPECT_WORDS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "proto/uuid.h"
#include "tools/inspect/seen.h"

namespace relay::inspect {

// 8 hexadecimal digits: the first, or of a version 7, which begins with the time, the last. "" for nil.
std::string ShortId(const proto::Uuid& id);

// "34", "2.1K", "128K", "1.5M": at most 5 characters.
std::string CompactBytes(uint64_t bytes);

// "250us", "12.3ms", "1.5s", "2m05s", "3h10m": at most 7 characters below 1000 hours.
std::string CompactTime(absl::Duration duration);

// "DEADLINE_EXCEEDED"; the number of a code that has no name.
std::string CodeName(uint32_t code);

// "receiver_lost UNAVAILABLE, may have run: the receiver left"; "OK".
std::string StatusWords(const v1::Status& status);

// "START", or "type 77".
std::string TypeName(const SeenFrame& frame);

// "REQUEST|FIN"; bits without a name as "0x40".
std::string FlagNames(uint8_t flags);
// "req FI": the stream and a letter for each of the others: Fin, Idempotent, Must have a receiver, Receives again.
std::string FlagLetters(const SeenFrame& frame);

// What the payload says, in one line of printable text. "" where it says nothing.
std::string PayloadWords(const SeenFrame& frame);

// `text` as people see it: columns of a terminal, with wide characters as two, and escape sequences as none.
size_t Columns(std::string_view text);
// No more columns than that: what is longer ends in an ellipsis.
std::string CutTo(size_t columns, std::string_view text);
// Lines of so many columns at the most, broken at spaces where there are some.
std::vector<std::string_view> Wrap(std::string_view text, size_t columns);
// As many columns of ASCII, which look alike where something does.
std::string InAscii(std::string_view text);
// The text in exactly so many columns: cut, with an ellipsis, or filled up on the right or left.
std::string Fit(std::string_view text, size_t columns);
std::string FitLeft(std::string_view text, size_t columns);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_WORDS_H_

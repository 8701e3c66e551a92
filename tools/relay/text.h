// Numbers and words as people write and read them: times with units, sizes, columns, and text from elsewhere that is
// made safe for a terminal or a status message.

#ifndef RELAY_TOOLS_RELAY_TEXT_H_
#define RELAY_TOOLS_RELAY_TEXT_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace relay::tools {

// "30s", "1.5h", "200ms", "2m" or "0"; nothing for any other text, and for more than the 32 bits of ms on the wire.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);

// "1 frame", "2 frames".
std::string Counted(uint64_t count, std::string_view noun);

// "812 B", "34.0 KiB", "2.0 GiB": at most 10 characters.
std::string FormatBytes(uint64_t bytes);

// "0.8 ms", "12.3 s", "1:02:03": at most 9 characters.
std::string FormatDuration(std::chrono::nanoseconds duration);

// `text`, which is UTF-8, with spaces up to `width` characters; longer text stays as it is.
std::string PadLeft(std::string_view text, size_t width);
std::string PadRight(std::string_view text, size_t width);

// Whether the character, as UTF-8, turns the direction of what follows: a text that has it says something else than it
// shows.
bool TurnsText(std::string_view character);

// `text` without control characters and without bytes that are not UTF-8 ('?' in their place), cut to `max_bytes` at a
// character's boundary.
std::string Printable(std::string_view text, size_t max_bytes);

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_TEXT_H_

// Text on the wire is UTF-8 (RFC 3629): what is, what is not, and what to do about it.

#ifndef RELAY_PROTO_UTF8_H_
#define RELAY_PROTO_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace relay::proto {

// The bytes of the character that `text`, which is not empty, begins with; 0 where it begins with none: no overlong
// forms, no surrogates, nothing past U+10FFFF.
size_t CharacterBytes(std::string_view text);

// Whether the character, as UTF-8, is a control character: U+0000 to U+001F, U+007F to U+009F (Unicode's Cc).
bool IsControl(std::string_view character);

bool IsUtf8(std::string_view text);

// `text` with '?' in place of each byte that is not part of a character.
std::string AsUtf8(std::string_view text);

// The first `max_bytes` bytes of `text`, not cutting through a character.
std::string_view Shortened(std::string_view text, size_t max_bytes);

}  // namespace relay::proto

#endif  // RELAY_PROTO_UTF8_H_

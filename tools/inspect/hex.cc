#include "tools/inspect/hex.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tools/relay/text.h"

namespace relay::inspect {
namespace {

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

// The next word of the line, and how many blanks stand before it.
std::string_view TakeWord(std::string_view& line, size_t& blanks) {
  blanks = std::min(line.find_first_not_of(" \t\r"), line.size());
  line.remove_prefix(blanks);
  const std::string_view word = line.substr(0, line.find_first_of(" \t\r"));
  line.remove_prefix(word.size());
  return word;
}

// An offset ends in a colon, or is longer than what stands behind it in pairs.
bool IsOffset(std::string_view word, std::string_view rest) {
  if (word.ends_with(':')) return IsHex(word.substr(0, word.size() - 1));
  size_t blanks = 0;
  const std::string_view next = TakeWord(rest, blanks);
  const bool is_number = IsHex(word) && word.size() != 2;
  return is_number && next.size() == 2 && IsHex(next) && (word.size() >= 6 || blanks >= 2);
}

}  // namespace

absl::StatusOr<std::string> BytesOfHexDump(std::string_view text) {
  std::string bytes;
  bool have_offsets = false;
  for (size_t number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    bool is_first = true;
    bool has_offset = false;
    size_t in_line = 0;
    while (true) {
      size_t blanks = 0;
      const std::string_view word = TakeWord(line, blanks);
      if (word.empty() || word[0] == '|') break;
      if (std::exchange(is_first, false)) {
        // Below dumps with offsets stands one more, of the end.
        const bool is_end =
            have_offsets && word.size() >= 6 && IsHex(word) && line.find_first_not_of(" \t\r") == line.npos;
        if (is_end) break;
        has_offset = IsOffset(word, line);
        have_offsets = have_offsets || has_offset;
        if (has_offset) continue;
      }
      // Behind a whole row, or a wide space, comes the same as text.
      if (has_offset && (in_line == 16 || (blanks >= 2 && in_line > 0 && in_line != 8))) break;
      if (!IsHex(word) || word.size() % 2 != 0) {
        if (has_offset && in_line > 0 && blanks >= 2) break;
        return absl::InvalidArgumentError(absl::StrCat("--hex: line ", number, ": '", tools::Printable(word, 40),
                                                       "' is no bytes in hexadecimal digits, two for each"));
      }
      bytes += absl::HexStringToBytes({word.data(), word.size()});
      in_line += word.size() / 2;
    }
  }
  return bytes;
}

}  // namespace relay::inspect

#include "tools/inspect/hex.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <optional>
#include <system_error>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tools/relay/text.h"

namespace relay::inspect {
namespace {

constexpr uint64_t kMostBytes = uint64_t{64} << 20;

bool IsHex(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

bool ParseDigits(std::string_view digits, int base, uint64_t& number) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  return error == std::errc() && end == digits.data() + digits.size();
}

// The next word of the line, and how many blanks stand before it.
std::string_view TakeWord(std::string_view& line, size_t& blanks) {
  blanks = std::min(line.find_first_not_of(" \t\r"), line.size());
  line.remove_prefix(blanks);
  const std::string_view word = line.substr(0, line.find_first_of(" \t\r"));
  line.remove_prefix(word.size());
  return word;
}

struct Line {
  size_t number = 0;
  std::string offset;  // its digits, or empty
  std::string bytes;
  std::string_view beside;  // what stands behind them
  bool is_repeat = false;   // '*': the line before it again, up to the next offset
};

absl::Status Wrong(const Line& line, std::string_view word, std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("--hex: line ", line.number, ": '", tools::Printable(word, 40), "' ", std::string(what)));
}

// An offset ends in a colon, stands alone below others, or stands before pairs of digits and does not look like one.
bool IsOffset(std::string_view word, size_t indent, std::string_view rest, bool is_below_others) {
  if (word.ends_with(':')) return IsHex(word.substr(0, word.size() - 1));
  if (!IsHex(word)) return false;
  size_t blanks = 0;
  const std::string_view next = TakeWord(rest, blanks);
  if (next.empty()) return is_below_others && word.size() >= 6;
  const bool is_pair = word.size() == 2 && indent < 6;
  return next.size() == 2 && IsHex(next) && (word.size() >= 6 || (blanks >= 2 && !is_pair));
}

absl::StatusOr<Line> ReadLine(std::string_view text, size_t number, bool is_below_others) {
  Line line;
  line.number = number;
  for (bool is_first = true;; is_first = false) {
    size_t blanks = 0;
    const std::string_view word = TakeWord(text, blanks);
    const std::string_view from_here(word.data(), word.size() + text.size());
    if (word.empty() || word[0] == '|') {
      line.beside = from_here.substr(word.empty() ? 0 : 1);
      return line;
    }
    if (is_first && word == "*") {
      line.is_repeat = true;
      return line;
    }
    if (is_first && IsOffset(word, blanks, text, is_below_others)) {
      line.offset = word.substr(0, word.find(':'));
      continue;
    }
    // Behind a whole row, or a wide space, comes the same as text. Some leave a little more room behind 8 bytes.
    const bool has_row = !line.offset.empty() && !line.bytes.empty();
    const bool is_wide = blanks >= (line.bytes.size() == 8 ? 3 : 2);
    if (has_row && (line.bytes.size() == 16 || is_wide || ((!IsHex(word) || word.size() % 2 != 0) && blanks >= 2))) {
      line.beside = from_here;
      return line;
    }
    if (!IsHex(word) || word.size() % 2 != 0) {
      return Wrong(line, word, "is no bytes in hexadecimal digits, two for each");
    }
    line.bytes += absl::HexStringToBytes({word.data(), word.size()});
  }
}

// Whether the text beside is that of the bytes only where each group of so many is turned round.
bool IsTurned(const Line& line) {
  const auto shown = [&line](size_t i) {
    const auto byte = static_cast<unsigned char>(line.bytes[i]);
    return byte >= 0x20 && byte < 0x7f ? line.bytes[i] : '.';
  };
  const size_t size = line.bytes.size();
  if (line.beside.size() < size) return false;
  const auto is_beside = [&](size_t group) {
    for (size_t i = 0; i < size; ++i) {
      if (line.beside[i] != shown(i - i % group + (group - 1 - i % group))) return false;
    }
    return true;
  };
  const std::array<size_t, 3> groups = {2, 4, 8};
  return !is_beside(1) &&
         std::any_of(groups.begin(), groups.end(), [&](size_t group) { return size % group == 0 && is_beside(group); });
}

// An offset that stands inside of the line before it, though the lines go on: the digits are none of bytes.
absl::Status CheckOffsets(const std::vector<Line>& lines) {
  uint64_t before = 0;
  uint64_t next = 0;
  for (const Line& line : lines) {
    if (uint64_t at = 0; !line.offset.empty() && ParseDigits(line.offset, 16, at)) {
      if (at > before && at < next) {
        return Wrong(line, line.offset,
                     "is an offset inside of the line before: are these hexadecimal digits of bytes?");
      }
      before = next = at;
    }
    next += line.bytes.size();
  }
  return absl::OkStatus();
}

// How many lines stand right behind the one before them, where offsets are counted so. Nothing where one stands inside
// of another.
std::optional<size_t> FitOf(const std::vector<Line>& lines, int base) {
  size_t fit = 0;
  std::optional<uint64_t> next;
  uint64_t row_bytes = 0;
  bool repeats = false;
  for (const Line& line : lines) {
    if (line.is_repeat) {
      repeats = true;
      continue;
    }
    if (!line.offset.empty()) {
      uint64_t at = 0;
      if (!ParseDigits(line.offset, base, at)) return std::nullopt;
      if (next.has_value() && at < *next) return std::nullopt;
      if (repeats && (row_bytes == 0 || (at - next.value_or(at)) % row_bytes != 0)) return std::nullopt;
      if (at == next || repeats) ++fit;
      next = at;
      repeats = false;
    }
    row_bytes = line.bytes.size();
    if (next.has_value()) *next += row_bytes;
  }
  return fit;
}

// In what the offsets are counted: that which fits most lines. od alone, which writes 7 digits, counts in 8s, unless
// told not. Nothing where no number fits.
std::optional<int> BaseOf(const std::vector<Line>& lines) {
  const auto first = std::find_if(lines.begin(), lines.end(), [](const Line& line) { return !line.offset.empty(); });
  const bool is_od = first != lines.end() && first->offset.size() == 7;
  std::optional<int> best;
  std::optional<size_t> best_fit;
  for (const int base : is_od ? std::vector{8, 10, 16} : std::vector{16, 10}) {
    const std::optional<size_t> fit = FitOf(lines, base);
    if (!fit.has_value() || fit <= best_fit) continue;
    best = base;
    best_fit = fit;
  }
  return best;
}

}  // namespace

absl::StatusOr<HexDump> ParseHexDump(std::string_view text) {
  std::vector<Line> lines;
  bool has_offsets = false;
  for (size_t number = 1; !text.empty(); ++number) {
    const std::string_view row = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), row.size() + 1));
    absl::StatusOr<Line> line = ReadLine(row, number, has_offsets);
    if (!line.ok()) return line.status();
    if (IsTurned(*line)) {
      return Wrong(*line, line->beside.substr(0, line->bytes.size()),
                   "stands beside other bytes: these are turned round, as xxd -e writes them; without -e they are not");
    }
    has_offsets = has_offsets || !line->offset.empty();
    if (line->is_repeat || !line->offset.empty() || !line->bytes.empty()) lines.push_back(*std::move(line));
  }
  HexDump dump;
  std::string& bytes = dump.bytes;
  const std::optional<int> base = BaseOf(lines);
  if (!base.has_value()) {
    if (absl::Status status = CheckOffsets(lines); !status.ok()) return status;
  }
  std::optional<uint64_t> begin;  // as if nothing were missing
  for (size_t i = 0; i < lines.size(); ++i) {
    uint64_t at = 0;
    if (base.has_value() && ParseDigits(lines[i].offset, *base, at)) {
      if (!begin.has_value()) begin = at - bytes.size();
      const uint64_t missing = at - bytes.size() - *begin;
      if (missing > 0) dump.holes.push_back({bytes.size(), missing});
      *begin += missing;
    }
    if (!lines[i].is_repeat) {
      bytes += lines[i].bytes;
      continue;
    }
    uint64_t from = 0;
    uint64_t to = 0;
    const bool is_between = base.has_value() && i > 0 && i + 1 < lines.size() && !lines[i - 1].bytes.empty() &&
                            ParseDigits(lines[i - 1].offset, *base, from) &&
                            ParseDigits(lines[i + 1].offset, *base, to);
    if (!is_between) return Wrong(lines[i], "*", "repeats a line up to an offset: both are needed");
    const uint64_t repeated = to - from - lines[i - 1].bytes.size();
    if (repeated > kMostBytes - std::min(kMostBytes, uint64_t{bytes.size()})) {
      return Wrong(lines[i], "*", "repeats a line until there are more than 64 MiB");
    }
    for (uint64_t left = repeated; left > 0; left -= lines[i - 1].bytes.size()) bytes += lines[i - 1].bytes;
  }
  return dump;
}

}  // namespace relay::inspect

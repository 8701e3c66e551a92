#include "tools/relay/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <limits>

#include "proto/utf8.h"

namespace relay::tools {
namespace {

struct Unit {
  std::string_view name;
  double milliseconds;
};

constexpr std::array<Unit, 4> kUnits = {{{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}}};

template <typename... Args>
std::string Format(const char* format, Args... args) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, args...);
  return text.data();
}

// A character each but for the bytes that only go on with one.
size_t MissingColumns(std::string_view text, size_t width) {
  const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  const auto columns = static_cast<size_t>(std::count_if(text.begin(), text.end(), begins));
  return columns < width ? width - columns : 0;
}

}  // namespace

std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  if (text == "0") return std::chrono::milliseconds(0);
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit_name(rest, static_cast<size_t>(end - rest));
  for (const Unit& unit : kUnits) {
    if (unit.name != unit_name) continue;
    const double milliseconds = number * unit.milliseconds + 0.5;
    if (milliseconds > std::numeric_limits<uint32_t>::max()) return std::nullopt;
    return std::chrono::milliseconds(static_cast<int64_t>(milliseconds));
  }
  return std::nullopt;
}

std::string Counted(uint64_t count, std::string_view noun) {
  return std::to_string(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

std::string FormatBytes(uint64_t bytes) {
  constexpr std::array<const char*, 6> kNames = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return Format("%u B", static_cast<unsigned>(bytes));
  double value = static_cast<double>(bytes) / 1024;
  size_t name = 0;
  while (value >= 1023.95 && name + 1 < kNames.size()) {
    value /= 1024;
    ++name;
  }
  return Format("%.1f %s", value, kNames[name]);
}

std::string FormatDuration(std::chrono::nanoseconds duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  if (seconds < 0.9995) return Format(seconds < 0.00995 ? "%.2f ms" : "%.1f ms", seconds * 1e3);
  if (seconds < 99.95) return Format("%.1f s", seconds);
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
  if (whole < 3600) return Format("%d:%02d", static_cast<int>(whole / 60), static_cast<int>(whole % 60));
  return Format("%lld:%02d:%02d", static_cast<long long>(whole / 3600), static_cast<int>(whole / 60 % 60),
                static_cast<int>(whole % 60));
}

std::string PadLeft(std::string_view text, size_t width) {
  return std::string(MissingColumns(text, width), ' ').append(text);
}

std::string PadRight(std::string_view text, size_t width) {
  return std::string(text).append(MissingColumns(text, width), ' ');
}

bool TurnsText(std::string_view character) {
  return character == "\u061c" || (character >= "\u200e" && character <= "\u200f") ||
         (character >= "\u202a" && character <= "\u202e") || (character >= "\u2066" && character <= "\u2069");
}

std::string Printable(std::string_view text, size_t max_bytes) {
  std::string printable;
  while (!text.empty()) {
    const size_t length = proto::CharacterBytes(text);
    std::string_view character = text.substr(0, length == 0 ? 1 : length);
    text.remove_prefix(character.size());
    if (length == 0 || proto::IsControl(character) || TurnsText(character)) character = "?";
    if (printable.size() + character.size() > max_bytes) break;
    printable += character;
  }
  return printable;
}

}  // namespace relay::tools

// The looks of what is shown: arrows, and colours where there may be some.

#ifndef RELAY_TOOLS_INSPECT_STYLE_H_
#define RELAY_TOOLS_INSPECT_STYLE_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "proto/uuid.h"

namespace relay::inspect {

inline constexpr std::string_view kToServerArrow = "\xe2\x86\x92";
inline constexpr std::string_view kToClientArrow = "\xe2\x86\x90";

// A value type.
struct Style {
  bool has_colour = false;

  std::string Paint(std::string_view sgr, std::string_view text) const {
    if (!has_colour || sgr.empty() || text.empty()) return std::string(text);
    return absl::StrCat("\x1b[", std::string(sgr), "m", std::string(text), "\x1b[0m");
  }
  std::string Dim(std::string_view text) const { return Paint("2", text); }
  std::string Bold(std::string_view text) const { return Paint("1", text); }
  std::string Bad(std::string_view text) const { return Paint("1;31", text); }
  std::string Warn(std::string_view text) const { return Paint("33", text); }
  // The colour of a request: the same wherever it is shown, readable on dark and on light.
  static std::string ColourOf(const proto::Uuid& request) {
    constexpr std::array<int, 12> kColours = {39, 208, 35, 170, 136, 105, 203, 37, 141, 166, 70, 168};
    uint32_t sum = 0;
    for (const uint8_t byte : request) sum = sum * 31 + byte;
    return absl::StrCat("38;5;", kColours[sum % kColours.size()]);
  }
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_STYLE_H_

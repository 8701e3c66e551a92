#include "tools/relay/last_line.h"

#include <algorithm>

#include "tools/relay/text.h"

namespace relay::tools {
namespace {

bool IsBlank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

void AppendBounded(std::string& line, std::string_view text) {
  line.append(text.substr(0, LastLine::kMaxBytes - line.size()));
}

}  // namespace

void LastLine::Add(std::string_view text) {
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    AppendBounded(open_, text.substr(0, newline));
    if (newline == std::string_view::npos) return;
    if (!IsBlank(open_)) complete_ = open_;
    open_.clear();
    text.remove_prefix(newline + 1);
  }
}

std::string LastLine::Get() const {
  std::string_view line = IsBlank(open_) ? complete_ : open_;
  line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
  return Printable(line, kMaxBytes);
}

}  // namespace relay::tools

#include "tools/inspect/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <utility>

#include "tools/inspect/words.h"
#include "tools/relay/io.h"

namespace relay::inspect {
namespace {

constexpr size_t kHeldBytes = size_t{64} << 10;

winsize TerminalSize(int fd) {
  winsize size = {};
  if (isatty(fd) == 0 || ioctl(fd, TIOCGWINSZ, &size) != 0) return {};
  return size;
}

}  // namespace

Output::Output(int fd, bool at_once, std::function<void()> on_failed, Screen screen)
    : fd_(fd), at_once_(at_once), on_failed_(std::move(on_failed)), screen_(screen) {}

void Output::Write(std::string_view text) {
  const size_t now = screen_.follows_terminal ? TerminalColumns(fd_) : 0;
  const size_t columns = now > 0 ? now : screen_.columns;
  if (columns == 0) {
    held_ += screen_.is_ascii ? InAscii(text) : text;
  } else {
    while (!text.empty()) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      const std::string shown = CutTo(columns, line);
      held_ += screen_.is_ascii ? InAscii(shown) : shown;
      held_ += '\n';
    }
  }
  if (at_once_ || held_.size() >= kHeldBytes) WriteOut();
}

void Output::WriteOut() {
  if (!has_failed_) {
    const Status status = tools::WriteAll(fd_, "stdout", held_);
    if (!status.ok()) {
      has_failed_ = true;
      if (status.code() != StatusCode::kFailedPrecondition) status_ = absl::DataLossError(status.message());
      on_failed_();
    }
  }
  held_.clear();
}

absl::Status Output::Flush() {
  WriteOut();
  return status_;
}

size_t TerminalColumns(int fd) { return TerminalSize(fd).ws_col; }

size_t TerminalRows(int fd) { return TerminalSize(fd).ws_row; }

bool IsUtf8Locale() {
  for (const char* const name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    std::string lower;
    for (const char* c = value; *c != '\0'; ++c)
      lower += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
    return lower.find("utf-8") != std::string::npos || lower.find("utf8") != std::string::npos;
  }
  return false;
}

}  // namespace relay::inspect

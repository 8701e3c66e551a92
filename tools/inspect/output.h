// Where what is shown goes: stdout, written in large pieces or at once, as its screen can show it.

#ifndef RELAY_TOOLS_INSPECT_OUTPUT_H_
#define RELAY_TOOLS_INSPECT_OUTPUT_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace relay::inspect {

struct Screen {
  size_t columns = 0;  // that lines are cut at; 0: nowhere
  bool is_ascii = false;
  bool follows_terminal = false;  // lines are cut at as many columns as it has by then
};

// Thread-compatible.
class Output {
 public:
  // `on_failed` is called once, when writing has failed, so that nobody goes on reading for nothing.
  Output(int fd, bool at_once, std::function<void()> on_failed, Screen screen = {});

  // Whole lines.
  void Write(std::string_view text);
  // EPIPE, somebody who has read enough, is no error.
  absl::Status Flush();

 private:
  void WriteOut();

  const int fd_;
  const bool at_once_;
  const std::function<void()> on_failed_;
  const Screen screen_;
  std::string held_;
  absl::Status status_;
  bool has_failed_ = false;
};

// Of a terminal; 0 where `fd` is none.
size_t TerminalColumns(int fd);
size_t TerminalRows(int fd);
// Whether the locale of the environment is one of UTF-8.
bool IsUtf8Locale();

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_OUTPUT_H_

// The last line of a text that comes in pieces, in bounded memory.

#ifndef RELAY_TOOLS_RELAY_LAST_LINE_H_
#define RELAY_TOOLS_RELAY_LAST_LINE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace relay::tools {

// Thread-compatible.
class LastLine {
 public:
  // What a status message takes of it: a line and a half of a terminal, and far below what an END may carry.
  static constexpr size_t kMaxBytes = 240;

  void Add(std::string_view text);
  // The last line that is not blank, with or without its newline, printable, at most kMaxBytes of it; "" where there is
  // none.
  std::string Get() const;

 private:
  std::string complete_;  // the last line that has ended
  std::string open_;      // the line that has not
};

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_LAST_LINE_H_

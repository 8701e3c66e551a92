// Where the body of a request comes from: a text, a file, or stdin.

#ifndef RELAY_TOOLS_RELAY_BODY_SOURCE_H_
#define RELAY_TOOLS_RELAY_BODY_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "relay/status.h"
#include "tools/relay/io.h"

namespace relay::tools {

// Thread-compatible.
class BodySource {
 public:
  static BodySource OfText(std::string text);
  static BodySource OfStdin();
  // NOT_FOUND, with the system's words, where the file cannot be opened, whatever the reason.
  static StatusOr<BodySource> OfFile(const std::string& path);

  // As ReadSome of io.h.
  StatusOr<size_t> Read(std::span<char> out, const Wakeup& stop);
  // Everything that is left; RESOURCE_EXHAUSTED beyond `max_bytes`.
  StatusOr<std::string> ReadAll(size_t max_bytes, const Wakeup& stop);

  // How long the body is, where that is known beforehand.
  std::optional<uint64_t> total_bytes() const { return total_bytes_; }
  bool is_terminal() const;

 private:
  BodySource() = default;
  void TakeSize();

  std::string name_;
  std::optional<uint64_t> total_bytes_;
  UniqueFd file_;
  int fd_ = -1;  // -1: text
  std::string text_;
  size_t text_at_ = 0;
};

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_BODY_SOURCE_H_

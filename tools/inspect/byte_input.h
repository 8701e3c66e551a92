// A file or stdin that is read once, from its beginning, and whose first bytes may be looked at before.

#ifndef RELAY_TOOLS_INSPECT_BYTE_INPUT_H_
#define RELAY_TOOLS_INSPECT_BYTE_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace relay::inspect {

// Thread-compatible.
class ByteInput {
 public:
  // "-" is stdin. NOT_FOUND, with the system's words, where the file cannot be opened, whatever the reason.
  static absl::StatusOr<std::unique_ptr<ByteInput>> Open(const std::string& path);

  // What is already there, with `missing` bytes before the one at `at`.
  struct Hole {
    uint64_t at;
    uint64_t missing;
  };
  static std::unique_ptr<ByteInput> OfBytes(std::string name, std::string bytes, std::vector<Hole> holes = {});

  ~ByteInput();
  ByteInput(const ByteInput&) = delete;
  ByteInput& operator=(const ByteInput&) = delete;

  // The first `bytes` of the input, fewer where it is shorter. Before the first Read.
  absl::StatusOr<std::string_view> Peek(size_t bytes);

  // How many bytes are missing before what comes next; 0 when asked again.
  uint64_t TakeHole();

  // At least 1 byte, none behind the next hole, and 0 at the end. DATA_LOSS with the system's words where reading
  // failed.
  absl::StatusOr<size_t> Read(std::span<uint8_t> out);

  // Called where a Read finds nothing that is there already, and some times a second while it waits; false: the input
  // ends here.
  void set_on_idle(std::function<bool()> on_idle) { on_idle_ = std::move(on_idle); }

  // "stdin", or the path.
  const std::string& name() const { return name_; }
  uint64_t read_bytes() const { return read_bytes_; }
  uint64_t total_bytes() const { return total_bytes_; }  // 0 where nobody knows

 private:
  ByteInput(std::string name, int fd);

  // False: the input ends here.
  bool WaitForBytes() const;

  const std::string name_;
  const int fd_;  // -1: what is peeked_ is all
  std::function<bool()> on_idle_ = [] { return true; };
  uint64_t total_bytes_ = 0;
  uint64_t read_bytes_ = 0;
  std::string peeked_;
  size_t peeked_at_ = 0;
  std::vector<Hole> holes_;  // the next one last
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_BYTE_INPUT_H_

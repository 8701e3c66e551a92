// Files, or stdin, that hold the bytes of one direction each, as they passed. Nobody knows what of one passed before
// what of the other, but for the handshake: HELLO and its answer come first, then the client's direction, then the
// server's.

#ifndef RELAY_TOOLS_INSPECT_RAW_H_
#define RELAY_TOOLS_INSPECT_RAW_H_

#include <atomic>
#include <memory>
#include <vector>

#include "tools/inspect/byte_input.h"
#include "tools/inspect/source.h"

namespace relay::inspect {

// Thread-compatible, but for Stop.
class RawSource : public Source {
 public:
  // One input, or the two directions of one connection. An input that begins with WELCOME or GOAWAY went to the client,
  // any other to the server; one that begins with neither the preface nor those, but with a frame, begins in the
  // middle. INVALID_ARGUMENT where both went the same way.
  static absl::StatusOr<std::unique_ptr<Source>> Open(std::vector<std::unique_ptr<ByteInput>> inputs);

  absl::Status Run(Tap& tap) override;
  void Stop() override { is_stopped_ = true; }
  Position position() const override;

 private:
  struct Part {
    std::unique_ptr<ByteInput> input;
    Direction direction;
    size_t handshake_bytes;
  };

  // The next `bytes` of it, or what there is.
  absl::Status Tell(const Part& part, size_t bytes, Tap& tap);

  RawSource(std::vector<Part> parts, bool from_start) : parts_(std::move(parts)), from_start_(from_start) {}

  const std::vector<Part> parts_;
  const bool from_start_;
  std::atomic<bool> is_stopped_ = false;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_RAW_H_

// The line on stderr that says how far a long file has been read.

#ifndef RELAY_TOOLS_INSPECT_READ_PROGRESS_H_
#define RELAY_TOOLS_INSPECT_READ_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "tools/inspect/source.h"
#include "tools/inspect/tap.h"

namespace relay::inspect {

// "[=====>    ] 52%  537 MiB of 1.0 GiB, 4194304 frames, 812345/s": at most 79 columns.
std::string ReadProgressText(const Source::Position& position, uint64_t frames, std::chrono::nanoseconds elapsed);

// Hands on what it hears, and looks at the clock now and then. Thread-compatible.
class ReadProgress : public Tap {
 public:
  // All of them outlive it. `frames` counts those that were seen.
  ReadProgress(const Source& source, Tap& next, std::function<uint64_t()> frames)
      : source_(source), next_(next), frames_(std::move(frames)), began_(Clock::now()) {}

  void OnOpen(const Opening& opening) override { next_.OnOpen(opening); }
  void OnBytes(const Piece& piece) override {
    next_.OnBytes(piece);
    if (++calls_ % kCallsPerLook == 0) Look();
  }
  void OnGap(ConnectionId connection, Direction direction, absl::Time at, uint64_t bytes) override {
    next_.OnGap(connection, direction, at, bytes);
  }
  void OnFrame(const CutFrame& frame) override { next_.OnFrame(frame); }
  void OnLost(uint64_t frames, absl::Time at) override { next_.OnLost(frames, at); }
  void OnClose(ConnectionId connection, Direction direction, absl::Time at) override {
    next_.OnClose(connection, direction, at);
  }
  void OnTick(absl::Time now) override { next_.OnTick(now); }
  // Draws the line a last time, and ends it.
  absl::Status Finish() override;

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr uint64_t kCallsPerLook = 256;

  void Look();
  void Draw();

  const Source& source_;
  Tap& next_;
  const std::function<uint64_t()> frames_;
  const Clock::time_point began_;
  Clock::time_point drawn_;
  uint64_t calls_ = 0;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_READ_PROGRESS_H_

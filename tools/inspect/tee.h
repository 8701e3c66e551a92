// Two taps on one source.

#ifndef RELAY_TOOLS_INSPECT_TEE_H_
#define RELAY_TOOLS_INSPECT_TEE_H_

#include "tools/inspect/tap.h"

namespace relay::inspect {

// Both outlive it. Thread-compatible.
class Tee : public Tap {
 public:
  Tee(Tap& first, Tap& second) : first_(first), second_(second) {}

  void OnOpen(const Opening& opening) override {
    first_.OnOpen(opening);
    second_.OnOpen(opening);
  }
  void OnBytes(const Piece& piece) override {
    first_.OnBytes(piece);
    second_.OnBytes(piece);
  }
  void OnGap(ConnectionId connection, Direction direction, absl::Time at, uint64_t bytes) override {
    first_.OnGap(connection, direction, at, bytes);
    second_.OnGap(connection, direction, at, bytes);
  }
  void OnFrame(const CutFrame& frame) override {
    first_.OnFrame(frame);
    second_.OnFrame(frame);
  }
  void OnLost(uint64_t frames, absl::Time at) override {
    first_.OnLost(frames, at);
    second_.OnLost(frames, at);
  }
  void OnClose(ConnectionId connection, Direction direction, absl::Time at) override {
    first_.OnClose(connection, direction, at);
    second_.OnClose(connection, direction, at);
  }
  void OnTick(absl::Time now) override {
    first_.OnTick(now);
    second_.OnTick(now);
  }
  absl::Status Finish() override {
    absl::Status status = first_.Finish();
    status.Update(second_.Finish());
    return status;
  }

 private:
  Tap& first_;
  Tap& second_;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_TEE_H_

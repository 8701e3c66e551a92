// From what a source tells to what sinks show: frames with their place and their state, damage, exchanges as they end.

#ifndef RELAY_TOOLS_INSPECT_DECODER_H_
#define RELAY_TOOLS_INSPECT_DECODER_H_

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "tools/inspect/connection.h"
#include "tools/inspect/exchange_log.h"
#include "tools/inspect/history.h"
#include "tools/inspect/seen.h"
#include "tools/inspect/tap.h"

namespace relay::inspect {

// What a whole trace came to.
struct Totals {
  uint64_t frames = 0;
  uint64_t broken_rules = 0;   // frames that break one, and damage
  uint64_t skipped_bytes = 0;  // that are no part of a frame
  uint64_t gaps = 0;
  uint64_t lost_frames = 0;
  uint64_t left_out_exchanges = 0;  // when all is told
  bool is_clean() const { return broken_rules == 0 && skipped_bytes == 0 && gaps == 0 && lost_frames == 0; }
};

// Its memory depends on what is open at a time, not on what has passed. Thread-compatible.
class Decoder : public Tap {
 public:
  // `sink` outlives it.
  Decoder(Sink& sink, bool resync);
  ~Decoder() override;

  void OnOpen(const Opening& opening) override;
  void OnBytes(const Piece& piece) override;
  void OnGap(ConnectionId connection, Direction direction, absl::Time at, uint64_t bytes) override;
  void OnFrame(const CutFrame& frame) override;
  void OnLost(uint64_t frames, absl::Time at) override;
  void OnClose(ConnectionId connection, Direction direction, absl::Time at) override;
  void OnTick(absl::Time now) override;
  absl::Status Finish() override;

  const Totals& totals() const { return totals_; }

 private:
  class Half;
  struct Open;

  // Of a connection that nobody has opened: as if it had just been, in its middle.
  Open& Find(ConnectionId connection, absl::Time at);
  Half& HalfOf(ConnectionId connection, Direction direction, absl::Time at);
  // What comes next passed then.
  void GoTo(absl::Time at);
  void Show(Open& open, SeenFrame& frame);
  // Of a client that joined before the trace began: the channel that the other side of its exchange has told.
  void FindChannel(Open& open, SeenFrame& frame);

  Sink& sink_;
  const bool resync_;
  Totals totals_;
  History history_;
  ChannelNames names_;
  ExchangeLog exchanges_;
  Payload payload_;
  absl::Time last_at_ = absl::InfinitePast();
  absl::Time last_tick_ = absl::InfinitePast();
  absl::flat_hash_map<ConnectionId, std::unique_ptr<Open>> open_;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_DECODER_H_

// One direction of a connection, from bytes in any pieces to frames, and to a word about every byte that is no part of
// one. What it tells has no hole and no overlap: the preface, frames, stretches that were skipped and gaps follow one
// another by their offsets.

#ifndef RELAY_TOOLS_INSPECT_FRAME_READER_H_
#define RELAY_TOOLS_INSPECT_FRAME_READER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "proto/frame.h"
#include "tools/inspect/rules.h"
#include "tools/inspect/tap.h"

namespace relay::inspect {

// A frame where it stands in its direction. Valid during the call.
struct RawFrame {
  uint64_t offset = 0;
  std::span<uint8_t> header;   // 24 bytes
  std::span<uint8_t> payload;  // what is known of it from its first byte on: all of it, or less
  uint32_t payload_bytes = 0;  // what the header says
};

// The bytes from `offset` on break a rule, so that nobody can tell where the next frame begins.
struct Damage {
  uint64_t offset = 0;
  Rule rule = Rule::kNone;
  uint64_t said_bytes = 0;   // payload_too_large: what the header says
  uint64_t limit_bytes = 0;  // and what it may; 0 where no WELCOME was seen
  uint64_t around_offset = 0;
  std::span<const uint8_t> around;  // the bytes around it, as far as they have come
};

struct Skipped {
  enum class Why : uint8_t {
    kDamage,       // from a Damage on
    kTruncated,    // the input ends inside of a frame, or of the preface
    kGap,          // the beginning of a frame whose rest was not captured
    kBeginsInside  // the capture begins inside of a frame
  };
  Why why = Why::kDamage;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  // kTruncated: the bytes that have come, of a frame of `frame_bytes` where its header is among them, or of the
  // preface.
  std::span<const uint8_t> begun;
  uint64_t frame_bytes = 0;
  bool is_preface = false;
};

// Thread-compatible.
class FrameReader {
 public:
  // Of a payload, what is kept to be decoded: more than any control payload and any start block with its Start.
  static constexpr size_t kKeptPayloadBytes = size_t{256} << 10;
  // What a header may say where no WELCOME was seen. Nobody configures more, and noise says more nearly always.
  static constexpr uint64_t kPlausiblePayloadBytes = uint64_t{16} << 20;

  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void OnPreface(uint64_t offset) = 0;
    virtual void OnRawFrame(const RawFrame& frame) = 0;
    virtual void OnDamage(const Damage& damage) = 0;
    virtual void OnSkipped(const Skipped& skipped) = 0;
    virtual void OnGap(uint64_t offset, uint64_t bytes) = 0;
  };

  // `handler` outlives it. With `resync` damage is not the end: the next plausible header is looked for.
  FrameReader(Direction direction, bool from_start, bool resync, Handler& handler);

  void Take(std::span<const uint8_t> bytes);
  // So many bytes are missing here, 0 for nobody knows how many.
  void Gap(uint64_t bytes);
  // The direction, or what is known of it, has ended. Idempotent.
  void Finish();

  void set_max_payload_bytes(uint64_t bytes) { max_payload_bytes_ = bytes; }

 private:
  enum class State : uint8_t { kPreface, kHeader, kPayload, kSeeking, kDead, kFinished };

  // Each takes some of the bytes and gives the rest.
  std::span<const uint8_t> TakePreface(std::span<const uint8_t> bytes);
  std::span<const uint8_t> TakeHeader(std::span<const uint8_t> bytes);
  std::span<const uint8_t> TakePayload(std::span<const uint8_t> bytes);
  std::span<const uint8_t> Seek(std::span<const uint8_t> bytes);

  // Moves up to `want` bytes in all to held_; gives the rest.
  std::span<const uint8_t> Hold(std::span<const uint8_t> bytes, size_t want);
  void OnHeader();
  void EmitFrame();
  // held_ breaks a rule.
  void Break(Rule rule, uint64_t said_bytes);
  // Tells of the first `bytes` that are held or were skipped before.
  void TellSkipped(Skipped::Why why, uint64_t bytes);
  bool IsPlausible(std::span<uint8_t> header) const;
  void Remember(std::span<const uint8_t> bytes);
  uint64_t most_payload_bytes() const { return max_payload_bytes_ == 0 ? kPlausiblePayloadBytes : max_payload_bytes_; }

  const Direction direction_;
  const bool resync_;
  bool was_damaged_ = false;
  Handler& handler_;
  State state_;
  Skipped::Why why_ = Skipped::Why::kDamage;  // of kSeeking and kDead
  uint64_t max_payload_bytes_ = 0;            // 0 while no WELCOME was seen

  uint64_t offset_ = 0;        // of the first byte of which nothing was told
  std::vector<uint8_t> held_;  // from offset_ + skipped_bytes_ on
  uint64_t skipped_bytes_ = 0;
  uint64_t payload_left_ = 0;    // of kPayload
  bool is_whole_ = true;         // no byte of the payload is missing before what comes next
  std::vector<uint8_t> recent_;  // the last bytes before those that come next
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_FRAME_READER_H_

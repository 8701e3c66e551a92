// The frame of PROTOCOL.md, "Bytes on the connection": a 24-byte header and a payload.
//
// A Frame is a view; it owns nothing and knows no routes. DecodeFrame finds the next one in bytes that somebody else
// holds, CheckHeader says whether a header obeys the rules that need no state, AppendFrame writes one.

#ifndef RELAY_PROTO_FRAME_H_
#define RELAY_PROTO_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "proto/endian.h"
#include "proto/uuid.h"

namespace relay::proto {

inline constexpr std::string_view kPreface = "RELAY/1\n";
inline constexpr uint32_t kVersion = 1;
inline constexpr size_t kHeaderBytes = 24;

// What a client counts on before WELCOME has come; no server has smaller limits.
inline constexpr uint32_t kSmallestMaxPayloadBytes = 64 * 1024;
inline constexpr uint32_t kSmallestWindowBytes = 64 * 1024;
inline constexpr uint32_t kSmallestMaxStartBytes = 4 * 1024;

// The payloads of PING and PONG, of EXTEND.
inline constexpr size_t kPingBytes = 8;
inline constexpr size_t kExtendBytes = 4;

// What a CHUNK costs beyond its payload, so that empty ones are not free.
inline constexpr uint64_t kChunkOverheadBytes = kHeaderBytes;

enum class FrameType : uint8_t {
  kHello = 1,
  kWelcome = 2,
  kJoin = 3,
  kLeave = 4,
  kReceive = 5,
  kStart = 6,
  kChunk = 7,
  kEnd = 8,
  kWindow = 9,
  kReset = 10,
  kPing = 11,
  kPong = 12,
  kGoaway = 13,
  kExtend = 14,
  kObserve = 15,
  kMirror = 16,
};

inline constexpr uint8_t kLastFrameType = 16;

// "START", or "?" for a type that this version does not know.
std::string_view NameOf(FrameType type);

namespace flag {
inline constexpr uint8_t kRequest = 0x01;
inline constexpr uint8_t kResponse = 0x02;
inline constexpr uint8_t kFin = 0x04;
inline constexpr uint8_t kIdempotent = 0x08;
inline constexpr uint8_t kRequireReceiver = 0x10;
inline constexpr uint8_t kReceive = 0x20;
inline constexpr uint8_t kAll = 0x3f;
}  // namespace flag

// A whole frame where it stands. Valid as long as the bytes under it. Thread-compatible.
class Frame {
 public:
  Frame() = default;
  // `bytes` holds a header and exactly the payload that it declares.
  explicit Frame(std::span<uint8_t> bytes) : bytes_(bytes) {}

  bool has_known_type() const { return bytes_[4] >= 1 && bytes_[4] <= kLastFrameType; }
  FrameType type() const { return static_cast<FrameType>(bytes_[4]); }  // has_known_type() holds
  uint8_t flags() const { return bytes_[5]; }
  bool has(uint8_t bits) const { return (bytes_[5] & bits) != 0; }
  uint16_t slot() const { return LoadBig<uint16_t>(&bytes_[6]); }
  Uuid id() const {
    Uuid id;
    std::memcpy(id.data, &bytes_[8], kUuidBytes);
    return id;
  }
  bool has_nil_id() const { return (LoadBig<uint64_t>(&bytes_[8]) | LoadBig<uint64_t>(&bytes_[16])) == 0; }
  std::span<uint8_t> payload() const { return bytes_.subspan(kHeaderBytes); }
  std::string_view payload_text() const {
    return {reinterpret_cast<const char*>(bytes_.data()) + kHeaderBytes, bytes_.size() - kHeaderBytes};
  }
  std::span<uint8_t> bytes() const { return bytes_; }

  void set_flags(uint8_t flags) { bytes_[5] = flags; }
  void set_slot(uint16_t slot) { StoreBig<uint16_t>(&bytes_[6], slot); }

 private:
  std::span<uint8_t> bytes_;
};

enum class Decoded {
  kFrame,     // `frame` is the first of `input`; the next one begins behind it
  kNeedMore,  // `input` is the beginning of a frame
  kTooLarge,  // the header declares more than the limit; nothing behind it was looked at
};

// Looks for a frame at the beginning of `input` and sets `frame` for kFrame alone. Takes no memory.
inline Decoded DecodeFrame(std::span<uint8_t> input, uint32_t max_payload_bytes, Frame& frame) {
  if (input.size() < sizeof(uint32_t)) return Decoded::kNeedMore;
  const uint32_t payload_bytes = LoadBig<uint32_t>(input.data());
  if (payload_bytes > max_payload_bytes) return Decoded::kTooLarge;
  if (input.size() < kHeaderBytes + payload_bytes) return Decoded::kNeedMore;
  frame = Frame(input.first(kHeaderBytes + payload_bytes));
  return Decoded::kFrame;
}

// The rules that a header can break by itself, whoever sends it and whenever.
enum class HeaderFault : uint8_t {
  kNone,
  kUnknownFlag,
  kDirectionMissing,  // not exactly one of REQUEST and RESPONSE where one belongs
  kFlagMisplaced,
  kSlotMissing,
  kSlotMisplaced,
  kIdMissing,
  kIdMisplaced,
};

// The type is known.
HeaderFault CheckHeader(const Frame& frame);

// The rule that a fault breaks, at most 100 bytes.
std::string_view RuleOf(HeaderFault fault);

// What a CHUNK or the body of a START costs of its stream's window (PROTOCOL.md, "Credit").
inline uint64_t ChunkCost(size_t payload_bytes) { return kChunkOverheadBytes + payload_bytes; }
inline uint64_t StartCost(size_t body_bytes) { return body_bytes == 0 ? 0 : kChunkOverheadBytes + body_bytes; }

// Writes the 24 bytes of a header to `out`.
void WriteHeader(uint8_t* out, uint32_t payload_bytes, FrameType type, uint8_t flags, uint16_t slot, const Uuid& id);

// Appends a whole frame to `out`.
void AppendFrame(std::string& out, FrameType type, uint8_t flags, uint16_t slot, const Uuid& id,
                 std::string_view payload);

}  // namespace relay::proto

#endif  // RELAY_PROTO_FRAME_H_

// The 40 fixed bytes at the beginning of a START's payload (PROTOCOL.md, "The start block"), read and written in
// place. A view; owns nothing.

#ifndef RELAY_PROTO_START_BLOCK_H_
#define RELAY_PROTO_START_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "proto/endian.h"
#include "proto/uuid.h"

namespace relay::proto {

inline constexpr size_t kStartBlockBytes = 40;

enum class StartFault : uint8_t {
  kNone,
  kShorterThanBlock,
  kShorterThanStart,   // the payload ends before the `Start` that the block announces
  kServerFieldsSet,    // a peer wrote what is the server's to write
  kTimeoutOnResponse,  // a RESPONSE has no timeout and no extension
};

// The rule that a fault breaks, at most 100 bytes.
std::string_view RuleOf(StartFault fault);

// Thread-compatible.
class StartBlock {
 public:
  // `payload` is that of a START and has passed CheckStart, or is about to be filled and has at least 40 bytes.
  explicit StartBlock(std::span<uint8_t> payload) : payload_(payload) {}

  Uuid other_client() const {
    Uuid id;
    std::memcpy(id.data, payload_.data(), kUuidBytes);
    return id;
  }
  bool has_nil_other_client() const { return (LoadBig<uint64_t>(&payload_[0]) | LoadBig<uint64_t>(&payload_[8])) == 0; }
  uint32_t timeout_ms() const { return LoadBig<uint32_t>(&payload_[16]); }
  uint32_t queue_wait_us() const { return LoadBig<uint32_t>(&payload_[20]); }
  uint16_t attempt() const { return LoadBig<uint16_t>(&payload_[24]); }
  uint16_t start_bytes() const { return LoadBig<uint16_t>(&payload_[26]); }
  uint32_t max_extension_ms() const { return LoadBig<uint32_t>(&payload_[28]); }

  std::string_view start() const { return {reinterpret_cast<const char*>(&payload_[kStartBlockBytes]), start_bytes()}; }
  std::span<uint8_t> body() const { return payload_.subspan(kStartBlockBytes + start_bytes()); }

  void set_other_client(const Uuid& id) { std::memcpy(payload_.data(), id.data, kUuidBytes); }
  void set_timeout_ms(uint32_t ms) { StoreBig<uint32_t>(&payload_[16], ms); }
  void set_queue_wait_us(uint32_t us) { StoreBig<uint32_t>(&payload_[20], us); }
  void set_attempt(uint16_t attempt) { StoreBig<uint16_t>(&payload_[24], attempt); }
  void set_start_bytes(uint16_t bytes) { StoreBig<uint16_t>(&payload_[26], bytes); }
  void set_max_extension_ms(uint32_t ms) { StoreBig<uint32_t>(&payload_[28], ms); }

 private:
  std::span<uint8_t> payload_;
};

// What is wrong with the payload of a START that a client sent.
inline StartFault CheckStart(std::span<uint8_t> payload, bool is_response) {
  if (payload.size() < kStartBlockBytes) return StartFault::kShorterThanBlock;
  const StartBlock block(payload);
  if (payload.size() < kStartBlockBytes + block.start_bytes()) return StartFault::kShorterThanStart;
  if (!block.has_nil_other_client() || block.queue_wait_us() != 0 || block.attempt() != 0) {
    return StartFault::kServerFieldsSet;
  }
  if (is_response && (block.timeout_ms() != 0 || block.max_extension_ms() != 0)) {
    return StartFault::kTimeoutOnResponse;
  }
  return StartFault::kNone;
}

}  // namespace relay::proto

#endif  // RELAY_PROTO_START_BLOCK_H_

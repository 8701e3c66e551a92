// The 56 fixed bytes at the beginning of a MIRROR's payload (PROTOCOL.md, "Observers"), read and written in place. A
// view; owns nothing.

#ifndef RELAY_PROTO_MIRROR_BLOCK_H_
#define RELAY_PROTO_MIRROR_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "proto/endian.h"
#include "proto/uuid.h"

namespace relay::proto {

inline constexpr size_t kMirrorBlockBytes = 56;

enum class MirrorKind : uint8_t {
  kRead = 1,  // a frame that the server read from the connection
  kWritten,   // one that it wrote to it
  kOpened,    // the connection was accepted
  kEnded,     // and has ended
  kLost,      // nothing but the count of what was lost
};

inline constexpr uint8_t kLastMirrorKind = 5;

std::string_view NameOf(MirrorKind kind);

// Thread-compatible.
class MirrorBlock {
 public:
  // `payload` has passed CheckMirror, or is about to be filled and has at least 56 bytes.
  explicit MirrorBlock(std::span<uint8_t> payload) : payload_(payload) {}

  uint64_t connection() const { return LoadBig<uint64_t>(&payload_[0]); }
  uint64_t time_us() const { return LoadBig<uint64_t>(&payload_[8]); }
  uint32_t lost() const { return LoadBig<uint32_t>(&payload_[16]); }
  MirrorKind kind() const { return static_cast<MirrorKind>(payload_[20]); }
  // Of the client on the frame's slot, nil where there is none.
  Uuid channel() const { return IdAt(24); }
  Uuid client() const { return IdAt(40); }
  // A frame's header and the first bytes of its payload; words for the other kinds.
  std::span<uint8_t> shown() const { return payload_.subspan(kMirrorBlockBytes); }

  void Write(uint64_t connection, uint64_t time_us, uint32_t lost, MirrorKind kind, const Uuid& channel,
             const Uuid& client) {
    StoreBig<uint64_t>(&payload_[0], connection);
    StoreBig<uint64_t>(&payload_[8], time_us);
    StoreBig<uint32_t>(&payload_[16], lost);
    StoreBig<uint32_t>(&payload_[20], static_cast<uint32_t>(kind) << 24);
    std::memcpy(&payload_[24], channel.data, kUuidBytes);
    std::memcpy(&payload_[40], client.data, kUuidBytes);
  }

 private:
  Uuid IdAt(size_t at) const {
    Uuid id;
    std::memcpy(id.data, &payload_[at], kUuidBytes);
    return id;
  }

  std::span<uint8_t> payload_;
};

// Whether `payload` is one that a server writes: a block with a known kind, and for a frame a header and no more of its
// payload than it declares.
bool CheckMirror(std::span<const uint8_t> payload);

}  // namespace relay::proto

#endif  // RELAY_PROTO_MIRROR_BLOCK_H_

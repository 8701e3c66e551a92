// The memory that one loop reads into during one turn. Slabs are handed out from the front and rewound together at the
// turn's end, so that what was read can be viewed, rewritten in place and written on without a copy until then.

#ifndef RELAY_NET_READ_BUFFERS_H_
#define RELAY_NET_READ_BUFFERS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "net/uv_error.h"

namespace relay::net {

// Loop thread only. Slabs are taken from the system when first needed and kept.
class ReadBuffers {
 public:
  // Also the most that is read from one connection in a turn.
  static constexpr size_t kSlabBytes = size_t{256} * 1024;
  // Bounds what a turn reads over all connections, and so how long it runs and how much views can hold on to.
  static constexpr size_t kSlabsPerTurn = 4;

  // Free memory of at least `min_bytes` (at most kSlabBytes); the same until Commit. Empty if the turn has used up its
  // slabs: libuv is then told ENOBUFS, and since it polls level-triggered, reads that connection in the next turn.
  std::span<uint8_t> Room(size_t min_bytes) {
    if (is_closed_ || slab_ == slabs_.size() || kSlabBytes - used_bytes_ < min_bytes) return NextSlab(min_bytes);
    return {slabs_[slab_].get() + used_bytes_, kSlabBytes - used_bytes_};
  }

  // The first `bytes` of the last Room are in use until the turn's end.
  void Commit(size_t bytes) {
    Check(bytes <= kSlabBytes - used_bytes_, "more was committed than there was room");
    used_bytes_ += bytes;
  }

  // Keeps a buffer that views may still point into alive until the turn's end.
  void Retire(std::unique_ptr<uint8_t[]> buffer);

  // No more is read in this turn.
  void Close() { is_closed_ = true; }
  // Whether the turn gave no room where some was asked for.
  bool was_short() const { return was_short_; }

  // Bounds what each connection reads in a turn, from now on.
  void SetMostReadBytes(size_t bytes) { most_read_bytes_ = bytes; }
  size_t most_read_bytes() const { return most_read_bytes_; }

  // Everything handed out is free again.
  void EndTurn();

 private:
  std::span<uint8_t> NextSlab(size_t min_bytes);
  std::span<uint8_t> Short() {
    was_short_ = true;
    return {};
  }

  std::vector<std::unique_ptr<uint8_t[]>> slabs_;
  size_t slab_ = 0;        // Index of the slab in use; may be one past the last.
  size_t used_bytes_ = 0;  // Of that slab.
  size_t most_read_bytes_ = kSlabBytes;
  bool is_closed_ = false;
  bool was_short_ = false;
  std::vector<std::unique_ptr<uint8_t[]>> retired_;
};

}  // namespace relay::net

#endif  // RELAY_NET_READ_BUFFERS_H_

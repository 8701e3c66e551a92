// What one connection has received and its user has not yet consumed, and where its next read goes. The rest is put in
// front of the next read in the turn's slab, if that can be expected to bring as much. Else it waits in a buffer that
// the next reads fill directly and that grows with what has arrived, so that however small the pieces come, a byte is
// copied a bounded number of times. Used by Stream only.

#ifndef RELAY_NET_INPUT_H_
#define RELAY_NET_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "net/read_buffers.h"

namespace relay::net {

// Loop thread only. A read is Room, then Received if bytes came, then Consumed. Every span that Received and Again give
// stays valid until the turn's end.
class Input {
 public:
  // From here on a rest is large: copying less than this twice per read costs less than the read. A large one is copied
  // into the slab only behind a read that was as large.
  static constexpr size_t kLargeBytes = 4096;
  // A slab with less room than this behind a rest is left, since short reads mean more of them.
  static constexpr size_t kMinReadBytes = size_t{16} * 1024;

  explicit Input(ReadBuffers& buffers) : buffers_(buffers) {}

  // Where to read to, at most `most_bytes`. Empty: nothing can be read in this turn.
  std::span<uint8_t> Room(size_t most_bytes) {
    if (most_bytes == 0) return {};
    if (kept_bytes() > 0) return RoomBehindRest(most_bytes);
    const std::span<uint8_t> room = buffers_.Room(kMinReadBytes);
    slab_room_ = room.data();
    return room.first(std::min(room.size(), most_bytes));
  }

  // `bytes` were read into the last Room. Gives everything that is not consumed.
  std::span<uint8_t> Received(size_t bytes) {
    if (kept_bytes() > 0) return ReceivedBehindRest(bytes);
    last_read_bytes_ = bytes;
    given_ = std::span(slab_room_, bytes);
    buffers_.Commit(bytes);
    return given_;
  }

  // Keeps `bytes`, that another Input kept before. Nothing is kept yet.
  void Restore(std::span<const uint8_t> bytes) { Hold(bytes, bytes.size()); }

  // Gives what was kept, with nothing new.
  std::span<uint8_t> Again() { return given_ = std::span(rest_.get() + begin_, kept_bytes()); }

  // The first `bytes` of what was given last are done with; the rest is kept.
  void Consumed(size_t bytes) {
    if (bytes == given_.size() && held_memory_bytes() == 0) {
      given_ = {};
    } else {
      Keep(bytes);
    }
  }

  // Drops what is kept.
  void Clear();

  size_t kept_bytes() const { return end_ - begin_; }
  size_t held_memory_bytes() const { return capacity_; }

 private:
  // What Room, Received and Consumed do where a rest is kept, or is to be.
  std::span<uint8_t> RoomBehindRest(size_t most_bytes);
  std::span<uint8_t> ReceivedBehindRest(size_t bytes);
  void Keep(size_t consumed_bytes);
  // Whether the rest is to be copied in front of the next read, rather than read behind.
  bool JoinsNextRead() const {
    return kept_bytes() <= std::min(std::max(kLargeBytes, last_read_bytes_), ReadBuffers::kSlabBytes / 2);
  }
  // Moves `rest` to a buffer of so many bytes. The old one, if any, is retired.
  void Hold(std::span<const uint8_t> rest, size_t capacity);
  void RetireRest();

  ReadBuffers& buffers_;
  std::unique_ptr<uint8_t[]> rest_;  // [begin_, end_) is kept, [end_, capacity_) is free.
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t last_read_bytes_ = 0;
  uint8_t* slab_room_ = nullptr;  // Where the last Room that was in a slab began, with the place for the rest.
  std::span<uint8_t> given_;      // In rest_, if that is there.
};

}  // namespace relay::net

#endif  // RELAY_NET_INPUT_H_

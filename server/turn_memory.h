// Memory for what the core writes in one turn of the loop: frames of its own, and held frames on their way out.

#ifndef RELAY_SERVER_TURN_MEMORY_H_
#define RELAY_SERVER_TURN_MEMORY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace relay::server {

using Bytes = std::vector<uint8_t>;

// Thread-compatible. What it gave stays where it is until Rewind.
class TurnMemory {
 public:
  std::span<uint8_t> Take(size_t bytes) {
    if (blocks_.empty() || used_ + bytes > block_bytes_) AddBlock(bytes);
    uint8_t* const at = blocks_.back().get() + used_;
    used_ += bytes;
    return {at, bytes};
  }

  // Keeps `bytes` alive; they do not move.
  std::span<uint8_t> Keep(Bytes bytes) { return kept_.emplace_back(std::move(bytes)); }

  void Rewind() {
    if (blocks_.size() > 1 || block_bytes_ > kBlockBytes) blocks_.clear();
    used_ = 0;
    kept_.clear();
  }

 private:
  static constexpr size_t kBlockBytes = 16 * 1024;  // hundreds of RESETs; a busy turn adds blocks

  void AddBlock(size_t at_least) {
    block_bytes_ = std::max(kBlockBytes, at_least);
    blocks_.push_back(std::make_unique_for_overwrite<uint8_t[]>(block_bytes_));
    used_ = 0;
  }

  std::vector<std::unique_ptr<uint8_t[]>> blocks_;
  size_t block_bytes_ = 0;  // of the last block
  size_t used_ = 0;         // of the last block
  std::vector<Bytes> kept_;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_TURN_MEMORY_H_

#include "net/read_buffers.h"

#include <utility>

namespace relay::net {

std::span<uint8_t> ReadBuffers::NextSlab(size_t min_bytes) {
  if (is_closed_) return Short();
  if (slab_ < slabs_.size() && kSlabBytes - used_bytes_ < min_bytes) {
    ++slab_;
    used_bytes_ = 0;
  }
  if (slab_ == slabs_.size()) {
    if (slab_ == kSlabsPerTurn) return Short();
    slabs_.push_back(std::make_unique_for_overwrite<uint8_t[]>(kSlabBytes));
  }
  return std::span<uint8_t>(slabs_[slab_].get(), kSlabBytes).subspan(used_bytes_);
}

void ReadBuffers::Retire(std::unique_ptr<uint8_t[]> buffer) { retired_.push_back(std::move(buffer)); }

void ReadBuffers::EndTurn() {
  slab_ = 0;
  used_bytes_ = 0;
  is_closed_ = false;
  was_short_ = false;
  retired_.clear();
}

}  // namespace relay::net

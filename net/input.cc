#include "net/input.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/uv_error.h"

namespace relay::net {

std::span<uint8_t> Input::RoomBehindRest(size_t most_bytes) {
  if (assembly_ != nullptr) {
    if (end_ == capacity_) Assemble(std::span(assembly_.get() + begin_, end_ - begin_));
    return std::span(assembly_.get() + end_, std::min(capacity_ - end_, most_bytes));
  }
  const std::span<uint8_t> room = buffers_.Room(small_.size() + kMinReadBytes);
  if (room.empty()) return {};
  slab_room_ = room.data();
  return room.subspan(small_.size(), std::min(room.size() - small_.size(), most_bytes));
}

std::span<uint8_t> Input::ReceivedBehindRest(size_t bytes) {
  if (assembly_ != nullptr) {
    end_ += bytes;
    given_ = std::span(assembly_.get() + begin_, end_ - begin_);
    return given_;
  }
  std::memcpy(slab_room_, small_.data(), small_.size());
  given_ = std::span(slab_room_, small_.size() + bytes);
  buffers_.Commit(given_.size());
  return given_;
}

std::span<uint8_t> Input::Again() {
  if (assembly_ != nullptr) {
    given_ = std::span(assembly_.get() + begin_, end_ - begin_);
    return given_;
  }
  auto copy = std::make_unique_for_overwrite<uint8_t[]>(small_.size());
  std::copy(small_.begin(), small_.end(), copy.get());
  given_ = std::span(copy.get(), small_.size());
  buffers_.Retire(std::move(copy));
  return given_;
}

void Input::Keep(size_t bytes) {
  Check(bytes <= given_.size(), "more was consumed than given");
  const std::span<uint8_t> rest = std::exchange(given_, {}).subspan(bytes);
  if (rest.size() < kLargeBytes) {
    if (rest.empty()) {
      std::vector<uint8_t>().swap(small_);
    } else {
      small_.assign(rest.begin(), rest.end());
    }
    if (assembly_ != nullptr) RetireAssembly();
    return;
  }
  std::vector<uint8_t>().swap(small_);
  // A buffer that is mostly consumed is exchanged for one that fits, paid for by what was consumed.
  if (assembly_ == nullptr || rest.size() <= capacity_ / 4) {
    Assemble(rest);
  } else {
    begin_ += bytes;
  }
}

void Input::Clear() {
  given_ = {};
  std::vector<uint8_t>().swap(small_);
  if (assembly_ != nullptr) RetireAssembly();
}

void Input::Assemble(std::span<const uint8_t> rest) {
  const size_t capacity = rest.size() * 2;
  auto buffer = std::make_unique_for_overwrite<uint8_t[]>(capacity);
  std::memcpy(buffer.get(), rest.data(), rest.size());
  if (assembly_ != nullptr) RetireAssembly();
  assembly_ = std::move(buffer);
  capacity_ = capacity;
  end_ = rest.size();
}

void Input::RetireAssembly() {
  buffers_.Retire(std::move(assembly_));
  capacity_ = 0;
  begin_ = 0;
  end_ = 0;
}

}  // namespace relay::net

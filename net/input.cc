#include "net/input.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/uv_error.h"

namespace relay::net {

std::span<uint8_t> Input::RoomBehindRest(size_t most_bytes) {
  const size_t kept = kept_bytes();
  if (!JoinsNextRead()) {
    if (end_ == capacity_) Hold(std::span(rest_.get() + begin_, kept), 2 * kept);
    return std::span(rest_.get() + end_, std::min(capacity_ - end_, most_bytes));
  }
  const std::span<uint8_t> room = buffers_.Room(kept + kMinReadBytes);
  if (room.empty()) return {};
  slab_room_ = room.data();
  return room.subspan(kept, std::min(room.size() - kept, most_bytes));
}

std::span<uint8_t> Input::ReceivedBehindRest(size_t bytes) {
  const bool joins = JoinsNextRead();
  last_read_bytes_ = bytes;
  if (!joins) {
    end_ += bytes;
    return Again();
  }
  const size_t kept = kept_bytes();
  std::memcpy(slab_room_, rest_.get() + begin_, kept);
  RetireRest();
  given_ = std::span(slab_room_, kept + bytes);
  buffers_.Commit(given_.size());
  return given_;
}

void Input::Keep(size_t bytes) {
  Check(bytes <= given_.size(), "more was consumed than given");
  const std::span<uint8_t> rest = std::exchange(given_, {}).subspan(bytes);
  if (rest.empty()) {
    RetireRest();
  } else if (rest_ == nullptr || rest.size() <= capacity_ / 4) {
    // A buffer that is mostly consumed is exchanged for one that fits, paid for by what was consumed.
    Hold(rest, rest.size());
  } else {
    begin_ += bytes;
  }
}

void Input::Clear() {
  given_ = {};
  RetireRest();
}

void Input::Hold(std::span<const uint8_t> rest, size_t capacity) {
  auto buffer = std::make_unique_for_overwrite<uint8_t[]>(capacity);
  std::memcpy(buffer.get(), rest.data(), rest.size());
  RetireRest();
  rest_ = std::move(buffer);
  capacity_ = capacity;
  end_ = rest.size();
}

void Input::RetireRest() {
  if (rest_ != nullptr) buffers_.Retire(std::move(rest_));
  capacity_ = 0;
  begin_ = 0;
  end_ = 0;
}

}  // namespace relay::net

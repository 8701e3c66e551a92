#include "net/output.h"

#include <algorithm>
#include <utility>

namespace relay::net {

void Output::Append(std::span<const uint8_t> bytes) {
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    if (blocks_.empty() || blocks_.back().size() == kBlockBytes) {
      blocks_.emplace_back();
      if (blocks_.size() > 1) blocks_.back().reserve(kBlockBytes);  // a short queue takes no more than it needs
    }
    const size_t count = std::min(bytes.size(), kBlockBytes - blocks_.back().size());
    blocks_.back().append(reinterpret_cast<const char*>(bytes.data()), count);
    bytes = bytes.subspan(count);
  }
}

std::vector<std::span<const uint8_t>> Output::Front() const {
  std::vector<std::span<const uint8_t>> front;
  size_t sent_bytes = sent_bytes_;
  for (const std::string& block : blocks_) {
    if (front.size() == kBlocksPerWrite) break;
    const std::span whole(reinterpret_cast<const uint8_t*>(block.data()), block.size());
    front.push_back(whole.subspan(std::exchange(sent_bytes, 0)));
  }
  return front;
}

void Output::Sent(size_t bytes) {
  bytes_ -= bytes;
  sent_bytes_ += bytes;
  while (!blocks_.empty() && sent_bytes_ >= blocks_.front().size()) {
    sent_bytes_ -= blocks_.front().size();
    blocks_.pop_front();
  }
}

}  // namespace relay::net

#include "server/memory_reserve.h"

#include <unistd.h>

#include <new>
#include <string_view>
#include <utility>

namespace relay::server {
namespace {

thread_local MemoryReserve* reserve = nullptr;

}  // namespace

MemoryReserve::MemoryReserve() {
  Refill();
  Guard();
}

MemoryReserve::~MemoryReserve() {
  std::set_new_handler(nullptr);
  reserve = nullptr;
}

void MemoryReserve::Guard() {
  reserve = this;
  std::set_new_handler(&MemoryReserve::OnFailure);
}

bool MemoryReserve::Failed() { return std::exchange(has_failed_, false); }

bool MemoryReserve::Refill() {
  for (auto& part : parts_) {
    // Not by new, which would ask the reserve. Never touched: it takes address space and no pages.
    if (part == nullptr) part.reset(std::malloc(kPartBytes));
    if (part == nullptr) return false;
  }
  return true;
}

void MemoryReserve::OnFailure() {
  if (reserve != nullptr) {
    for (auto& part : reserve->parts_) {
      if (part == nullptr) continue;
      part.reset();
      reserve->has_failed_ = true;
      return;
    }
  }
  constexpr std::string_view kWords = "relayd: out of memory, and the reserve is spent\n";
  static_cast<void>(!::write(STDERR_FILENO, kWords.data(), kWords.size()));
  std::abort();
}

}  // namespace relay::server

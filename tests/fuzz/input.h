// The bytes of a fuzzer's input, taken one after another; zero behind their end.

#ifndef RELAY_TESTS_FUZZ_INPUT_H_
#define RELAY_TESTS_FUZZ_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace relay::fuzz {

// Thread-compatible. The bytes outlive it.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool is_empty() const { return at_ >= size_; }
  uint8_t Byte() { return is_empty() ? 0 : data_[at_++]; }
  // At most so many, fewer at the end.
  std::string Bytes(size_t most) {
    const size_t bytes = std::min(most, size_ - std::min(at_, size_));
    std::string taken(reinterpret_cast<const char*>(data_) + at_, bytes);
    at_ += bytes;
    return taken;
  }

 private:
  const uint8_t* const data_;
  const size_t size_;
  size_t at_ = 0;
};

}  // namespace relay::fuzz

#endif  // RELAY_TESTS_FUZZ_INPUT_H_

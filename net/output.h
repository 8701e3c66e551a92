// What one connection has to send and the system has not taken, in the order in which it came. It is kept in blocks, so
// that a long queue is neither moved nor twice as large as what it holds. Used by Stream.

#ifndef RELAY_NET_OUTPUT_H_
#define RELAY_NET_OUTPUT_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <vector>

namespace relay::net {

// Thread-compatible.
class Output {
 public:
  bool empty() const { return blocks_.empty(); }
  size_t bytes() const { return bytes_; }

  void Append(std::span<const uint8_t> bytes);

  // What is to be sent next, as much as one write can take. Good until the next call.
  std::vector<std::span<const uint8_t>> Front() const;
  // So many bytes were sent, from the front.
  void Sent(size_t bytes);

  void Clear() { *this = Output(); }

 private:
  static constexpr size_t kBlockBytes = size_t{64} * 1024;
  static constexpr size_t kBlocksPerWrite = 16;  // a megabyte, more than a socket takes at once

  std::list<std::string> blocks_;  // a deque takes half a kilobyte while it is empty
  size_t sent_bytes_ = 0;          // of the first block
  size_t bytes_ = 0;
};

}  // namespace relay::net

#endif  // RELAY_NET_OUTPUT_H_

// A connection of a lean client: a socket that does not block, what has been read of it, what is to be sent.

#ifndef RELAY_TOOLS_BENCH_SOCKET_H_
#define RELAY_TOOLS_BENCH_SOCKET_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace relay::bench {

// Which half of the load a connection belongs to.
enum class Side { kSender, kReceiver };

// Thread-compatible.
class Socket {
 public:
  // `url` as net::ParseAddress takes it. Blocks until the connection is there; Nagle is off.
  static absl::StatusOr<std::unique_ptr<Socket>> Connect(std::string_view url, Side side);
  // Takes a descriptor that is connected and does not block.
  Socket(int descriptor, Side side);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int descriptor() const { return descriptor_; }
  Side side() const { return side_; }
  // The number that its dialect knows it by.
  size_t index() const { return index_; }
  void set_index(size_t index) { index_ = index; }

  // What the next Flush sends is appended here.
  std::string& output() { return output_; }
  bool has_unsent() const { return sent_ < output_.size(); }
  // Set by the load while something is unsent that the system would not take.
  bool waits_for_room() const { return waits_for_room_; }
  void set_waits_for_room(bool waits) { waits_for_room_ = waits; }
  // Sends what the system takes.
  absl::Status Flush();

  // Reads once. OUT_OF_RANGE where the peer has ended the connection.
  absl::Status Read();
  // What has been read and not consumed. Valid until the next Read.
  std::span<uint8_t> input() { return std::span<uint8_t>(buffer_).subspan(begin_, end_ - begin_); }
  std::string_view input_text() { return {reinterpret_cast<const char*>(buffer_.data()) + begin_, end_ - begin_}; }
  void Consume(size_t bytes) { begin_ += bytes; }

 private:
  const int descriptor_;
  const Side side_;
  size_t index_ = 0;
  std::string output_;
  size_t sent_ = 0;  // of output_
  bool waits_for_room_ = false;
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_SOCKET_H_

// File descriptors of this process: owned ones, whole writes, and waits that another thread can break off.

#ifndef RELAY_TOOLS_RELAY_IO_H_
#define RELAY_TOOLS_RELAY_IO_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "relay/status.h"

namespace relay::tools {

// Bytes that are read and written at a time: half of a frame's payload, so that a socket gets few and large writes.
inline constexpr size_t kBlockBytes = size_t{64} << 10;

// Owns a file descriptor. Thread-compatible.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd() { Close(); }

  // -1 where there is none.
  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  void Close();

 private:
  int Release();

  int fd_ = -1;
};

// Breaks off waits: from the first Wake() on, fd() is readable for good. Thread-safe.
class Wakeup {
 public:
  Wakeup();

  void Wake();
  int fd() const { return fd_.get(); }

 private:
  const UniqueFd fd_;
};

// Words for the errno of an operation: "read photo.jpg: Input/output error".
std::string ErrnoText(std::string_view operation, int error);

// Takes up to out.size() bytes from `fd`, at least 1, and waits until there are some. 0: the end. DATA_LOSS with the
// system's words, after `name`, where reading failed; CANCELLED when `stop` woke.
StatusOr<size_t> ReadSome(int fd, std::string_view name, std::span<char> out, const Wakeup& stop);

// Writes all of `bytes`. As for ReadSome; FAILED_PRECONDITION where nobody reads the other end any more (EPIPE).
Status WriteAll(int fd, std::string_view name, std::string_view bytes, const Wakeup* stop = nullptr);

// Takes those of the descriptors 0 to 2 that are closed, so that no socket or pipe of ours ever bears such a number.
void OpenStandardDescriptors();

// Writes `text` to stderr in one piece; a stderr that is gone is no error.
void PrintError(std::string_view text);

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_IO_H_

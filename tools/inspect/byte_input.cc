#include "tools/inspect/byte_input.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace relay::inspect {
namespace {

constexpr int kIdleMs = 100;

}  // namespace

absl::StatusOr<std::unique_ptr<ByteInput>> ByteInput::Open(const std::string& path) {
  if (path == "-") return std::unique_ptr<ByteInput>(new ByteInput("stdin", STDIN_FILENO));
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::NotFoundError(absl::StrCat("open ", path, ": ", std::strerror(errno)));
  struct stat about = {};
  if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
    close(fd);
    return absl::NotFoundError(absl::StrCat("open ", path, ": ", std::strerror(EISDIR)));
  }
  return std::unique_ptr<ByteInput>(new ByteInput(path, fd));
}

std::unique_ptr<ByteInput> ByteInput::OfBytes(std::string name, std::string bytes, std::vector<Hole> holes) {
  std::unique_ptr<ByteInput> input(new ByteInput(std::move(name), -1));
  input->total_bytes_ = bytes.size();
  input->peeked_ = std::move(bytes);
  input->holes_ = std::move(holes);
  std::reverse(input->holes_.begin(), input->holes_.end());
  return input;
}

ByteInput::ByteInput(std::string name, int fd) : name_(std::move(name)), fd_(fd) {
  struct stat about = {};
  if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) total_bytes_ = static_cast<uint64_t>(about.st_size);
}

ByteInput::~ByteInput() {
  if (fd_ > STDERR_FILENO) close(fd_);
}

absl::StatusOr<std::string_view> ByteInput::Peek(size_t bytes) {
  while (fd_ >= 0 && peeked_.size() < bytes) {
    const size_t had = peeked_.size();
    peeked_.resize(bytes);
    const ssize_t got = read(fd_, peeked_.data() + had, bytes - had);
    peeked_.resize(had + static_cast<size_t>(std::max<ssize_t>(0, got)));
    if (got == 0) break;
    if (got < 0 && errno != EINTR) {
      return absl::DataLossError(absl::StrCat("read ", name_, ": ", std::strerror(errno)));
    }
  }
  return std::string_view(peeked_).substr(0, bytes);
}

uint64_t ByteInput::TakeHole() {
  if (holes_.empty() || holes_.back().at > read_bytes_) return 0;
  const uint64_t missing = holes_.back().missing;
  holes_.pop_back();
  return missing;
}

absl::StatusOr<size_t> ByteInput::Read(std::span<uint8_t> out) {
  if (!holes_.empty()) out = out.first(std::min<uint64_t>(out.size(), holes_.back().at - read_bytes_));
  if (peeked_at_ < peeked_.size()) {
    const size_t bytes = std::min(out.size(), peeked_.size() - peeked_at_);
    std::memcpy(out.data(), peeked_.data() + peeked_at_, bytes);
    peeked_at_ += bytes;
    read_bytes_ += bytes;
    return bytes;
  }
  if (fd_ < 0) return size_t{0};
  for (;;) {
    if (!WaitForBytes()) return size_t{0};
    const ssize_t got = read(fd_, out.data(), out.size());
    if (got >= 0) {
      read_bytes_ += static_cast<uint64_t>(got);
      return static_cast<size_t>(got);
    }
    if (errno != EINTR) return absl::DataLossError(absl::StrCat("read ", name_, ": ", std::strerror(errno)));
  }
}

bool ByteInput::WaitForBytes() const {
  if (total_bytes_ > 0) return true;  // a file
  pollfd waits = {fd_, POLLIN, 0};
  for (int wait_ms = 0; poll(&waits, 1, wait_ms) == 0; wait_ms = kIdleMs) {
    if (!on_idle_()) return false;
  }
  return true;
}

}  // namespace relay::inspect

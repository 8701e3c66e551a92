#include "tools/relay/io.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace relay::tools {
namespace {

// Waits until `fd` has one of `events` or an end, or `stop` woke.
Status WaitFor(int fd, short events, const Wakeup* stop) {
  std::array<pollfd, 2> fds = {{{fd, events, 0}, {stop != nullptr ? stop->fd() : -1, POLLIN, 0}}};
  while (poll(fds.data(), fds.size(), -1) < 0) {
    if (errno != EINTR) return DataLossError(ErrnoText("poll", errno));
  }
  return fds[1].revents != 0 ? CancelledError("stopped") : OkStatus();
}

}  // namespace

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = other.Release();
  }
  return *this;
}

void UniqueFd::Close() {
  if (fd_ >= 0) close(Release());
}

int UniqueFd::Release() { return std::exchange(fd_, -1); }

Wakeup::Wakeup() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!fd_.is_open()) {
    PrintError(ErrnoText("relay: eventfd", errno) + "\n");
    std::abort();
  }
}

void Wakeup::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(fd_.get(), &one, sizeof(one));
}

std::string ErrnoText(std::string_view operation, int error) {
  return std::string(operation) + ": " + std::strerror(error);
}

StatusOr<size_t> ReadSome(int fd, std::string_view name, std::span<char> out, const Wakeup& stop) {
  for (;;) {
    if (Status status = WaitFor(fd, POLLIN, &stop); !status.ok()) return status;
    const ssize_t got = read(fd, out.data(), out.size());
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR && errno != EAGAIN) return DataLossError(ErrnoText("read " + std::string(name), errno));
  }
}

Status WriteAll(int fd, std::string_view name, std::string_view bytes, const Wakeup* stop) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      if (Status status = WaitFor(fd, POLLOUT, stop); !status.ok()) return status;
    } else if (const int error = errno; error != EINTR) {
      const std::string words = ErrnoText("write " + std::string(name), error);
      return error == EPIPE ? FailedPreconditionError(words) : DataLossError(words);
    }
  }
  return OkStatus();
}

void OpenStandardDescriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    // open() takes the lowest free number, which is `fd`: those below are open by now. Opened the wrong way round, so
    // that reading from, or writing to, what the caller has closed still fails (EBADF).
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) std::abort();
  }
}

void PrintError(std::string_view text) {
  [[maybe_unused]] const Status ignored = WriteAll(STDERR_FILENO, "stderr", text);
}

}  // namespace relay::tools

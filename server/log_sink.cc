#include "server/log_sink.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace relay::server {
namespace {

// A pipe that can be written to takes as much as a line has (PIPE_BUF) at once.
bool TakesALine() {
  pollfd descriptor = {STDERR_FILENO, POLLOUT, 0};
  return ::poll(&descriptor, 1, 0) == 1 && (descriptor.revents & POLLOUT) != 0;
}

// How many bytes were written.
size_t Write(std::string_view text) {
  size_t written = 0;
  while (written < text.size() && TakesALine()) {
    const ssize_t result = ::write(STDERR_FILENO, text.data() + written, text.size() - written);
    if (result < 0 && errno == EINTR) continue;
    if (result <= 0) break;
    written += static_cast<size_t>(result);
  }
  return written;
}

}  // namespace

void LogSink::sink_it_(const spdlog::details::log_msg& message) {
  spdlog::memory_buf_t line;
  if (is_cut_) line.push_back('\n');
  formatter_->format(message, line);
  const size_t written = Write({line.data(), line.size()});
  if (written == line.size()) {
    is_cut_ = false;
  } else {
    ++lines_lost_;
    if (written > 0) is_cut_ = true;
  }
}

}  // namespace relay::server

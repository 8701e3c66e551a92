#include "tools/relay/body_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

namespace relay::tools {

BodySource BodySource::OfText(std::string text) {
  BodySource source;
  source.total_bytes_ = text.size();
  source.text_ = std::move(text);
  return source;
}

BodySource BodySource::OfStdin() {
  BodySource source;
  source.name_ = "stdin";
  source.fd_ = STDIN_FILENO;
  source.TakeSize();
  return source;
}

StatusOr<BodySource> BodySource::OfFile(const std::string& path) {
  BodySource source;
  source.name_ = path;
  source.file_ = UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!source.file_.is_open()) return NotFoundError(ErrnoText("open " + path, errno));
  source.fd_ = source.file_.get();
  source.TakeSize();
  return source;
}

StatusOr<size_t> BodySource::Read(std::span<char> out, const Wakeup& stop) {
  if (fd_ >= 0) return ReadSome(fd_, name_, out, stop);
  const size_t bytes = std::min(out.size(), text_.size() - text_at_);
  std::copy_n(text_.data() + text_at_, bytes, out.data());
  text_at_ += bytes;
  return bytes;
}

StatusOr<std::string> BodySource::ReadAll(size_t max_bytes, const Wakeup& stop) {
  std::string body;
  std::vector<char> block(kBlockBytes);
  for (;;) {
    const StatusOr<size_t> got = Read(block, stop);
    if (!got.ok()) return got.status();
    if (*got == 0) return body;
    if (body.size() + *got > max_bytes) {
      return ResourceExhaustedError("a body of more than " + std::to_string(max_bytes) + " bytes is not held");
    }
    body.append(block.data(), *got);
  }
}

bool BodySource::is_terminal() const { return fd_ >= 0 && isatty(fd_) == 1; }

void BodySource::TakeSize() {
  struct stat info = {};
  if (fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) return;
  const off_t at = lseek(fd_, 0, SEEK_CUR);
  // Files without a size of their own, as in /proc, say 0.
  if (at >= 0 && info.st_size > at) total_bytes_ = static_cast<uint64_t>(info.st_size - at);
}

}  // namespace relay::tools

// Preloaded into relayd by host_test.py: some of its system calls fail, as on a host that runs short.
//
// FAIL_ACCEPT4, FAIL_READ and FAIL_WRITE hold "EVERY:ERRNO,ERRNO,...": of the calls of that name, every EVERY-th fails,
// with the next of those errors in turn. 0 is no error: one byte is read or written and no more. Reading and writing
// fail on sockets alone. FAIL_REPORT names the file in which the counts of what failed are left at the exit.

#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr int kPasses = -1;

class Plan {
 public:
  explicit Plan(const char* name) : name_(name) {
    const char* text = std::getenv(name);
    if (text == nullptr) return;
    char* end = nullptr;
    every_ = std::strtoul(text, &end, 10);
    while (*end != '\0') errors_.push_back(static_cast<int>(std::strtol(end + 1, &end, 10)));
  }

  // What the next call fails with, or kPasses.
  int Next() {
    if (errors_.empty() || ++calls_ % every_ != 0) return kPasses;
    return errors_[failed_++ % errors_.size()];
  }

  void Report(std::FILE* to) const { std::fprintf(to, "%s=%lu\n", name_, failed_); }

 private:
  const char* const name_;
  unsigned long every_ = 1;
  std::vector<int> errors_;
  unsigned long calls_ = 0;
  unsigned long failed_ = 0;
};

struct Plans {
  Plan accept4{"FAIL_ACCEPT4"};
  Plan read{"FAIL_READ"};
  Plan write{"FAIL_WRITE"};

  ~Plans() {
    const char* const path = std::getenv("FAIL_REPORT");
    std::FILE* const to = path == nullptr ? nullptr : std::fopen(path, "w");
    if (to == nullptr) return;
    for (const Plan* const plan : {&accept4, &read, &write}) plan->Report(to);
    std::fclose(to);
  }
};

Plans& ThePlans() {
  static Plans plans;
  return plans;
}

bool IsSocket(int fd) {
  struct stat found = {};
  return ::fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode);
}

template <typename Call>
Call* Real(const char* name) {
  return reinterpret_cast<Call*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int accept4(int fd, sockaddr* address, socklen_t* bytes, int flags) {
  static auto* const real = Real<int(int, sockaddr*, socklen_t*, int)>("accept4");
  const int error = ThePlans().accept4.Next();
  if (error == kPasses) return real(fd, address, bytes, flags);
  errno = error;
  return -1;
}

ssize_t read(int fd, void* to, size_t bytes) {
  static auto* const real = Real<ssize_t(int, void*, size_t)>("read");
  const int error = IsSocket(fd) ? ThePlans().read.Next() : kPasses;
  if (error == kPasses || bytes == 0) return real(fd, to, bytes);
  if (error == 0) return real(fd, to, 1);
  errno = error;
  return -1;
}

ssize_t write(int fd, const void* from, size_t bytes) {
  static auto* const real = Real<ssize_t(int, const void*, size_t)>("write");
  const int error = IsSocket(fd) ? ThePlans().write.Next() : kPasses;
  if (error == kPasses || bytes == 0) return real(fd, from, bytes);
  if (error == 0) return real(fd, from, 1);
  errno = error;
  return -1;
}

ssize_t writev(int fd, const iovec* parts, int count) {
  static auto* const real = Real<ssize_t(int, const iovec*, int)>("writev");
  const int error = IsSocket(fd) ? ThePlans().write.Next() : kPasses;
  if (error == kPasses || count == 0) return real(fd, parts, count);
  if (error == 0) return ::write(fd, parts[0].iov_base, parts[0].iov_len != 0 ? 1 : 0);
  errno = error;
  return -1;
}
}

// Preloaded into relayd by host_test.py: some of its system calls fail, as on a host that runs short.
//
// FAIL_ACCEPT4, FAIL_RECV and FAIL_SEND (sendmsg is one, too) hold "EVERY:ERRNO,ERRNO,...": of the calls of that name,
// every EVERY-th fails, with the next of those errors in turn. 0 is no error: one byte is received or sent and no more.
// FAIL_REPORT names the file in which the counts of what failed are left at the exit.

#include <dlfcn.h>
#include <sys/socket.h>

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
  Plan recv{"FAIL_RECV"};
  Plan send{"FAIL_SEND"};

  ~Plans() {
    const char* const path = std::getenv("FAIL_REPORT");
    std::FILE* const to = path == nullptr ? nullptr : std::fopen(path, "w");
    if (to == nullptr) return;
    for (const Plan* const plan : {&accept4, &recv, &send}) plan->Report(to);
    std::fclose(to);
  }
};

Plans& ThePlans() {
  static Plans plans;
  return plans;
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

ssize_t recv(int fd, void* to, size_t bytes, int flags) {
  static auto* const real = Real<ssize_t(int, void*, size_t, int)>("recv");
  const int error = ThePlans().recv.Next();
  if (error == kPasses || bytes == 0) return real(fd, to, bytes, flags);
  if (error == 0) return real(fd, to, 1, flags);
  errno = error;
  return -1;
}

ssize_t send(int fd, const void* from, size_t bytes, int flags) {
  static auto* const real = Real<ssize_t(int, const void*, size_t, int)>("send");
  const int error = ThePlans().send.Next();
  if (error == kPasses || bytes == 0) return real(fd, from, bytes, flags);
  if (error == 0) return real(fd, from, 1, flags);
  errno = error;
  return -1;
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static auto* const real = Real<ssize_t(int, const msghdr*, int)>("sendmsg");
  const int error = ThePlans().send.Next();
  if (error == kPasses) return real(fd, message, flags);
  if (error == 0) return ::send(fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len != 0 ? 1 : 0, flags);
  errno = error;
  return -1;
}
}

#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

namespace relay::chaos {
namespace {

// Waits until `descriptor` can be read.
bool CanRead(int descriptor, std::chrono::milliseconds limit) {
  pollfd polled = {descriptor, POLLIN, 0};
  return poll(&polled, 1, static_cast<int>(limit.count())) > 0;
}

// In the child, between fork and exec: async-signal-safe calls alone.
[[noreturn]] void Exec(char** argv, int input, int output, const char* log, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
  // Nothing but these three: what it holds later is its own.
  syscall(SYS_close_range, 3U, ~0U, 0U);
  execv(argv[0], argv);
  _exit(127);
}

}  // namespace

Holdings HoldingsOf(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  Holdings holdings;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/fd", error)) {
    static_cast<void>(entry);
    ++holdings.descriptors;
  }
  std::ifstream status(folder + "/status");
  for (std::string word; status >> word;) {
    if (word == "VmRSS:") status >> holdings.resident_kib;
    if (word == "Threads:") status >> holdings.threads;
  }
  return holdings;
}

std::ostream& operator<<(std::ostream& out, const Holdings& holdings) {
  return out << holdings.descriptors << " descriptors, " << holdings.threads << " threads, " << holdings.resident_kib
             << " KiB resident";
}

Process::Process(const std::vector<std::string>& command, const std::string& log) {
  std::vector<std::string> words = command;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int input[2];
  int output[2];
  if (pipe2(input, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0) std::abort();
  const pid_t self = getpid();
  pid_ = fork();
  if (pid_ < 0) std::abort();
  if (pid_ == 0) Exec(argv.data(), input[0], output[1], log.c_str(), self);
  close(input[0]);
  close(output[1]);
  input_ = input[1];
  output_ = output[0];
}

Process::~Process() {
  if (pid_ > 0) Kill();
  close(input_);
  close(output_);
}

void Process::Tell(const std::string& line) {
  const std::string bytes = line + "\n";
  // A reader that has gone is found by what it does not answer.
  if (write(input_, bytes.data(), bytes.size()) < 0) std::perror("tell a process");
}

std::optional<std::string> Process::Hear(std::chrono::seconds limit) {
  while (true) {
    if (const size_t end = heard_.find('\n'); end != std::string::npos) {
      std::string line = heard_.substr(0, end);
      heard_.erase(0, end + 1);
      return line;
    }
    char bytes[4096];
    if (!CanRead(output_, limit)) return std::nullopt;
    const ssize_t count = read(output_, bytes, sizeof(bytes));
    if (count <= 0) return std::nullopt;
    heard_.append(bytes, static_cast<size_t>(count));
  }
}

void Process::Signal(int signal) const {
  if (pid_ > 0) kill(pid_, signal);
}

void Process::Kill() {
  Signal(SIGKILL);
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
}

bool Process::AwaitEnd(std::chrono::seconds limit) const {
  const int handle = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (handle < 0) std::abort();
  const bool has_ended = CanRead(handle, limit);
  // As it was opened: ThreadSanitizer saw neither, and would take the number for that of a loop that is gone.
  syscall(SYS_close, handle);
  return has_ended;
}

std::optional<int> Process::Wait(std::chrono::seconds limit) {
  if (!AwaitEnd(limit)) return std::nullopt;
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

Folder::Folder() : path_((std::filesystem::temp_directory_path() / "relay-chaos-XXXXXX").string()) {
  if (mkdtemp(path_.data()) == nullptr) std::abort();
}

void Folder::Keep() {
  is_kept_ = true;
  std::fprintf(stderr, "what was written is kept in %s\n", path_.c_str());
}

Folder::~Folder() {
  std::error_code error;
  if (!is_kept_) std::filesystem::remove_all(path_, error);
}

}  // namespace relay::chaos

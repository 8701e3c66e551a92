#include "tools/relay/child.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

#include "net/mutex.h"

// As glibc 2.36 ships it, it does not say so itself.
extern "C" {
#include <sys/pidfd.h>
}

namespace relay::tools {
namespace {

// The children that were started and not waited for: their numbers cannot be anybody else's.
class Roster {
 public:
  static Roster& Get() {
    static Roster roster;
    return roster;
  }

  void Add(pid_t pid) {
    const net::MutexLock lock(mutex_);
    pids_.insert(pid);
  }
  void Remove(pid_t pid) {
    const net::MutexLock lock(mutex_);
    pids_.erase(pid);
  }
  void Signal(int signal) {
    const net::MutexLock lock(mutex_);
    were_signalled_ = true;
    for (const pid_t pid : pids_) kill(-pid, signal);
  }
  bool were_signalled() {
    const net::MutexLock lock(mutex_);
    return were_signalled_;
  }

 private:
  net::Mutex mutex_;
  std::set<pid_t> pids_ ABSL_GUARDED_BY(mutex_);
  bool were_signalled_ ABSL_GUARDED_BY(mutex_) = false;
};

struct Pipe {
  UniqueFd reading;
  UniqueFd writing;

  bool Open() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return false;
    reading = UniqueFd(fds[0]);
    writing = UniqueFd(fds[1]);
    return true;
  }
};

// What posix_spawn is to do on the way to the command.
class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }

  void Connect(int fd, int as) { posix_spawn_file_actions_adddup2(&actions_, fd, as); }

  // In a group of its own, with the signals that this process blocks or ignores as a new process has them.
  int Run(pid_t* pid, const char* const* argv, char* const* environment) {
    sigset_t none;
    sigemptyset(&none);
    sigset_t defaults;
    sigemptyset(&defaults);
    for (const int signal : {SIGPIPE, SIGINT, SIGTERM}) sigaddset(&defaults, signal);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &defaults);
    // posix_spawn takes argv for char* const*, for C's sake, and does not write to it.
    return posix_spawn(pid, argv[0], &actions_, &attributes_, const_cast<char* const*>(argv), environment);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

Status SystemStatus(const std::string& operation, int error) {
  const std::string words = ErrnoText(operation, error);
  const bool is_limit = error == EMFILE || error == ENFILE || error == EAGAIN || error == ENOMEM;
  return is_limit ? ResourceExhaustedError(words) : InternalError(words);
}

void SetNonBlocking(const UniqueFd& fd) { fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK); }

}  // namespace

StatusOr<std::unique_ptr<Child>> Child::Start(const std::string& command, std::vector<std::string> environment) {
  Pipe input;
  Pipe output;
  Pipe errors;
  if (!input.Open() || !output.Open() || !errors.Open()) return SystemStatus("pipe", errno);

  SpawnPlan plan;
  plan.Connect(input.reading.get(), STDIN_FILENO);
  plan.Connect(output.writing.get(), STDOUT_FILENO);
  plan.Connect(errors.writing.get(), STDERR_FILENO);
  std::vector<char*> variables;
  variables.reserve(environment.size() + 1);
  for (std::string& variable : environment) variables.push_back(variable.data());
  variables.push_back(nullptr);
  const char* const argv[] = {"/bin/sh", "-c", command.c_str(), nullptr};
  std::unique_ptr<Child> child(new Child());
  if (const int error = plan.Run(&child->pid_, argv, variables.data()); error != 0) {
    child->pid_ = -1;
    return SystemStatus("start /bin/sh", error);
  }
  Roster::Get().Add(child->pid_);
  child->ended_ = UniqueFd(pidfd_open(child->pid_, 0));
  if (!child->ended_.is_open()) return SystemStatus("pidfd_open", errno);
  child->input_ = std::move(input.writing);
  child->output_ = std::move(output.reading);
  child->errors_ = std::move(errors.reading);
  for (const UniqueFd* fd : {&child->input_, &child->output_, &child->errors_}) SetNonBlocking(*fd);
  return child;
}

Child::~Child() {
  if (pid_ < 0) return;
  Signal(SIGKILL);
  Wait();
}

void Child::Signal(int signal) { kill(-pid_, signal); }

int Child::Wait() {
  // Until it is waited for, its number is its own; from then on SignalAll must not name it.
  siginfo_t info = {};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) continue;
  Roster::Get().Remove(pid_);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  pid_ = -1;
  return status;
}

void Child::SignalAll(int signal) { Roster::Get().Signal(signal); }

bool Child::AllWereSignalled() { return Roster::Get().were_signalled(); }

Status CommandStatus(int wait_status, const std::string& last_line) {
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return OkStatus();
  std::string words;
  if (WIFEXITED(wait_status)) {
    words = "exit status " + std::to_string(WEXITSTATUS(wait_status));
  } else {
    const int signal = WTERMSIG(wait_status);
    words = "killed by signal " + std::to_string(signal) + " (" + strsignal(signal) + ")";
  }
  return InternalError(last_line.empty() ? words : words + ": " + last_line);
}

}  // namespace relay::tools

#include "process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

namespace flood {
namespace {

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::string ReadLine(int from) {
  std::string line;
  char c = 0;
  while (read(from, &c, 1) == 1 && c != '\n') line += c;
  return line;
}

std::string Tail(int file, off_t most_bytes) {
  const off_t size = lseek(file, 0, SEEK_END);
  std::string text(static_cast<size_t>(std::min(size, most_bytes)), '\0');
  const ssize_t got = pread(file, text.data(), text.size(), size - static_cast<off_t>(text.size()));
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

[[noreturn]] void RunSink(int listener) {
  static char scratch[256 * 1024];
  const int poll = epoll_create1(0);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = listener;
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    epoll_event ready[256];
    const int count = epoll_wait(poll, ready, 256, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = ready[i].data.fd;
      if (fd != listener) {
        const ssize_t got = recv(fd, scratch, sizeof(scratch), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) close(fd);
        continue;
      }
      const int accepted = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
      if (accepted < 0) continue;
      event.data.fd = accepted;
      epoll_ctl(poll, EPOLL_CTL_ADD, accepted, &event);
    }
  }
}

}  // namespace

void Die(const std::string& what) {
  std::fprintf(stderr, "flood: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(2);
}

int Connect(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const sockaddr_in address = Loopback(port);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 && errno != EINPROGRESS) {
    close(fd);
    return -1;
  }
  return fd;
}

Relayd::Relayd(const std::string& path, const std::vector<std::string>& flags) {
  log_ = memfd_create("relayd's log", MFD_CLOEXEC);  // no disk holds up the server
  int ends[2];
  if (log_ < 0 || pipe2(ends, O_CLOEXEC) != 0) Die("memfd_create, pipe2");

  std::vector<std::string> words = {path, "--listen", "tcp://127.0.0.1:0"};
  words.insert(words.end(), flags.begin(), flags.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, log_, STDERR_FILENO);
  errno = posix_spawn(&pid_, path.c_str(), &actions, nullptr, argv.data(), environ);
  if (errno != 0) Die(path);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  const std::string line = ReadLine(ends[0]);
  close(ends[0]);
  const size_t colon = line.rfind(':');
  if (line.rfind("ready ", 0) != 0 || colon == std::string::npos) Die("relayd said \"" + line + "\"\n" + LogTail());
  port_ = static_cast<uint16_t>(std::stoi(line.substr(colon + 1)));
}

Relayd::~Relayd() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(log_);
}

double Relayd::CpuSeconds() const {
  std::ifstream stat("/proc/" + std::to_string(pid_) + "/schedstat");
  uint64_t running_ns = 0;
  stat >> running_ns;
  return static_cast<double>(running_ns) / 1e9;
}

size_t Relayd::StatusBytes(const std::string& field) const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(field, 0) == 0) return std::stoul(line.substr(field.size())) * 1024;
  }
  return 0;
}

size_t Relayd::RssBytes() const { return StatusBytes("VmRSS:"); }
size_t Relayd::PeakRssBytes() const { return StatusBytes("VmHWM:"); }
void Relayd::ForgetPeak() const { std::ofstream("/proc/" + std::to_string(pid_) + "/clear_refs") << "5"; }

uint64_t Relayd::TakeLongestTurnUs() {
  const off_t before = lseek(log_, 0, SEEK_END);
  kill(pid_, SIGUSR1);
  const auto is_there = [&] {
    const off_t size = lseek(log_, 0, SEEK_END);
    return size > before && Tail(log_, size - before).find(" event=ends") != std::string::npos;
  };
  for (int ms = 0; !is_there(); ++ms) {
    if (ms > 30'000) Die("relayd does not say its counts");
    usleep(1000);
  }
  return Counts()["longest_turn_us"];
}

int Relayd::Stop() {
  int status = 0;
  kill(pid_, SIGTERM);
  if (waitpid(std::exchange(pid_, -1), &status, 0) < 0) Die("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string Relayd::LogTail() const { return Tail(log_, 4096); }

std::map<std::string, uint64_t> Relayd::Counts() const {
  std::map<std::string, uint64_t> counts;
  std::istringstream lines(Tail(log_, 65536));
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" event=metrics ") == std::string::npos && line.find(" event=ends ") == std::string::npos) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      const size_t equal = word.find('=');
      if (equal == std::string::npos || word.find_first_not_of("0123456789", equal + 1) != std::string::npos) continue;
      counts[word.substr(0, equal)] = std::stoull(word.substr(equal + 1));
    }
  }
  return counts;
}

Sink::Sink() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (listener < 0 || bind(listener, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      listen(listener, SOMAXCONN) != 0 || getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Die("sink");
  }
  port_ = ntohs(address.sin_port);
  pid_ = fork();
  if (pid_ < 0) Die("fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    RunSink(listener);
  }
  close(listener);
}

Sink::~Sink() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

}  // namespace flood

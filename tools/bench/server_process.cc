#include "tools/bench/server_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace relay::bench {
namespace {

std::string ReadLine(int from) {
  std::string line;
  char c = 0;
  while (read(from, &c, 1) == 1 && c != '\n') line += c;
  return line;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

std::chrono::nanoseconds ProcessMeter::Cpu() const {
  const std::string tasks = absl::StrCat("/proc/", pid_, "/task");
  uint64_t total_ns = 0;
  DIR* const folder = opendir(tasks.c_str());
  if (folder == nullptr) return std::chrono::nanoseconds(0);
  while (const dirent* const task = readdir(folder)) {
    if (task->d_name[0] == '.') continue;
    total_ns += std::strtoull(ReadFile(absl::StrCat(tasks, "/", task->d_name, "/schedstat")).c_str(), nullptr, 10);
  }
  closedir(folder);
  return std::chrono::nanoseconds(total_ns);
}

uint64_t ProcessMeter::RssBytes() const {
  std::istringstream numbers(ReadFile(absl::StrCat("/proc/", pid_, "/statm")));
  uint64_t size = 0;
  uint64_t resident = 0;
  numbers >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

char ProcessMeter::State() const {
  const std::string stat = ReadFile(absl::StrCat("/proc/", pid_, "/stat"));
  const size_t name_end = stat.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= stat.size() ? '\0' : stat[name_end + 2];
}

absl::StatusOr<std::unique_ptr<ServerProcess>> ServerProcess::StartRelayd(const std::string& path,
                                                                          const std::string& listen,
                                                                          const std::vector<std::string>& flags,
                                                                          const std::vector<std::string>& under) {
  // A tracer's child says its own id before it becomes relayd; valgrind is relayd's process.
  std::vector<std::string> words;
  const bool is_traced = !under.empty() && under.front().ends_with("strace");
  if (is_traced) words = under;
  words.insert(words.end(), {"/bin/sh", "-c", "echo $$; exec \"$@\"", "sh"});
  if (!is_traced) words.insert(words.end(), under.begin(), under.end());
  words.insert(words.end(), {path, "--log-level", "warning", "--listen", listen});
  words.insert(words.end(), flags.begin(), flags.end());

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::UnavailableError("pipe");
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::unique_ptr<ServerProcess> server(new ServerProcess);
  const int error = posix_spawnp(&server->child_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  const std::string pid = error == 0 ? ReadLine(ends[0]) : "";
  const std::string ready = error == 0 ? ReadLine(ends[0]) : "";
  close(ends[0]);
  if (error != 0) {
    server->child_ = -1;
    return absl::UnavailableError(absl::StrCat(words[0], ": ", std::strerror(error)));
  }
  server->pid_ = static_cast<pid_t>(std::atoi(pid.c_str()));
  if (!ready.starts_with("ready ")) return absl::UnavailableError(absl::StrCat(path, " did not start"));
  server->url_ = ready.substr(std::string_view("ready ").size());
  return server;
}

ServerProcess::~ServerProcess() {
  if (child_ < 0) return;
  if (pid_ > 0) kill(pid_, SIGKILL);
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
}

void ServerProcess::Pause() const {
  const ProcessMeter meter(pid_);
  while (meter.State() != 'S' && meter.State() != '\0') sched_yield();
  kill(pid_, SIGSTOP);
  // Under a tracer the letter is a small one.
  for (char state = meter.State(); state != 'T' && state != 't' && state != '\0'; state = meter.State()) sched_yield();
}

void ServerProcess::Resume() const { kill(pid_, SIGCONT); }

absl::Status ServerProcess::Stop() {
  kill(std::exchange(pid_, -1), SIGTERM);
  int how = 0;
  if (waitpid(std::exchange(child_, -1), &how, 0) < 0) return absl::UnavailableError("waitpid");
  if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) return absl::UnavailableError("the server did not end well");
  return absl::OkStatus();
}

}  // namespace relay::bench

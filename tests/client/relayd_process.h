// A relay daemon of the tests' own: started on a free port or a Unix socket, and gone with the object.

#ifndef RELAY_TESTS_CLIENT_RELAYD_PROCESS_H_
#define RELAY_TESTS_CLIENT_RELAYD_PROCESS_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace relay::testing {

// A program whose standard output is read; ended at the latest with the object. Thread-compatible.
class Process {
 public:
  // `input` is the file that it reads. Its standard error is thrown away.
  explicit Process(const std::vector<std::string>& command, const std::string& input = "/dev/null") {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input.c_str(), O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    std::vector<std::string> words = command;
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0) << command[0];
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    output_ = ends[0];
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ > 0) Kill(SIGKILL);
    close(output_);
  }

  // The next line of its output, without the newline; what there is of it where the output ends.
  std::string ReadLine() {
    std::string line;
    char c;
    while (read(output_, &c, 1) == 1 && c != '\n') line += c;
    return line;
  }

  // Waits for its end; the exit code, or minus the signal.
  int Wait() {
    int status = 0;
    EXPECT_EQ(waitpid(std::exchange(pid_, -1), &status, 0) > 0, true);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  int Kill(int signal) {
    kill(pid_, signal);
    return Wait();
  }

  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int output_ = -1;
};

// A place for a Unix socket that a second server can listen on again.
class SocketPath {
 public:
  SocketPath() {
    std::string folder = (std::filesystem::temp_directory_path() / "relay-test-XXXXXX").string();
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }
  ~SocketPath() { std::filesystem::remove_all(folder_); }
  std::string url() const { return "unix:" + (folder_ / "relay.sock").string(); }

 private:
  std::filesystem::path folder_;
};

class Relayd {
 public:
  explicit Relayd(const std::string& listen = "tcp://127.0.0.1:0", const std::vector<std::string>& flags = {})
      : process_(Command(listen, flags)) {
    const std::string line = process_.ReadLine();
    EXPECT_EQ(line.substr(0, 6), "ready ") << line;
    url_ = line.substr(6);
  }

  const std::string& url() const { return url_; }
  int Kill(int signal) { return process_.Kill(signal); }
  int Wait() { return process_.Wait(); }
  pid_t pid() const { return process_.pid(); }

 private:
  static std::vector<std::string> Command(const std::string& listen, const std::vector<std::string>& flags) {
    std::vector<std::string> command = {RELAYD_PATH, "--listen", listen};
    command.insert(command.end(), flags.begin(), flags.end());
    return command;
  }

  Process process_;
  std::string url_;
};

}  // namespace relay::testing

#endif  // RELAY_TESTS_CLIENT_RELAYD_PROCESS_H_

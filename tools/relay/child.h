// A command of the shell as a child process: its three pipes, its signals, its end.
//
// It leads a process group of its own. So Ctrl-C on the terminal, which goes to the foreground group, does not reach it
// (who stops `relay receive` wants what runs to be finished), and a signal from here reaches all that it has started.

#ifndef RELAY_TOOLS_RELAY_CHILD_H_
#define RELAY_TOOLS_RELAY_CHILD_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "relay/status.h"
#include "tools/relay/io.h"

namespace relay::tools {

// Not copied, not moved. Thread-compatible.
class Child {
 public:
  // Runs `/bin/sh -c command`. RESOURCE_EXHAUSTED or INTERNAL, with the system's words, where that cannot be.
  static StatusOr<std::unique_ptr<Child>> Start(const std::string& command, std::vector<std::string> environment);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  // Kills it if it was not waited for.
  ~Child();

  // Our ends; none of them blocks.
  UniqueFd& input() { return input_; }
  UniqueFd& output() { return output_; }
  UniqueFd& errors() { return errors_; }
  // Readable when the child has ended. What it has started may go on.
  int ended_fd() const { return ended_.get(); }

  // To the child and all of its group.
  void Signal(int signal);
  // Blocks until the child has ended, and forgets its group. As waitpid tells it.
  int Wait();

  // Sends `signal` to the group of every child there is. Thread-safe.
  static void SignalAll(int signal);
  // Whether that was done: what a child ends with behind it is not its own doing. Thread-safe.
  static bool AllWereSignalled();

 private:
  Child() = default;

  UniqueFd input_;
  UniqueFd output_;
  UniqueFd errors_;
  UniqueFd ended_;
  pid_t pid_ = -1;
};

// OK for an exit with 0, else INTERNAL: "exit status 3: LAST_LINE" or "killed by signal 9 (Killed): LAST_LINE".
Status CommandStatus(int wait_status, const std::string& last_line);

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_CHILD_H_

// A program that a run starts, tells what to do, looks at and ends.

#ifndef RELAY_TESTS_END_TO_END_CHAOS_PROCESS_H_
#define RELAY_TESTS_END_TO_END_CHAOS_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace relay::chaos {

// What a process holds of the machine, from /proc.
struct Holdings {
  size_t descriptors = 0;
  size_t threads = 0;
  size_t resident_kib = 0;
};
Holdings HoldingsOf(pid_t pid);
std::ostream& operator<<(std::ostream& out, const Holdings& holdings);

// Dies with the object, and with this process, however that ends. Thread-compatible; is made on the thread that lives
// longest.
class Process {
 public:
  // `log` takes its standard error, added to what is there.
  Process(const std::vector<std::string>& command, const std::string& log);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }

  // A line to its standard input.
  void Tell(const std::string& line);
  // The next line of its standard output; nothing where it has ended or says nothing for so long.
  std::optional<std::string> Hear(std::chrono::seconds limit = std::chrono::seconds(120));

  void Signal(int signal) const;
  // SIGKILL, and waits until it is gone.
  void Kill();
  // Whether it ends within so long; until Wait or Kill nobody else gets its pid.
  bool AwaitEnd(std::chrono::seconds limit = std::chrono::seconds(120)) const;
  // Waits for its end: the exit code, or minus the signal; nothing where it goes on for so long.
  std::optional<int> Wait(std::chrono::seconds limit = std::chrono::seconds(120));

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string heard_;
};

// A folder of its own under the system's for temporary files, removed with the object.
class Folder {
 public:
  Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder();

  std::string File(const std::string& name) const { return path_ + "/" + name; }
  // Leaves it there, and says where, for whoever looks into a failure.
  void Keep();

 private:
  std::string path_;
  bool is_kept_ = false;
};

}  // namespace relay::chaos

#endif  // RELAY_TESTS_END_TO_END_CHAOS_PROCESS_H_

// The processes of a run: the relay, and the actors that send and receive.

#ifndef RELAY_TESTS_END_TO_END_CHAOS_CAST_H_
#define RELAY_TESTS_END_TO_END_CHAOS_CAST_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checker.h"
#include "history.h"
#include "load.h"
#include "process.h"

namespace relay::chaos {

// A relayd that listens. Thread-compatible.
class Relay {
 public:
  // Where it does not come up, that is on stderr, and is_up() is false.
  Relay(const std::vector<std::string>& listen, const std::vector<std::string>& flags, const std::string& log);

  bool is_up() const { return !urls_.empty(); }
  // Where it listens, in the order of `listen`.
  const std::vector<std::string>& urls() const { return urls_; }
  Process& process() { return process_; }

  // The counts that it writes to its log on SIGUSR1, those of the ends that were ever reached among them; nothing where
  // none come.
  std::optional<std::map<std::string, uint64_t>> Metrics();

 private:
  const std::string log_;
  Process process_;
  std::vector<std::string> urls_;
};

// A process of this program that sends or receives, at rest at first. Thread-compatible.
class Actor {
 public:
  Actor(const LoadOptions& options, const Folder& folder);

  // Begins a load, with a record of its own.
  void Go();
  // Ends it. False where it does not end.
  bool Rest();

  // What it had allocated and not freed when it last came to rest.
  size_t heap_bytes() const { return heap_bytes_; }

  LoadOptions::Role role() const { return options_.role; }
  uint32_t number() const { return options_.actor; }
  const std::string& url() const { return options_.url; }
  Process& process() { return process_; }
  // The record of the load that is going on, or was last.
  const std::string& file() const { return file_; }

 private:
  const LoadOptions options_;
  const Folder& folder_;
  Process process_;
  uint32_t loads_ = 0;
  size_t heap_bytes_ = 0;
  std::string file_;
};

// What such a process does: loads as its standard input says, until that ends.
int RunActor(const LoadOptions& options);

// Prints what the history is about, and what in it is not as promised. Returns whether all was.
bool Report(const History& history, const CheckOptions& options);

}  // namespace relay::chaos

#endif  // RELAY_TESTS_END_TO_END_CHAOS_CAST_H_

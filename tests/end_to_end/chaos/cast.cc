#include "cast.h"

#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>

namespace relay::chaos {
namespace {

constexpr std::string_view kGo = "go ";
constexpr std::string_view kResting = "resting ";
constexpr size_t kStoriesShown = 5;

std::vector<std::string> RelayCommand(const std::vector<std::string>& listen, const std::vector<std::string>& flags) {
  std::vector<std::string> command = {RELAYD_PATH};
  for (const std::string& url : listen) command.insert(command.end(), {"--listen", url});
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

std::vector<std::string> ActorCommand(const LoadOptions& options) {
  return {"/proc/self/exe", "act",
          "--role",         options.role == LoadOptions::Role::kSend ? "send" : "receive",
          "--url",          options.url,
          "--actor",        std::to_string(options.actor),
          "--seed",         std::to_string(options.seed),
          "--connections",  std::to_string(options.connections),
          "--clients",      std::to_string(options.clients)};
}

// The last counts in the log from `from` on, which stand in two lines: those of the core, then those of the ends.
std::optional<std::map<std::string, uint64_t>> LastMetrics(const std::string& log, std::streamoff from) {
  std::ifstream file(log);
  file.seekg(from);
  std::map<std::string, uint64_t> counts;
  std::optional<std::map<std::string, uint64_t>> found;
  for (std::string line; std::getline(file, line) && !file.eof();) {  // without a newline it is still being written
    const bool is_first = line.find(" event=metrics ") != std::string::npos;
    const size_t at = line.find(" event=");
    if (at == std::string::npos || (!is_first && line.find(" event=ends") == std::string::npos)) continue;
    if (is_first) counts.clear();
    std::istringstream words(line.substr(at));
    for (std::string word; words >> word;) {
      const size_t equals = word.find('=');
      counts[word.substr(0, equals)] = std::strtoull(word.c_str() + equals + 1, nullptr, 10);
    }
    if (!is_first) found = counts;
  }
  return found;
}

// What this process has allocated and not freed, in all of malloc's arenas.
size_t HeapBytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

}  // namespace

Relay::Relay(const std::vector<std::string>& listen, const std::vector<std::string>& flags, const std::string& log)
    : log_(log), process_(RelayCommand(listen, flags), log) {
  while (urls_.size() < listen.size()) {
    const auto line = process_.Hear();
    if (!line.has_value() || !line->starts_with("ready ")) {
      std::cerr << "relayd does not come up; its log: " << std::ifstream(log).rdbuf() << "\n";
      urls_.clear();
      return;
    }
    urls_.push_back(line->substr(6));
  }
}

std::optional<std::map<std::string, uint64_t>> Relay::Metrics() {
  const std::streamoff from = std::ifstream(log_, std::ios::ate).tellg();
  process_.Signal(SIGUSR1);
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < give_up) {
    if (auto found = LastMetrics(log_, from)) return found;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return std::nullopt;
}

Actor::Actor(const LoadOptions& options, const Folder& folder)
    : options_(options),
      folder_(folder),
      process_(ActorCommand(options), folder.File("actor" + std::to_string(options.actor) + ".log")) {}

void Actor::Go() {
  file_ = folder_.File("history." + std::to_string(options_.actor) + "." + std::to_string(++loads_));
  process_.Tell(std::string(kGo) + file_);
}

bool Actor::Rest() {
  process_.Tell("rest");
  const auto line = process_.Hear();
  if (!line.has_value() || !line->starts_with(kResting)) return false;
  heap_bytes_ = std::strtoull(line->c_str() + kResting.size(), nullptr, 10);
  return true;
}

int RunActor(const LoadOptions& options) {
  // Whoever told it what to do is gone: what still runs is nobody's.
  std::atomic<uint32_t> numbers = 0;
  LoadOptions own = options;
  std::unique_ptr<Load> load;
  for (std::string line; std::getline(std::cin, line);) {
    load.reset();
    if (line.starts_with(kGo)) {
      ++own.seed;
      load = std::make_unique<Load>(own, line.substr(kGo.size()), numbers);
    } else {
      std::cout << kResting << HeapBytes() << std::endl;
    }
  }
  _exit(0);
}

bool Report(const History& history, const CheckOptions& options) {
  std::cout << ToString(Summarize(history)) << std::endl;
  const std::vector<Violation> found = Check(history, options);
  std::set<uint64_t> shown;
  for (const Violation& violation : found) {
    if (shown.size() == kStoriesShown) break;
    std::cout << "violation of " << NameOf(violation.rule) << ": " << violation.words << "\n";
    if (shown.insert(violation.key).second) std::cout << Story(history, violation.key);
  }
  if (!found.empty()) std::cout << found.size() << " violations" << std::endl;
  return found.empty();
}

}  // namespace relay::chaos

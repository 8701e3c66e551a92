#include "soak.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cast.h"
#include "fault_proxy.h"

namespace relay::chaos {
namespace {

using Role = LoadOptions::Role;

constexpr uint64_t kHeartbeatMs = 300;
constexpr uint64_t kMisses = 3;

// Sanitizers keep what was freed.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kMemoryTells = false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
constexpr bool kMemoryTells = false;
#else
constexpr bool kMemoryTells = true;
#endif
#else
constexpr bool kMemoryTells = true;
#endif

// A process and what it held at each quiet moment, the one before the phases first.
struct Watched {
  std::string name;
  Process& process;
  uint64_t growth_kib;
  const Actor* actor;  // that says what it has allocated; relayd does not
  std::vector<Holdings> held;
  std::vector<size_t> heap_bytes;
};

// Whether `condition` comes to hold within a generous time.
bool Await(const std::function<bool()>& condition) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

class Run {
 public:
  explicit Run(const SoakOptions& options)
      : options_(options),
        relay_({"tcp://127.0.0.1:0"},
               {"--heartbeat-interval", std::to_string(kHeartbeatMs) + "ms", "--heartbeat-misses",
                std::to_string(kMisses)},
               folder_.File("relayd.log")) {}

  bool Go() {
    std::cout << "seed " << options_.seed << ": " << options_.seconds << " s of load in " << options_.phases
              << " phases" << std::endl;
    if (!relay_.is_up()) return false;
    watched_.push_back({"relayd", relay_.process(), options_.relayd_growth_kib, nullptr, {}, {}});
    proxy_ = std::make_unique<FaultProxy>(relay_.urls().front(), options_.seed, kHeartbeatMs * (kMisses + 1));
    for (size_t i = 0; i < options_.receivers; ++i) StartActor(Role::kReceive);
    for (size_t i = 0; i < options_.senders; ++i) StartActor(Role::kSend);
    if (!WarmUp()) return false;
    for (uint64_t phase = 1; phase <= options_.phases; ++phase) {
      if (!RunPhase(phase)) return false;
    }
    PrintFaults();
    return JudgeGrowth() && JudgeFaults();
  }

  void KeepFiles() { folder_.Keep(); }

 private:
  // The first receiver has a network without faults, so that there is always somebody to work.
  void StartActor(Role role) {
    LoadOptions load;
    load.role = role;
    load.actor = static_cast<uint32_t>(actors_.size() + 1);
    load.url = actors_.empty() ? relay_.urls().front() : proxy_->url();
    load.seed = options_.seed;
    load.connections = 3;
    actors_.push_back(std::make_unique<Actor>(load, folder_));
    const std::string name = (role == Role::kSend ? "sender " : "receiver ") + std::to_string(load.actor);
    watched_.push_back({name, actors_.back()->process(), options_.actor_growth_kib, actors_.back().get(), {}, {}});
  }

  // With its first loop and its first stream libuv opens descriptors that it keeps for good.
  bool WarmUp() {
    for (const auto& actor : actors_) actor->Go();
    const bool have_begun = Await([this] {
      return std::all_of(actors_.begin(), actors_.end(),
                         [](const auto& actor) { return !LoadHistory(actor->file()).empty(); });
    });
    if (!have_begun) std::cout << "an actor does nothing" << std::endl;
    return have_begun && BeQuiet();
  }

  bool RunPhase(uint64_t phase) {
    proxy_->Roam();
    for (const auto& actor : actors_) actor->Go();
    std::this_thread::sleep_for(std::chrono::milliseconds(options_.seconds * 1000 / options_.phases));
    if (!BeQuiet()) return false;
    std::cout << "phase " << phase << ": ";
    History history;
    for (const auto& actor : actors_) {
      const History more = LoadHistory(actor->file());
      history.insert(history.end(), more.begin(), more.end());
      std::remove(actor->file().c_str());
    }
    return Report(history, {}) && Succeeded(history);
  }

  static bool Succeeded(const History& history) {
    if (Summarize(history).succeeded > 0) return true;
    std::cout << "nothing succeeded" << std::endl;
    return false;
  }

  // Ends all load and all connections, and sees that everything is given back but memory.
  bool BeQuiet() {
    proxy_->Set(Fault::kNone);
    for (const Role role : {Role::kSend, Role::kReceive}) {
      for (const auto& actor : actors_) {
        if (actor->role() != role || actor->Rest()) continue;
        std::cout << "actor " << actor->number() << " does not come to rest" << std::endl;
        return false;
      }
    }
    proxy_->ResetAll();
    return AwaitGauges() && LookAtHoldings();
  }

  bool AwaitGauges() {
    static const char* const kGauges[] = {"connections", "clients", "channels", "exchanges", "held_bytes"};
    std::map<std::string, uint64_t> last;
    const bool are_zero = Await([&] {
      const auto metrics = relay_.Metrics();
      if (!metrics.has_value()) return false;
      last = *metrics;
      return std::all_of(std::begin(kGauges), std::end(kGauges), [&](const char* name) { return last[name] == 0; });
    });
    const bool adds_up = last["requests_offered"] == last["requests_accepted"] + last["requests_refused"] &&
                         last["requests_accepted"] == last["requests_ended"];
    if (are_zero && adds_up) return true;
    std::cout << "relayd at rest says:";
    for (const auto& [name, value] : last) std::cout << " " << name << "=" << value;
    std::cout << std::endl;
    return false;
  }

  bool LookAtHoldings() {
    for (Watched& each : watched_) {
      Holdings now = HoldingsOf(each.process.pid());
      const Holdings first = each.held.empty() ? now : each.held.front();
      // A thread that was joined may stand there for a moment yet.
      const bool is_same = Await([&] {
        now = HoldingsOf(each.process.pid());
        return now.descriptors == first.descriptors && now.threads == first.threads;
      });
      each.held.push_back(now);
      if (each.actor != nullptr) each.heap_bytes.push_back(each.actor->heap_bytes());
      if (is_same) continue;
      std::cout << each.name << " holds " << now << "; before the phases " << first << std::endl;
      return false;
    }
    return true;
  }

  bool JudgeGrowth() const {
    bool is_bounded = true;
    for (const Watched& each : watched_) {
      std::cout << each.name << ": " << each.held.back().descriptors << " descriptors and " << each.held.back().threads
                << " threads, as before; KiB resident:";
      std::vector<size_t> resident_kib;
      for (const Holdings& held : each.held) resident_kib.push_back(held.resident_kib);
      is_bounded &= PrintBounded(resident_kib, each.growth_kib);
      if (each.actor != nullptr) {
        std::cout << "; bytes allocated:";
        is_bounded &= PrintBounded(each.heap_bytes, options_.heap_growth_bytes);
      }
      std::cout << std::endl;
    }
    return is_bounded;
  }

  // Prints what was seen at each quiet moment; whether it has grown by no more than `bound` since the first third.
  bool PrintBounded(const std::vector<size_t>& seen, uint64_t bound) const {
    for (const size_t each : seen) std::cout << " " << each;
    const bool has_grown = kMemoryTells && seen.back() > seen[(options_.phases + 2) / 3] + bound;
    if (has_grown) std::cout << ": grown by more than " << bound;
    return !has_grown;
  }

  void PrintFaults() {
    const auto counts = proxy_->counts();
    std::cout << "faults:";
    for (size_t i = 0; i < counts.size(); ++i) std::cout << " " << NameOf(static_cast<Fault>(i)) << "=" << counts[i];
    std::cout << std::endl;
  }

  bool JudgeFaults() {
    const auto counts = proxy_->counts();
    if (std::find(counts.begin(), counts.end(), 0) == counts.end()) return true;
    std::cout << "a fault has never come" << std::endl;
    return false;
  }

  const SoakOptions options_;
  Folder folder_;
  Relay relay_;
  std::unique_ptr<FaultProxy> proxy_;
  std::vector<std::unique_ptr<Actor>> actors_;
  std::vector<Watched> watched_;
};

}  // namespace

int RunSoak(const SoakOptions& options) {
  Run run(options);
  const bool is_good = run.Go();
  if (!is_good) run.KeepFiles();
  return is_good ? 0 : 1;
}

}  // namespace relay::chaos

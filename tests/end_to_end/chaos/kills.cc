#include "kills.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cast.h"

namespace relay::chaos {
namespace {

using Role = LoadOptions::Role;

class Run {
 public:
  explicit Run(const KillOptions& options) : options_(options), random_(options.seed) {}

  bool Go() {
    std::cout << "seed " << options_.seed << ": " << options_.kills << " kills of relayd, " << options_.actors_percent
              << " % of them with an actor" << std::endl;
    if (!StartRelay()) return false;
    for (size_t i = 0; i < options_.receivers; ++i) StartActor(Role::kReceive);
    for (size_t i = 0; i < options_.senders; ++i) StartActor(Role::kSend);
    if (!AwaitSuccess()) return false;
    for (size_t i = 0; i < options_.kills; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(random_.Between(0, options_.most_ms * 1000)));
      if (random_.Percent(options_.actors_percent)) ReplaceActor();
      killed_at_.push_back(NowUs());
      relay_->process().Kill();
      if (!StartRelay()) return false;
    }
    return AwaitSuccess() && Rest() && Judge();
  }

 private:
  // On a Unix socket and on TCP; not on 127.0.0.1, where a client's own port might be the one that it dials.
  bool StartRelay() {
    if (listen_.empty()) listen_ = {"unix:" + folder_.File("relay.sock"), "tcp://127.0.0.2:0"};
    relay_ =
        std::make_unique<Relay>(listen_, std::vector<std::string>{"--log-level", "off"}, folder_.File("relayd.log"));
    if (relay_->is_up()) listen_ = relay_->urls();
    started_at_ = NowUs();
    return relay_->is_up();
  }

  void StartActor(Role role) {
    LoadOptions load;
    load.role = role;
    load.actor = next_actor_++;
    load.url = listen_[load.actor % listen_.size()];
    load.seed = options_.seed;
    actors_.push_back(std::make_unique<Actor>(load, folder_));
    actors_.back()->Go();
    files_.push_back(actors_.back()->file());
  }

  void ReplaceActor() {
    const auto chosen = actors_.begin() + static_cast<std::ptrdiff_t>(random_.Between(0, actors_.size() - 1));
    const Role role = (*chosen)->role();
    check_.killed.insert((*chosen)->number());
    (*chosen)->process().Kill();
    actors_.erase(chosen);
    StartActor(role);
  }

  History LoadAll() const {
    History history;
    for (const std::string& file : files_) {
      const History more = LoadHistory(file);
      history.insert(history.end(), more.begin(), more.end());
    }
    return history;
  }

  // Waits until a Send has succeeded on the relay that runs: all have come back.
  bool AwaitSuccess() {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < give_up) {
      const History history = LoadAll();
      const auto succeeded = [this](const Event& event) {
        return event.kind == Event::Kind::kEnd && event.code == StatusCode::kOk && event.at_us > started_at_;
      };
      if (std::any_of(history.begin(), history.end(), succeeded)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    std::cout << "nothing succeeds on the relay that was started last" << std::endl;
    return false;
  }

  // Senders first: what they wait for is still answered.
  bool Rest() {
    for (const Role role : {Role::kSend, Role::kReceive}) {
      for (const auto& actor : actors_) {
        if (actor->role() != role || actor->Rest()) continue;
        std::cout << "actor " << actor->number() << " does not come to rest" << std::endl;
        return false;
      }
    }
    relay_->process().Signal(SIGTERM);
    if (relay_->process().Wait() == 0) return true;
    std::cout << "relayd does not stop with 0" << std::endl;
    return false;
  }

  bool Judge() const {
    const History history = LoadAll();
    const size_t busy = BusyKills(history);
    std::cout << killed_at_.size() << " kills, of which " << busy << " met a Send that had begun and not ended"
              << std::endl;
    const bool is_true = Report(history, check_);
    return is_true && busy > 0;
  }

  // A kill that met nothing shows nothing.
  size_t BusyKills(const History& history) const {
    std::vector<int64_t> begins;
    std::vector<int64_t> ends;
    for (const Event& event : history) {
      if (event.kind == Event::Kind::kBegin) begins.push_back(event.at_us);
      if (event.kind == Event::Kind::kEnd) ends.push_back(event.at_us);
    }
    const auto before = [](const std::vector<int64_t>& times, int64_t time) {
      return std::count_if(times.begin(), times.end(), [time](int64_t at) { return at < time; });
    };
    return static_cast<size_t>(std::count_if(killed_at_.begin(), killed_at_.end(),
                                             [&](int64_t time) { return before(begins, time) > before(ends, time); }));
  }

  const KillOptions options_;
  Random random_;
  const Folder folder_;
  std::vector<std::string> listen_;
  std::unique_ptr<Relay> relay_;
  int64_t started_at_ = 0;
  std::vector<std::unique_ptr<Actor>> actors_;
  uint32_t next_actor_ = 1;
  std::vector<std::string> files_;
  std::vector<int64_t> killed_at_;
  CheckOptions check_;
};

}  // namespace

int RunKills(const KillOptions& options) { return Run(options).Go() ? 0 : 1; }

}  // namespace relay::chaos

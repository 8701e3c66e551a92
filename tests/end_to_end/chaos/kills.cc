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
    std::cout << "seed " << options_.seed << ": " << options_.kills << " ends of " << options_.relays << " relayd, "
              << options_.drain_percent << " % of them drains, " << options_.actors_percent << " % with an actor"
              << std::endl;
    for (size_t i = 0; i < options_.relays; ++i) {
      const std::string number = std::to_string(i);
      // Not on 127.0.0.1, where a client's own port might be the one that it dials.
      places_.push_back({{"unix:" + folder_.File("relay" + number), "tcp://127.0.0.2:0"}, nullptr});
      if (!Start(places_.back())) return false;
    }
    // Each relay is some receiver's first choice, so that no request waits for one for long.
    for (size_t i = 0; i < std::max(options_.receivers, options_.relays); ++i) StartActor(Role::kReceive, UrlsFrom(i));
    for (size_t i = 0; i < options_.senders; ++i) StartActor(Role::kSend, UrlsFrom(i));
    if (!AwaitSuccess()) return false;
    for (size_t i = 0; i < options_.kills; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(random_.Between(0, options_.most_ms * 1000)));
      if (random_.Percent(options_.actors_percent)) ReplaceActor();
      Place& place = places_[random_.Between(0, places_.size() - 1)];
      ended_at_.push_back(NowUs());
      if (!End(place) || !Start(place)) return false;
    }
    return AwaitSuccess() && Rest() && Judge();
  }

  void KeepFiles() { folder_.Keep(); }

 private:
  // An address, and the relay that listens there.
  struct Place {
    std::vector<std::string> listen;
    std::unique_ptr<Relay> relay;
  };

  bool Start(Place& place) {
    const std::vector<std::string> flags = {"--log-level", "off"};
    place.relay = std::make_unique<Relay>(place.listen, flags, folder_.File("relayd.log"));
    if (place.relay->is_up()) place.listen = place.relay->urls();
    started_at_ = NowUs();
    return place.relay->is_up();
  }

  bool End(Place& place) {
    Process& process = place.relay->process();
    if (!random_.Percent(options_.drain_percent)) {
      process.Kill();
      return true;
    }
    process.Signal(SIGTERM);
    if (random_.Percent(50)) {
      std::this_thread::sleep_for(std::chrono::microseconds(random_.Between(0, 20'000)));
      process.Signal(SIGTERM);
    }
    return Stops(process);
  }

  static bool Stops(Process& process) {
    const auto code = process.Wait();
    if (code == 0) return true;
    std::cout << "relayd ends with " << (code.has_value() ? std::to_string(*code) : "nothing: it goes on") << std::endl;
    return false;
  }

  // The addresses of all relays, that of number `first` first: in turns over Unix sockets and over TCP.
  std::string UrlsFrom(size_t first) const {
    std::string urls;
    for (size_t i = 0; i < places_.size(); ++i) {
      const Place& place = places_[(first + i) % places_.size()];
      urls += (i == 0 ? "" : ",") + place.listen[(first + i) % place.listen.size()];
    }
    return urls;
  }

  void StartActor(Role role, const std::string& url) {
    LoadOptions load;
    load.role = role;
    load.actor = next_actor_++;
    load.url = url;
    load.seed = options_.seed;
    actors_.push_back(std::make_unique<Actor>(load, folder_));
    actors_.back()->Go();
    files_.push_back(actors_.back()->file());
  }

  void ReplaceActor() {
    const auto chosen = actors_.begin() + static_cast<std::ptrdiff_t>(random_.Between(0, actors_.size() - 1));
    const Role role = (*chosen)->role();
    const std::string url = (*chosen)->url();
    check_.killed.insert((*chosen)->number());
    (*chosen)->process().Kill();
    actors_.erase(chosen);
    StartActor(role, url);
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
    return std::all_of(places_.begin(), places_.end(), [](const Place& place) {
      place.relay->process().Signal(SIGTERM);
      return Stops(place.relay->process());
    });
  }

  bool Judge() const {
    const History history = LoadAll();
    const size_t busy = BusyEnds(history);
    std::cout << ended_at_.size() << " ends, of which " << busy << " met a Send that had begun and not ended"
              << std::endl;
    const bool is_true = Report(history, check_);
    return is_true && busy > 0;
  }

  // One that met nothing shows nothing.
  size_t BusyEnds(const History& history) const {
    std::vector<int64_t> begins;
    std::vector<int64_t> ends;
    for (const Event& event : history) {
      if (event.kind == Event::Kind::kBegin) begins.push_back(event.at_us);
      if (event.kind == Event::Kind::kEnd) ends.push_back(event.at_us);
    }
    const auto before = [](const std::vector<int64_t>& times, int64_t time) {
      return std::count_if(times.begin(), times.end(), [time](int64_t at) { return at < time; });
    };
    return static_cast<size_t>(std::count_if(ended_at_.begin(), ended_at_.end(),
                                             [&](int64_t time) { return before(begins, time) > before(ends, time); }));
  }

  const KillOptions options_;
  Random random_;
  Folder folder_;
  std::vector<Place> places_;
  int64_t started_at_ = 0;
  std::vector<std::unique_ptr<Actor>> actors_;
  uint32_t next_actor_ = 1;
  std::vector<std::string> files_;
  std::vector<int64_t> ended_at_;
  CheckOptions check_;
};

}  // namespace

int RunKills(const KillOptions& options) {
  Run run(options);
  const bool is_good = run.Go();
  if (!is_good) run.KeepFiles();
  return is_good ? 0 : 1;
}

}  // namespace relay::chaos

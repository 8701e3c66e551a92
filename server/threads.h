// The threads of relayd: a loop, a daemon and a mailbox each. The first is the thread that calls Run; it accepts all
// connections, and with one thread there is no other.

#ifndef RELAY_SERVER_THREADS_H_
#define RELAY_SERVER_THREADS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "net/loop.h"
#include "net/mailbox.h"
#include "server/daemon.h"
#include "server/options.h"
#include "spdlog/spdlog.h"

namespace relay::server {

// For the first thread alone.
class Threads {
 public:
  // Ends the others where they run, as behind a StartOthers that has failed.
  ~Threads();
  // Listens on options.listen, all of them or none. Errors name the operation and its object.
  static absl::StatusOr<std::unique_ptr<Threads>> Start(const Options& options, std::shared_ptr<spdlog::logger> log);

  net::Loop& loop() { return *threads_.front()->loop; }
  std::vector<std::string> addresses() const { return threads_.front()->daemon->addresses(); }

  // Starts the other threads; once, before Run.
  absl::Status StartOthers();
  // Returns when all have ended, behind Stop or a drain.
  void Run();
  void Drain();
  void Stop();

  // What is counted on all threads, told on this one, now or later.
  void TellCounts(std::function<void(const Counts&)> tell);

 private:
  struct Mail {
    Letter letter;
    std::function<void()> call = nullptr;  // instead of a letter
  };
  struct Thread {
    std::unique_ptr<net::Loop> loop;
    std::unique_ptr<net::Mailbox<Mail>> mailbox = nullptr;  // where there are several
    std::unique_ptr<Daemon> daemon = nullptr;
  };

  Threads() = default;
  // Gives a thread its mailbox and its daemon.
  void Fit(const Limits& limits, const Identity& identity, std::shared_ptr<spdlog::logger> log);
  // Done by each thread: at once on this one.
  void OnEach(const std::function<void(Thread&)>& call);
  void OnFirst(std::function<void()> call);
  static void RunLoop(Thread& thread);
  void JoinOthers();

  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<std::thread> others_;  // the system's, while they run
};

}  // namespace relay::server

#endif  // RELAY_SERVER_THREADS_H_

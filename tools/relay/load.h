// A quick load: the same request many times, some at once, and the numbers.

#ifndef RELAY_TOOLS_RELAY_LOAD_H_
#define RELAY_TOOLS_RELAY_LOAD_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/mutex.h"
#include "relay/client.h"
#include "relay/connection.h"
#include "relay/options.h"
#include "relay/status.h"
#include "tools/relay/histogram.h"

namespace relay::tools {

struct LoadPlan {
  size_t requests = 1;
  size_t concurrency = 1;  // clients on the one connection, each with one request at a time
  std::string body;
  SendOptions options;
};

// Runs once. Thread-safe: the answers come on the connection's I/O thread.
class Load {
 public:
  Load(std::shared_ptr<Connection> connection, std::string_view channel, LoadPlan plan);

  // Blocks until all have ended. Then the first end that was not OK, or OK.
  Status Run();
  // Begins no more requests, so that Run returns when those under way have ended. From any thread.
  void Stop() { stopping_ = true; }

  // Requests per second, percentiles, and a line for each status and name of an end that requests ended with. After
  // Run.
  std::string Summary() const;

 private:
  // Whose turn it is to begin the client's next request when one has ended: an operation that cannot begin ends inside
  // the call, and must not begin the next one from there.
  enum class Turn { kCalling, kEnded, kReturned };
  struct Sender {
    explicit Sender(Client its_client) : client(std::move(its_client)) {}
    Client client;
    std::atomic<Turn> turn = Turn::kReturned;
    std::chrono::steady_clock::time_point started;
  };

  // Sends one request after the other until one of them goes on by itself.
  void Drive(Sender& sender);
  bool TakeTicket();
  void Count(const Sender& sender, const Status& status);

  const LoadPlan plan_;
  std::vector<std::unique_ptr<Sender>> senders_;
  std::atomic<bool> stopping_ = false;
  std::atomic<size_t> tickets_ = 0;
  std::chrono::nanoseconds elapsed_{0};

  mutable net::Mutex mutex_;
  net::Condition changed_;
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;  // senders that have not run out of work
  Histogram latencies_ ABSL_GUARDED_BY(mutex_);
  // By the status's code and the name of its end.
  std::map<std::pair<StatusCode, std::string>, size_t> ends_ ABSL_GUARDED_BY(mutex_);
  Status first_failure_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_LOAD_H_

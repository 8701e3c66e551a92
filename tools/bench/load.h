// A closed loop of small requests: so many senders, each with one request at a time, and receivers that answer at once,
// all on one thread. What is spoken is a dialect's; here are the sockets, the clock and the counts.

#ifndef RELAY_TOOLS_BENCH_LOAD_H_
#define RELAY_TOOLS_BENCH_LOAD_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/bench/socket.h"
#include "tools/relay/histogram.h"

namespace relay::bench {

class Load;

struct Shape {
  size_t in_flight = 64;   // senders
  size_t receivers = 4;    // their connections; each takes its part of what is in flight at once
  bool is_shared = true;   // one connection for all senders, or one each
  size_t body_bytes = 64;  // each way, at least 8: the request's number stands in front
  unsigned frames = 1;     // relay's: one frame each way, or three
};

// How one system is spoken to, with as little work as it allows.
class Dialect {
 public:
  virtual ~Dialect() = default;
  // Opens all connections and waits until the receivers are known to stand ready.
  virtual absl::Status Open(Load& load) = 0;
  // Appends the request of `sender` to its socket's output.
  virtual void Send(Load& load, size_t sender, uint64_t number) = 0;
  // Consumes what is whole of the socket's input, answers requests, and tells the load about both.
  virtual absl::Status OnInput(Load& load, Socket& socket) = 0;
};

struct LoadPlan {
  uint64_t warm_up_requests = 0;
  uint64_t requests = 0;                 // 0: as many as the time allows
  std::chrono::nanoseconds duration{0};  // after the warming up; where requests is 0
  std::function<void()> on_warm;         // called when the measured part begins
  // Where both are set, the load goes in step: all requests are written while the server is stopped, and all answers
  // are. So the server finds the same bytes in each of its turns, and what it does for them can be counted exactly.
  std::function<void()> pause;
  std::function<void()> resume;
};

struct LoadResult {
  uint64_t requests = 0;
  std::chrono::nanoseconds elapsed{0};
  tools::Histogram latencies;
};

// Thread-compatible.
class Load {
 public:
  Load(const Shape& shape, Dialect& dialect);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  const Shape& shape() const { return shape_; }

  // For the dialect, in Open.
  absl::StatusOr<Socket*> Connect(std::string_view url, Side side);
  // Sends what is to be sent and hands out input until `done`, or fails after half a minute.
  absl::Status PumpUntil(const std::function<bool()>& done);

  // For the dialect: `socket` has output that waits for a Flush.
  void HasOutput(Socket& socket);
  // For the dialect: a receiver has a request, and its answer stands in the socket's output.
  void OnRequest() { ++requests_seen_; }
  // For the dialect: the answer to `sender`, which begins with `number`.
  absl::Status OnAnswer(size_t sender, uint64_t number);

  // Open has been called. Fails where anything but the right answers comes back.
  absl::StatusOr<LoadResult> Run(const LoadPlan& plan);

 private:
  using Clock = std::chrono::steady_clock;
  struct Sender {
    uint64_t number = 0;  // of the request under way, 0 where there is none
    Clock::time_point since;
  };

  void Begin(size_t sender);
  bool MayBegin() const;
  void NoteWarm();
  absl::Status Turn(int timeout_ms);
  absl::Status FlushAll();
  absl::Status RunInStep(const LoadPlan& plan);

  const Shape shape_;
  Dialect& dialect_;
  const int poll_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::vector<Socket*> with_output_;
  std::vector<Sender> senders_;
  std::vector<size_t> answered_;  // senders whose turn it is again

  const LoadPlan* plan_ = nullptr;
  LoadResult result_;
  Clock::time_point now_;
  Clock::time_point warm_at_;
  bool is_warm_ = false;
  uint64_t begun_ = 0;
  uint64_t answers_ = 0;
  uint64_t requests_seen_ = 0;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_LOAD_H_

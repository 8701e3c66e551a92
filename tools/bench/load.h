// A closed loop of small requests: so many senders, each with one request at a time, and receivers that answer at once,
// all on one thread. What is spoken is a dialect's; here are the sockets, the clock and the counts.

#ifndef RELAY_TOOLS_BENCH_LOAD_H_
#define RELAY_TOOLS_BENCH_LOAD_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
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
  size_t in_flight = 64;  // senders
  size_t receivers = 4;
  size_t slots = 0;        // requests that a receiver takes at once; 0: its part of what is in flight
  bool is_shared = true;   // one connection for all senders, or one each
  size_t body_bytes = 64;  // each way, at least 8: the request's number stands in front
  unsigned frames = 1;     // relay's: one frame each way, or three
  size_t channel = 0;      // relay's: the first of those that are used
  // Relay's: a channel that each connection joins before all others, with a client that does nothing.
  std::optional<size_t> home_channel = std::nullopt;
  // What a receiver's work takes, one request after the other, from the first receiver on; none for those beyond.
  std::vector<std::chrono::microseconds> service;

  size_t slots_each() const { return slots > 0 ? slots : (in_flight + receivers - 1) / receivers; }
};

// How one system is spoken to, with as little work as it allows.
class Dialect {
 public:
  virtual ~Dialect() = default;
  // Opens all connections and waits until the receivers are known to stand ready. A receiver's sockets have its number
  // as their index, a sender's that of the first sender on it.
  virtual absl::Status Open(Load& load) = 0;
  // Appends the request of `sender` to its socket's output.
  virtual void Send(Load& load, size_t sender, uint64_t number) = 0;
  // Consumes what is whole of the socket's input, and tells the load about each request, answer and refusal.
  virtual absl::Status OnInput(Load& load, Socket& socket) = 0;
  // All that stood in the socket's output has gone.
  virtual absl::Status OnRoom(Load& load, Socket& socket);
  // Appends the answer to a request that the load was told of. `ticket` is what OnRequest was called with.
  virtual void Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) = 0;
};

struct LoadPlan {
  uint64_t warm_up_requests = 0;
  uint64_t requests = 0;                 // begun when those have ended; 0: as many as the time allows
  std::chrono::nanoseconds duration{0};  // after the warming up; where requests is 0
  double per_second = 0;             // begun at this rate, whatever comes back; 0: as soon as the last one has ended
  size_t most_active = 0;            // of the senders, in turn; 0: all
  std::chrono::nanoseconds idle{0};  // before the load, with nothing under way
  uint64_t kill_after = 0;           // requests; then the first receiver's connection is cut. 0: never
  std::chrono::nanoseconds patience = std::chrono::seconds(30);  // for what is still to come
  std::function<void()> on_warm;                                 // called when the measured part begins
  // Where both are set, the load goes in step: all requests are written while the server is stopped, and all answers
  // are. So the server finds the same bytes in each of its turns, and what it does for them can be counted exactly.
  std::function<void()> pause;
  std::function<void()> resume;
};

struct LoadResult {
  uint64_t requests = 0;  // answered
  uint64_t in_time = 0;   // of them, before the duration was over
  uint64_t refused = 0;
  uint64_t lost = 0;         // neither
  uint64_t not_offered = 0;  // by rate: all senders were waiting
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
  // The same for a connection that is there, not blocking.
  absl::StatusOr<Socket*> Adopt(int descriptor, Side side);
  // Sends what is to be sent and hands out input until `done`, or fails after half a minute without a byte.
  absl::Status PumpUntil(const std::function<bool()>& done);
  // The same for so long.
  absl::Status PumpFor(std::chrono::nanoseconds duration);

  // For the dialect: `socket` has output that waits for a Flush.
  void HasOutput(Socket& socket);
  // For the dialect: a receiver has got a request. Answers it, now or when its work is done.
  void OnRequest(Socket& socket, std::string_view ticket, uint64_t number);
  // For the dialect: the answer to `sender`, which begins with `number`; or that there will be none.
  absl::Status OnAnswer(size_t sender, uint64_t number);
  void OnRefusal(size_t sender);

  // Open has been called. Fails where anything but the right answers comes back.
  absl::StatusOr<LoadResult> Run(const LoadPlan& plan);

 private:
  using Clock = std::chrono::steady_clock;
  struct Sender {
    uint64_t number = 0;  // of the request under way, 0 where there is none
    Clock::time_point since;
  };

  // A receiver that takes time.
  struct Job {
    Socket* socket;
    std::string ticket;
    uint64_t number;
  };
  struct Worker {
    std::chrono::microseconds service{0};
    std::deque<Job> jobs;  // the first is worked on
    Clock::time_point done_at;
  };

  absl::StatusOr<Socket*> Keep(std::unique_ptr<Socket> socket);
  void CutReceiver();
  void BeginDue();
  void Begin(size_t sender);
  void FinishDue();
  bool MayBegin() const;
  void NoteWarm();
  std::chrono::nanoseconds UntilDue() const;
  absl::Status Turn(std::chrono::nanoseconds most);
  absl::Status Flush(Socket& socket);
  absl::Status FlushAll();
  absl::Status RunFree();
  bool HasUnsent() const;
  absl::Status RunInStep();

  const Shape shape_;
  Dialect& dialect_;
  const int poll_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::vector<Socket*> with_output_;
  std::vector<Sender> senders_;
  std::vector<Worker> workers_;
  std::deque<size_t> free_;  // senders that have no request under way

  const LoadPlan* plan_ = nullptr;
  LoadResult result_;
  Clock::time_point now_;
  Clock::time_point warm_at_;
  Clock::time_point next_at_;  // by rate
  bool is_warm_ = false;
  bool has_cut_ = false;
  uint64_t begun_ = 0;
  uint64_t ended_ = 0;
  uint64_t requests_seen_ = 0;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_LOAD_H_

// A TCP proxy that does to connections what networks do. It knows bytes alone, and shares no code with the relay.

#ifndef RELAY_TESTS_END_TO_END_CHAOS_FAULT_PROXY_H_
#define RELAY_TESTS_END_TO_END_CHAOS_FAULT_PROXY_H_

#include <poll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace relay::chaos {

enum class Fault {
  kNone,
  kDelay,       // every byte arrives later, in order
  kThrottle,    // so many bytes a second, no more
  kSlice,       // one to three bytes at a time
  kStall,       // nothing is read or written: a black hole; then it goes on
  kCut,         // FIN to both sides
  kReset,       // RST to both sides
  kLoseClient,  // RST to who connected; the server's side stays open, and all it says is lost
  kLoseServer,  // the other way round
};
inline constexpr size_t kFaultCount = 9;
std::string_view NameOf(Fault fault);

// Listens on a port of 127.0.0.1 and dials the server for whoever connects. Its thread runs as long as it lives.
// Thread-safe.
class FaultProxy {
 public:
  // `server` is "tcp://ADDRESS:PORT", in figures. A stall is `stall_ms` to twice that long where it is drawn.
  FaultProxy(const std::string& server, uint64_t seed, uint64_t stall_ms);
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;
  ~FaultProxy();

  const std::string& url() const { return url_; }

  // From now on each connection draws faults at random, one after another.
  void Roam();
  // From now on there is this fault on all connections, those there are and those to come; those that end a connection
  // are for those there are. kNone: it does what a wire does.
  void Set(Fault fault);
  // Resets all connections.
  void ResetAll();

  // How often each fault has begun, by its number.
  std::array<uint64_t, kFaultCount> counts();
  size_t connections();

 private:
  struct Piece {
    int64_t due_us;
    std::string bytes;
  };
  // One direction. `from` and `to` are below 0 once they are gone.
  struct Flow {
    int from = -1;
    int to = -1;
    std::deque<Piece> pieces;
    size_t bytes = 0;
    int64_t not_before_us = 0;  // throttled
    bool has_ended = false;     // from has said FIN
    bool is_shut = false;       // to has been told
  };
  struct Connection {
    Flow up;    // from who connected to the server
    Flow down;  // and back
    Fault fault = Fault::kNone;
    uint64_t level = 0;  // of the fault: milliseconds, bytes a second
    int64_t change_at_us = 0;
  };
  // What a poll entry is about; both null for the listener and the wake-up.
  struct Watched {
    Connection* connection = nullptr;
    Flow* flow = nullptr;
    bool is_read = false;
  };

  void Run();
  void Wake();
  // One round of the loop, under the lock but for the poll itself.
  void Accept();
  void Begin(Connection& connection, Fault fault, int64_t now_us);
  void Draw(Connection& connection, int64_t now_us);
  int64_t Watch(int64_t now_us);
  bool Read(Connection& connection, Flow& flow, int64_t now_us);
  bool Write(Connection& connection, Flow& flow, int64_t now_us);
  bool MayWrite(const Connection& connection, const Flow& flow, int64_t now_us) const;
  static bool IsOver(const Connection& connection);
  static void Close(Connection& connection, bool with_reset);
  static void Drop(Flow& flow);
  static void Shut(Flow& flow);
  static void Lose(Flow& dead, Flow& other);

  const int listener_;
  const int wake_;
  const std::string server_;
  const uint64_t stall_ms_;
  std::string url_;

  std::mutex mutex_;
  std::mt19937_64 random_;
  std::vector<Fault> deck_;  // what is drawn next, from the back
  bool is_roaming_ = false;
  Fault set_ = Fault::kNone;
  std::list<Connection> connections_;
  std::array<uint64_t, kFaultCount> counts_ = {};
  std::atomic<bool> is_stopping_ = false;

  // The loop's alone.
  std::vector<Watched> watched_;
  std::vector<pollfd> polled_;

  std::thread thread_;
};

}  // namespace relay::chaos

#endif  // RELAY_TESTS_END_TO_END_CHAOS_FAULT_PROXY_H_

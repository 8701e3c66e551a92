// Redis: requests on a list, answers on lists of the senders. A connection that waits for a list does nothing else, so
// whoever both pushes and waits at once has two.

#ifndef RELAY_TOOLS_BENCH_PEERS_REDIS_H_
#define RELAY_TOOLS_BENCH_PEERS_REDIS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/load.h"

namespace relay::bench {

// Thread-compatible.
class RedisDialect : public Dialect {
 public:
  explicit RedisDialect(std::string server);

  absl::Status Open(Load& load) override;
  void Send(Load& load, size_t sender, uint64_t number) override;
  absl::Status OnInput(Load& load, Socket& socket) override;
  void Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) override;

 private:
  // A connection that pushes and one that pops; they may be one.
  struct Pair {
    Socket* push;
    Socket* pop;
  };

  absl::StatusOr<Socket*> Connect(Load& load, Side side, size_t index);

  const std::string server_;
  std::vector<Pair> senders_;
  std::vector<Pair> receivers_;
  size_t sockets_ = 0;
  size_t pongs_ = 0;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_PEERS_REDIS_H_

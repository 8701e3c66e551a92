// Majordomo over ZeroMQ: MDP 0.1 on the wire of ZMTP 3.0, senders and workers as DEALERs.

#ifndef RELAY_TOOLS_BENCH_PEERS_MAJORDOMO_H_
#define RELAY_TOOLS_BENCH_PEERS_MAJORDOMO_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/load.h"

namespace relay::bench {

// Thread-compatible.
class MajordomoDialect : public Dialect {
 public:
  explicit MajordomoDialect(std::string server);

  absl::Status Open(Load& load) override;
  void Send(Load& load, size_t sender, uint64_t number) override;
  absl::Status OnInput(Load& load, Socket& socket) override;
  void Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) override;

 private:
  absl::StatusOr<Socket*> Connect(Load& load, Side side, size_t index);
  absl::Status OnMessage(Load& load, Socket& socket, const std::vector<std::string_view>& parts);

  const std::string server_;
  std::vector<Socket*> senders_;
  std::vector<Socket*> receivers_;
  std::vector<bool> greeted_;  // by descriptor: the greeting has come
  size_t sockets_ = 0;
  size_t ready_ = 0;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_PEERS_MAJORDOMO_H_

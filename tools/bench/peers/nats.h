// NATS: request and reply over a queue group, on its text protocol.

#ifndef RELAY_TOOLS_BENCH_PEERS_NATS_H_
#define RELAY_TOOLS_BENCH_PEERS_NATS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/load.h"

namespace relay::bench {

// Thread-compatible.
class NatsDialect : public Dialect {
 public:
  explicit NatsDialect(std::string server);

  absl::Status Open(Load& load) override;
  void Send(Load& load, size_t sender, uint64_t number) override;
  absl::Status OnInput(Load& load, Socket& socket) override;
  void Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) override;

 private:
  absl::StatusOr<Socket*> Connect(Load& load, Side side, const std::string& subscription);

  const std::string server_;
  std::vector<Socket*> senders_;
  size_t sockets_ = 0;
  size_t pongs_ = 0;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_PEERS_NATS_H_

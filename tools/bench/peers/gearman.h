// Gearman: jobs in the foreground; a worker sleeps until it is told that there is one, and takes one at a time.

#ifndef RELAY_TOOLS_BENCH_PEERS_GEARMAN_H_
#define RELAY_TOOLS_BENCH_PEERS_GEARMAN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/load.h"

namespace relay::bench {

// Thread-compatible.
class GearmanDialect : public Dialect {
 public:
  explicit GearmanDialect(std::string server);

  absl::Status Open(Load& load) override;
  void Send(Load& load, size_t sender, uint64_t number) override;
  absl::Status OnInput(Load& load, Socket& socket) override;
  void Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) override;

 private:
  const std::string server_;
  std::vector<Socket*> senders_;
  size_t sockets_ = 0;
  size_t echoes_ = 0;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_PEERS_GEARMAN_H_

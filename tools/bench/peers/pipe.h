// A proxy of bytes: senders connect to it, and it connects to us. What is measured is what carrying the bytes costs
// when nobody looks at them. A record is as long as the relay's frame with the same body.

#ifndef RELAY_TOOLS_BENCH_PEERS_PIPE_H_
#define RELAY_TOOLS_BENCH_PEERS_PIPE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/load.h"

namespace relay::bench {

struct SocketPair {
  Socket* sender;
  Socket* receiver;
};

// So many connections through a proxy, which connects to `backend_port` for each that it accepts.
absl::StatusOr<std::vector<SocketPair>> ConnectThrough(Load& load, const std::string& proxy, uint16_t backend_port,
                                                       size_t count);

// Thread-compatible.
class PipeDialect : public Dialect {
 public:
  PipeDialect(std::string proxy, uint16_t backend_port);

  absl::Status Open(Load& load) override;
  void Send(Load& load, size_t sender, uint64_t number) override;
  absl::Status OnInput(Load& load, Socket& socket) override;
  void Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) override;

 private:
  const std::string proxy_;
  const uint16_t backend_port_;
  size_t record_bytes_ = 0;
  std::vector<Socket*> senders_;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_PEERS_PIPE_H_

// RabbitMQ: AMQP 0-9-1, one queue of requests with prefetch 1 and acknowledgements, answers by direct reply-to.

#ifndef RELAY_TOOLS_BENCH_PEERS_RABBITMQ_H_
#define RELAY_TOOLS_BENCH_PEERS_RABBITMQ_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/load.h"

namespace relay::bench {

// Thread-compatible.
class RabbitmqDialect : public Dialect {
 public:
  explicit RabbitmqDialect(std::string server);

  absl::Status Open(Load& load) override;
  void Send(Load& load, size_t sender, uint64_t number) override;
  absl::Status OnInput(Load& load, Socket& socket) override;
  void Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) override;

 private:
  // A delivery comes in three frames: what it is, how long, and its body.
  struct Channel {
    bool is_open = false;
    std::string reply_to;
    uint64_t delivery_tag = 0;
    std::string body;
    uint64_t body_bytes = 0;
  };

  absl::StatusOr<Socket*> Connect(Load& load, Side side, size_t index);
  absl::Status OnMethod(Load& load, Socket& socket, std::string_view payload);
  absl::Status OnBody(Load& load, Socket& socket);
  Channel& ChannelOf(const Socket& socket) { return channels_[static_cast<size_t>(socket.descriptor())]; }

  const std::string server_;
  std::vector<Socket*> senders_;
  std::vector<Channel> channels_;  // by descriptor
  size_t sockets_ = 0;
  size_t consuming_ = 0;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_PEERS_RABBITMQ_H_

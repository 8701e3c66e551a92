// The relay's own wire, small requests: raw frames, ids from a counter, nothing looked at that need not be.

#ifndef RELAY_TOOLS_BENCH_RELAY_DIALECT_H_
#define RELAY_TOOLS_BENCH_RELAY_DIALECT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "proto/frame.h"
#include "tools/bench/load.h"

namespace relay::bench {

// Thread-compatible.
class RelayDialect : public Dialect {
 public:
  struct Options {
    // 1: START with body and FIN each way. 3: START, CHUNK, END. RECEIVE rides on the last one of a response.
    unsigned frames = 1;
    size_t channels = 1;   // senders, and receivers' slots, take turns on them
    bool is_late = false;  // receivers wait only when every sender's first request is on its way
  };
  RelayDialect(std::string server, Options options);

  absl::Status Open(Load& load) override;
  void Send(Load& load, size_t sender, uint64_t number) override;
  absl::Status OnInput(Load& load, Socket& socket) override;
  void Answer(Load& load, Socket& socket, std::string_view ticket, uint64_t number) override;

 private:
  // Where a sender's requests go out.
  struct Sender {
    Socket* socket;
    uint16_t slot;
  };

  absl::Status OpenSenders(Load& load);
  absl::Status OpenReceivers(Load& load);
  void Receive(Load& load, Socket& socket);
  absl::Status OnReceiverFrame(Load& load, Socket& socket, const proto::Frame& frame);
  absl::Status OnSenderFrame(Load& load, const Socket& socket, const proto::Frame& frame);
  absl::Status OnControlFrame(Load& load, Socket& socket, const proto::Frame& frame);
  absl::Status CheckBody(const Load& load, const proto::Frame& frame) const;
  bool IsLast(const proto::Frame& frame) const;
  // The frames of a message as they will stand on the wire, but for slot, id and the body's first eight bytes.
  std::string Message(uint8_t direction, uint8_t last_flags, size_t body_bytes) const;
  // `address` is slot and id, as a header holds them.
  void Append(Socket& socket, const std::string& message, std::string_view address, uint64_t number) const;

  const std::string server_;
  const Options options_;
  const unsigned frames_;
  std::vector<Sender> senders_;
  std::vector<Socket*> receivers_;
  size_t sent_ = 0;
  size_t sockets_ = 0;
  std::string request_;
  std::string response_;
  size_t pongs_ = 0;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_RELAY_DIALECT_H_

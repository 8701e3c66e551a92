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
  // `frames` is 1, START with body and FIN each way, or 3, START CHUNK END. RECEIVE rides on the last one of a
  // response.
  RelayDialect(std::string server, unsigned frames);

  absl::Status Open(Load& load) override;
  void Send(Load& load, size_t sender, uint64_t number) override;
  absl::Status OnInput(Load& load, Socket& socket) override;

 private:
  // Where a sender's requests go out.
  struct Sender {
    Socket* socket;
    uint16_t slot;
  };

  absl::Status OpenSenders(Load& load);
  absl::Status OpenReceivers(Load& load);
  absl::Status OnReceiverFrame(Load& load, Socket& socket, const proto::Frame& frame);
  absl::Status OnSenderFrame(Load& load, const Socket& socket, const proto::Frame& frame);
  absl::Status OnControlFrame(Socket& socket, const proto::Frame& frame);
  // The frames of a message as they will stand on the wire, but for slot, id and the body's first eight bytes.
  std::string Message(uint8_t direction, uint8_t last_flags, size_t body_bytes) const;
  void Append(Socket& socket, const std::string& message, uint16_t slot, const uint8_t* id, uint64_t number) const;

  const std::string server_;
  const unsigned frames_;
  std::vector<Sender> senders_;
  std::vector<size_t> first_sender_;  // of each socket; its slots begin at 1
  std::string request_;
  std::string response_;
  size_t pongs_ = 0;
};

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_RELAY_DIALECT_H_

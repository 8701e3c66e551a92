// Large bodies: senders stream to receivers, which stream the same back as it comes. A sender and its receiver have a
// connection each.

#ifndef RELAY_TOOLS_BENCH_PEERS_STREAMS_H_
#define RELAY_TOOLS_BENCH_PEERS_STREAMS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/load.h"

namespace relay::bench {

inline constexpr size_t kChunkBytes = 64 * 1024;

// One direction of one body, as the side that sends it keeps it.
struct Stream {
  Socket* socket = nullptr;
  size_t pair = 0;
  bool is_request = false;
  bool has_begun = false;
  bool has_ended = false;
  uint64_t to_send = 0;
  uint64_t sent = 0;
  uint64_t received = 0;  // by the other side
  uint64_t cost = 0;      // of what was sent, where there is credit
  uint64_t allowed = UINT64_MAX;
  uint64_t granted = 0;
};

class Streams;

// How a system carries them.
class Wire {
 public:
  virtual ~Wire() = default;
  virtual absl::Status Open(Load& load, Streams& streams, size_t pairs) = 0;
  // What stands before and behind the chunks of a body, where anything does.
  virtual void Begin(Stream& /*stream*/) {}
  virtual void Append(Stream& stream, size_t bytes) = 0;
  virtual void End(Stream& /*stream*/) {}
  // Whether all of a response is back, and what ends it, too.
  virtual bool IsOver(const Stream& response, uint64_t bytes) const { return response.received == bytes; }
  virtual absl::Status OnInput(Load& load, Streams& streams, Socket& socket) = 0;
};

// Thread-compatible.
class Streams : public Dialect {
 public:
  Streams(Wire& wire, size_t pairs);

  absl::Status Open(Load& load) override;
  // Streams a body of so many bytes through every pair, and waits until all of it is back.
  absl::Status Run(Load& load, uint64_t bytes);

  absl::Status OnInput(Load& load, Socket& socket) override;
  absl::Status OnRoom(Load& load, Socket& socket) override;
  void Send(Load& /*load*/, size_t /*sender*/, uint64_t /*number*/) override {}
  void Answer(Load& /*load*/, Socket& /*socket*/, std::string_view /*ticket*/, uint64_t /*number*/) override {}

  // For the wire.
  Stream& request(size_t pair) { return requests_[pair]; }
  Stream& response(size_t pair) { return responses_[pair]; }
  void AddPair(Socket& sender, Socket& receiver);
  // The other side of `stream` has so many bytes more of it.
  void OnBytes(Load& load, Stream& stream, size_t bytes);
  void Drive(Load& load, Stream& stream);

 private:
  Wire& wire_;
  const size_t pairs_;
  std::vector<Stream> requests_;
  std::vector<Stream> responses_;
  uint64_t body_bytes_ = 0;
};

// Relay's frames, with its credit; messages of NATS, each of a chunk; bytes through a proxy.
std::unique_ptr<Wire> MakeRelayWire(std::string server);
std::unique_ptr<Wire> MakeNatsWire(std::string server);
std::unique_ptr<Wire> MakePipeWire(std::string proxy, uint16_t backend_port);

}  // namespace relay::bench

#endif  // RELAY_TOOLS_BENCH_PEERS_STREAMS_H_

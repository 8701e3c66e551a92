// The exchanges that are live, each put together from the connections of its sender and its receivers as far as they
// were seen, and told when it ends.

#ifndef RELAY_TOOLS_INSPECT_EXCHANGE_LOG_H_
#define RELAY_TOOLS_INSPECT_EXCHANGE_LOG_H_

#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/time/time.h"
#include "proto/uuid.h"
#include "tools/inspect/seen.h"

namespace relay::inspect {

// Thread-compatible.
class ExchangeLog {
 public:
  // `sink` outlives it; its OnExchange is called.
  explicit ExchangeLog(Sink& sink) : sink_(sink) {}

  void OnFrame(const SeenFrame& frame);
  // A side has gone without a frame that ends the exchange.
  void OnAbandoned(const proto::Uuid& channel, const proto::Uuid& request, Side side, absl::Time at);
  // What is still live is told as open. Where the directions are not in order all is told here: until then another end
  // may come, and the server's, which comes last, is the one that was.
  void Finish(absl::Time at);

 private:
  using Key = std::pair<proto::Uuid, proto::Uuid>;  // channel, request
  struct Hash {
    size_t operator()(const Key& key) const {
      return absl::HashOf(proto::UuidHash()(key.first), proto::UuidHash()(key.second));
    }
  };

  Exchange& Enter(const Key& key, const SeenFrame& frame);
  static void Begin(Exchange& exchange, const SeenFrame& frame);
  static void Count(Exchange& exchange, const SeenFrame& frame);
  static void NoteCredit(Exchange::Stream& stream, const SeenFrame& frame);
  // With the end that the exchange has by now.
  void End(const Key& key, Exchange& exchange, absl::Time at);
  void Tell(const Key& key, Exchange& exchange, absl::Time at);

  Sink& sink_;
  absl::flat_hash_map<Key, std::unique_ptr<Exchange>, Hash> live_;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_EXCHANGE_LOG_H_

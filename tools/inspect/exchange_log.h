// The exchanges that are live, each put together from the connections of its sender and its receivers as far as they
// were seen, and told when it ends.

#ifndef RELAY_TOOLS_INSPECT_EXCHANGE_LOG_H_
#define RELAY_TOOLS_INSPECT_EXCHANGE_LOG_H_

#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
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
  // That of a live exchange, as far as either of its sides has said it; else nil.
  proto::Uuid ChannelOf(const proto::Uuid& request) const;
  // A side has gone without a frame that ends the exchange.
  void OnAbandoned(const proto::Uuid& channel, const proto::Uuid& request, Side side, absl::Time at);
  // What is still live is told as open. Where the directions are not in order all is told here: until then another end
  // may come, and the server's, which comes last, is the one that was.
  void Finish(absl::Time at);

 private:
  // A nil channel, where a side joined before the trace began, is any. Null where there is none.
  Exchange* Find(const proto::Uuid& channel, const proto::Uuid& request) const;
  Exchange& Enter(const SeenFrame& frame);
  static void Begin(Exchange& exchange, const SeenFrame& frame);
  static void Count(Exchange& exchange, const SeenFrame& frame);
  static void NoteCredit(Exchange::Stream& stream, const SeenFrame& frame);
  // With the end that the exchange has by now.
  void End(Exchange& exchange, absl::Time at);
  void Tell(Exchange& exchange, absl::Time at);

  Sink& sink_;
  // By their requests; of one id there is one on each channel at the most.
  absl::flat_hash_map<proto::Uuid, std::vector<std::unique_ptr<Exchange>>, proto::UuidHash> live_;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_EXCHANGE_LOG_H_

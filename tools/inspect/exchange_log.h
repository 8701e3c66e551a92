// The exchanges that are live, each put together from the connections of its sender and its receivers as far as they
// were seen, and told when it ends.

#ifndef RELAY_TOOLS_INSPECT_EXCHANGE_LOG_H_
#define RELAY_TOOLS_INSPECT_EXCHANGE_LOG_H_

#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "proto/relay.pb.h"
#include "proto/uuid.h"
#include "tools/inspect/connection.h"
#include "tools/inspect/history.h"
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
  void OnAbandoned(ConnectionId connection, const proto::Uuid& channel, const proto::Uuid& request, Side side,
                   Connection::Gone gone, absl::Time at);
  // Frames of it may be missing.
  void OnMissed(const proto::Uuid& channel, const proto::Uuid& request);
  // What is still live is told as open. Where the directions are not in order all is told here: until then another end
  // may come, and the server's, which comes last, is the one that was.
  void Finish(absl::Time at);
  // Exchanges of which frames passed and that are not told, since where they begin was not seen.
  uint64_t left_out() const { return left_out_; }

 private:
  struct Live : Exchange {
    ConnectionId sender_at = 0;                // 0: not known
    ConnectionId receiver_at = 0;              // of the attempt
    bool is_held = false;                      // by a receiver
    std::optional<v1::Status> told_receiver;   // in the server's RESET, which is of the whole exchange
    std::optional<absl::Time> sender_gone_at;  // without an end
    Connection::Gone sender_gone = Connection::Gone::kUnknown;
  };

  // A nil channel, where a side joined before the trace began, is any. Null where there is none.
  Live* Find(const proto::Uuid& channel, const proto::Uuid& request) const;
  Live& Enter(const SeenFrame& frame);
  // Whether the frame passes here for a second time: both sides of a proxy are in the trace, and its side has been seen
  // on another connection.
  static bool IsSecondLeg(const Live& exchange, const SeenFrame& frame);
  static void Begin(Live& exchange, const SeenFrame& frame);
  static void Count(Exchange& exchange, const SeenFrame& frame);
  static void NoteCredit(Exchange::Stream& stream, const SeenFrame& frame);
  // The end of an exchange that its sender was not told: what the server told the receiver, or that the sender left.
  static void Settle(Live& exchange);
  // Its receiver is done with it.
  void EndHold(Live& exchange);
  // With the end that the exchange has by now.
  void End(Exchange& exchange, absl::Time at);
  void Tell(Exchange& exchange, absl::Time at);
  void LeaveOut(const SeenFrame& frame);

  Sink& sink_;
  // By their requests; of one id there is one on each channel at the most.
  absl::flat_hash_map<proto::Uuid, std::vector<std::unique_ptr<Live>>, proto::UuidHash> live_;
  History past_;  // of those that are left out, or of which frames may still come that nothing calls late
  uint64_t left_out_ = 0;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_EXCHANGE_LOG_H_

// A proxy between any client and any server: every byte goes on as it came, and is told.

#ifndef RELAY_TOOLS_INSPECT_PROXY_H_
#define RELAY_TOOLS_INSPECT_PROXY_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "net/address.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/mailbox.h"
#include "net/timer.h"
#include "tools/inspect/source.h"

namespace relay::inspect {

// Runs on the thread of Run; all its memory is what is on its way, at most kMostUnsentBytes and a read for each side. A
// side that does not read stops the other, as if there were no proxy.
class ProxySource : public Source {
 public:
  static constexpr size_t kMostUnsentBytes = size_t{256} << 10;

  // `on_error` hears of connections that could not be accepted or handed on.
  static absl::StatusOr<std::unique_ptr<ProxySource>> Listen(const net::Address& listen, const net::Address& to,
                                                             std::function<void(const absl::Status&)> on_error);
  ~ProxySource() override;

  // Until Stop().
  absl::Status Run(Tap& tap) override;
  void Stop() override { stop_->Send(); }

  // Where it listens, with the port that was taken.
  const net::Address& address() const { return listener_->address(); }

 private:
  class Pair;

  ProxySource(std::unique_ptr<net::Loop> loop, const net::Address& to,
              std::function<void(const absl::Status&)> on_error);
  absl::Time Now() const;
  void Accept(std::unique_ptr<net::Stream> client);
  // From inside a call of the pair.
  void Remove(Pair& pair);

  const std::unique_ptr<net::Loop> loop_;
  const net::Address to_;
  const std::function<void(const absl::Status&)> on_error_;
  const absl::Time wall_;  // when it began, and the same on the clock that nobody sets
  const absl::Time began_;
  const std::unique_ptr<net::Wakeup> stop_;
  Tap* tap_ = nullptr;
  std::unique_ptr<net::Listener> listener_;
  std::unique_ptr<net::Timer> tick_;
  absl::flat_hash_map<Pair*, std::unique_ptr<Pair>> pairs_;
  std::vector<std::unique_ptr<Pair>> gone_;  // until the turn ends
  ConnectionId last_ = 0;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_PROXY_H_

// One attempt to connect: looks the name up, tries each of its addresses in turn, and gives a Stream or says why not.

#ifndef RELAY_NET_CONNECTOR_H_
#define RELAY_NET_CONNECTOR_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/stream.h"

namespace relay::net {

// Loop thread only. Destroying it, also from inside its call, cancels; it sets no time limit of its own.
class Connector {
 public:
  using Result = absl::StatusOr<std::unique_ptr<Stream>>;

  // `done` is called exactly once, never from inside the constructor. The error is UNAVAILABLE and tells of the last
  // address tried: "connect tcp://127.0.0.1:1: connection refused"; RESOURCE_EXHAUSTED if there is no descriptor left.
  Connector(Loop& loop, const Address& address, std::function<void(Result)> done);
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

 private:
  class Attempt;

  const std::unique_ptr<Attempt> attempt_;
};

}  // namespace relay::net

#endif  // RELAY_NET_CONNECTOR_H_

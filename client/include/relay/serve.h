// A pool of receivers on one channel.

#ifndef RELAY_SERVE_H_
#define RELAY_SERVE_H_

#include <functional>
#include <memory>
#include <string_view>

#include "relay/client.h"
#include "relay/options.h"
#include "relay/request.h"
#include "relay/status.h"

namespace relay {

namespace client {
class Pool;
}  // namespace client

// Works on one request: reads, writes, and returns the status that the exchange ends with, unless it called Finish,
// Reset or Requeue itself. Called by several threads at once.
using Handler = std::function<Status(Request&)>;

// Owns its clients and their threads. Thread-safe.
class Server {
 public:
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // Stops. On the connection's I/O thread, that is, inside callbacks, it does not wait: what runs goes on behind it.
  ~Server();

  // Takes no more requests, lets those that run finish, and returns when the threads are gone. A request that was on
  // its way goes back to the queue, or is still worked on where it may not, since it is not idempotent. May be called
  // again and from any thread but those of the handler; on the connection's I/O thread it is BeginStop.
  void Stop();

  // As Stop, but returns at once; from any thread, the handler's own too.
  void BeginStop();

  // Blocks until the pool has ended: by Stop, max_requests, the wait, or an error of the connection that no
  // reconnecting mends. OK for the first two; DEADLINE_EXCEEDED where the last client left for the wait; else that
  // error. Any thread but those of the handler; FAILED_PRECONDITION on the connection's I/O thread.
  Status Wait();

 private:
  friend StatusOr<std::unique_ptr<Server>> Serve(std::shared_ptr<Connection>, std::string_view, ServeOptions, Handler);
  explicit Server(std::shared_ptr<client::Pool> pool);

  const std::shared_ptr<client::Pool> pool_;
};

// Starts a pool. INVALID_ARGUMENT for a channel name that is none or a concurrency of 0.
StatusOr<std::unique_ptr<Server>> Serve(std::shared_ptr<Connection> connection, std::string_view channel,
                                        ServeOptions options, Handler handler);

}  // namespace relay

#endif  // RELAY_SERVE_H_

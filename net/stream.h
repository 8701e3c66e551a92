// A connected byte stream, TCP or Unix socket: reads into the memory of the turn, keeps what its user cannot use yet,
// writes gathered, and holds what the peer does not take. It knows nothing of what the bytes mean.

#ifndef RELAY_NET_STREAM_H_
#define RELAY_NET_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/output.h"
#include "net/socket.h"

namespace relay::net {

// Loop thread only. Made by Connector and Listener, not yet reading. Close() and the destructor may be called from
// inside a call of the handler, and none comes afterwards; libuv's handle lives on by itself until its close callback.
class Stream {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;

    // Something may have come. False reads nothing of it, behind StopReading().
    virtual bool MayRead() { return true; }

    // `bytes` begin with what earlier calls left. They may be rewritten in place, and are valid until the turn has
    // ended (Loop::SetTurnEnd). Returns how many of them, from the front, are done with. The rest is kept and comes
    // again in front of what is read next: returning 0 is how to wait for more. How much is kept is the handler's to
    // bound, by consuming, by StopReading() or by Close(); memory is taken for what has arrived, never ahead of it.
    virtual size_t OnBytes(std::span<uint8_t> bytes) = 0;

    // The input has ended: OK where the peer ended it, else UNAVAILABLE, as "read tcp://10.0.0.1:7: connection reset
    // by peer": the connection is broken, by a failed write too. After OK, Write goes on working, and a connection that
    // breaks then is told by a second call. Never from inside another call of Stream.
    virtual void OnEnd(absl::Status why) = 0;

    // unsent_bytes() has become less: they were handed to the system.
    virtual void OnSent() = 0;
  };

  // Takes over a connected socket, whatever it returns. `peer` is for logs and errors.
  static absl::StatusOr<std::unique_ptr<Stream>> FromSocket(Loop& loop, int socket, Address::Kind kind,
                                                            std::string peer);

  // What a stream is made of, on its way to another loop, on whichever thread. Closes the socket if nobody takes it.
  struct Parts {
    Socket socket;
    std::string peer;
    std::vector<uint8_t> kept;  // read and not consumed
    Output unsent;
  };
  // Closes this stream, but not its connection.
  Parts Release();
  // Goes on with it: what was kept is told first, and what is unsent is sent.
  static absl::StatusOr<std::unique_ptr<Stream>> FromParts(Loop& loop, Parts parts);

  // Close().
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Not owned; outlives the stream or its Close(). Set before StartReading().
  void SetHandler(Handler* handler);

  // At most ReadBuffers::kSlabBytes are read in a turn. It begins behind what others have to say in the next turn, with
  // what was kept when reading stopped, or, where that is nothing, with what has come. Nothing after the input has
  // ended. Idempotent.
  void StartReading();
  // The same, but what was kept waits for more to come.
  void ReadOn();
  void StopReading();

  // At most so many bytes are read in a turn; ReadBuffers::kSlabBytes where nothing is said.
  void SetMostReadBytes(size_t bytes);

  // Sends the slices, in order, as one. What the system does not take at once is copied, so the slices need live no
  // longer than this call. Dropped after ShutdownWrite(), Close() or a failed write.
  void Write(std::span<const std::span<const uint8_t>> slices);

  // Copied and not yet taken by the system.
  size_t unsent_bytes() const;

  // Ends the output behind what is unsent. Reading goes on. Idempotent.
  void ShutdownWrite();

  // Drops what is unsent. Idempotent.
  void Close();

  // What is kept for the next OnBytes, and the memory that it takes: none for an idle connection.
  size_t kept_bytes() const;
  size_t held_memory_bytes() const;

  // As "tcp://10.0.0.1:50123"; a Unix socket's peer has no name, so the path that it came by: "unix:/run/relay.sock".
  const std::string& peer() const;

 private:
  class Io;

  explicit Stream(Io* io) : io_(io) {}

  Io* io_;  // Null once closed; deleted by its close callback.
  std::string peer_;
};

}  // namespace relay::net

#endif  // RELAY_NET_STREAM_H_

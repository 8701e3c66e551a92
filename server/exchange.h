// What the server keeps of an exchange beside its place in the registry: the credit of its two streams, what is held of
// its request, its time.

#ifndef RELAY_SERVER_EXCHANGE_H_
#define RELAY_SERVER_EXCHANGE_H_

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "absl/time/time.h"
#include "proto/frame.h"
#include "registry/exchange.h"
#include "server/session.h"
#include "server/timer_wheel.h"
#include "server/turn_memory.h"

namespace relay::server {

// One direction of an exchange (PROTOCOL.md, "Credit"). A value type.
struct Stream {
  uint64_t cost = 0;    // of what has come
  uint64_t window = 0;  // what it may cost in all
  bool has_started = false;
  bool has_ended = false;
};

// Thread-compatible.
struct Exchange : registry::Exchange {
  Exchange(const proto::Uuid& its_id, uint64_t initial_window_bytes) : registry::Exchange(its_id) {
    request.window = initial_window_bytes;
    response.window = initial_window_bytes;
  }

  Client* sending_client() const { return static_cast<Client*>(sender); }
  Client* receiving_client() const { return static_cast<Client*>(receiver); }

  Stream request;
  Stream response;
  OwedWindow request_window_owed{*this, proto::flag::kRequest};
  OwedWindow response_window_owed{*this, proto::flag::kResponse};
  // The greatest WINDOW of the request that is kept back while another receiver may still get it; 0 for none.
  uint64_t withheld_window = 0;
  // REQUEST frames as they came: those of a queued exchange, and of an assigned one that may be handed out again.
  // `queued_bytes` is its size.
  Bytes held;
  bool may_move = false;  // IDEMPOTENT, and there is room for the copy
  bool has_timeout = false;
  uint32_t queue_wait_us = 0;  // from START to the last handing on
  Instant read_at;             // when START was read
  Instant ends_at;             // the timeout's end, or that of the longest time that the server allows
  Instant extends_to;          // the latest that a receiver may move ends_at to
  Deadline deadline{Deadline::Of::kExchange, this};
};

// The exchange that the frame names, if the client on its slot takes part in it.
inline Exchange* LiveExchange(const Client* client, const proto::Frame& frame) {
  if (client == nullptr || client->exchange == nullptr || client->exchange->id != frame.id()) return nullptr;
  return static_cast<Exchange*>(client->exchange);
}

// Exchanges come and go with every request: their memory is used again. Thread-compatible.
class ExchangePool {
 public:
  ExchangePool() = default;
  ~ExchangePool() {
    for (void* memory : free_) ::operator delete(memory);
  }
  ExchangePool(const ExchangePool&) = delete;
  ExchangePool& operator=(const ExchangePool&) = delete;

  Exchange& New(const proto::Uuid& id, uint64_t initial_window_bytes) {
    void* memory = nullptr;
    if (free_.empty()) {
      memory = ::operator new(sizeof(Exchange));
    } else {
      memory = free_.back();
      free_.pop_back();
    }
    return *new (memory) Exchange(id, initial_window_bytes);
  }

  void Free(Exchange& exchange) {
    exchange.~Exchange();
    if (free_.size() < kMostFree) {
      free_.push_back(&exchange);
    } else {
      ::operator delete(&exchange);
    }
  }

 private:
  static constexpr size_t kMostFree = 1024;  // half a megabyte: the exchanges of a busy turn

  std::vector<void*> free_;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_EXCHANGE_H_

// The passive records of the registry: who takes part in a channel, and which request is whose.
//
// The registry links these records and never creates or frees one; the server derives its own from them and adds what
// has to do with bytes, time and connections.

#ifndef RELAY_REGISTRY_EXCHANGE_H_
#define RELAY_REGISTRY_EXCHANGE_H_

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/unordered_set_hook.hpp>
#include <cstddef>
#include <cstdint>

#include "proto/uuid.h"

namespace relay::registry {

class Channel;
struct Exchange;

// Where an exchange stands in the index of its channel, with the hash of its id.
using IndexHook = boost::intrusive::unordered_set_member_hook<boost::intrusive::store_hash<true>>;

// What a client is doing: one thing at a time.
enum class Operation : uint8_t {
  kIdle,
  kWaiting,    // stands in its channel's line, or was passed over
  kSending,    // is the sender of `exchange`
  kReceiving,  // is the assigned receiver of `exchange`
};

// A logical participant of one channel. Changed by its Channel alone.
struct Client {
  proto::Uuid id = {};
  Channel* channel = nullptr;
  Operation operation = Operation::kIdle;
  bool has_received = false;     // has ever begun a RECEIVE: it counts as a receiver of its channel
  bool is_passed_over = false;   // waits outside the line
  Exchange* exchange = nullptr;  // set while sending or receiving
  boost::intrusive::list_member_hook<> line_hook;
};

// One request and its response, from START to its one end. Changed by its Channel alone.
struct Exchange {
  explicit Exchange(const proto::Uuid& its_id) : id(its_id) {}

  const proto::Uuid id;
  Channel* channel = nullptr;
  Client* sender = nullptr;
  Client* receiver = nullptr;  // set while assigned; null while queued
  uint64_t arrival = 0;        // its place among all that began on the channel
  uint16_t attempt = 0;        // how often it was handed out
  size_t queued_bytes = 0;     // what is held for it, counted in its channel's queue while it is queued
  boost::intrusive::list_member_hook<> queue_hook;
  IndexHook index_hook;

  bool is_assigned() const { return receiver != nullptr; }
  bool is_queued() const { return queue_hook.is_linked(); }
};

}  // namespace relay::registry

#endif  // RELAY_REGISTRY_EXCHANGE_H_

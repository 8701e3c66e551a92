// A channel: its clients, its live exchanges, its one queue of requests and its one line of waiting receivers.
//
// Assignment is here: the oldest request meets the receiver that has waited longest, and in no other way. Every step
// is O(1), whatever waits.

#ifndef RELAY_REGISTRY_CHANNEL_H_
#define RELAY_REGISTRY_CHANNEL_H_

#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "proto/uuid.h"
#include "registry/exchange.h"
#include "registry/exchange_index.h"
#include "registry/pace.h"

namespace relay::registry {

// Thread-compatible. Holds pointers to records that others own; a record is removed here before it is freed.
//
// Invariants (Check() counts them again): the queue or the line is empty; the queue is in order of arrival; a client
// stands in the line exactly while it is waiting and was not passed over; an exchange is queued, or assigned to one
// receiver whose `exchange` it is.
class Channel {
 public:
  explicit Channel(const proto::Uuid& id) : id_(id) {}
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  const proto::Uuid& id() const { return id_; }
  bool is_unused() const { return clients_.empty(); }
  // Joined clients that have ever begun a RECEIVE.
  size_t receiver_count() const { return receiver_count_; }
  size_t queue_count() const { return queue_.size(); }
  size_t queue_bytes() const { return queue_bytes_; }
  size_t line_count() const { return line_.size(); }
  size_t exchange_count() const { return exchanges_.size(); }
  // How fast the queue is served; told by whoever has the time.
  Pace& pace() { return pace_; }

  Client* FindClient(const proto::Uuid& id) const;
  Exchange* FindExchange(const proto::Uuid& id) const { return exchanges_.Find(id); }

  // `client.id` is not on the channel.
  void AddClient(Client& client);
  // `client` is idle.
  void RemoveClient(Client& client);

  // From now on `client` counts as a receiver of the channel. Once or more often.
  void NoteReceiver(Client& client);
  // Idle -> waiting, at the end of the line. No request is queued.
  void Wait(Client& client);
  // Waiting -> idle.
  void StopWaiting(Client& client);
  // Idle, or the first in line -> waiting outside the line: it cannot be given anything now.
  void PassOver(Client& client);
  // Passed over -> at the end of the line. No request is queued.
  void LineUp(Client& client);
  // The receiver that has waited longest, or null.
  Client* first_in_line() { return line_.empty() ? nullptr : &line_.front(); }

  // Makes `exchange` a live one of the idle client `sender`. It is neither queued nor assigned yet.
  void Begin(Exchange& exchange, Client& sender);
  // At the tail of the queue. No receiver waits.
  void Enqueue(Exchange& exchange);
  // Takes an assigned exchange from its receiver, which is idle then, and puts it back to its place in the queue: the
  // head, but for older ones that were given back before it.
  void Requeue(Exchange& exchange);
  // Something more is held for an exchange of this channel.
  void AddQueuedBytes(Exchange& exchange, size_t bytes);
  // The oldest request, or the youngest one, or null.
  Exchange* oldest() { return queue_.empty() ? nullptr : &queue_.front(); }
  Exchange* youngest() { return queue_.empty() ? nullptr : &queue_.back(); }

  // Hands `exchange`, the oldest one or one that was never queued, to `receiver`, which is the first in line, was
  // passed over, or is idle.
  void Assign(Exchange& exchange, Client& receiver);

  // Forgets the exchange, wherever it stands; its clients are idle.
  void End(Exchange& exchange);

  // The first invariant found broken, in words; empty where all hold. O(everything).
  std::string Check() const;

 private:
  using Line = boost::intrusive::list<
      Client, boost::intrusive::member_hook<Client, boost::intrusive::list_member_hook<>, &Client::line_hook>>;
  using Queue = boost::intrusive::list<
      Exchange, boost::intrusive::member_hook<Exchange, boost::intrusive::list_member_hook<>, &Exchange::queue_hook>>;

  void Unqueue(Exchange& exchange);
  void ReleaseReceiver(Exchange& exchange);

  const proto::Uuid id_;
  absl::flat_hash_map<proto::Uuid, Client*, proto::UuidHash> clients_;
  ExchangeIndex exchanges_;
  Queue queue_;
  Line line_;
  size_t queue_bytes_ = 0;
  size_t receiver_count_ = 0;
  uint64_t arrivals_ = 0;
  Pace pace_;
};

}  // namespace relay::registry

#endif  // RELAY_REGISTRY_CHANNEL_H_

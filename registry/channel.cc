#include "registry/channel.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"

namespace relay::registry {

Channel::~Channel() {
  queue_.clear();
  line_.clear();
  exchanges_.Clear();
}

Client* Channel::FindClient(const proto::Uuid& id) const {
  const auto found = clients_.find(id);
  return found == clients_.end() ? nullptr : found->second;
}

void Channel::AddClient(Client& client) {
  assert(FindClient(client.id) == nullptr);
  client.channel = this;
  clients_.emplace(client.id, &client);
}

void Channel::RemoveClient(Client& client) {
  assert(client.operation == Operation::kIdle);
  if (client.has_received) --receiver_count_;
  clients_.erase(client.id);
  client.channel = nullptr;
}

void Channel::NoteReceiver(Client& client) {
  if (client.has_received) return;
  client.has_received = true;
  ++receiver_count_;
}

void Channel::Wait(Client& client) {
  assert(client.operation == Operation::kIdle && queue_.empty());
  client.operation = Operation::kWaiting;
  line_.push_back(client);
}

void Channel::StopWaiting(Client& client) {
  assert(client.operation == Operation::kWaiting);
  if (!std::exchange(client.is_passed_over, false)) line_.erase(line_.iterator_to(client));
  client.operation = Operation::kIdle;
}

void Channel::PassOver(Client& client) {
  if (client.operation == Operation::kWaiting) line_.erase(line_.iterator_to(client));
  client.operation = Operation::kWaiting;
  client.is_passed_over = true;
}

void Channel::LineUp(Client& client) {
  assert(client.is_passed_over && queue_.empty());
  client.is_passed_over = false;
  line_.push_back(client);
}

void Channel::Begin(Exchange& exchange, Client& sender) {
  assert(sender.operation == Operation::kIdle);
  exchange.channel = this;
  exchange.arrival = ++arrivals_;
  exchange.sender = &sender;
  sender.operation = Operation::kSending;
  sender.exchange = &exchange;
  exchanges_.Add(exchange);
}

void Channel::Enqueue(Exchange& exchange) {
  assert(line_.empty() && !exchange.is_assigned());
  queue_.push_back(exchange);
  queue_bytes_ += exchange.queued_bytes;
}

void Channel::Requeue(Exchange& exchange) {
  ReleaseReceiver(exchange);
  auto place = queue_.begin();
  while (place != queue_.end() && place->arrival < exchange.arrival) ++place;
  queue_.insert(place, exchange);
  queue_bytes_ += exchange.queued_bytes;
}

void Channel::AddQueuedBytes(Exchange& exchange, size_t bytes) {
  exchange.queued_bytes += bytes;
  if (exchange.is_queued()) queue_bytes_ += bytes;
}

void Channel::Assign(Exchange& exchange, Client& receiver) {
  assert(!exchange.is_assigned());
  if (exchange.is_queued()) Unqueue(exchange);
  if (receiver.operation == Operation::kWaiting) StopWaiting(receiver);
  assert(receiver.operation == Operation::kIdle);
  receiver.operation = Operation::kReceiving;
  receiver.exchange = &exchange;
  exchange.receiver = &receiver;
  ++exchange.attempt;
}

void Channel::End(Exchange& exchange) {
  if (exchange.is_queued()) Unqueue(exchange);
  if (exchange.is_assigned()) ReleaseReceiver(exchange);
  exchange.sender->operation = Operation::kIdle;
  exchange.sender->exchange = nullptr;
  exchange.sender = nullptr;
  exchanges_.Remove(exchange);
}

void Channel::Unqueue(Exchange& exchange) {
  queue_.erase(queue_.iterator_to(exchange));
  queue_bytes_ -= exchange.queued_bytes;
}

void Channel::ReleaseReceiver(Exchange& exchange) {
  exchange.receiver->operation = Operation::kIdle;
  exchange.receiver->exchange = nullptr;
  exchange.receiver = nullptr;
}

std::string Channel::Check() const {
  if (!queue_.empty() && !line_.empty()) return "a request is queued while a receiver waits";
  size_t waiting = 0;
  size_t receivers = 0;
  for (const auto& [id, client] : clients_) {
    if (client->id != id || client->channel != this) return "a client is indexed under another id or channel";
    if (client->has_received) ++receivers;
    const bool is_waiting = client->operation == Operation::kWaiting;
    if (client->is_passed_over && !is_waiting) return "a client was passed over and does not wait";
    const bool is_in_line = is_waiting && !client->is_passed_over;
    if (is_in_line != client->line_hook.is_linked()) return "a client waits outside the line, or stands in it idle";
    if (is_in_line) ++waiting;
    const bool is_busy = client->operation == Operation::kSending || client->operation == Operation::kReceiving;
    if (is_busy != (client->exchange != nullptr)) return "a client's operation and exchange disagree";
    if (is_busy && FindExchange(client->exchange->id) != client->exchange)
      return "a client is busy with a dead exchange";
  }
  if (waiting != line_.size()) return absl::StrCat("line of ", line_.size(), ", ", waiting, " clients wait");
  if (receivers != receiver_count_)
    return absl::StrCat(receiver_count_, " receivers counted, ", receivers, " are there");
  const auto is_younger = [](const Exchange& a, const Exchange& b) { return a.arrival > b.arrival; };
  if (std::adjacent_find(queue_.begin(), queue_.end(), is_younger) != queue_.end()) return "the queue is out of order";
  size_t queued = 0;
  size_t bytes = 0;
  for (const Exchange* const exchange : exchanges_.All()) {
    if (exchange->channel != this) return "an exchange is indexed under another channel";
    if (FindExchange(exchange->id) != exchange) return "two exchanges bear the same id";
    if (exchange->sender == nullptr || exchange->sender->exchange != exchange ||
        exchange->sender->operation != Operation::kSending) {
      return "an exchange without its sender";
    }
    if (exchange->is_queued() == exchange->is_assigned()) return "an exchange is both queued and assigned, or neither";
    if (exchange->is_queued()) {
      ++queued;
      bytes += exchange->queued_bytes;
    } else if (exchange->receiver->exchange != exchange || exchange->receiver->operation != Operation::kReceiving) {
      return "an assigned exchange whose receiver does something else";
    }
  }
  if (queued != queue_.size()) return absl::StrCat("queue of ", queue_.size(), ", ", queued, " exchanges are queued");
  if (bytes != queue_bytes_) return absl::StrCat(queue_bytes_, " queued bytes counted, ", bytes, " are there");
  return "";
}

}  // namespace relay::registry

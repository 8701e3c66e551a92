// The ends of exchanges, each told to whoever is left to hear it.

#include <algorithm>
#include <utility>

#include "proto/messages.h"
#include "proto/utf8.h"
#include "server/exchanges.h"

namespace relay::server {

using proto::Frame;

namespace {

// Of what a RESET says and the other side is told: a line or two for people, and never more than a frame takes.
constexpr size_t kMaxWordsBytes = 1024;

}  // namespace

End Exchanges::OnReset(Session& session, Client* client, Frame frame) {
  if (frame.id() == proto::kNilUuid) return End::kBadHeader;
  session.reset_tokens -= 1;
  Exchange* const exchange = LiveExchange(client, frame);
  if (exchange == nullptr) {
    ++metrics_.late_frames;
    return End::kNone;
  }
  v1::Reset reset;
  if (!proto::ParseMessage(frame.payload_text(), reset)) return End::kMalformed;
  const std::string_view words = proto::Shortened(reset.status().message(), kMaxWordsBytes);
  if (client->operation == registry::Operation::kSending) {
    if (exchange->is_assigned()) ResetReceiver(*exchange, StatusOf(End::kSenderReset, words, /*may_have_run=*/true));
    EndExchange(*exchange, End::kSenderReset);
    return End::kNone;
  }
  v1::Status status = StatusOf(End::kReceiverReset, words, /*may_have_run=*/true);
  const absl::StatusCode code = proto::CodeFromWire(reset.status().code());
  if (code != absl::StatusCode::kOk) status.set_code(static_cast<uint32_t>(code));
  status.set_retry_after_ms(reset.status().retry_after_ms());
  LoseReceiver(*exchange, End::kReceiverReset, std::move(status), reset.requeue());
  HandOutGivenBack();
  return End::kNone;
}

void Exchanges::LoseReceiver(Exchange& exchange, End end, v1::Status status, bool may_requeue) {
  if (!may_requeue || !IsRedeliverable(exchange)) {
    ResetSender(exchange, std::move(status));
    EndExchange(exchange, end);
    return;
  }
  Session& left = *exchange.receiving_client()->session;
  --left.exchanges;
  effects_.Touch(left);
  exchange.withheld_window = 0;
  exchange.response_window_owed.unlink();
  exchange.channel->Requeue(exchange);
  if (exchange.channel->queue_count() == 1) exchange.channel->pace().Begin(TimeOf(now_));
  given_back_to_.push_back(exchange.channel);
}

void Exchanges::HandOutGivenBack() {
  // Who is given much on one channel is passed over on the next, so their order is to depend on nothing else.
  std::sort(given_back_to_.begin(), given_back_to_.end(),
            [](const registry::Channel* a, const registry::Channel* b) { return a->id() < b->id(); });
  for (registry::Channel* const channel : given_back_to_) {
    while (channel->first_in_line() != nullptr) {
      Exchange* const oldest = OldestInTime(*channel);
      if (oldest == nullptr) break;
      Client* const receiver = NextReceiver(*channel);
      if (receiver == nullptr) break;
      HandOutHeld(*oldest, *receiver);
    }
  }
  given_back_to_.clear();
}

void Exchanges::TimeOver(Exchange& exchange) {
  ResetBoth(exchange, End::kDeadline,
            exchange.is_assigned() ? "the request's time has passed, a receiver works on it"
                                   : "the request's time has passed, no receiver took it");
}

void Exchanges::Abandon(Client& client) {
  switch (client.operation) {
    case registry::Operation::kIdle:
      return;
    case registry::Operation::kWaiting:
      StopWaiting(client);
      return;
    case registry::Operation::kSending: {
      auto& exchange = static_cast<Exchange&>(*client.exchange);
      if (exchange.is_assigned()) ResetReceiver(exchange, StatusOf(End::kSenderLost, {}, /*may_have_run=*/true));
      EndExchange(exchange, End::kSenderLost);
      return;
    }
    case registry::Operation::kReceiving:
      LoseReceiver(static_cast<Exchange&>(*client.exchange), End::kReceiverLost,
                   StatusOf(End::kReceiverLost, {}, /*may_have_run=*/true), /*may_requeue=*/true);
      return;
  }
}

void Exchanges::Drain(Client& client) {
  if (client.operation == registry::Operation::kWaiting) StopWaiting(client);
  if (client.exchange != nullptr && !client.exchange->is_assigned()) {
    ResetBoth(static_cast<Exchange&>(*client.exchange), End::kStopping);
  }
}

void Exchanges::Stop(Client& client) {
  if (client.operation == registry::Operation::kWaiting) StopWaiting(client);
  if (client.exchange != nullptr) ResetBoth(static_cast<Exchange&>(*client.exchange), End::kStopping);
}

void Exchanges::Fault(Exchange& exchange, Session& from, End end) {
  from.DrawError();
  Effects::CountOwed(from);
  effects_.Note({Notice::Level::kDebug, "exchange_end", from.id, from.peer, end, proto::ToString(exchange.id)});
  ResetBoth(exchange, end);
}

void Exchanges::ResetBoth(Exchange& exchange, End end, std::string_view words) {
  const v1::Status status = StatusOf(end, words, /*may_have_run=*/exchange.attempt > 0);
  ResetSender(exchange, status);
  if (exchange.is_assigned()) ResetReceiver(exchange, status);
  EndExchange(exchange, end);
}

void Exchanges::ResetSender(const Exchange& exchange, v1::Status status) {
  const Client& sender = *exchange.sending_client();
  effects_.SendReset(*sender.session, sender.slot, exchange.id, std::move(status));
}

void Exchanges::ResetReceiver(const Exchange& exchange, v1::Status status) {
  const Client& receiver = *exchange.receiving_client();
  effects_.SendReset(*receiver.session, receiver.slot, exchange.id, std::move(status));
}

void Exchanges::EndExchange(Exchange& exchange, End end) {
  metrics_.Count(end);
  ++metrics_.requests_ended;
  --metrics_.exchanges_live;
  for (const registry::Client* const side : {exchange.sender, exchange.receiver}) {
    if (side == nullptr) continue;
    Session& session = *static_cast<const Client*>(side)->session;
    --session.exchanges;
    if (session.is_leaving || !is_admitting_) effects_.Touch(session);
  }
  if (!exchange.held.empty()) metrics_.held_bytes -= exchange.held.size();
  if (exchange.is_queued()) exchange.channel->pace().Left(TimeOf(now_));
  exchange.channel->End(exchange);
  pool_.Free(exchange);
}

}  // namespace relay::server

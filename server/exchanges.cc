#include "server/exchanges.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "proto/start_block.h"

namespace relay::server {
namespace {

using proto::Frame;
using proto::FrameType;
namespace flag = proto::flag;
using std::chrono::milliseconds;

}  // namespace

// ---- Requests ------------------------------------------------------------------------------------------------------

End Exchanges::OnStart(Session& session, Client* client, Frame frame) {
  if (frame.has(flag::kRequest)) return OnRequest(session, client, frame);
  const bool receives = frame.has(flag::kReceive);
  const uint16_t slot = frame.slot();
  Exchange* const exchange = LiveExchange(client, frame);
  End end = End::kNone;
  if (exchange != nullptr && client->operation == registry::Operation::kReceiving) {
    end = OnResponse(*client, *exchange, frame);
  } else {
    ++metrics_.late_frames;
  }
  if (end == End::kNone && receives) BeginReceive(session, client, slot, std::nullopt);
  return end;
}

End Exchanges::OnRequest(Session& session, Client* client, Frame frame) {
  if (proto::CheckStart(frame.payload(), /*is_response=*/false) != proto::StartFault::kNone) return End::kBadStart;
  ++metrics_.requests_offered;
  const proto::Uuid id = frame.id();
  const auto refuse = [&](End end, uint32_t retry_after_ms = 0) {
    ++metrics_.requests_refused;
    effects_.Refuse(session, frame.slot(), id, end, retry_after_ms);
    return End::kNone;
  };
  if (client == nullptr) return refuse(NotJoined());
  registry::Channel& channel = *client->channel;
  if (registry::Exchange* const live = channel.FindExchange(id); live != nullptr) {
    if (live->sender != client) return refuse(End::kIdLive);
    ++metrics_.requests_refused;
    Fault(static_cast<Exchange&>(*live), session, End::kSecondStart);
    return End::kNone;
  }
  if (client->operation != registry::Operation::kIdle) return refuse(End::kSlotBusy);
  if (session.is_leaving) return refuse(End::kConnectionLeaving);
  if (!is_admitting_) return refuse(End::kStopping);
  if (is_short_of_memory_) return refuse(End::kMemory);
  const proto::StartBlock block(frame.payload());
  if (block.start_bytes() > limits_.max_start_bytes) return refuse(End::kStartTooLarge);
  const uint64_t cost = proto::StartCost(block.body().size());
  if (cost > limits_.initial_window_bytes) return refuse(End::kWindowOverrun);
  if (frame.has(flag::kRequireReceiver) && channel.receiver_count() == 0) return refuse(End::kNoReceiver);
  Client* const receiver = NextReceiver(channel);
  if (receiver == nullptr) {
    const size_t bytes = frame.bytes().size();
    if (const End full = QueueRefusal(channel, bytes); full != End::kNone) {
      return refuse(full, RetryAfterMs(channel, full, bytes));
    }
  }

  ++metrics_.requests_accepted;
  ++metrics_.exchanges_live;
  ++session.exchanges;
  Exchange& exchange = pool_.New(id, limits_.initial_window_bytes);
  exchange.may_move = frame.has(flag::kIdempotent);
  exchange.request.has_started = true;
  exchange.request.has_ended = frame.has(flag::kFin);
  exchange.request.cost = cost;
  exchange.read_at = now_;
  exchange.ends_at = exchange.extends_to = now_ + max_request_time_;
  if (block.timeout_ms() == 0) {
    wheel_.Append(exchange.deadline, exchange.ends_at);
  } else {
    exchange.has_timeout = true;
    exchange.ends_at = std::min(exchange.ends_at, now_ + milliseconds(block.timeout_ms()));
    exchange.extends_to = std::min(exchange.extends_to, now_ + milliseconds(block.max_extension_ms()));
    wheel_.Set(exchange.deadline, exchange.ends_at);
  }
  channel.Begin(exchange, *client);
  if (receiver == nullptr) {
    Hold(exchange, frame);
    channel.Enqueue(exchange);
    if (channel.queue_count() == 1) channel.pace().Begin(TimeOf(now_));
    return End::kNone;
  }
  channel.Assign(exchange, *receiver);
  KeepOrStop(exchange, frame);
  HandOut(exchange, *receiver, frame.bytes());
  return End::kNone;
}

End Exchanges::QueueRefusal(const registry::Channel& channel, size_t bytes) const {
  if (channel.queue_count() >= limits_.queue_count) return End::kQueueCount;
  if (channel.queue_bytes() + bytes > limits_.queue_bytes) return End::kQueueBytes;
  if (metrics_.held_bytes + bytes > limits_.queue_bytes_total) return End::kQueueBytesTotal;
  return End::kNone;
}

uint32_t Exchanges::RetryAfterMs(registry::Channel& channel, End bound, size_t bytes) {
  const size_t queued = channel.queue_count();
  if (queued == 0 || bytes > limits_.queue_bytes) return 0;
  size_t places = 1;
  if (bound != End::kQueueCount) places = bytes / std::max<size_t>(1, channel.queue_bytes() / queued) + 1;
  const absl::Duration after = channel.pace().RetryAfter(std::min(places, queued), queued, TimeOf(now_));
  if (after == absl::ZeroDuration()) return 0;
  return MillisecondsUp(NanosecondsOf(after));
}

// ---- What follows a START ------------------------------------------------------------------------------------------

End Exchanges::OnResponse(Client& client, Exchange& exchange, Frame frame) {
  if (proto::CheckStart(frame.payload(), /*is_response=*/true) != proto::StartFault::kNone) return End::kBadStart;
  Session& session = *client.session;
  proto::StartBlock block(frame.payload());
  Stream& stream = exchange.response;
  if (stream.has_started) {
    Fault(exchange, session, End::kSecondStart);
  } else if (block.start_bytes() > limits_.max_start_bytes) {
    Fault(exchange, session, End::kStartTooLarge);
  } else {
    stream.has_started = true;
    if (!Admit(exchange, session, stream, proto::StartCost(block.body().size()))) return End::kNone;
    StopKeeping(exchange);
    block.set_other_client(client.id);
    block.set_queue_wait_us(exchange.queue_wait_us);
    block.set_attempt(exchange.attempt);
    PassResponse(exchange, frame);
  }
  return End::kNone;
}

void Exchanges::OnBody(Session& session, Client* client, Frame frame) {
  const bool receives = frame.has(flag::kReceive);
  const uint16_t slot = frame.slot();
  Exchange* const exchange = LiveExchange(client, frame);
  const bool is_request = frame.has(flag::kRequest);
  if (exchange == nullptr || (client->operation == registry::Operation::kSending) != is_request) {
    ++metrics_.late_frames;
  } else {
    Stream& stream = is_request ? exchange->request : exchange->response;
    const bool is_end = frame.type() == FrameType::kEnd;
    if (is_end && frame.payload().size() > limits_.max_start_bytes) {
      Fault(*exchange, session, End::kEndTooLarge);
    } else if (Admit(*exchange, session, stream, is_end ? 0 : proto::ChunkCost(frame.payload().size()))) {
      if (is_request) {
        stream.has_ended = is_end || frame.has(flag::kFin);
        PassRequest(*exchange, frame);
      } else {
        PassResponse(*exchange, frame);
      }
    }
  }
  if (receives) BeginReceive(session, client, slot, std::nullopt);
}

bool Exchanges::Admit(Exchange& exchange, Session& from, Stream& stream, uint64_t cost) {
  End fault = End::kNone;
  if (!stream.has_started) {
    fault = End::kNotStarted;
  } else if (stream.has_ended) {
    fault = End::kAfterEnd;
  } else if (cost > stream.window - stream.cost) {
    fault = End::kWindowOverrun;
  }
  if (fault != End::kNone) {
    Fault(exchange, from, fault);
    return false;
  }
  stream.cost += cost;
  return true;
}

void Exchanges::PassRequest(Exchange& exchange, Frame frame) {
  if (!exchange.is_assigned()) {
    Hold(exchange, frame);
    Shed(*exchange.channel);
    return;
  }
  KeepOrStop(exchange, frame);
  Client& receiver = *exchange.receiving_client();
  frame.set_slot(receiver.slot);
  effects_.Forward(*receiver.session, frame);
}

void Exchanges::PassResponse(Exchange& exchange, Frame frame) {
  Client& sender = *exchange.sending_client();
  const bool ends = frame.type() == FrameType::kEnd || frame.has(flag::kFin);
  frame.set_flags(frame.flags() & static_cast<uint8_t>(~flag::kReceive));
  frame.set_slot(sender.slot);
  effects_.Forward(*sender.session, frame);
  if (ends) EndExchange(exchange, End::kCompleted);
}

// ---- What is held --------------------------------------------------------------------------------------------------

void Exchanges::Hold(Exchange& exchange, Frame frame) {
  const std::span<const uint8_t> bytes = frame.bytes();
  exchange.held.insert(exchange.held.end(), bytes.begin(), bytes.end());
  exchange.channel->AddQueuedBytes(exchange, bytes.size());
  metrics_.held_bytes += bytes.size();
}

void Exchanges::Release(Exchange& exchange) {
  metrics_.held_bytes -= exchange.held.size();
  exchange.queued_bytes = 0;
  Bytes().swap(exchange.held);
}

void Exchanges::Shed(registry::Channel& channel) {
  while (registry::Exchange* const youngest = channel.youngest()) {
    End end = End::kNone;
    if (channel.queue_bytes() > limits_.queue_bytes) end = End::kQueueBytes;
    if (metrics_.held_bytes > limits_.queue_bytes_total) end = End::kQueueBytesTotal;
    if (end == End::kNone) return;
    auto& exchange = static_cast<Exchange&>(*youngest);
    v1::Status status = StatusOf(end, {}, /*may_have_run=*/exchange.attempt > 0);
    status.set_retry_after_ms(RetryAfterMs(channel, end, exchange.queued_bytes));
    ResetSender(exchange, std::move(status));
    EndExchange(exchange, end);
  }
}

bool Exchanges::IsRedeliverable(const Exchange& exchange) const {
  return is_admitting_ && exchange.may_move && !exchange.response.has_started && exchange.attempt < limits_.attempts &&
         exchange.request.cost <= limits_.initial_window_bytes / 2;
}

void Exchanges::KeepOrStop(Exchange& exchange, Frame frame) {
  if (metrics_.held_bytes + frame.bytes().size() > limits_.queue_bytes_total) exchange.may_move = false;
  if (IsRedeliverable(exchange)) {
    Hold(exchange, frame);
  } else {
    StopKeeping(exchange);
  }
}

void Exchanges::StopKeeping(Exchange& exchange) {
  if (!exchange.held.empty()) Release(exchange);
  if (exchange.withheld_window > exchange.request.window) {
    exchange.request.window = exchange.withheld_window;
    TellWindow(exchange, flag::kRequest);
  }
}

// ---- Handing out ---------------------------------------------------------------------------------------------------

void Exchanges::PassOver(Client& client) {
  ++metrics_.passed_over;
  client.channel->PassOver(client);
  Session& session = *client.session;
  session.passed_over.push_back(client);
  GoOnLater(session);
}

void Exchanges::GoOn(Session& session) {
  while (!session.passed_over.empty() && !IsBehind(session)) {
    Client& client = session.passed_over.front();
    session.passed_over.pop_front();
    if (Exchange* const oldest = OldestInTime(*client.channel); oldest != nullptr) {
      HandOutHeld(*oldest, client);
    } else {
      client.channel->LineUp(client);
    }
  }
  GoOnLater(session);
}

void Exchanges::GoOnLater(Session& session) {
  const bool has_drained = OwedBytes(session) <= limits_.send_queue_mark_bytes;  // else it goes on when it has
  if (session.passed_over.empty() || session.goes_on.is_set() || !has_drained) return;
  wheel_.Set(session.goes_on, now_);
}

void Exchanges::HandOutHeld(Exchange& exchange, Client& receiver) {
  exchange.channel->pace().Left(TimeOf(now_));
  exchange.channel->Assign(exchange, receiver);
  receiver.session->given_bytes += exchange.held.size();
  Bytes frames;
  if (IsRedeliverable(exchange)) {
    frames = exchange.held;
  } else {
    frames.swap(exchange.held);
    metrics_.held_bytes -= frames.size();
    exchange.queued_bytes = 0;
  }
  HandOut(exchange, receiver, effects_.memory().Keep(std::move(frames)));
}

void Exchanges::HandOut(Exchange& exchange, Client& receiver, std::span<uint8_t> frames) {
  receiver.wait_over.Unset();
  ++receiver.session->exchanges;
  ++metrics_.assignments;
  if (exchange.attempt > 1) ++metrics_.redeliveries;
  exchange.queue_wait_us = SaturatedMicroseconds(now_ - exchange.read_at);
  proto::StartBlock block(frames.subspan(proto::kHeaderBytes));
  block.set_other_client(exchange.sender->id);
  block.set_timeout_ms(exchange.has_timeout ? MillisecondsUp(exchange.ends_at - now_) : 0);
  const bool may_extend = exchange.has_timeout && exchange.extends_to > exchange.ends_at;
  block.set_max_extension_ms(may_extend ? MillisecondsUp(exchange.extends_to - now_) : 0);
  block.set_queue_wait_us(exchange.queue_wait_us);
  block.set_attempt(exchange.attempt);
  for (std::span<uint8_t> rest = frames; !rest.empty();) {
    const size_t bytes = proto::kHeaderBytes + proto::LoadBig<uint32_t>(rest.data());
    Frame(rest.first(bytes)).set_slot(receiver.slot);
    ++metrics_.frames_forwarded;
    rest = rest.subspan(bytes);
  }
  effects_.Write(*receiver.session, frames);
  if (exchange.response.window > limits_.initial_window_bytes) TellWindow(exchange, flag::kResponse);
}

void Exchanges::TellWindow(Exchange& exchange, uint8_t direction) {
  const bool is_request = direction == flag::kRequest;
  const Client& to = is_request ? *exchange.sending_client() : *exchange.receiving_client();
  Session& session = *to.session;
  OwedWindow& owed = is_request ? exchange.request_window_owed : exchange.response_window_owed;
  if (session.unsent_bytes > limits_.send_queue_mark_bytes) {
    if (!owed.is_linked()) session.owed_windows.push_back(owed);
    return;
  }
  uint8_t payload[sizeof(uint64_t)];
  proto::StoreBig<uint64_t>(payload, (is_request ? exchange.request : exchange.response).window);
  effects_.SendPayload(session, FrameType::kWindow, direction, to.slot, exchange.id, payload);
}

void Exchanges::SendOwedWindows(Session& session) {
  while (!session.owed_windows.empty() && session.unsent_bytes <= limits_.send_queue_mark_bytes) {
    const OwedWindow& owed = session.owed_windows.front();
    session.owed_windows.pop_front();
    TellWindow(*owed.exchange, owed.direction);
  }
}

End Exchanges::OnWindow(Client* client, Frame frame) {
  Exchange* const exchange = LiveExchange(client, frame);
  const bool is_request = frame.has(flag::kRequest);
  // The consuming side raises a window: the receiver that of the request, the sender that of the response.
  if (exchange == nullptr || (client->operation == registry::Operation::kReceiving) != is_request) {
    ++metrics_.late_frames;
    return End::kNone;
  }
  if (frame.payload().size() != sizeof(uint64_t)) return End::kMalformed;
  const uint64_t window = proto::LoadBig<uint64_t>(frame.payload().data());
  Stream& stream = is_request ? exchange->request : exchange->response;
  if (window > stream.cost + limits_.max_window_bytes) {
    Fault(*exchange, *client->session, End::kWindowTooFar);
    return End::kNone;
  }
  if (window <= std::max(stream.window, is_request ? exchange->withheld_window : 0)) {
    client->session->control_tokens -= Session::kSaysNothing;
    return End::kNone;
  }
  if (is_request && IsRedeliverable(*exchange)) {
    exchange->withheld_window = window;
    return End::kNone;
  }
  stream.window = window;
  if (is_request || exchange->is_assigned()) TellWindow(*exchange, is_request ? flag::kRequest : flag::kResponse);
  return End::kNone;
}

End Exchanges::OnExtend(Client* client, Frame frame) {
  Exchange* const exchange = LiveExchange(client, frame);
  if (exchange == nullptr || client->operation != registry::Operation::kReceiving) {
    ++metrics_.late_frames;
    return End::kNone;
  }
  if (frame.payload().size() != proto::kExtendBytes) return End::kMalformed;
  const milliseconds asked(proto::LoadBig<uint32_t>(frame.payload().data()));
  const Instant to = std::min(now_ + asked, exchange->extends_to);
  if (exchange->has_timeout && to > exchange->ends_at) {
    ++metrics_.extensions;
    exchange->ends_at = to;
    wheel_.Set(exchange->deadline, to);
  }
  uint8_t payload[proto::kExtendBytes];
  proto::StoreBig<uint32_t>(payload, exchange->has_timeout ? MillisecondsUp(exchange->ends_at - now_) : 0);
  Effects::CountOwed(*client->session);
  effects_.SendPayload(*client->session, FrameType::kExtend, 0, client->slot, exchange->id, payload);
  return End::kNone;
}

// ---- Waiting -------------------------------------------------------------------------------------------------------

End Exchanges::OnReceive(Session& session, Client* client, Frame frame) {
  v1::Receive receive;
  if (!proto::ParseMessage(frame.payload_text(), receive)) return End::kMalformed;
  if (!receive.withdraw() || client == nullptr) {
    BeginReceive(session, client, frame.slot(),
                 receive.has_wait_ms() ? std::optional<uint32_t>(receive.wait_ms()) : std::nullopt);
    return End::kNone;
  }
  session.control_tokens -= 1;
  if (client->operation == registry::Operation::kWaiting) StopWaiting(*client);
  v1::Receive echo;
  echo.set_withdraw(true);
  Effects::CountOwed(session);
  effects_.Send(session, FrameType::kReceive, client->slot, proto::kNilUuid, echo);
  return End::kNone;
}

void Exchanges::BeginReceive(Session& session, Client* client, uint16_t slot, std::optional<uint32_t> wait_ms) {
  End refusal = End::kNone;
  if (client == nullptr) {
    refusal = NotJoined();
  } else if (client->operation != registry::Operation::kIdle) {
    refusal = End::kSlotBusy;
  } else if (session.is_leaving) {
    refusal = End::kConnectionLeaving;
  } else if (!is_admitting_) {
    refusal = End::kStopping;
  }
  if (refusal != End::kNone) {
    effects_.Refuse(session, slot, proto::kNilUuid, refusal);
    return;
  }
  registry::Channel& channel = *client->channel;
  channel.NoteReceiver(*client);
  // Those who were passed over come first.
  if (!session.passed_over.empty()) GoOn(session);
  if (Exchange* const oldest = OldestInTime(channel); oldest == nullptr) {
    channel.Wait(*client);
  } else if (IsBehind(session)) [[unlikely]] {
    PassOver(*client);
  } else {
    HandOutHeld(*oldest, *client);
    return;
  }
  if (!wait_ms.has_value()) return;
  if (*wait_ms == 0) {
    session.control_tokens -= 1;
    WaitOver(*client);
  } else {
    wheel_.Set(client->wait_over, now_ + milliseconds(*wait_ms));
  }
}

void Exchanges::WaitOver(Client& client) {
  StopWaiting(client);
  Effects::CountOwed(*client.session);
  effects_.SendPayload(*client.session, FrameType::kReceive, 0, client.slot, proto::kNilUuid, {});
}

void Exchanges::StopWaiting(Client& client) {
  client.wait_over.Unset();
  client.passed_over_hook.unlink();
  client.channel->StopWaiting(client);
}

}  // namespace relay::server

#include "tools/inspect/exchange_log.h"

#include <algorithm>
#include <vector>

namespace relay::inspect {
namespace {

using proto::FrameType;
using Gone = Connection::Gone;
namespace flag = proto::flag;

// What a stream that stands still has left at the most: not even a CHUNK of one byte fits.
constexpr uint64_t kStalledBytes = proto::kChunkOverheadBytes;

// So many marks, whatever passes: every second one goes when there is no more room.
template <typename Mark>
void AddMark(std::vector<Mark>& marks, const Mark& mark) {
  marks.push_back(mark);
  if (marks.size() < Exchange::kMostMarks) return;
  size_t kept = 0;
  for (size_t i = 1; i < marks.size(); i += 2) marks[kept++] = marks[i];
  marks.resize(kept);
}

// Its receiver is no longer at it.
void EndAttempt(Exchange& exchange, Attempt::End how, absl::Time at) {
  if (exchange.attempts.empty() || exchange.attempts.back().end != Attempt::End::kNone) return;
  exchange.attempts.back().end = how;
  exchange.attempts.back().ended = at;
}

// Whether the server let it wait for a receiver until it ended, and handed it to none.
bool HasOnlyWaited(const Exchange& exchange) {
  return exchange.sender_seen && !exchange.queue_wait.has_value() && exchange.attempt == 0 &&
         exchange.attempts.empty() && !exchange.may_have_run.value_or(false) &&
         (exchange.end == "deadline" || exchange.end == "stopping");
}

void SetEnd(Exchange& exchange, const v1::Status& status) {
  exchange.code = status.code();
  exchange.end = status.end();
  exchange.message = status.message();
  exchange.may_have_run = status.may_have_run();
}

bool HasBlock(const SeenFrame& start) { return start.payload.size() >= proto::kStartBlockBytes; }

// How long it stood in the queue, of the time that the server says: it counts from the first START on. Nothing where
// not every attempt was seen.
std::optional<absl::Duration> QueuedTime(const Exchange& exchange) {
  if (!exchange.queue_wait.has_value() || exchange.attempt <= 1) return exchange.queue_wait;
  if (exchange.attempts.size() != exchange.attempt) return std::nullopt;
  absl::Duration held;
  for (size_t i = 0; i + 1 < exchange.attempts.size(); ++i) {
    const Attempt& attempt = exchange.attempts[i];
    if (attempt.end == Attempt::End::kNone) return std::nullopt;
    held += attempt.ended - attempt.at;
  }
  return std::max(absl::ZeroDuration(), *exchange.queue_wait - held);
}

bool IsOf(const SeenFrame& frame, Side side) { return frame.side == side; }

}  // namespace

void ExchangeLog::OnFrame(const SeenFrame& frame) {
  if (frame.side == Side::kNone || frame.request() == proto::kNilUuid) return;
  if (frame.is_late && !frame.begins) return;
  Live* known = Find(frame.channel, frame.header.id());
  // A slot that nobody joined is on no channel.
  if (known != nullptr && known->channel != frame.channel && frame.rule != Rule::kNone) known = nullptr;
  if (known != nullptr && known->sender_gone_at.has_value() && frame.begins && IsOf(frame, Side::kSender)) {
    EndHold(*known);  // the id again
    known = nullptr;
  }
  if (known != nullptr && IsSecondLeg(*known, frame)) return;
  const bool may_enter = frame.begins || (!frame.in_order && frame.rule == Rule::kNone);
  if (!may_enter && known == nullptr) return LeaveOut(frame);
  Live& exchange = known != nullptr ? *known : Enter(frame);
  if (exchange.channel == proto::kNilUuid) exchange.channel = frame.channel;
  if (exchange.channel_name.empty()) exchange.channel_name = frame.channel_name;
  (frame.side == Side::kSender ? exchange.sender_at : exchange.receiver_at) = frame.connection;
  if (frame.rule != Rule::kNone) ++exchange.broken_rules;
  if (frame.begins) Begin(exchange, frame);
  if (frame.is_live) Count(exchange, frame);
  if (!frame.ends) return;
  const bool is_readable = frame.content->state == Payload::State::kParsed;
  const bool decides = frame.side == Side::kSender || !exchange.sender_seen;
  if (frame.is(FrameType::kReset)) {
    if (!decides) {
      const bool by_receiver = frame.direction == Direction::kToServer;
      EndAttempt(exchange, by_receiver ? Attempt::End::kGivenBack : Attempt::End::kTakenAway, frame.at);
      if (!by_receiver && exchange.is_held && is_readable) exchange.told_receiver = frame.content->reset.status();
      return EndHold(exchange);
    }
    exchange.code.reset();
    if (is_readable) SetEnd(exchange, frame.content->reset.status());
    const bool by_client = frame.direction == Direction::kToServer;
    if (by_client) exchange.may_have_run.reset();  // only the server can say that
    if (exchange.end.empty()) {
      exchange.end = !by_client ? "reset" : frame.side == Side::kSender ? "sender_reset" : "receiver_reset";
    }
    return End(exchange, frame.at);
  }
  if (frame.is(FrameType::kEnd)) {
    exchange.code.reset();
    if (is_readable) exchange.code = frame.content->end.status().code();
    exchange.message = frame.content->end.status().message();
  }
  if (!decides) return EndHold(exchange);
  exchange.end = "completed";
  End(exchange, frame.at);
}

void ExchangeLog::LeaveOut(const SeenFrame& frame) {
  if (frame.is_live || frame.rule != Rule::kNone) return;
  if (past_.Find(0, frame.header.id()) == History::Past::kEnded) return;
  past_.Add(0, frame.header.id(), History::Past::kEnded);
  ++left_out_;
}

ExchangeLog::Live* ExchangeLog::Find(const proto::Uuid& channel, const proto::Uuid& request) const {
  const auto found = live_.find(request);
  if (found == live_.end()) return nullptr;
  Live* any = nullptr;
  for (const std::unique_ptr<Live>& exchange : found->second) {
    if (exchange->channel == channel) return exchange.get();
    if (channel == proto::kNilUuid || exchange->channel == proto::kNilUuid) any = exchange.get();
  }
  return any;
}

proto::Uuid ExchangeLog::ChannelOf(const proto::Uuid& request) const {
  const Exchange* const exchange = Find(proto::kNilUuid, request);
  return exchange != nullptr ? exchange->channel : proto::kNilUuid;
}

ExchangeLog::Live& ExchangeLog::Enter(const SeenFrame& frame) {
  std::unique_ptr<Live>& entry = live_[frame.header.id()].emplace_back(std::make_unique<Live>());
  entry->request = frame.header.id();
  entry->first_frame = frame.number;
  entry->in_order = frame.in_order;
  if (frame.side == Side::kReceiver) entry->receiver = frame.client;
  return *entry;
}

bool ExchangeLog::IsSecondLeg(const Live& exchange, const SeenFrame& frame) {
  const ConnectionId seen_at = frame.side == Side::kSender ? exchange.sender_at : exchange.receiver_at;
  if (seen_at == 0 || seen_at == frame.connection) return false;
  const bool is_next_attempt = frame.begins && frame.side == Side::kReceiver &&
                               (!exchange.is_held || (HasBlock(frame) && frame.content->attempt != exchange.attempt));
  return !is_next_attempt;
}

void ExchangeLog::Begin(Live& exchange, const SeenFrame& frame) {
  const Payload& content = *frame.content;
  if (exchange.began == absl::InfinitePast()) exchange.began = frame.at;
  if (content.state == Payload::State::kParsed) {
    exchange.method = content.start.method();
    exchange.knows_method = true;
  }
  if (IsOf(frame, Side::kSender)) {
    exchange.sender_seen = true;
    exchange.began = frame.at;
    if (frame.client != proto::kNilUuid) exchange.sender = frame.client;
    if (HasBlock(frame)) exchange.timeout_ms = content.timeout_ms;
    return;
  }
  exchange.receiver_seen = exchange.is_held = true;
  exchange.told_receiver.reset();
  exchange.receiver = frame.client;
  if (HasBlock(frame)) {
    exchange.attempt = content.attempt;
    exchange.queue_wait = absl::Microseconds(content.queue_wait_us);
    if (exchange.sender == proto::kNilUuid) exchange.sender = content.other_client;
    if (!exchange.sender_seen) exchange.timeout_ms = content.timeout_ms;
  }
  if (exchange.attempts.size() < Exchange::kMostMarks) {
    exchange.attempts.push_back({content.attempt, frame.client, frame.at});
  }
}

void ExchangeLog::Count(Exchange& exchange, const SeenFrame& frame) {
  const FrameType type = frame.type();
  if (type != FrameType::kStart && type != FrameType::kChunk && type != FrameType::kEnd && type != FrameType::kWindow) {
    return;
  }
  const bool is_request = frame.header.has(flag::kRequest);
  Exchange::Stream& stream = is_request ? exchange.request_stream : exchange.response_stream;
  // Where both sides were seen, every frame passes twice: each stream is counted where its writer writes it.
  const Side writer = is_request ? Side::kSender : Side::kReceiver;
  const bool counts =
      frame.side == writer || !(writer == Side::kSender ? exchange.sender_seen : exchange.receiver_seen);
  if (type == FrameType::kStart && !HasBlock(frame)) exchange.has_missed = true;  // nobody knows how much body it has
  if (type == FrameType::kStart && !is_request && frame.direction == Direction::kToClient && HasBlock(frame)) {
    exchange.attempt = frame.content->attempt;
    exchange.queue_wait = absl::Microseconds(frame.content->queue_wait_us);
    if (exchange.receiver == proto::kNilUuid) exchange.receiver = frame.content->other_client;
    if (!exchange.attempts.empty()) exchange.attempts.back().receiver = exchange.receiver;
  }
  if (!counts) return;
  if (type == FrameType::kStart && !frame.begins && !is_request)
    stream = Exchange::Stream();  // of the attempt that answers
  NoteCredit(stream, frame);
  if (type == FrameType::kWindow) return;
  if (stream.first == absl::InfiniteFuture()) stream.first = frame.at;
  stream.last = std::max(stream.last, frame.at);
  ++stream.frames;
  stream.body_bytes += frame.content->body_bytes;
  if (frame.content->body_bytes > 0) AddMark(stream.body, {frame.at, stream.body_bytes});
  if (type == FrameType::kEnd || frame.header.has(flag::kFin)) stream.has_ended = true;
}

void ExchangeLog::NoteCredit(Exchange::Stream& stream, const SeenFrame& frame) {
  if (!frame.credit.has_value()) return;
  stream.window = std::max(stream.window, frame.credit->window);
  const bool has_ended = frame.is(FrameType::kEnd) || frame.header.has(flag::kFin);
  const bool stands = frame.credit->left() <= kStalledBytes && !has_ended && !stream.has_ended;
  const bool stood = !stream.stalls.empty() && stream.stalls.back().to == absl::InfiniteFuture();
  if (stands && !stood) {
    stream.stalls.push_back({frame.at, absl::InfiniteFuture()});
  } else if (!stands && stood) {
    Exchange::Stall& stall = stream.stalls.back();
    stall.to = frame.at;
    stream.stalled += stall.to - stall.from;
    if (stream.stalls.size() >= Exchange::kMostMarks) stream.stalls.pop_back();
  }
}

void ExchangeLog::OnAbandoned(ConnectionId connection, const proto::Uuid& channel, const proto::Uuid& request,
                              Side side, Gone gone, absl::Time at) {
  Live* const found = Find(channel, request);
  if (found == nullptr) return;
  Live& exchange = *found;
  if (!exchange.end.empty()) return;
  if ((side == Side::kSender ? exchange.sender_at : exchange.receiver_at) != connection) return;
  if (side == Side::kReceiver && exchange.sender_seen) {
    if (gone != Gone::kUnknown) EndAttempt(exchange, Attempt::End::kLost, at);
    return EndHold(exchange);
  }
  if (side == Side::kSender) {
    exchange.sender_gone_at = at;
    exchange.sender_gone = gone;
    // What the server tells the receiver comes next.
    if (!exchange.is_held) EndHold(exchange);
    return;
  }
  Settle(exchange);
  if (gone != Gone::kUnknown) {
    exchange.code = static_cast<uint32_t>(absl::StatusCode::kUnavailable);
    exchange.end = gone == Gone::kLeft ? "receiver_lost" : "connection_lost";
  }
  End(exchange, at);
}

void ExchangeLog::OnMissed(const proto::Uuid& channel, const proto::Uuid& request) {
  Live* const exchange = Find(channel, request);
  if (exchange == nullptr) return;
  exchange->has_missed = true;
  for (Exchange::Stream* const stream : {&exchange->request_stream, &exchange->response_stream}) {
    // Nobody knows until when it stood.
    if (!stream->stalls.empty() && stream->stalls.back().to == absl::InfiniteFuture()) stream->stalls.pop_back();
  }
}

void ExchangeLog::Settle(Live& exchange) {
  if (exchange.told_receiver.has_value()) return SetEnd(exchange, *exchange.told_receiver);
  const bool is_cut_off = exchange.sender_gone == Gone::kCutOff;
  exchange.end = is_cut_off ? "connection_lost" : exchange.sender_gone == Gone::kLeft ? "sender_lost" : "open";
  exchange.code = static_cast<uint32_t>(is_cut_off ? absl::StatusCode::kUnavailable : absl::StatusCode::kCancelled);
  exchange.message.clear();
}

void ExchangeLog::EndHold(Live& exchange) {
  exchange.is_held = false;
  if (!exchange.sender_gone_at.has_value()) return;
  Settle(exchange);
  End(exchange, *exchange.sender_gone_at);
}

void ExchangeLog::End(Exchange& exchange, absl::Time at) {
  if (exchange.in_order) Tell(exchange, at);
}

void ExchangeLog::Tell(Exchange& exchange, absl::Time at) {
  exchange.ended = at;
  exchange.queue_wait = QueuedTime(exchange);
  if (HasOnlyWaited(exchange) && exchange.began != absl::InfinitePast()) exchange.queue_wait = at - exchange.began;
  for (Exchange::Stream* const stream : {&exchange.request_stream, &exchange.response_stream}) {
    if (stream->stalls.empty() || stream->stalls.back().to != absl::InfiniteFuture()) continue;
    stream->stalls.back().to = at;
    stream->stalled += at - stream->stalls.back().from;
  }
  sink_.OnExchange(exchange);
  if (!exchange.sender_seen || !exchange.receiver_seen) past_.Add(0, exchange.request, History::Past::kEnded);
  const auto found = live_.find(exchange.request);
  std::erase_if(found->second, [&exchange](const auto& entry) { return entry.get() == &exchange; });
  if (found->second.empty()) live_.erase(found);
}

void ExchangeLog::Finish(absl::Time at) {
  std::vector<Live*> open;
  for (const auto& [request, exchanges] : live_) {
    for (const std::unique_ptr<Live>& exchange : exchanges) {
      // Of one that only WINDOW and RESET speak of, there is nothing to tell.
      const bool was_seen = exchange->request_stream.frames + exchange->response_stream.frames > 0;
      if (was_seen || exchange->in_order) {
        open.push_back(exchange.get());
      } else {
        ++left_out_;
      }
    }
  }
  std::sort(open.begin(), open.end(), [](const Exchange* a, const Exchange* b) {
    if (a->began != b->began) return a->began < b->began;
    return a->first_frame < b->first_frame;
  });
  for (Live* const exchange : open) {
    if (exchange->end.empty()) Settle(*exchange);
    Tell(*exchange, exchange->sender_gone_at.value_or(at));
  }
}

}  // namespace relay::inspect

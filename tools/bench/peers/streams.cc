#include "tools/bench/peers/streams.h"

#include <algorithm>

#include "proto/frame.h"

namespace relay::bench {
namespace {

// Of a body that is on its way and not yet back: what keeps the path full, and no buffer without bound.
constexpr uint64_t kMostUnderWay = 2 << 20;
constexpr size_t kMostOutputBytes = 4 * kChunkBytes;

}  // namespace

Streams::Streams(Wire& wire, size_t pairs) : wire_(wire), pairs_(pairs) {}

absl::Status Streams::Open(Load& load) { return wire_.Open(load, *this, pairs_); }

void Streams::AddPair(Socket& sender, Socket& receiver) {
  sender.set_index(requests_.size());
  receiver.set_index(requests_.size());
  Stream request;
  request.socket = &sender;
  request.pair = requests_.size();
  request.is_request = true;
  Stream response = request;
  response.socket = &receiver;
  response.is_request = false;
  requests_.push_back(request);
  responses_.push_back(response);
}

absl::Status Streams::Run(Load& load, uint64_t bytes) {
  body_bytes_ = bytes;
  for (size_t pair = 0; pair < pairs_; ++pair) {
    for (Stream* const stream : {&requests_[pair], &responses_[pair]}) {
      stream->has_begun = stream->has_ended = false;
      stream->to_send = stream->is_request ? bytes : 0;
      stream->sent = stream->received = stream->cost = stream->granted = 0;
    }
  }
  for (Stream& stream : requests_) Drive(load, stream);
  return load.PumpUntil([this, bytes] {
    return std::all_of(responses_.begin(), responses_.end(),
                       [this, bytes](const Stream& stream) { return wire_.IsOver(stream, bytes); });
  });
}

absl::Status Streams::OnInput(Load& load, Socket& socket) { return wire_.OnInput(load, *this, socket); }

absl::Status Streams::OnRoom(Load& load, Socket& socket) {
  Stream& stream = socket.side() == Side::kSender ? requests_[socket.index()] : responses_[socket.index()];
  // Room that was waited for may come between two rounds, when this one has not begun: a request begins in Run, a
  // response when its request has come.
  if (stream.has_begun) Drive(load, stream);
  return absl::OkStatus();
}

void Streams::OnBytes(Load& load, Stream& stream, size_t bytes) {
  stream.received += bytes;
  Stream& answer = responses_[stream.pair];
  if (stream.is_request) {
    answer.to_send = stream.received;
    Drive(load, answer);
  } else {
    Drive(load, requests_[stream.pair]);
  }
}

void Streams::Drive(Load& load, Stream& stream) {
  if (stream.has_ended || stream.socket->waits_for_room()) return;
  if (!stream.has_begun) {
    wire_.Begin(stream);
    stream.has_begun = true;
    load.HasOutput(*stream.socket);
  }
  const uint64_t back = responses_[stream.pair].received;
  while (stream.sent < stream.to_send && stream.socket->output().size() < kMostOutputBytes) {
    const size_t bytes = std::min<uint64_t>(kChunkBytes, stream.to_send - stream.sent);
    if (stream.is_request && stream.sent + bytes > back + kMostUnderWay) return;
    if (stream.cost + proto::ChunkCost(bytes) > stream.allowed) return;
    wire_.Append(stream, bytes);
    stream.sent += bytes;
    stream.cost += proto::ChunkCost(bytes);
    load.HasOutput(*stream.socket);
  }
  if (stream.sent < body_bytes_) return;
  wire_.End(stream);
  stream.has_ended = true;
  load.HasOutput(*stream.socket);
}

}  // namespace relay::bench

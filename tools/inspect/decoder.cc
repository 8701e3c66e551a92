#include "tools/inspect/decoder.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace relay::inspect {

// One direction of a connection.
class Decoder::Half : public FrameReader::Handler {
 public:
  Half(Decoder& decoder, Open& open, const Opening& opening, Direction direction);

  void Take(absl::Time at, std::span<const uint8_t> bytes) {
    place_.at = at;
    reader_.Take(bytes);
  }
  void Gap(absl::Time at, uint64_t bytes) {
    place_.at = at;
    reader_.Gap(bytes);
  }
  void Finish(absl::Time at) {
    place_.at = at;
    reader_.Finish();
  }
  FrameReader& reader() { return reader_; }
  const Place& place() const { return place_; }

  // Of the client on its slot, as far as the source knows it.
  void Show(const RawFrame& raw, const proto::Uuid& channel, const proto::Uuid& client);

  void OnPreface(uint64_t) override { decoder_.sink_.OnPreface(place_); }
  void OnRawFrame(const RawFrame& raw) override { Show(raw, proto::kNilUuid, proto::kNilUuid); }
  void OnDamage(const Damage& damage) override;
  void OnSkipped(const Skipped& skipped) override;
  void OnGap(uint64_t offset, uint64_t bytes) override;

  bool is_closed = false;

 private:
  Decoder& decoder_;
  Open& open_;
  Place place_;
  FrameReader reader_;
};

struct Decoder::Open {
  Open(Decoder& decoder, const Opening& opening)
      : state(
            opening, decoder.history_, decoder.names_,
            [&decoder, at = opening.connection](const proto::Uuid& channel, const proto::Uuid& request, Side side,
                                                Connection::Gone gone) {
              decoder.exchanges_.OnAbandoned(at, channel, request, side, gone, decoder.last_at_);
            },
            [&decoder](const proto::Uuid& channel, const proto::Uuid& request) {
              decoder.exchanges_.OnMissed(channel, request);
            }),
        to_server(decoder, *this, opening, Direction::kToServer),
        to_client(decoder, *this, opening, Direction::kToClient) {}

  Half& half(Direction direction) { return direction == Direction::kToServer ? to_server : to_client; }

  Connection state;
  Half to_server;
  Half to_client;
};

Decoder::Half::Half(Decoder& decoder, Open& open, const Opening& opening, Direction direction)
    : decoder_(decoder),
      open_(open),
      place_{opening.connection, direction, opening.at},
      reader_(direction, opening.from_start, decoder.resync_, *this) {}

void Decoder::Half::Show(const RawFrame& raw, const proto::Uuid& channel, const proto::Uuid& client) {
  SeenFrame frame;
  frame.channel = channel;
  frame.client = client;
  frame.connection = place_.connection;
  frame.direction = place_.direction;
  frame.at = place_.at;
  frame.offset = raw.offset;
  frame.header = proto::Frame(raw.header);
  frame.payload = raw.payload;
  frame.payload_bytes = raw.payload_bytes;
  if (frame.has_known_type()) {
    decoder_.payload_.Parse(frame.type(), frame.header.flags(), raw.payload, raw.payload_bytes,
                            place_.direction == Direction::kToClient);
    frame.content = &decoder_.payload_;
    HideSecret(frame.type(), raw.payload);
  }
  decoder_.Show(open_, frame);
}

void Decoder::Half::OnDamage(const Damage& damage) {
  ++decoder_.totals_.broken_rules;
  open_.state.LoseSight(place_.direction);
  decoder_.sink_.OnDamage(place_, damage);
}

void Decoder::Half::OnSkipped(const Skipped& skipped) {
  decoder_.totals_.skipped_bytes += skipped.bytes;
  if (skipped.why == Skipped::Why::kTruncated) {
    open_.state.EndSight(place_.direction);
  } else {
    open_.state.LoseSight(place_.direction);
  }
  decoder_.sink_.OnSkipped(place_, skipped);
}

void Decoder::Half::OnGap(uint64_t offset, uint64_t bytes) {
  ++decoder_.totals_.gaps;
  open_.state.LoseSight(place_.direction);
  decoder_.sink_.OnGap(place_, offset, bytes);
}

Decoder::Decoder(Sink& sink, bool resync) : sink_(sink), resync_(resync), exchanges_(sink) {}

Decoder::~Decoder() = default;

Decoder::Open& Decoder::Find(ConnectionId connection, absl::Time at) {
  const auto found = open_.find(connection);
  if (found != open_.end()) return *found->second;
  Opening opening;
  opening.connection = connection;
  opening.at = at;
  opening.from_start = false;
  OnOpen(opening);
  return *open_.find(connection)->second;
}

Decoder::Half& Decoder::HalfOf(ConnectionId connection, Direction direction, absl::Time at) {
  GoTo(at);
  return Find(connection, at).half(direction);
}

void Decoder::GoTo(absl::Time at) {
  if (last_at_ == absl::InfinitePast() && at != last_at_) sink_.OnBegin(at);
  last_at_ = at;
}

void Decoder::OnOpen(const Opening& opening) {
  if (open_.contains(opening.connection)) return;
  // A capture knows late which connections are relay's: this one may have begun before what was told of others.
  Opening told = opening;
  told.at = std::max(opening.at, last_at_);
  GoTo(told.at);
  open_.emplace(opening.connection, std::make_unique<Open>(*this, told));
  sink_.OnOpen(told);
}

void Decoder::OnBytes(const Piece& piece) {
  HalfOf(piece.connection, piece.direction, piece.at).Take(piece.at, piece.bytes);
}

void Decoder::OnGap(ConnectionId connection, Direction direction, absl::Time at, uint64_t bytes) {
  HalfOf(connection, direction, at).Gap(at, bytes);
}

void Decoder::OnFrame(const CutFrame& cut) {
  if (cut.header.size() != proto::kHeaderBytes) return;
  GoTo(cut.at);
  Open& open = Find(cut.connection, cut.at);
  std::vector<uint8_t> bytes(cut.header.begin(), cut.header.end());
  bytes.insert(bytes.end(), cut.payload.begin(), cut.payload.end());
  const auto payload_bytes = proto::LoadBig<uint32_t>(bytes.data());
  const size_t kept = std::min<size_t>(cut.payload.size(), payload_bytes);
  open.half(cut.direction).Finish(cut.at);
  const std::span<uint8_t> all(bytes);
  open.half(cut.direction)
      .Show({0, all.first(proto::kHeaderBytes), all.subspan(proto::kHeaderBytes, kept), payload_bytes}, cut.channel,
            cut.client);
}

void Decoder::OnLost(uint64_t frames, absl::Time at) {
  GoTo(at);
  totals_.lost_frames += frames;
  for (auto& [id, open] : open_) {
    for (const Direction direction : {Direction::kToServer, Direction::kToClient}) open->state.LoseSight(direction);
  }
  sink_.OnLost(frames, at);
}

void Decoder::OnClose(ConnectionId connection, Direction direction, absl::Time at) {
  const auto found = open_.find(connection);
  if (found == open_.end()) return;
  GoTo(at);
  Open& open = *found->second;
  Half& half = open.half(direction);
  if (std::exchange(half.is_closed, true)) return;
  half.Finish(at);
  sink_.OnClose(half.place());
  if (!open.to_server.is_closed || !open.to_client.is_closed) return;
  open.state.Close(/*client_first=*/direction == Direction::kToClient);
  open_.erase(found);
}

void Decoder::OnTick(absl::Time now) {
  last_tick_ = now;
  sink_.OnTick(now);
}

void Decoder::Show(Open& open, SeenFrame& frame) {
  frame.number = ++totals_.frames;
  open.state.Judge(frame);
  if (frame.rule != Rule::kNone) ++totals_.broken_rules;
  if (frame.is(proto::FrameType::kWelcome) && open.state.max_payload_bytes() != 0) {
    open.to_server.reader().set_max_payload_bytes(open.state.max_payload_bytes());
    open.to_client.reader().set_max_payload_bytes(open.state.max_payload_bytes());
  }
  const bool is_placed = frame.channel != proto::kNilUuid || frame.rule != Rule::kNone;
  if (frame.side != Side::kNone && !is_placed) FindChannel(open, frame);
  sink_.OnFrame(frame);
  exchanges_.OnFrame(frame);
}

void Decoder::FindChannel(Open& open, SeenFrame& frame) {
  frame.channel = exchanges_.ChannelOf(frame.request());
  frame.channel_name = names_.Find(frame.channel);
  if (frame.in_order) open.state.Know(frame.header.slot(), frame.channel);
}

absl::Status Decoder::Finish() {
  // In the order in which they were opened.
  std::vector<ConnectionId> ids;
  for (const auto& [id, open] : open_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  for (const ConnectionId id : ids) {
    Open& open = *open_.find(id)->second;
    for (Half* const half : {&open.to_server, &open.to_client}) half->Finish(half->place().at);
  }
  exchanges_.Finish(std::max(last_at_, last_tick_));
  totals_.left_out_exchanges = exchanges_.left_out();
  if (totals_.left_out_exchanges > 0) sink_.OnLeftOut(totals_.left_out_exchanges);
  return sink_.Finish();
}

}  // namespace relay::inspect

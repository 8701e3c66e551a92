#include "tools/inspect/tcp_assembly.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include "proto/frame.h"
#include "tools/inspect/pcapng_writer.h"

namespace relay::inspect {
namespace {

constexpr uint32_t kMostPlausiblePayloadBytes = 16 << 20;
constexpr int64_t kDuplicateSynBytes = 1 << 20;

// The position of `number` that is nearest to `near`.
uint64_t PositionOf(uint32_t number, uint64_t near) {
  return near + static_cast<uint64_t>(int64_t{static_cast<int32_t>(number - static_cast<uint32_t>(near))});
}

bool BeginsPreface(std::span<const uint8_t> bytes) {
  const size_t compared = std::min(bytes.size(), proto::kPreface.size());
  return std::equal(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(compared), proto::kPreface.begin());
}

// A header by whose looks nobody would doubt it.
bool BeginsFrame(std::span<const uint8_t> bytes) {
  if (bytes.size() < proto::kHeaderBytes) return false;
  std::array<uint8_t, proto::kHeaderBytes> header;
  std::copy_n(bytes.begin(), header.size(), header.begin());
  if (proto::LoadBig<uint32_t>(header.data()) > kMostPlausiblePayloadBytes) return false;
  const proto::Frame frame(header);
  return frame.has_known_type() && proto::CheckHeader(frame) == proto::HeaderFault::kNone;
}

}  // namespace

void TcpAssembly::Take(const Segment& segment) {
  ++packets_;
  now_ = segment.at;
  TakeInto(segment);
  TellLine();
  while (!line_.empty()) {
    const Waiting& first = line_.front();
    const bool was_read = first.connection->halves[first.from].acknowledged >= first.event.position;
    const bool is_old = packets_ - first.packet >= (was_read ? kReorderPackets : kPatiencePackets) ||
                        now_ - first.at >= (was_read ? kReorderTime : kPatienceTime);
    if (!is_old && held_bytes_ <= kMostHeldBytesInAll) break;
    GiveUpFirstHole();
  }
}

void TcpAssembly::TakeInto(const Segment& segment) {
  const bool is_first = segment.source < segment.target;
  const Key key = is_first ? Key(segment.source, segment.target) : Key(segment.target, segment.source);
  const size_t from = is_first ? 0 : 1;
  Shared connection = Find(key, segment);
  if (segment.has(tcp::kSyn)) {
    OnSyn(connection, from, segment);
    connection = Find(key, segment);  // another one, where the ports were used again
  }
  if (connection->state == State::kOther || connection->is_over()) return;
  Half& half = connection->halves[from];
  const uint32_t first = segment.number + (segment.has(tcp::kSyn) ? 1 : 0);
  // A probe of whether the other side is there repeats the number before its next one.
  const bool is_empty = segment.payload_bytes == 0 && !segment.has(tcp::kSyn) && !segment.has(tcp::kFin);
  if (!half.has_next && !is_empty) half.Begin(first);
  if (segment.has(tcp::kAck)) OnAcknowledged(connection, 1 - from, segment.acknowledged);
  const uint64_t position = PositionOf(first, half.next);
  const uint64_t end = position + segment.payload_bytes;
  if (segment.has(tcp::kReset)) return Close(connection, from);
  const bool ends = segment.has(tcp::kFin) && !half.has_fin;
  if (ends) {
    half.has_fin = true;
    half.fin = end;
  }
  if (segment.payload_bytes > 0) Take(connection, from, {What::kBytes, position, segment.payload, end});
  if (ends) Take(connection, from, {What::kEnd, end, {}, end});
}

void TcpAssembly::TakeLost(uint64_t frames, absl::Time at) {
  const Event event = {What::kLost, frames, {}, 0};
  if (line_.empty()) return tap_.OnLost(frames, at);
  line_.push_back({nullptr, 0, event, {}, packets_, at});
  held_bytes_ += kHeldOverheadBytes;
}

TcpAssembly::Shared TcpAssembly::Find(const Key& key, const Segment& segment) {
  const auto found = connections_.find(key);
  if (found != connections_.end()) {
    by_use_.splice(by_use_.end(), by_use_, found->second->place);
    return found->second;
  }
  if (connections_.size() >= kMostConnections) Remove(connections_.at(by_use_.front()->key));
  auto added = std::make_shared<Connection>();
  added->key = key;
  added->id = ++last_id_;
  added->began = segment.at;
  added->place = by_use_.insert(by_use_.end(), added.get());
  connections_.emplace(key, added);
  return added;
}

void TcpAssembly::OnSyn(const Shared& connection, size_t from, const Segment& segment) {
  const size_t client = segment.has(tcp::kAck) ? 1 - from : from;
  Half& half = connection->halves[from];
  const uint32_t first = segment.number + 1;
  const bool is_new = !half.has_next && connection->state == State::kUndecided;
  if (!is_new) {
    const auto behind = static_cast<int64_t>(half.next - PositionOf(first, half.next));
    const bool is_again = !connection->is_over() && behind >= 0 && behind < kDuplicateSynBytes;
    if (is_again || segment.has(tcp::kAck)) return;
    const Key key = connection->key;
    Remove(connection);
    OnSyn(Find(key, segment), from, segment);
    return;
  }
  connection->has_client = connection->from_start = true;
  connection->client = client;
  half.Begin(first);
}

void TcpAssembly::OnAcknowledged(const Shared& connection, size_t from, uint32_t number) {
  Half& half = connection->halves[from];
  if (!half.has_next) half.Begin(number);
  uint64_t position = PositionOf(number, half.next);
  if (half.has_fin) position = std::min(position, half.fin);
  half.acknowledged = std::max(half.acknowledged, position);
  Take(connection, from, {What::kAcknowledged, position, {}, position});
}

void TcpAssembly::Take(const Shared& connection, size_t from, const Event& event) {
  Half& half = connection->halves[from];
  if (half.is_closed || connection->state == State::kOther) return;
  if (event.end <= half.next && event.what != What::kEnd) return;  // sent again
  if (event.position >= half.next + kUnknownGapBytes) SkipTo(connection, from, event.position);
  if (half.is_closed) return;
  if (event.position > half.next) return Hold(connection, from, event);
  // What was read before it came has only been captured late.
  const bool was_read = !half.held.empty() && half.acknowledged > half.next;
  Pass(connection, from, event, was_read ? half.held.begin()->second : line_.end());
  PassHeld(connection, from);
}

void TcpAssembly::Pass(const Shared& connection, size_t from, const Event& event, Line::iterator place) {
  Half& half = connection->halves[from];
  if (line_.empty()) {
    OnPassed(*connection, from, event);
    return Tell(*connection, from, event, now_);
  }
  uint64_t packet = place == line_.end() ? packets_ : place->packet;
  absl::Time at = place == line_.end() ? now_ : place->at;
  if (half.has_last && half.last->packet > packet) {
    place = std::next(half.last);
    packet = half.last->packet;
    at = half.last->at;
  }
  half.last = Enter(connection, from, event, place);
  half.has_last = true;
  half.last->packet = packet;
  half.last->at = at;
  OnPassed(*connection, from, event);
}

void TcpAssembly::OnPassed(Connection& connection, size_t from, const Event& event) {
  Half& half = connection.halves[from];
  if (connection.state == State::kUndecided && !event.bytes.empty()) Decide(connection, from, event.bytes);
  half.next = std::max(half.next, event.end);
  if (event.what != What::kEnd) return;
  half.is_closed = true;
  DropHeld(half);  // nothing stands behind a FIN
}

TcpAssembly::Line::iterator TcpAssembly::Enter(const Shared& connection, size_t from, const Event& event,
                                               Line::iterator place) {
  const auto entered = line_.insert(place, {connection, from, event, {}, packets_, now_});
  entered->bytes.assign(event.bytes.begin(), event.bytes.end());
  entered->event.bytes = entered->bytes;
  held_bytes_ += entered->cost();
  return entered;
}

void TcpAssembly::Hold(const Shared& connection, size_t from, const Event& event) {
  Half& half = connection->halves[from];
  if (event.what == What::kAcknowledged && !half.held.empty()) {
    const auto last = std::prev(half.held.end());
    const Line::iterator waiting = last->second;
    if (waiting->event.end >= event.end) return;
    if (last->first.second == What::kAcknowledged) {
      half.held.erase(last);
      waiting->event = event;
      half.held.emplace(std::pair(event.position, event.what), waiting);
      return;
    }
  }
  const std::pair key(event.position, event.what);
  if (const auto found = half.held.find(key); found != half.held.end()) {
    if (found->second->event.end >= event.end) return;  // sent again
    Drop(half, found);
  }
  // It is not read before what stands behind it, nor told.
  const auto behind = half.held.upper_bound(key);
  const Line::iterator place = behind == half.held.end() ? line_.end() : behind->second;
  const Line::iterator entered = Enter(connection, from, event, place);
  if (place != line_.end()) {
    entered->packet = place->packet;
    entered->at = place->at;
  }
  entered->is_behind_hole = true;
  half.held.emplace(key, entered);
  half.held_bytes += entered->cost();
  while (half.held_bytes > kMostHeldBytes) GiveUpHole(connection, from);
}

void TcpAssembly::PassHeld(const Shared& connection, size_t from) {
  Half& half = connection->halves[from];
  while (!half.held.empty() && half.held.begin()->first.first <= half.next) {
    const Line::iterator held = half.held.begin()->second;
    half.held.erase(half.held.begin());
    half.held_bytes -= held->cost();
    held->is_behind_hole = false;
    if (half.has_last && half.last->packet > held->packet) {
      line_.splice(std::next(half.last), line_, held);
      held->packet = half.last->packet;
      held->at = half.last->at;
    }
    half.last = held;
    half.has_last = true;
    Event event = held->event;
    event.bytes = event.bytes.subspan(std::min<uint64_t>(event.bytes.size(), half.next - event.position));
    OnPassed(*connection, from, event);
  }
}

void TcpAssembly::SkipTo(const Shared& connection, size_t from, uint64_t position) {
  Half& half = connection->halves[from];
  while (!half.held.empty()) GiveUpHole(connection, from);
  if (half.is_closed) return;
  Pass(connection, from, {What::kSkip, position, {}, position}, line_.end());
}

void TcpAssembly::GiveUpHole(const Shared& connection, size_t from) {
  Half& half = connection->halves[from];
  half.next = half.held.begin()->first.first;
  PassHeld(connection, from);
  TellLine();
}

void TcpAssembly::TellLine() {
  while (!line_.empty() && !line_.front().is_behind_hole) {
    Line first;
    first.splice(first.begin(), line_, line_.begin());
    const Waiting& waiting = first.front();
    held_bytes_ -= waiting.cost();
    if (waiting.connection == nullptr) {
      tap_.OnLost(waiting.event.position, waiting.at);
      continue;
    }
    Half& half = waiting.connection->halves[waiting.from];
    if (half.has_last && half.last == first.begin()) half.has_last = false;
    Tell(*waiting.connection, waiting.from, waiting.event, waiting.at);
  }
}

void TcpAssembly::Tell(Connection& connection, size_t from, const Event& event, absl::Time at) {
  Half& half = connection.halves[from];
  if (event.what == What::kSkip) half.told = event.position;
  if (connection.state != State::kRelay) return;
  if (!std::exchange(connection.is_open, true)) Open(connection, at);
  const Direction direction = DirectionOf(connection, from);
  TellGap(connection, from, event.position, at);
  switch (event.what) {
    case What::kBytes: {
      const auto bytes = event.bytes.subspan(std::min<uint64_t>(event.bytes.size(), half.told - event.position));
      if (!bytes.empty()) tap_.OnBytes({connection.id, direction, at, bytes});
      half.told += bytes.size();
      return TellGap(connection, from, event.end, at);
    }
    case What::kSkip:
      return tap_.OnGap(connection.id, direction, at, 0);
    case What::kEnd:
      return tap_.OnClose(connection.id, direction, at);
    case What::kAcknowledged:
    case What::kLost:
      return;
  }
}

void TcpAssembly::TellGap(Connection& connection, size_t from, uint64_t position, absl::Time at) {
  Half& half = connection.halves[from];
  if (position <= half.told) return;
  tap_.OnGap(connection.id, DirectionOf(connection, from), at, position - half.told);
  half.told = position;
}

void TcpAssembly::Decide(Connection& connection, size_t from, std::span<const uint8_t> bytes) {
  const bool has_preface = BeginsPreface(bytes);
  const bool has_server = IsServer(connection, connection.key.first) || IsServer(connection, connection.key.second);
  const bool may_open = connection.has_client ? from == connection.client : true;
  if (!has_server && !(has_preface && may_open) && !BeginsFrame(bytes)) {
    connection.state = State::kOther;
    ++other_connections_;
    for (Half& half : connection.halves) DropHeld(half);
    return;
  }
  if (!connection.has_client) {
    connection.has_client = true;
    if (has_preface) {
      connection.client = from;
      connection.from_start = true;
    } else if (has_server) {
      connection.client = IsServer(connection, connection.key.first) ? 1 : 0;
    } else {
      connection.client = connection.key.first.port < connection.key.second.port ? 1 : 0;
    }
  }
  connection.state = State::kRelay;
  if (connection.from_start && servers_.size() < kMostServers) {
    servers_.insert(connection.client == 0 ? connection.key.second : connection.key.first);
  }
}

void TcpAssembly::Open(const Connection& connection, absl::Time at) {
  const std::array<Endpoint, 2> ends = {connection.key.first, connection.key.second};
  Opening opening;
  opening.connection = connection.id;
  opening.at = connection.began;
  opening.client = ToString(ends[connection.client]);
  opening.server = ToString(ends[1 - connection.client]);
  opening.from_start = connection.from_start;
  opening.in_order = at != absl::InfinitePast();  // no times: of a raw capture, written as packets
  tap_.OnOpen(opening);
}

void TcpAssembly::Drop(Half& half, Held::iterator held) {
  half.held_bytes -= held->second->cost();
  held_bytes_ -= held->second->cost();
  line_.erase(held->second);
  half.held.erase(held);
}

void TcpAssembly::DropHeld(Half& half) {
  while (!half.held.empty()) Drop(half, half.held.begin());
}

void TcpAssembly::Close(const Shared& connection, size_t first) {
  for (size_t from = 0; from < 2; ++from) {
    while (!connection->halves[from].held.empty()) GiveUpHole(connection, from);
  }
  for (const size_t from : {first, 1 - first}) {
    const Half& half = connection->halves[from];
    if (!half.is_closed) Pass(connection, from, {What::kEnd, half.next, {}, half.next}, line_.end());
  }
}

void TcpAssembly::Remove(Shared connection) {
  for (size_t from = 0; from < 2; ++from) SkipTo(connection, from, connection->halves[from].next);
  Close(connection, 0);
  by_use_.erase(connection->place);
  connections_.erase(connection->key);
}

void TcpAssembly::Finish() {
  while (!line_.empty()) GiveUpFirstHole();
}

}  // namespace relay::inspect

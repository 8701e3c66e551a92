#include "tools/inspect/tcp_assembly.h"

#include <algorithm>
#include <memory>
#include <string_view>

#include "proto/frame.h"
#include "tools/inspect/pcapng_writer.h"

namespace relay::inspect {
namespace {

constexpr uint64_t kHeldOverheadBytes = 96;  // a node of the map and what it holds
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
  const bool is_first = segment.source < segment.target;
  const Key key = is_first ? Key(segment.source, segment.target) : Key(segment.target, segment.source);
  const size_t from = is_first ? 0 : 1;
  Connection* connection = Find(key, segment);
  if (connection == nullptr) return;
  if (segment.has(tcp::kSyn)) {
    OnSyn(*connection, from, segment);
    connection = Find(key, segment);  // another one, where the ports were used again
  }
  if (connection->state == State::kOther || connection->state == State::kOver) return;
  Half& half = connection->halves[from];
  Half& other = connection->halves[1 - from];
  const uint32_t first = segment.number + (segment.has(tcp::kSyn) ? 1 : 0);
  if (!half.has_next) {
    half.has_next = true;
    half.next = (uint64_t{1} << 32) + first;
  }
  if (segment.has(tcp::kAck)) {
    if (!other.has_next) {
      other.has_next = true;
      other.next = (uint64_t{1} << 32) + segment.acknowledged;
    }
    other.acknowledged = std::max(other.acknowledged, PositionOf(segment.acknowledged, other.next));
    if (other.acknowledged >= other.next + kUnknownGapBytes) SkipTo(*connection, 1 - from, other.acknowledged);
  }
  const uint64_t position = PositionOf(first, half.next);
  const uint64_t end = position + segment.payload_bytes;
  if (segment.has(tcp::kReset)) return Close(*connection, from);
  if (segment.has(tcp::kFin) && !half.has_fin) {
    half.has_fin = true;
    half.fin = end;
    if (position >= half.next + kUnknownGapBytes) SkipTo(*connection, from, position);
  }
  if (segment.payload_bytes > 0) Take(*connection, from, position, segment.payload, end);
  if (connection->state == State::kOther) return;
  TellFin(*connection, from);
  if (connection->state != State::kOver) GiveUpOldHoles(*connection);
}

TcpAssembly::Connection* TcpAssembly::Find(const Key& key, const Segment& segment) {
  const auto found = connections_.find(key);
  if (found != connections_.end()) {
    Connection& connection = *found->second;
    by_use_.splice(by_use_.end(), by_use_, connection.place);
    return &connection;
  }
  // The last words of a connection that is over, or was before the capture began, open none.
  if (segment.payload_bytes == 0 && !segment.has(tcp::kSyn)) return nullptr;
  if (connections_.size() >= kMostConnections) Remove(*by_use_.front());
  auto added = std::make_unique<Connection>();
  added->key = key;
  added->id = ++last_id_;
  added->began = segment.at;
  added->place = by_use_.insert(by_use_.end(), added.get());
  return connections_.emplace(key, std::move(added)).first->second.get();
}

void TcpAssembly::OnSyn(Connection& connection, size_t from, const Segment& segment) {
  const size_t client = segment.has(tcp::kAck) ? 1 - from : from;
  Half& half = connection.halves[from];
  const uint32_t first = segment.number + 1;
  const bool is_new = !half.has_next && connection.state == State::kUndecided;
  if (!is_new) {
    const auto behind = static_cast<int64_t>(half.next - PositionOf(first, half.next));
    const bool is_again = connection.state != State::kOver && behind >= 0 && behind < kDuplicateSynBytes;
    if (is_again || segment.has(tcp::kAck)) return;
    const Key key = connection.key;
    Remove(connection);
    OnSyn(*Find(key, segment), from, segment);
    return;
  }
  connection.has_client = connection.from_start = true;
  connection.client = client;
  half.has_next = true;
  half.next = (uint64_t{1} << 32) + first;
}

void TcpAssembly::Take(Connection& connection, size_t from, uint64_t position, std::span<const uint8_t> bytes,
                       uint64_t end) {
  Half& half = connection.halves[from];
  if (end <= half.next || half.is_closed) return;  // sent again
  if (position >= half.next + kUnknownGapBytes) SkipTo(connection, from, position);
  if (position > half.next) {
    if (half.held.empty()) half.hole_since = packets_;
    Hold(half, position, bytes, end);
    while (half.held_bytes > kMostHeldBytes || (held_bytes_ > kMostHeldBytesInAll && !half.held.empty())) {
      GiveUpHole(connection, from);
    }
    return;
  }
  const size_t told_before = std::min<uint64_t>(bytes.size(), half.next - position);
  Tell(connection, from, bytes.subspan(told_before), end);
  TellHeld(connection, from);
}

void TcpAssembly::Tell(Connection& connection, size_t from, std::span<const uint8_t> bytes, uint64_t end) {
  Half& half = connection.halves[from];
  if (connection.state == State::kUndecided && !bytes.empty()) Decide(connection, from, bytes);
  const bool is_told = connection.state == State::kRelay;
  const Direction direction = DirectionOf(connection, from);
  if (is_told && !bytes.empty()) tap_.OnBytes({connection.id, direction, now_, bytes});
  half.next += bytes.size();
  if (half.next >= end) return;
  if (is_told) tap_.OnGap(connection.id, direction, now_, end - half.next);
  half.next = end;
}

void TcpAssembly::TellHeld(Connection& connection, size_t from) {
  Half& half = connection.halves[from];
  while (!half.held.empty() && half.held.begin()->first <= half.next) {
    const auto node = half.held.extract(half.held.begin());
    const Held& held = node.mapped();
    half.held_bytes -= held.bytes.size() + kHeldOverheadBytes;
    held_bytes_ -= held.bytes.size() + kHeldOverheadBytes;
    half.hole_since = packets_;
    if (held.end <= half.next) continue;
    const size_t told_before = std::min<uint64_t>(held.bytes.size(), half.next - node.key());
    Tell(connection, from, std::span(held.bytes).subspan(told_before), held.end);
  }
}

void TcpAssembly::SkipTo(Connection& connection, size_t from, uint64_t position) {
  Half& half = connection.halves[from];
  if (half.is_closed) return;
  while (!half.held.empty()) GiveUpHole(connection, from);
  if (connection.state == State::kRelay) tap_.OnGap(connection.id, DirectionOf(connection, from), now_, 0);
  half.next = position;
}

void TcpAssembly::GiveUpHole(Connection& connection, size_t from) {
  Half& half = connection.halves[from];
  const uint64_t behind = half.held.begin()->first;
  if (connection.state == State::kRelay) {
    tap_.OnGap(connection.id, DirectionOf(connection, from), now_, behind - half.next);
  }
  half.next = behind;
  TellHeld(connection, from);
}

void TcpAssembly::GiveUpOldHoles(Connection& connection) {
  for (size_t from = 0; from < 2; ++from) {
    Half& half = connection.halves[from];
    while (!half.held.empty()) {
      const uint64_t waited = packets_ - half.hole_since;
      const bool was_read = half.acknowledged >= half.held.begin()->first;
      if (waited < (was_read ? kReorderPackets : kPatiencePackets)) break;
      GiveUpHole(connection, from);
    }
    TellFin(connection, from);
  }
}

void TcpAssembly::TellFin(Connection& connection, size_t from) {
  Half& half = connection.halves[from];
  if (!half.has_fin || half.is_closed || half.next < half.fin || connection.state == State::kOver) return;
  half.is_closed = true;
  DropHeld(half);  // nothing stands behind a FIN
  if (connection.state == State::kRelay) tap_.OnClose(connection.id, DirectionOf(connection, from), now_);
  if (connection.halves[1 - from].is_closed) connection.state = State::kOver;
}

void TcpAssembly::Decide(Connection& connection, size_t from, std::span<const uint8_t> bytes) {
  const bool has_preface = BeginsPreface(bytes);
  const bool is_relay_port = connection.key.first.port == kRelayPort || connection.key.second.port == kRelayPort;
  const bool may_open = connection.has_client ? from == connection.client : true;
  if (!is_relay_port && !(has_preface && may_open) && !BeginsFrame(bytes)) {
    connection.state = State::kOther;
    ++other_connections_;
    for (Half& half : connection.halves) DropHeld(half);
    return;
  }
  const std::array<Endpoint, 2> ends = {connection.key.first, connection.key.second};
  if (!connection.has_client) {
    connection.has_client = true;
    if (has_preface) {
      connection.client = from;
      connection.from_start = true;
    } else if (is_relay_port) {
      connection.client = ends[0].port == kRelayPort ? 1 : 0;
    } else {
      connection.client = ends[0].port < ends[1].port ? 1 : 0;
    }
  }
  connection.state = State::kRelay;
  Opening opening;
  opening.connection = connection.id;
  opening.at = connection.began;
  opening.client = ToString(ends[connection.client]);
  opening.server = ToString(ends[1 - connection.client]);
  opening.from_start = connection.from_start;
  opening.in_order = now_ != absl::InfinitePast();  // no times: of a raw capture, written as packets
  tap_.OnOpen(opening);
}

void TcpAssembly::Hold(Half& half, uint64_t position, std::span<const uint8_t> bytes, uint64_t end) {
  const auto [place, is_new] = half.held.try_emplace(position, Held{{}, 0});
  Held& held = place->second;
  if (held.end >= end) return;  // sent again
  const size_t bytes_before = is_new ? 0 : held.bytes.size() + kHeldOverheadBytes;
  held.bytes.assign(bytes.begin(), bytes.end());
  held.end = end;
  half.held_bytes += held.bytes.size() + kHeldOverheadBytes - bytes_before;
  held_bytes_ += held.bytes.size() + kHeldOverheadBytes - bytes_before;
}

void TcpAssembly::DropHeld(Half& half) {
  held_bytes_ -= half.held_bytes;
  half.held_bytes = 0;
  half.held.clear();
}

void TcpAssembly::Close(Connection& connection, size_t first) {
  for (size_t from = 0; from < 2; ++from) {
    while (!connection.halves[from].held.empty()) GiveUpHole(connection, from);
  }
  for (const size_t from : {first, 1 - first}) {
    Half& half = connection.halves[from];
    if (connection.state == State::kRelay && !half.is_closed) {
      tap_.OnClose(connection.id, DirectionOf(connection, from), now_);
    }
    half.is_closed = true;
  }
  connection.state = State::kOver;
}

void TcpAssembly::Remove(Connection& connection) {
  for (size_t from = 0; from < 2 && connection.state == State::kRelay; ++from) {
    SkipTo(connection, from, connection.halves[from].next);
  }
  if (connection.state != State::kOver) Close(connection, 0);
  by_use_.erase(connection.place);
  const Key key = connection.key;
  connections_.erase(key);
}

void TcpAssembly::Finish() {
  std::vector<Connection*> open(by_use_.begin(), by_use_.end());
  std::sort(open.begin(), open.end(), [](const Connection* a, const Connection* b) { return a->id < b->id; });
  for (Connection* const connection : open) {
    for (size_t from = 0; from < 2; ++from) {
      while (!connection->halves[from].held.empty()) GiveUpHole(*connection, from);
      TellFin(*connection, from);
    }
  }
}

}  // namespace relay::inspect

// Channels and what is held for them: who is there, what queues, what is kept for another receiver, and when there will
// be room again.

#include <algorithm>
#include <utility>

#include "simulation/reference.h"

namespace relay::simulation {

using proto::Frame;
using proto::kNilUuid;
namespace flag = proto::flag;

// ---- Channels ------------------------------------------------------------------------------------------------------

Reference::Slot* Reference::FindClient(const proto::Uuid& channel, const proto::Uuid& client) {
  for (auto& [id, peer] : peers_) {
    for (auto& [number, slot] : peer.slots) {
      if (slot.channel == channel && slot.client == client) return &slot;
    }
  }
  return nullptr;
}

size_t Reference::CountClients() const {
  size_t clients = 0;
  for (const auto& [id, peer] : peers_) clients += peer.slots.size();
  return clients;
}

size_t Reference::CountChannels() const {
  std::vector<proto::Uuid> channels;
  for (const auto& [id, peer] : peers_) {
    for (const auto& [number, slot] : peer.slots) {
      if (std::find(channels.begin(), channels.end(), slot.channel) == channels.end()) channels.push_back(slot.channel);
    }
  }
  return channels.size();
}

bool Reference::HasReceiver(const proto::Uuid& channel) const {
  for (const auto& [id, peer] : peers_) {
    for (const auto& [number, slot] : peer.slots) {
      if (slot.channel == channel && slot.has_received) return true;
    }
  }
  return false;
}

std::vector<Reference::Request*> Reference::Queue(const proto::Uuid& channel) {
  std::vector<Request*> queue;
  for (auto at = requests_.lower_bound({channel, kNilUuid}); at != requests_.end() && at->first.first == channel;
       ++at) {
    if (at->second.receiver == nullptr) queue.push_back(&at->second);
  }
  std::sort(queue.begin(), queue.end(), [](const Request* a, const Request* b) { return a->arrival < b->arrival; });
  return queue;
}

bool Reference::HasClients(const proto::Uuid& channel) const {
  for (const auto& [id, peer] : peers_) {
    for (const auto& [number, slot] : peer.slots) {
      if (slot.channel == channel) return true;
    }
  }
  return false;
}

void Reference::Pace::Count(absl::Time now, uint64_t more_left) {
  left += more_left;
  time += now - since;
  since = now;
  if (time < absl::Seconds(1)) return;
  time_before = std::exchange(time, absl::ZeroDuration());
  left_before = std::exchange(left, 0);
}

void Reference::OnQueued(const Request& request) {
  // While the queue was empty, time said nothing.
  if (Queue(request.channel).size() == 1) paces_[request.channel].since = now_;
}

// Each that is turned away is promised places of its own, none of them later than all who queue now have left.
uint32_t Reference::RetryAfterMs(const proto::Uuid& channel, End bound, uint64_t bytes) {
  const std::vector<Request*> queue = Queue(channel);
  if (queue.empty() || bytes > limits_.queue_bytes) return 0;
  uint64_t queued_bytes = 0;
  for (const Request* const request : queue) queued_bytes += request->held_bytes();
  const uint64_t average = std::max<uint64_t>(1, queued_bytes / queue.size());
  const uint64_t places = bound == End::kQueueCount ? 1 : std::min<uint64_t>(queue.size(), bytes / average + 1);
  Pace& pace = paces_[channel];
  pace.Count(now_, 0);
  const bool is_first = pace.time_before == absl::ZeroDuration();
  const uint64_t left = std::max<uint64_t>(1, is_first ? pace.left : pace.left_before);
  const absl::Duration each = (is_first ? pace.time : pace.time_before) / static_cast<int64_t>(left);
  const absl::Time wanted = std::max(pace.promised, now_) + each * static_cast<int64_t>(places);
  pace.promised = std::min(wanted, now_ + each * static_cast<int64_t>(queue.size()));
  return pace.promised == now_ ? 0 : MillisecondsLeft(pace.promised);
}

bool Reference::OwesWindow(ConnectionId connection, uint16_t slot) {
  Peer* const peer = Find(connection);
  const Slot* const found = peer == nullptr ? nullptr : FindSlot(*peer, slot);
  return found != nullptr && found->doing == Doing::kReceiving && found->request->response_is_owed;
}

uint64_t Reference::RoomInQueue(const proto::Uuid& channel) {
  uint64_t queued = 0;
  for (const Request* const request : Queue(channel)) queued += request->held_bytes();
  return limits_.queue_bytes - std::min<uint64_t>(queued, limits_.queue_bytes);
}

uint64_t Reference::HeldBytes() const {
  uint64_t bytes = 0;
  for (const auto& [key, request] : requests_) bytes += request.held_bytes();
  return bytes;
}

// ---- Copies for another receiver, and the queue --------------------------------------------------------------------

bool Reference::MayMove(const Request& request) const {
  return request.may_move && !is_draining_ && !request.response.has_started && request.attempt < limits_.attempts &&
         request.request.cost <= limits_.initial_window_bytes / 2;
}

void Reference::Keep(Request& request, const Frame& frame) {
  if (HeldBytes() + frame.bytes().size() > limits_.queue_bytes_total) request.may_move = false;
  if (MayMove(request)) {
    request.held.push_back(BytesOf(frame));
  } else {
    StopKeeping(request);
  }
}

void Reference::StopKeeping(Request& request) {
  request.held.clear();
  if (request.withheld <= request.request.window) return;
  request.request.window = request.withheld;
  ++coverage_.windows_withheld;
  TellWindow(request, flag::kRequest);
}

void Reference::Shed(proto::Uuid channel) {
  for (;;) {
    const std::vector<Request*> queue = Queue(channel);
    uint64_t queued = 0;
    for (const Request* const request : queue) queued += request->held_bytes();
    End end = End::kNone;
    if (queued > limits_.queue_bytes) end = End::kQueueBytes;
    if (HeldBytes() > limits_.queue_bytes_total) end = End::kQueueBytesTotal;
    if (end == End::kNone || queue.empty()) return;
    ++coverage_.sheds;
    ResetBoth(*queue.back(), end, RetryAfterMs(channel, end, queue.back()->held_bytes()));
  }
}

}  // namespace relay::simulation

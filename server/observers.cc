#include "server/observers.h"

#include <algorithm>
#include <limits>

#include "proto/messages.h"
#include "registry/channel.h"

namespace relay::server {
namespace {

using proto::FrameType;
using proto::kHeaderBytes;
using proto::MirrorKind;

// The bytes of several slices, one behind the other.
class Slices {
 public:
  explicit Slices(std::span<const std::span<const uint8_t>> slices) : slices_(slices) {}

  bool empty() {
    while (!slices_.empty() && at_ == slices_.front().size()) {
      slices_ = slices_.subspan(1);
      at_ = 0;
    }
    return slices_.empty();
  }

  // Takes up to `bytes`, and copies them to `out` where that is given.
  size_t Take(size_t bytes, uint8_t* out) {
    size_t taken = 0;
    while (taken < bytes && !empty()) {
      const size_t part = std::min(bytes - taken, slices_.front().size() - at_);
      if (out != nullptr) std::copy_n(slices_.front().data() + at_, part, out + taken);
      at_ += part;
      taken += part;
    }
    return taken;
  }

 private:
  std::span<const std::span<const uint8_t>> slices_;
  size_t at_ = 0;  // in the first
};

// `message` again with what must not be seen blanked; nothing where `payload` is not just that message, so that nothing
// hides in a field that is unknown or comes twice.
template <typename Message, typename Blank>
std::string Blanked(std::string_view payload, Message& message, Blank blank) {
  if (!proto::ParseMessage(payload, message)) return "";
  message.DiscardUnknownFields();
  blank(message);
  std::string text = message.SerializeAsString();
  return text.size() == payload.size() ? text : "";
}

void Blank(std::string& secret) { secret.assign(secret.size(), '\0'); }

std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

bool Observers::Add(Session& session) {
  if (observers_.size() >= limits_.max_observers) return false;
  observers_.push_back({&session, {}, false, 0});
  return true;
}

void Observers::Observe(Session& session, const MirrorFilter& filter) {
  for (Observer& observer : observers_) {
    if (observer.session != &session) continue;
    observer.filter = filter;
    observer.is_observing = true;
  }
  Recount();
}

void Observers::Remove(Session& session) {
  std::erase_if(observers_, [&session](const Observer& observer) { return observer.session == &session; });
  Recount();
}

void Observers::Recount() {
  is_any_ = false;
  most_snap_bytes_ = 0;
  for (const Observer& observer : observers_) {
    is_any_ = is_any_ || observer.is_observing;
    most_snap_bytes_ = std::max(most_snap_bytes_, observer.filter.snap_bytes);
  }
}

void Observers::OnRead(const Session& from, proto::Frame frame, Instant now) {
  if (from.is_observer || from.guest != nullptr) return;
  Shown shown = {frame.bytes().first(kHeaderBytes), frame.payload()};
  std::optional<Who> who = OnSlot(from, frame.slot());
  if (!frame.has_known_type()) {
    shown.payload = {};
  } else if (frame.type() == FrameType::kHello) {
    v1::Hello hello;
    blanked_ = Blanked(frame.payload_text(), hello, [](v1::Hello& it) { Blank(*it.mutable_token()); });
    shown.payload = AsBytes(blanked_);
  } else if (frame.type() == FrameType::kJoin) {
    v1::Join join;
    blanked_ = Blanked(frame.payload_text(), join, [](v1::Join& it) { Blank(*it.mutable_key()); });
    shown.payload = AsBytes(blanked_);
    const std::optional<proto::Uuid> client = proto::UuidFromBytes(join.client_id());
    const std::optional<proto::Uuid> channel = proto::UuidFromBytes(join.channel_id());
    who.reset();
    if (client.has_value() && channel.has_value()) who = {*client, *channel};
  }
  Mirror(MirrorKind::kRead, from, shown, who, now);
}

void Observers::OnWritten(const Session& to, Instant now) {
  if (to.is_observer || to.guest != nullptr) return;
  Slices rest(to.out);
  while (!rest.empty()) {
    uint8_t header[kHeaderBytes] = {};
    rest.Take(kHeaderBytes, header);
    const auto payload_bytes = proto::LoadBig<uint32_t>(header);
    gathered_.resize(std::min(payload_bytes, most_snap_bytes_));
    rest.Take(gathered_.size(), gathered_.data());
    rest.Take(payload_bytes - gathered_.size(), nullptr);
    Mirror(MirrorKind::kWritten, to, {header, gathered_}, OnSlot(to, proto::LoadBig<uint16_t>(header + 6)), now);
  }
}

void Observers::OnOpened(const Session& session, Instant now) { Tell(MirrorKind::kOpened, session, session.peer, now); }

void Observers::OnEnded(const Session& session, Instant now) {
  Tell(MirrorKind::kEnded, session, InfoOf(session.end).name, now);
}

void Observers::OnDrained(const Session& session, Instant now) {
  for (Observer& observer : observers_) {
    if (observer.session == &session && observer.lost > 0) Append(observer, MirrorKind::kLost, 0, {}, {}, now);
  }
}

std::optional<Observers::Who> Observers::OnSlot(const Session& session, uint16_t slot) const {
  if (slot == 0) return std::nullopt;
  if (const Client* const client = session.slots.Find(slot); client != nullptr) {
    return Who{client->id, client->channel->id()};
  }
  if (session.elsewhere != nullptr) {
    const auto found = session.elsewhere->slots.find(slot);
    if (found != session.elsewhere->slots.end()) return Who{found->second.client, found->second.channel};
  }
  const auto left = left_.find({session.id, slot});
  return left == left_.end() ? std::nullopt : std::optional<Who>(left->second);
}

bool Observers::Matches(const MirrorFilter& filter, const Shown& shown, const std::optional<Who>& who) const {
  const bool is_leave = shown.header[4] == static_cast<uint8_t>(FrameType::kLeave);
  const auto has_id = [&shown](const proto::Uuid& id) {
    return std::equal(id.begin(), id.end(), shown.header.begin() + 8);
  };
  if (filter.request.has_value() && (is_leave || !has_id(*filter.request))) return false;
  if (filter.channel.has_value() && !(who.has_value() && who->channel == *filter.channel)) return false;
  if (!filter.client.has_value()) return true;
  return is_leave ? has_id(*filter.client) : who.has_value() && who->client == *filter.client;
}

void Observers::Mirror(MirrorKind kind, const Session& of, const Shown& shown, const std::optional<Who>& who,
                       Instant now) {
  for (Observer& observer : observers_) {
    if (!observer.is_observing || !Matches(observer.filter, shown, who)) continue;
    const size_t bytes = std::min<size_t>(shown.payload.size(), observer.filter.snap_bytes);
    Append(observer, kind, of.id, {shown.header, shown.payload.first(bytes)}, who.value_or(Who()), now);
  }
}

void Observers::Tell(MirrorKind kind, const Session& of, std::string_view words, Instant now) {
  if (of.is_observer || of.guest != nullptr) return;
  for (Observer& observer : observers_) {
    if (observer.is_observing && observer.filter.takes_all()) {
      Append(observer, kind, of.id, {{}, AsBytes(words)}, {}, now);
    }
  }
}

void Observers::Append(Observer& observer, MirrorKind kind, ConnectionId connection, const Shown& shown, const Who& who,
                       Instant now) {
  Session& to = *observer.session;
  const size_t payload_bytes = proto::kMirrorBlockBytes + shown.header.size() + shown.payload.size();
  // Half of what cuts a peer at the most, so that what it is told besides does not bring it there.
  const size_t most = std::min(limits_.observer_queue_bytes, limits_.send_queue_bytes / 2);
  if (to.unsent_bytes + to.on_their_way + to.out_bytes + kHeaderBytes + payload_bytes > most) {
    if (kind == MirrorKind::kLost) return;
    ++observer.lost;
    ++metrics_.mirrors_lost;
    return;
  }
  const std::span<uint8_t> frame = effects_.memory().Take(kHeaderBytes + payload_bytes);
  proto::WriteHeader(frame.data(), static_cast<uint32_t>(payload_bytes), FrameType::kMirror, 0, 0, proto::kNilUuid);
  const auto lost = static_cast<uint32_t>(std::min<uint64_t>(observer.lost, std::numeric_limits<uint32_t>::max()));
  observer.lost -= lost;
  const std::span<uint8_t> payload = frame.subspan(kHeaderBytes);
  proto::MirrorBlock(payload).Write(
      connection, static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now - start_).count()),
      lost, kind, who.channel, who.client);
  uint8_t* const at = std::copy(shown.header.begin(), shown.header.end(), &payload[proto::kMirrorBlockBytes]);
  std::copy(shown.payload.begin(), shown.payload.end(), at);
  ++metrics_.frames_mirrored;
  effects_.Write(to, frame);
}

}  // namespace relay::server

#include "server/daemon.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "net/address.h"
#include "proto/uuid.h"

namespace relay::server {
namespace {

// What a connection reads at a time whose frames are small.
constexpr size_t kFewBytes = 16 * kKiB;
// It reads more at a time whose frames have as many bytes as this.
constexpr size_t kSparseBytesPerWork = 256;
// Reading and writing so many bytes takes as long as a small frame.
constexpr size_t kBytesPerWork = 128;
// Kept of connections that are put off, all together; past it every connection reads little at a time.
constexpr size_t kMostPutOffBytes = 4 * kMiB;
// A turn does so many times the work of one connection before it reads no more.
constexpr uint32_t kFullSharesPerTurn = 4;
// Newcomers and those that are to leave, of whom a turn reads so many: there may be thousands, ready at once, and each
// has system calls to itself. Two, since a turn accepts one, which is read when it comes and when it goes.
constexpr uint32_t kStrangersPerTurn = 2;
// What a newcomer is taken to make: its handshake is answered, or it is refused.
constexpr uint32_t kWorkOfNewcomer = 256;
// What a connection does beside what everybody says before it is put off: as much as who says little ever does.
constexpr uint32_t kLittleWork = 64;
// A turn that makes no more than this is short for everybody, some 60 us, whoever makes it: nobody is put off.
constexpr uint32_t kShortTurnWork = 384;
// Of those who were put off, each is taken to make so much at the least.
constexpr uint32_t kLeastWork = 16;
// Of what is due, a turn does as much as of one connection's frames, and no less than this. Of an end it does this,
// some 15 us, or 100 where nothing of it is in a cache.
constexpr uint32_t kLeastTimeWork = 256;

spdlog::level::level_enum SpdlogLevel(Notice::Level level) {
  switch (level) {
    case Notice::Level::kDebug:
      return spdlog::level::debug;
    case Notice::Level::kInfo:
      return spdlog::level::info;
    case Notice::Level::kWarning:
      return spdlog::level::warn;
  }
  return spdlog::level::info;
}

}  // namespace

// A connection's stream and its name in the core. It begins as one that was put off, and reads little at a time until
// it has shown that what it reads much of makes little work.
class Daemon::Link : public net::Stream::Handler {
 public:
  // `id` is open in the core.
  Link(Daemon& daemon, std::unique_ptr<net::Stream> stream, ConnectionId id)
      : daemon_(daemon), stream_(std::move(stream)), id_(id) {
    stream_->SetHandler(this);
    stream_->SetMostReadBytes(kFewBytes);
    daemon_.put_off_.push_back(id_);
  }
  ~Link() override { daemon_.put_off_bytes_ -= rest_bytes_; }

  ConnectionId id() const { return id_; }
  net::Stream& stream() { return *stream_; }

  // Tells the core how much is still to be sent, if that has changed.
  void ReportUnsent() {
    const size_t unsent = stream_->unsent_bytes();
    if (unsent == reported_unsent_) return;
    reported_unsent_ = unsent;
    daemon_.relay_.OnUnsent(id_, unsent, daemon_.loop_.Now());
  }

  void ShutdownWrite() {
    is_stranger_ = true;
    stream_->ShutdownWrite();
  }

  // Reads no more until Resume.
  void PutOff(size_t rest_bytes) {
    if (std::exchange(is_put_off_, true)) return;
    stream_->StopReading();
    rest_bytes_ = rest_bytes;
    daemon_.put_off_bytes_ += rest_bytes;
    if (!daemon_.place_.is_alone() && daemon_.relay_.Waits(id_)) return;
    LineUp();
  }

  // Has its turn among those who were put off.
  void LineUp() {
    // Who seldom says much does not wait behind those who always do.
    (std::exchange(is_light_, false) ? daemon_.put_off_first_ : daemon_.put_off_).push_back(id_);
  }

  // Goes on behind what the next turn reads. Returns how much work that is going to be, as it was the last time.
  uint32_t Resume() {
    is_put_off_ = false;
    daemon_.put_off_bytes_ -= std::exchange(rest_bytes_, 0);
    if (work_left_ == 0) {
      stream_->StartReading();
    } else {
      stream_->ReadOn();
    }
    return last_work_;
  }

  bool MayRead() override {
    if (!is_stranger_ || daemon_.strangers_in_turn_++ < kStrangersPerTurn) return true;
    PutOff(0);
    return false;
  }

  size_t OnBytes(std::span<uint8_t> bytes) override {
    const uint32_t most = daemon_.frames_per_turn_;
    if (turn_ != daemon_.loop_.turn()) {
      turn_ = daemon_.loop_.turn();
      const uint32_t free = kShortTurnWork - std::min(kShortTurnWork, daemon_.work_in_turn_);
      share_ = daemon_.loop_.runs_put_off() ? most : std::min(most, std::max(kLittleWork, free));
      work_left_ = share_;
    }
    const uint32_t work_before = work_left_;
    const size_t taken = daemon_.relay_.OnBytes(id_, bytes, daemon_.loop_.Now(), work_left_);
    daemon_.CheckMemory(id_);
    daemon_.OnWork(work_before - work_left_);
    if (is_stranger_) is_stranger_ = !daemon_.relay_.IsOpen(id_);
    const uint32_t made = share_ - work_left_;
    last_work_ = std::max(made, static_cast<uint32_t>(bytes.size() / kBytesPerWork));
    const bool is_much = made > kLittleWork && daemon_.work_in_turn_ > kShortTurnWork;
    if (work_left_ == 0 || is_much || bytes.size() >= kFewBytes) {
      const bool is_sparse = bytes.size() / kSparseBytesPerWork > made;
      stream_->SetMostReadBytes(is_sparse ? net::ReadBuffers::kSlabBytes : kFewBytes);
      PutOff(bytes.size() - taken);
    } else {
      is_light_ = true;
      if (made > kLeastWork) daemon_.busy_.push_back(id_);
    }
    return taken;
  }
  void OnEnd(absl::Status why) override { daemon_.ended_.push_back({id_, !why.ok()}); }
  void OnSent() override { ReportUnsent(); }

 private:
  Daemon& daemon_;
  const std::unique_ptr<net::Stream> stream_;
  const ConnectionId id_;
  size_t reported_unsent_ = 0;
  uint64_t turn_ = 0;  // that these are of
  uint32_t share_ = 0;
  uint32_t work_left_ = 0;
  uint32_t last_work_ = kWorkOfNewcomer;
  size_t rest_bytes_ = 0;   // kept while it is put off
  bool is_light_ = false;   // made little work when it was last read
  bool is_put_off_ = true;  // has to wait for Resume
  bool is_stranger_ = true;
};

Daemon::Daemon(net::Loop& loop, const Limits& limits, const Identity& identity, std::shared_ptr<spdlog::logger> log,
               Post post)
    : loop_(loop),
      log_(std::move(log)),
      frames_per_turn_(limits.frames_per_turn),
      place_(identity.place),
      totals_(identity.totals),
      post_(std::move(post)),
      relay_(limits, identity.server_id, identity.start, place_, totals_),
      timer_(loop, [this] { timer_at_.reset(); }),
      more_(loop, [] {}),
      departing_(place_.cores) {
  loop_.SetTurnEnd([this] { EndTurn(); });
}

Daemon::~Daemon() { loop_.SetTurnEnd(nullptr); }

absl::Status Daemon::Listen(const std::string& url) {
  absl::StatusOr<net::Address> address = net::ParseAddress(url);
  if (!address.ok()) return address.status();
  absl::StatusOr<std::unique_ptr<net::Listener>> listener = net::Listener::Listen(
      loop_, *address, [this](std::unique_ptr<net::Stream> stream) { Accept(std::move(stream)); },
      [this](absl::Status why) { log_->warn("event=accept_failed detail=\"{}\"", absl::CEscape(why.ToString())); });
  if (!listener.ok()) return listener.status();
  listeners_.push_back(*std::move(listener));
  return absl::OkStatus();
}

std::vector<std::string> Daemon::addresses() const {
  std::vector<std::string> addresses;
  for (const auto& listener : listeners_) addresses.push_back(net::ToString(listener->address()));
  return addresses;
}

void Daemon::Accept(std::unique_ptr<net::Stream> stream) {
  const ConnectionId id = relay_.OnOpen(stream->peer(), loop_.Now());
  log_->debug("event=connection_open connection={} peer={}", id, stream->peer());
  links_.emplace(id, std::make_unique<Link>(*this, std::move(stream), id));
  CheckMemory(id);
}

void Daemon::Deliver(Letter letter) {
  relay_.OnCrossings(letter.from, std::move(letter.batch), loop_.Now());
  for (Arrival& arrival : letter.arrivals) {
    auto stream = net::Stream::FromParts(loop_, std::move(arrival.parts));
    if (stream.ok()) {
      auto link = std::make_unique<Link>(*this, *std::move(stream), arrival.id);
      link->ReportUnsent();
      links_.emplace(arrival.id, std::move(link));
    } else {
      relay_.OnInputEnd(arrival.id, /*is_broken=*/true, loop_.Now());
    }
  }
  CheckMemory(0);
}

void Daemon::Drain(std::function<void()> stopped) {
  listeners_.clear();
  relay_.Drain(loop_.Now());
  stopped_ = std::move(stopped);
}

void Daemon::CheckMemory(ConnectionId id) {
  if (!reserve_.Failed()) return;
  is_short_of_memory_ = true;
  relay_.OnMemoryShort(id, loop_.Now());
}

void Daemon::OnWork(uint32_t work) {
  work_in_turn_ += work;
  if (work_in_turn_ / kFullSharesPerTurn >= frames_per_turn_) loop_.read_buffers().Close();
}

void Daemon::ShareOut() {
  // Who was busy while others came to nothing lets them go first in the next turn: the system names those who are ready
  // in an order that does not change by itself.
  if (loop_.read_buffers().was_short()) {
    for (const ConnectionId id : busy_) {
      if (const auto found = links_.find(id); found != links_.end()) found->second->PutOff(0);
    }
  }
  busy_.clear();
  work_in_turn_ = 0;
  strangers_in_turn_ = 0;
  if (loop_.goes_on()) return;  // those who were chosen last have still to go on
  uint32_t work = 0;
  for (bool first = true; work < frames_per_turn_ && !(put_off_first_.empty() && put_off_.empty()); first = !first) {
    std::deque<ConnectionId>& from = (first || put_off_.empty()) && !put_off_first_.empty() ? put_off_first_ : put_off_;
    const auto found = links_.find(from.front());
    from.pop_front();
    if (found != links_.end()) work += std::max(found->second->Resume(), kLeastWork);
  }
  loop_.read_buffers().SetMostReadBytes(put_off_bytes_ < kMostPutOffBytes ? net::ReadBuffers::kSlabBytes : kFewBytes);
}

void Daemon::TellEnds() {
  if (ended_.empty()) return;
  // One in a turn: it has system calls to itself. Who has many clients goes on behind those who are waiting.
  const Ended ended = ended_.front();
  ended_.pop_front();
  uint32_t work = kLeastTimeWork;
  if (!relay_.OnInputEnd(ended.connection, ended.is_broken, loop_.Now(), work)) ended_.push_back(ended);
  CheckMemory(ended.connection);
  if (!ended_.empty()) more_.Schedule();
}

void Daemon::TellTime() {
  // Peers are judged by what they sent, so the loop has to have looked for it.
  if (!loop_.has_polled()) return;
  uint32_t work = std::max(frames_per_turn_, kLeastTimeWork);
  relay_.OnTime(loop_.Now(), work);
  if (work == 0) more_.Schedule();
}

void Daemon::EndTurn() {
  TellEnds();
  TellTime();
  while (relay_.has_effects()) {
    const std::span<const Effect> effects = relay_.TakeEffects();
    for (const Notice& notice : relay_.notices()) Log(notice);
    for (const Effect& effect : effects) CarryOut(effect);
    relay_.EndTurn();
    for (Link* const link : written_) link->ReportUnsent();
    written_.clear();
  }
  if (!place_.is_alone() && relay_.has_crossings()) PostLetters();
  ShareOut();
  if (const auto next = relay_.next_deadline(); next != timer_at_) {
    timer_at_ = next;
    timer_.StartAt(next.value_or(absl::InfiniteFuture()));
  }
  CheckMemory(0);
  if (is_short_of_memory_ && reserve_.Refill()) {
    is_short_of_memory_ = false;
    relay_.OnMemoryBack();
  }
  if (stopped_ && totals_->connections == 0) std::exchange(stopped_, nullptr)();
}

void Daemon::CarryOut(const Effect& effect) {
  const auto found = links_.find(effect.connection);
  if (found == links_.end()) return;
  Link& link = *found->second;
  if (!effect.write.empty()) link.stream().Write(effect.write);
  if (effect.close) {
    links_.erase(found);
    return;
  }
  if (effect.home != place_.core) {
    departing_[effect.home].push_back({effect.connection, link.stream().Release()});
    links_.erase(found);
    return;
  }
  if (effect.shut) link.ShutdownWrite();
  if (effect.reads_on) link.LineUp();
  written_.push_back(&link);
}

void Daemon::PostLetters() {
  for (uint32_t core = 0; core < place_.cores; ++core) {
    Letter letter = {.from = place_.core, .batch = relay_.TakeCrossings(core), .arrivals = {}};
    letter.arrivals.swap(departing_[core]);
    if (!letter.batch.empty()) post_(core, std::move(letter));
  }
}

void Daemon::Log(const Notice& notice) {
  const spdlog::level::level_enum level = SpdlogLevel(notice.level);
  if (!log_->should_log(level)) return;
  std::string detail;
  if (!notice.detail.empty()) detail = absl::StrCat(" detail=\"", absl::CEscape(notice.detail), "\"");
  log_->log(level, "event={} connection={} peer={} end={}{}", notice.event, notice.connection, notice.peer,
            InfoOf(notice.end).name, detail);
}

Counts Daemon::TakeCounts() {
  return {relay_.metrics(), relay_.connection_count(), relay_.client_count(), relay_.channel_count(),
          loop_.TakeLongestTurn()};
}

Counts& Counts::operator+=(const Counts& other) {
  metrics += other.metrics;
  connections += other.connections;
  clients += other.clients;
  channels += other.channels;
  longest_turn = std::max(longest_turn, other.longest_turn);
  return *this;
}

}  // namespace relay::server

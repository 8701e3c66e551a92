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

// What a connection reads at a time whose frames are small: somewhat more than frames_per_turn of them.
constexpr size_t kFewBytes = 32 * kKiB;
// Kept of connections that are put off, all together; past it every connection reads little at a time.
constexpr size_t kMostPutOffBytes = 4 * kMiB;
// A turn does so many times the work of one connection before it reads no more.
constexpr uint32_t kFullSharesPerTurn = 4;

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

// A connection's stream and its name in the core. It reads little at a time until it has shown that what it reads much
// of makes little work.
class Daemon::Link : public net::Stream::Handler {
 public:
  Link(Daemon& daemon, std::unique_ptr<net::Stream> stream)
      : daemon_(daemon), stream_(std::move(stream)), id_(daemon.relay_.OnOpen(stream_->peer(), daemon.loop_.Now())) {
    stream_->SetHandler(this);
    stream_->SetMostReadBytes(kFewBytes);
    stream_->StartReading();
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

  // Reads no more until Resume.
  void PutOff(size_t rest_bytes) {
    if (std::exchange(is_put_off_, true)) return;
    stream_->StopReading();
    stream_->SetMostReadBytes(kFewBytes);
    reads_few_ = true;
    rest_bytes_ = rest_bytes;
    daemon_.put_off_bytes_ += rest_bytes;
    daemon_.put_off_.push_back(id_);
  }

  // Returns how much work it made when it was put off.
  uint32_t Resume() {
    is_put_off_ = false;
    daemon_.put_off_bytes_ -= std::exchange(rest_bytes_, 0);
    stream_->StartReading();
    return daemon_.frames_per_turn_ - work_left_;
  }

  size_t OnBytes(std::span<uint8_t> bytes) override {
    if (turn_ != daemon_.loop_.turn()) {
      turn_ = daemon_.loop_.turn();
      work_left_ = daemon_.frames_per_turn_;
    }
    const uint32_t work_before = work_left_;
    const size_t taken = daemon_.relay_.OnBytes(id_, bytes, daemon_.loop_.Now(), work_left_);
    daemon_.CheckMemory(id_);
    daemon_.OnWork(work_before - work_left_);
    if (work_left_ == 0) {
      PutOff(bytes.size() - taken);
    } else if (bytes.size() >= kFewBytes) {
      daemon_.readers_of_much_.push_back(id_);
      if (std::exchange(reads_few_, false)) stream_->SetMostReadBytes(net::ReadBuffers::kSlabBytes);
    }
    return taken;
  }
  void OnEnd(absl::Status why) override { daemon_.relay_.OnInputEnd(id_, !why.ok(), daemon_.loop_.Now()); }
  void OnSent() override { ReportUnsent(); }

 private:
  Daemon& daemon_;
  const std::unique_ptr<net::Stream> stream_;
  const ConnectionId id_;
  size_t reported_unsent_ = 0;
  uint64_t turn_ = 0;  // that work_left_ is of
  uint32_t work_left_ = 0;
  size_t rest_bytes_ = 0;  // kept while it is put off
  bool reads_few_ = true;
  bool is_put_off_ = false;
};

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(net::Loop& loop, const Options& options,
                                                      std::shared_ptr<spdlog::logger> log) {
  std::unique_ptr<Daemon> daemon(new Daemon(loop, options, std::move(log)));
  for (const std::string& url : options.listen) {
    if (absl::Status status = daemon->Listen(url); !status.ok()) return status;
  }
  return daemon;
}

Daemon::Daemon(net::Loop& loop, const Options& options, std::shared_ptr<spdlog::logger> log)
    : loop_(loop),
      log_(std::move(log)),
      frames_per_turn_(options.limits.frames_per_turn),
      relay_(options.limits, proto::NewUuid(), loop.Now()),
      timer_(loop, [this] { timer_at_.reset(); }) {
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
  auto link = std::make_unique<Link>(*this, std::move(stream));
  log_->debug("event=connection_open connection={} peer={}", link->id(), link->stream().peer());
  const ConnectionId id = link->id();
  links_.emplace(id, std::move(link));
  CheckMemory(id);
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
  // Who read much while others came to nothing lets them go first in the next turn: the system names those who are
  // ready in an order that does not change by itself.
  if (loop_.read_buffers().was_short()) {
    for (const ConnectionId id : readers_of_much_) {
      if (const auto found = links_.find(id); found != links_.end()) found->second->PutOff(0);
    }
  }
  readers_of_much_.clear();
  work_in_turn_ = 0;
  uint32_t work = 0;
  while (!put_off_.empty() && work < frames_per_turn_) {
    const auto found = links_.find(put_off_.front());
    put_off_.pop_front();
    if (found != links_.end()) work += std::max(found->second->Resume(), frames_per_turn_ / kFullSharesPerTurn);
  }
  loop_.read_buffers().SetMostReadBytes(put_off_bytes_ < kMostPutOffBytes ? net::ReadBuffers::kSlabBytes : kFewBytes);
}

void Daemon::EndTurn() {
  relay_.OnTime(loop_.Now());
  while (relay_.has_effects()) {
    const std::span<const Effect> effects = relay_.TakeEffects();
    for (const Notice& notice : relay_.notices()) Log(notice);
    for (const Effect& effect : effects) CarryOut(effect);
    relay_.EndTurn();
    for (Link* const link : written_) link->ReportUnsent();
    written_.clear();
  }
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
  if (stopped_ && links_.empty()) std::exchange(stopped_, nullptr)();
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
  if (effect.shut) link.stream().ShutdownWrite();
  written_.push_back(&link);
}

void Daemon::Log(const Notice& notice) {
  const spdlog::level::level_enum level = SpdlogLevel(notice.level);
  if (!log_->should_log(level)) return;
  std::string detail;
  if (!notice.detail.empty()) detail = absl::StrCat(" detail=\"", absl::CEscape(notice.detail), "\"");
  log_->log(level, "event={} connection={} peer={} end={}{}", notice.event, notice.connection, notice.peer,
            InfoOf(notice.end).name, detail);
}

void Daemon::LogMetrics(uint64_t log_lines_lost) {
  const Metrics& metrics = relay_.metrics();
  log_->info(
      "event=metrics connections={} clients={} channels={} exchanges={} held_bytes={} connections_opened={} "
      "requests_offered={} requests_accepted={} requests_refused={} requests_ended={} assignments={} redeliveries={} "
      "extensions={} "
      "frames_read={} frames_forwarded={} put_off={} late_frames={} unknown_frames={} frames_mirrored={} "
      "mirrors_lost={} longest_turn_us={} log_lines_lost={}",
      relay_.connection_count(), relay_.client_count(), relay_.channel_count(), metrics.exchanges_live,
      metrics.held_bytes, metrics.connections_opened, metrics.requests_offered, metrics.requests_accepted,
      metrics.requests_refused, metrics.requests_ended, metrics.assignments, metrics.redeliveries, metrics.extensions,
      metrics.frames_read, metrics.frames_forwarded, metrics.put_off, metrics.late_frames, metrics.unknown_frames,
      metrics.frames_mirrored, metrics.mirrors_lost, absl::ToInt64Microseconds(loop_.TakeLongestTurn()),
      log_lines_lost);
  std::string ends;
  for (size_t i = 0; i < kEndCount; ++i) {
    if (metrics.ends[i] == 0) continue;
    const std::string_view name = InfoOf(static_cast<End>(i)).name;
    absl::StrAppend(&ends, " ", absl::string_view(name.data(), name.size()), "=", metrics.ends[i]);
  }
  log_->info("event=ends{}", ends);
}

}  // namespace relay::server

#include "server/daemon.h"

#include <span>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "net/address.h"
#include "proto/uuid.h"

namespace relay::server {
namespace {

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

// A connection's stream and its name in the core.
class Daemon::Link : public net::Stream::Handler {
 public:
  Link(Daemon& daemon, std::unique_ptr<net::Stream> stream)
      : daemon_(daemon), stream_(std::move(stream)), id_(daemon.relay_.OnOpen(stream_->peer(), daemon.loop_.Now())) {
    stream_->SetHandler(this);
    stream_->StartReading();
  }

  ConnectionId id() const { return id_; }
  net::Stream& stream() { return *stream_; }

  // Tells the core how much is still to be sent, if that has changed.
  void ReportUnsent() {
    const size_t unsent = stream_->unsent_bytes();
    if (unsent == reported_unsent_) return;
    reported_unsent_ = unsent;
    daemon_.relay_.OnUnsent(id_, unsent, daemon_.loop_.Now());
  }

  size_t OnBytes(std::span<uint8_t> bytes) override {
    const size_t taken = daemon_.relay_.OnBytes(id_, bytes, daemon_.loop_.Now());
    daemon_.CheckMemory(id_);
    return taken;
  }
  void OnEnd(absl::Status why) override { daemon_.relay_.OnInputEnd(id_, !why.ok(), daemon_.loop_.Now()); }
  void OnSent() override { ReportUnsent(); }

 private:
  Daemon& daemon_;
  const std::unique_ptr<net::Stream> stream_;
  const ConnectionId id_;
  size_t reported_unsent_ = 0;
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
      "frames_read={} frames_forwarded={} late_frames={} unknown_frames={} log_lines_lost={}",
      relay_.connection_count(), relay_.client_count(), relay_.channel_count(), metrics.exchanges_live,
      metrics.held_bytes, metrics.connections_opened, metrics.requests_offered, metrics.requests_accepted,
      metrics.requests_refused, metrics.requests_ended, metrics.assignments, metrics.redeliveries, metrics.extensions,
      metrics.frames_read, metrics.frames_forwarded, metrics.late_frames, metrics.unknown_frames, log_lines_lost);
  std::string ends;
  for (size_t i = 0; i < kEndCount; ++i) {
    if (metrics.ends[i] == 0) continue;
    const std::string_view name = InfoOf(static_cast<End>(i)).name;
    absl::StrAppend(&ends, " ", absl::string_view(name.data(), name.size()), "=", metrics.ends[i]);
  }
  log_->info("event=ends{}", ends);
}

}  // namespace relay::server

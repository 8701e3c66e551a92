// How a world is made, and what happens next in it.

#include "simulation/world.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/channel_name.h"

namespace relay::simulation {
namespace {

constexpr uint64_t kAll = UINT64_MAX;

enum Choice : size_t { kUp, kDown, kTurn, kAct, kWild, kTime, kStall, kResume, kCut, kGoaway, kChoices };

}  // namespace

World::World(uint64_t seed, const Options& options)
    : random_(seed), seed_(seed), options_(options), now_(absl::UnixEpoch() + absl::Hours(1)) {
  DrawLimits();
  const proto::Uuid server_id = random_.Id();
  relay_ = std::make_unique<Cores>(limits_, server_id, now_, options_.cores, seed_);
  reference_ = std::make_unique<Reference>(limits_, server_id, now_, options_.cores);
  tap_ = std::make_unique<Tap>(limits_.initial_window_bytes, now_);
  DrawLinks();
}

World::~World() = default;

// Tight limits often, and each by itself: in a world where everything is tight nothing gets far.
void World::DrawLimits() {
  const auto tight = [&](uint64_t one_in, uint32_t most, uint32_t otherwise) {
    return random_.OneIn(one_in) ? static_cast<uint32_t>(random_.Between(1, most)) : otherwise;
  };
  limits_.max_payload_bytes = static_cast<uint32_t>(64 * server::kKiB << random_.Below(2));
  limits_.initial_window_bytes = static_cast<uint32_t>(64 * server::kKiB << random_.Below(3));
  limits_.max_window_bytes = limits_.initial_window_bytes << random_.Below(4);
  limits_.max_start_bytes = 4 * server::kKiB;
  limits_.max_clients_per_connection = tight(4, 3, 16);
  limits_.attempts = static_cast<uint32_t>(random_.Between(1, 3));
  limits_.queue_count = tight(2, 3, 1000);
  if (random_.OneIn(3)) limits_.queue_bytes = random_.Between(100, random_.OneIn(2) ? 4000 : 100000);
  if (random_.OneIn(4)) limits_.queue_bytes_total = random_.Between(100, random_.OneIn(2) ? 8000 : 200000);
  limits_.max_channels = tight(6, 3, 65536);
  limits_.max_clients = tight(8, 6, 1000);
  limits_.control_frames_per_second = tight(8, 33, 0);
  limits_.control_frame_burst = static_cast<uint32_t>(random_.Between(1, 60));
  limits_.max_connections = tight(8, 3, 1000);
  limits_.max_unauthenticated = tight(8, 3, 1000);
  is_lagging_ = random_.OneIn(6);
  if (is_lagging_ || random_.OneIn(2)) limits_.send_queue_mark_bytes = random_.Scaled(is_lagging_ ? 50 : 2000);
  is_coarse_ = random_.OneIn(4);
  if (random_.OneIn(6)) limits_.send_queue_bytes = random_.Between(1000, 200000);
  is_crowded_ = is_coarse_ && random_.OneIn(2);
  if (is_crowded_) limits_.send_queue_bytes = random_.Between(300, 2000);
  if (random_.OneIn(8)) {
    limits_.send_queue_bytes_total = random_.Between(1000, 100000);
    limits_.partial_frame_bytes_total = limits_.send_queue_bytes_total / 500;
  }
  limits_.allow_observers = random_.OneIn(2);
  limits_.max_observers = static_cast<uint32_t>(random_.OneIn(6) ? 0 : random_.Between(1, 2));
  // Room for just so many of the smallest MIRRORs, or for the largest.
  constexpr uint64_t kSmallestMirror = 2 * proto::kHeaderBytes + proto::kMirrorBlockBytes;
  limits_.observer_queue_bytes =
      random_.OneIn(2) ? kSmallestMirror * random_.Between(1, 40) : random_.Between(70000, 500000);
  limits_.control_frames_owed = tight(3, 3, 1000);
  limits_.resets_per_second = random_.OneIn(8) ? 0 : tight(2, 33, 33);
  limits_.reset_burst = tight(5, 3, 1000);
  if (random_.OneIn(16)) limits_.frames_per_second = static_cast<uint32_t>(random_.Between(20, 200));
  limits_.heartbeat_interval = absl::Milliseconds(static_cast<int64_t>(random_.Between(100, 5000)));
  limits_.heartbeat_misses = static_cast<uint32_t>(random_.Between(2, 3));
  limits_.hello_timeout = absl::Seconds(2);
  limits_.linger_bytes = random_.OneIn(2) ? random_.Between(1, 1000) : 256 * server::kKiB;
  limits_.drain_timeout = absl::Milliseconds(static_cast<int64_t>(1 + random_.Scaled(5000)));
  if (random_.OneIn(4)) limits_.max_request_time = absl::Milliseconds(static_cast<int64_t>(random_.Between(1, 20000)));
  if (options_.cores > 1) BoundByCore();
}

// What each core counts by itself, so that together they allow more than one does.
void World::BoundByCore() {
  const server::Limits loose;
  limits_.queue_bytes_total = loose.queue_bytes_total;
  limits_.send_queue_bytes_total = loose.send_queue_bytes_total;
  limits_.partial_frame_bytes_total = loose.partial_frame_bytes_total;
  limits_.send_queue_bytes = loose.send_queue_bytes;  // who is cut at a turn's end is told to the others in the next
  limits_.control_frames_per_second = 0;
  limits_.resets_per_second = 0;
  limits_.frames_per_second = 0;
  limits_.linger_bytes = SIZE_MAX;  // a JOIN that waited in vain counts to them
  limits_.control_frames_owed = loose.control_frames_owed;
  limits_.max_clients_per_connection =
      loose.max_clients_per_connection;  // refused at home, before who is live is known
  limits_.allow_observers = false;       // the order in which several cores show what they see is theirs
}

void World::DrawLinks() {
  ids_collide_ = random_.OneIn(2);
  is_heavy_ = random_.OneIn(4);
  is_fickle_ = random_.OneIn(6);
  constexpr size_t kSockets[] = {0, 0, 1000, 200000};
  socket_bytes_ = is_lagging_ ? 0 : kSockets[random_.Below(std::size(kSockets))];
  constexpr uint64_t kPatience[] = {20, 500, 6000};
  patience_ms_ = kPatience[random_.Below(std::size(kPatience))];
  loses_memory_ = random_.OneIn(16);
  if (random_.OneIn(6)) drains_at_ = options_.events / 4 * 3 + random_.Below(options_.events / 4 + 1);
  weights_.assign(kChoices, 0);
  for (const Choice choice : {kUp, kDown, kTurn, kAct}) weights_[choice] = random_.Between(10, 60);
  if (is_crowded_) weights_[kUp] = weights_[kDown] = 2;
  if (is_lagging_) weights_[kDown] = weights_[kTurn] = 3;
  // Faults are rare in some worlds and absent in others: one that breaks all the time never gets far.
  const auto fault = [&](Choice choice, uint64_t most) {
    if (random_.OneIn(2)) weights_[choice] = random_.Between(1, most);
  };
  weights_[kTime] = random_.Between(1, 10);
  fault(kWild, 30);
  fault(kStall, 8);
  fault(kCut, 2);
  fault(kGoaway, 1);
  weights_[kResume] = weights_[kStall] == 0 ? 0 : random_.Between(1, 2);
  has_wild_ = weights_[kWild] > 0;

  const size_t channels = random_.Between(1, 4);
  for (size_t i = 0; i < channels; ++i) channels_.push_back(proto::ChannelId(ChannelName(i)));
  const size_t links = random_.Between(is_crowded_ ? 3 : 1, 6);
  for (size_t i = 0; i < links; ++i) {
    Link& link = *links_.emplace_back(std::make_unique<Link>());
    const size_t actors = random_.Between(1, 6);
    for (size_t k = 0; k < actors; ++k) AddActor(link, random_.Below(channels), false);
    // Every channel should have a receiver, or its requests could never end.
    for (size_t k = 0; i == 0 && k < channels; ++k) AddActor(link, k, true);
  }
  if (links > 1 && random_.OneIn(3)) {
    // The same client twice, who takes it over from itself.
    links_[1]->actors.push_back(links_[0]->actors[0]);
    links_[1]->actors.back().is_receiver = random_.OneIn(2);
  }
  for (uint64_t i = has_wild_ ? random_.Between(1, 3) : 0; i > 0; --i) {
    links_.emplace_back(std::make_unique<Link>())->is_wild = true;
    wild_ids_.push_back(random_.Id());
  }
  if (limits_.allow_observers) {
    Link& link = *links_.emplace_back(std::make_unique<Link>());
    link.is_wild = link.is_onlooker = true;
    if (!has_wild_) weights_[kWild] = random_.Between(1, 10);
  }
  for (const auto& link : links_) Connect(*link);
}

void World::AddActor(Link& link, size_t channel, bool never_sends) {
  Actor& actor = link.actors.emplace_back();
  actor.id = DrawId();
  actor.channel = channel;
  actor.key = std::string(proto::BytesOf(random_.Id()));
  actor.is_receiver = random_.OneIn(2) || never_sends;
  actor.never_sends = never_sends;
  actor.is_miser = random_.OneIn(4);
}

proto::Uuid World::DrawId() {
  proto::Uuid id = random_.Id();
  if (!ids_collide_) return id;
  std::fill(std::begin(id.data), std::end(id.data) - 1, uint8_t{1});
  return id;
}

// For whoever guesses ids.
void World::Remember(const proto::Uuid& request) {
  constexpr size_t kMost = 8;
  if (recent_ids_.size() == kMost) recent_ids_.erase(recent_ids_.begin());
  recent_ids_.push_back(request);
}

void World::RememberPart(Link& link, const Link::Part& part) {
  constexpr size_t kMost = 3;
  if (link.parts.size() == kMost) link.parts.erase(link.parts.begin());
  link.parts.push_back(part);
}

void World::Fail(const std::string& what) {
  if (failure_.empty() && !is_undecided_) failure_ = absl::StrCat("event ", events_, ": ", what);
}

std::string World::Run() {
  while (events_ < options_.events && failure_.empty() && !is_undecided_) Step();
  if (failure_.empty() && !is_undecided_) Finish();
  return failure_;
}

Coverage World::coverage() const {
  const server::Metrics& metrics = relay_->metrics();
  Coverage coverage = reference_->coverage();
  coverage.seeds = 1;
  coverage.undecided = is_undecided_ ? 1 : 0;
  coverage.events = events_;
  coverage.turns = turns_;
  coverage.put_off = metrics.put_off;
  coverage.frames_read = metrics.frames_read;
  coverage.frames_late = metrics.late_frames;
  coverage.frames_unknown = metrics.unknown_frames;
  coverage.accepted = metrics.requests_accepted;
  coverage.assignments = metrics.assignments;
  coverage.redeliveries = metrics.redeliveries;
  coverage.passed_over = metrics.passed_over;
  coverage.extensions = metrics.extensions;
  coverage.mirrors = metrics.frames_mirrored;
  coverage.mirrors_lost = metrics.mirrors_lost;
  coverage.drains = is_draining_ ? 1 : 0;
  coverage.starved = starved_;
  coverage.trace = Random(seed_ ^ hash_).Next();
  coverage.ends = metrics.ends;
  return coverage;
}

void World::Step() {
  ++events_;
  std::erase_if(links_, [](const auto& link) {
    return link->protocol == nullptr && !link->is_wild && !link->is_open && !link->is_away;
  });
  if (loses_memory_ && random_.OneIn(200)) return LoseMemory();
  if (drains_at_ == events_) return DrainRelay();
  uint64_t sum = 0;
  for (const uint64_t weight : weights_) sum += weight;
  uint64_t drawn = random_.Below(sum);
  size_t choice = 0;
  while (drawn >= weights_[choice]) drawn -= weights_[choice++];
  const size_t chosen = random_.Below(links_.size());
  Link& link = *links_[chosen];
  if (link.is_away) {
    if (random_.OneIn(10)) Connect(link);
    return;
  }
  const bool has_client = link.protocol != nullptr || link.is_wild;
  if (has_client && random_.OneIn(30)) link.is_stalled = link.is_deaf = false;
  switch (choice) {
    case kUp:
      CarryUp(link, random_.OneIn(3) ? random_.Scaled(100) : kAll);
      break;
    case kDown:
      CarryDown(link, random_.OneIn(3) ? random_.Scaled(100) : kAll);
      break;
    case kTurn:
      if (is_coarse_) CarryAllUp();
      // By index: a link that breaks may leave a silent one behind, at the end.
      for (size_t i = 0; i < links_.size() && failure_.empty(); ++i) {
        CarryUp(*links_[i], kAll);
        CarryDown(*links_[i], kAll);
      }
      break;
    case kAct:
      for (uint64_t i = random_.Between(1, 4); i > 0 && failure_.empty(); --i)
        Act(*links_[random_.Below(links_.size())]);
      break;
    case kWild:
      for (const auto& other : links_) {
        if (other->is_wild && random_.OneIn(2)) ActWild(*other);
      }
      break;
    case kTime:
      if (random_.OneIn(3)) {
        // A turn takes its time, and the relay does not look at what is due before its end.
        now_ += absl::Milliseconds(static_cast<int64_t>(random_.Scaled(std::min<uint64_t>(patience_ms_, 500))));
        tap_->set_now(now_);
        break;
      }
      PassTime(random_.OneIn(2) ? absl::Milliseconds(static_cast<int64_t>(random_.Scaled(patience_ms_)))
                                : absl::Microseconds(static_cast<int64_t>(random_.Scaled(patience_ms_ * 1000))));
      break;
    case kStall:
      (random_.OneIn(2) ? link.is_stalled : link.is_deaf) = true;
      break;
    case kResume:
      // Those that stalled one after another come back together.
      if (!random_.OneIn(8)) break;
      for (const auto& other : links_) {
        if (other->protocol != nullptr || other->is_wild) other->is_stalled = other->is_deaf = false;
      }
      break;
    case kCut:
      if (!link.is_stalled && has_client) Cut(link);
      break;
    case kGoaway:
      if (link.protocol == nullptr || link.is_shut) break;
      if (!link.is_leaving) {
        link.is_leaving = true;
        link.protocol->Goaway(UnavailableError("chance"));
        Collect(link);
      } else if (link.up.empty() && link.arrived.empty() && random_.OneIn(2)) {
        ShutInput(link);
      }
      break;
    default:
      break;
  }
}

}  // namespace relay::simulation

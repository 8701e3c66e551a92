// The end of a turn: what the relay has written and counted, against what it must.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "simulation/reference.h"

namespace relay::simulation {

using proto::Frame;
using proto::FrameType;

bool Reference::has_more() const {
  for (const auto& [id, peer] : peers_) {
    if (!peer.out.empty() || (IsDone(peer) && (peer.is_leaving || !peer.is_idle_at_drain))) return true;
    if (peer.state == State::kGone || (peer.state == State::kLingering && !peer.was_shut)) return true;
  }
  return false;
}

const Output& Reference::OutputOf(const Peer& peer, const std::vector<Output>& outputs) {
  static const Output kNothing;
  const auto found =
      std::find_if(outputs.begin(), outputs.end(), [&](const Output& o) { return o.connection == peer.id; });
  return found == outputs.end() ? kNothing : *found;
}

size_t Reference::BytesSoFar(const Peer& peer, const Output& output) {
  std::map<uint16_t, size_t> frames;  // by slot: of one, they come in order
  for (const Expected& frame : peer.out) ++frames[frame.slot()];
  size_t bytes = 0;
  for (const Frame& frame : output.frames) {
    size_t& left = frames[frame.slot()];
    if (left == 0) continue;
    --left;
    bytes += frame.bytes().size();
  }
  return bytes;
}

// Those that are found so together die together, as often as the end of some fills the queue of others.
void Reference::CutWhoDoesNotRead(const std::vector<Output>& outputs) {
  for (;;) {
    std::vector<Peer*> cut;
    for (auto& [id, peer] : peers_) {
      if (peer.is_live() && peer.unsent + BytesSoFar(peer, OutputOf(peer, outputs)) > limits_.send_queue_bytes) {
        cut.push_back(&peer);
      }
    }
    if (cut.empty()) return;
    if (cut.size() > 1) coverage_.cut_together += cut.size();
    std::vector<Slot*> leaving;
    for (Peer* const peer : cut) {
      const std::vector<Slot*> slots = SlotsOf(*peer);
      leaving.insert(leaving.end(), slots.begin(), slots.end());
    }
    RemoveSlots(leaving);
    for (Peer* const peer : cut) Finish(*peer, End::kSendQueue, State::kGone);
  }
}

void Reference::EndTurn(const std::vector<Output>& outputs) {
  LoseMirrors(outputs);
  CutWhoDoesNotRead(outputs);
  for (auto& [id, peer] : peers_) {
    if (!IsDone(peer) || !peer.out.empty()) continue;
    if (peer.is_leaving) {
      RemoveSlots(SlotsOf(peer));
      Finish(peer, End::kGoaway, peer.input_ended ? State::kGone : State::kLingering);
    } else if (!peer.is_idle_at_drain) {
      peer.is_idle_at_drain = true;
      Set(peer.timer, now_ + limits_.linger_time);
    }
  }
  for (const Output& output : outputs) {
    if (!peers_.contains(output.connection)) Broken("the relay writes to a connection that is gone");
  }
  ShowTurn(outputs);
  LoseMirrors(outputs);
  left_.clear();
  for (auto at = peers_.begin(); at != peers_.end();) {
    Peer& peer = at->second;
    Compare(peer, OutputOf(peer, outputs));
    if (!peer.out.empty()) peer.last_sent = now_;
    peer.out.clear();
    for (auto& [core, share] : peer.shares) share.given = 0;
    at = peer.state == State::kGone ? peers_.erase(at) : std::next(at);
  }
}

void Reference::Compare(Peer& peer, const Output& output) {
  const bool shuts = peer.state == State::kLingering && !peer.was_shut;
  if (shuts) peer.was_shut = true;
  const std::string where = absl::StrCat(" connection ", peer.id);
  if (output.shuts != shuts) Broken(absl::StrCat("the relay ", shuts ? "does not shut" : "shuts", where));
  const bool closes = peer.state == State::kGone;
  if (output.closes != closes) Broken(absl::StrCat("the relay ", closes ? "does not close" : "closes", where));
  std::vector<bool> came(peer.out.size());
  for (const Frame& frame : output.frames) {
    size_t at = 0;
    while (at < came.size() && (came[at] || peer.out[at].slot() != frame.slot())) ++at;
    const std::string type(frame.has_known_type() ? proto::NameOf(frame.type()) : "?");
    const std::string what =
        absl::StrCat(type, " to", where, " slot ", frame.slot(), " id ", proto::ToString(frame.id()));
    if (at == came.size()) return Broken("the relay writes what nobody expects: " + what);
    came[at] = true;
    if (std::string differs = Differs(peer.out[at], frame); !differs.empty()) return Broken(what + ": " + differs);
  }
  const bool may_lack = !cores_.is_alone() && (shuts || closes);
  for (size_t at = 0; at < came.size(); ++at) {
    if (came[at] || may_lack) continue;
    Frame frame({reinterpret_cast<uint8_t*>(peer.out[at].bytes.data()), peer.out[at].bytes.size()});
    const std::string end = peer.out[at].status.has_value() ? " " + peer.out[at].status->end() : "";
    return Broken(absl::StrCat("the relay does not write ", std::string(proto::NameOf(frame.type())), end, " to", where,
                               " slot ", frame.slot(), " id ", proto::ToString(frame.id())));
  }
}

std::string Reference::Differs(const Expected& expected, const Frame& frame) const {
  const std::string_view actual(reinterpret_cast<const char*>(frame.bytes().data()), frame.bytes().size());
  const auto type = static_cast<FrameType>(expected.bytes[4]);
  if (!expected.status.has_value() && type != FrameType::kWelcome) {
    if (actual == expected.bytes) return "";
    const size_t at = static_cast<size_t>(
        std::mismatch(actual.begin(), actual.end(), expected.bytes.begin(), expected.bytes.end()).first -
        actual.begin());
    return absl::StrCat("differs at byte ", at, " of ", actual.size(), " from a ", std::string(proto::NameOf(type)),
                        " of ", expected.bytes.size());
  }
  constexpr size_t kBehindLength = sizeof(uint32_t);
  if (actual.substr(kBehindLength, proto::kHeaderBytes - kBehindLength) !=
      std::string_view(expected.bytes).substr(kBehindLength, proto::kHeaderBytes - kBehindLength)) {
    return absl::StrCat("not the header of a ", std::string(proto::NameOf(type)));
  }
  if (type == FrameType::kWelcome) {
    v1::Welcome welcome;
    if (!proto::ParseMessage(frame.payload_text(), welcome)) return "does not parse";
    const bool is_right =
        welcome.server_id() == proto::BytesOf(server_id_) && welcome.max_payload_bytes() == limits_.max_payload_bytes &&
        welcome.initial_window_bytes() == limits_.initial_window_bytes &&
        welcome.max_window_bytes() == limits_.max_window_bytes &&
        welcome.max_start_bytes() == limits_.max_start_bytes &&
        welcome.max_clients_per_connection() == limits_.max_clients_per_connection &&
        welcome.heartbeat_interval_ms() == absl::ToInt64Milliseconds(limits_.heartbeat_interval) &&
        welcome.heartbeat_misses() == limits_.heartbeat_misses && welcome.max_attempts() == limits_.attempts;
    return is_right ? "" : "other limits";
  }
  v1::Status status;
  v1::Reset reset;
  const bool is_reset = type == FrameType::kReset;
  if (is_reset ? !proto::ParseMessage(frame.payload_text(), reset)
               : !proto::ParseMessage(frame.payload_text(), status)) {
    return "does not parse";
  }
  if (reset.requeue()) return "asks for another receiver";
  if (is_reset) status = reset.status();
  const v1::Status& wanted = *expected.status;
  if (status.end() != wanted.end()) return absl::StrCat("end ", status.end(), " where it is ", wanted.end());
  if (status.code() != wanted.code()) return absl::StrCat("code ", status.code(), " where it is ", wanted.code());
  if (status.may_have_run() != wanted.may_have_run()) return "may_have_run is not true to it";
  if (status.retry_after_ms() != wanted.retry_after_ms()) return "another retry_after_ms";
  if (expected.has_words && status.message() != wanted.message()) return "other words";
  return status.message().empty() ? "no words" : "";
}

void Reference::Broken(std::string what) {
  if (broken_.empty()) broken_ = std::move(what);
}

void Reference::Judge(const server::Metrics& counted) {
  metrics_.exchanges_live = requests_.size();
  metrics_.held_bytes = HeldBytes();
  const auto compare = [&](std::string_view name, uint64_t is, uint64_t must) {
    if (is != must) Broken(absl::StrCat("the relay counts ", is, " ", std::string(name), " where there are ", must));
  };
  for (size_t i = 0; i < server::kEndCount; ++i) {
    if (counted.ends[i] != metrics_.ends[i]) {
      compare(server::InfoOf(static_cast<End>(i)).name, counted.ends[i], metrics_.ends[i]);
    }
  }
  compare("connections", counted.connections_opened, metrics_.connections_opened);
  compare("offered requests", counted.requests_offered, metrics_.requests_offered);
  compare("accepted requests", counted.requests_accepted, metrics_.requests_accepted);
  compare("refused requests", counted.requests_refused, metrics_.requests_refused);
  compare("ended requests", counted.requests_ended, metrics_.requests_ended);
  compare("assignments", counted.assignments, metrics_.assignments);
  compare("redeliveries", counted.redeliveries, metrics_.redeliveries);
  compare("receivers passed over", counted.passed_over, metrics_.passed_over);
  compare("extensions", counted.extensions, metrics_.extensions);
  compare("frames read", counted.frames_read, metrics_.frames_read);
  compare("frames forwarded", counted.frames_forwarded, metrics_.frames_forwarded);
  compare("late frames", counted.late_frames, metrics_.late_frames);
  compare("unknown frames", counted.unknown_frames, metrics_.unknown_frames);
  compare("MIRRORs", counted.frames_mirrored, metrics_.frames_mirrored);
  compare("MIRRORs lost", counted.mirrors_lost, metrics_.mirrors_lost);
  compare("live requests", counted.exchanges_live, metrics_.exchanges_live);
  compare("held bytes", counted.held_bytes, metrics_.held_bytes);
}

}  // namespace relay::simulation

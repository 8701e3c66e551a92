#include "tools/inspect/frame_reader.h"

#include <algorithm>

#include "proto/endian.h"
#include "proto/mirror_block.h"
#include "proto/start_block.h"

namespace relay::inspect {
namespace {

using proto::Frame;
using proto::FrameType;
using proto::kHeaderBytes;

constexpr size_t kBeforeBytes = 16;  // of a Damage's bytes around it
constexpr size_t kSeekBytes = size_t{64} << 10;

// What a payload of this type has to hold, as far as its length says.
bool MayHaveBytes(FrameType type, uint32_t bytes) {
  switch (type) {
    case FrameType::kPing:
    case FrameType::kPong:
    case FrameType::kWindow:
      return bytes == sizeof(uint64_t);
    case FrameType::kExtend:
      return bytes == proto::kExtendBytes;
    case FrameType::kStart:
      return bytes >= proto::kStartBlockBytes;
    case FrameType::kHello:
    case FrameType::kWelcome:
    case FrameType::kJoin:
      return bytes > 0 && bytes <= proto::kSmallestMaxStartBytes;
    case FrameType::kMirror:
      return bytes >= proto::kMirrorBlockBytes;
    case FrameType::kLeave:
    case FrameType::kObserve:
    case FrameType::kReceive:
    case FrameType::kChunk:
    case FrameType::kEnd:
    case FrameType::kReset:
    case FrameType::kGoaway:
      return true;
  }
  return false;
}

}  // namespace

FrameReader::FrameReader(Direction direction, bool from_start, bool resync, Handler& handler)
    : direction_(direction), resync_(resync), handler_(handler) {
  state_ = direction == Direction::kToServer ? State::kPreface : State::kHeader;
  if (!from_start) {
    state_ = State::kSeeking;
    why_ = Skipped::Why::kBeginsInside;
  }
}

void FrameReader::Take(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    switch (state_) {
      case State::kPreface:
        bytes = TakePreface(bytes);
        break;
      case State::kHeader:
        bytes = TakeHeader(bytes);
        break;
      case State::kPayload:
        bytes = TakePayload(bytes);
        break;
      case State::kSeeking:
        bytes = Seek(bytes);
        break;
      case State::kDead:
      case State::kFinished:
        skipped_bytes_ += bytes.size();
        bytes = {};
        break;
    }
  }
}

std::span<const uint8_t> FrameReader::Hold(std::span<const uint8_t> bytes, size_t want) {
  const size_t taken = std::min(want - std::min(want, held_.size()), bytes.size());
  held_.insert(held_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
  Remember(bytes.first(taken));
  return bytes.subspan(taken);
}

void FrameReader::Remember(std::span<const uint8_t> bytes) {
  constexpr size_t kMost = kBeforeBytes + kHeaderBytes;
  if (bytes.size() >= kMost) {
    recent_.assign(bytes.end() - kMost, bytes.end());
    return;
  }
  const size_t over = std::max(kMost, recent_.size() + bytes.size()) - kMost;
  recent_.erase(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(over));
  recent_.insert(recent_.end(), bytes.begin(), bytes.end());
}

std::span<const uint8_t> FrameReader::TakePreface(std::span<const uint8_t> bytes) {
  const std::span<const uint8_t> rest = Hold(bytes, proto::kPreface.size());
  if (!std::equal(held_.begin(), held_.end(), proto::kPreface.begin())) {
    Break(Rule::kBadPreface, 0);
  } else if (held_.size() == proto::kPreface.size()) {
    handler_.OnPreface(offset_);
    offset_ += held_.size();
    held_.clear();
    state_ = State::kHeader;
  }
  return rest;
}

std::span<const uint8_t> FrameReader::TakeHeader(std::span<const uint8_t> bytes) {
  const std::span<const uint8_t> rest = Hold(bytes, kHeaderBytes);
  if (held_.size() == kHeaderBytes) OnHeader();
  return rest;
}

void FrameReader::OnHeader() {
  const Frame header(held_);
  const auto payload_bytes = proto::LoadBig<uint32_t>(held_.data());
  if (payload_bytes > most_payload_bytes()) return Break(Rule::kPayloadTooLarge, payload_bytes);
  // Behind damage that was seeked over, a header has to be more than possible.
  if (was_damaged_ && header.has_known_type() && proto::CheckHeader(header) != proto::HeaderFault::kNone) {
    return Break(Rule::kBadHeader, 0);
  }
  payload_left_ = payload_bytes;
  is_whole_ = true;
  state_ = State::kPayload;
  if (payload_left_ == 0) EmitFrame();
}

std::span<const uint8_t> FrameReader::TakePayload(std::span<const uint8_t> bytes) {
  const auto taken = static_cast<size_t>(std::min<uint64_t>(payload_left_, bytes.size()));
  const std::span<const uint8_t> ours = bytes.first(taken);
  if (is_whole_) {
    const size_t room = kHeaderBytes + kKeptPayloadBytes - held_.size();
    held_.insert(held_.end(), ours.begin(), ours.begin() + static_cast<std::ptrdiff_t>(std::min(room, taken)));
  }
  Remember(ours);
  payload_left_ -= taken;
  if (payload_left_ == 0) EmitFrame();
  return bytes.subspan(taken);
}

void FrameReader::EmitFrame() {
  const std::span<uint8_t> held(held_);
  const auto payload_bytes = proto::LoadBig<uint32_t>(held_.data());
  handler_.OnRawFrame({offset_, held.first(kHeaderBytes), held.subspan(kHeaderBytes), payload_bytes});
  offset_ += kHeaderBytes + payload_bytes;
  held_.clear();
  state_ = State::kHeader;
}

void FrameReader::Break(Rule rule, uint64_t said_bytes) {
  Damage damage;
  damage.offset = offset_;
  damage.rule = rule;
  damage.said_bytes = said_bytes;
  damage.limit_bytes = max_payload_bytes_;
  damage.around = recent_;
  damage.around_offset = offset_ + held_.size() - recent_.size();
  handler_.OnDamage(damage);
  why_ = Skipped::Why::kDamage;
  if (!resync_) {
    skipped_bytes_ = held_.size();
    held_.clear();
    state_ = State::kDead;
    return;
  }
  state_ = State::kSeeking;
  was_damaged_ = true;
  // A stream without its preface may begin with a frame; a header that is none is not looked at again.
  skipped_bytes_ = rule == Rule::kBadPreface ? 0 : 1;
  const std::vector<uint8_t> again(held_.begin() + static_cast<std::ptrdiff_t>(skipped_bytes_), held_.end());
  held_.clear();
  Take(again);
}

std::span<const uint8_t> FrameReader::Seek(std::span<const uint8_t> bytes) {
  const size_t taken = std::min(bytes.size(), kSeekBytes);
  held_.insert(held_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
  size_t at = 0;
  for (; at + kHeaderBytes <= held_.size(); ++at) {
    if (held_[at] != 0 && most_payload_bytes() <= kPlausiblePayloadBytes) continue;
    if (!IsPlausible(std::span(held_).subspan(at, kHeaderBytes))) continue;
    const std::vector<uint8_t> again(held_.begin() + static_cast<std::ptrdiff_t>(at), held_.end());
    if (skipped_bytes_ + at > 0) TellSkipped(why_, skipped_bytes_ + at);
    held_.clear();
    state_ = State::kHeader;
    Take(again);
    return bytes.subspan(taken);
  }
  Remember(std::span<const uint8_t>(held_).first(at));
  skipped_bytes_ += at;
  held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(at));
  return bytes.subspan(taken);
}

bool FrameReader::IsPlausible(std::span<uint8_t> header) const {
  const Frame frame(header);
  const auto payload_bytes = proto::LoadBig<uint32_t>(header.data());
  if (payload_bytes > most_payload_bytes() || !frame.has_known_type()) return false;
  if (!MayHaveBytes(frame.type(), payload_bytes)) return false;
  const bool is_wrong_way = direction_ == Direction::kToServer
                                ? frame.type() == FrameType::kWelcome
                                : frame.type() == FrameType::kHello || frame.type() == FrameType::kJoin;
  return !is_wrong_way && proto::CheckHeader(frame) == proto::HeaderFault::kNone;
}

void FrameReader::TellSkipped(Skipped::Why why, uint64_t bytes) {
  Skipped skipped;
  skipped.why = why;
  skipped.offset = offset_;
  skipped.bytes = bytes;
  if (why == Skipped::Why::kTruncated || why == Skipped::Why::kGap) {
    skipped.begun = held_;
    if (held_.size() >= kHeaderBytes) {
      skipped.frame_bytes = kHeaderBytes + uint64_t{proto::LoadBig<uint32_t>(held_.data())};
    }
    skipped.is_preface = state_ == State::kPreface;
  }
  handler_.OnSkipped(skipped);
  offset_ += bytes;
  skipped_bytes_ = 0;
}

void FrameReader::Gap(uint64_t bytes) {
  if (state_ == State::kFinished) return;
  if (state_ == State::kPayload && bytes > 0) {
    const uint64_t of_payload = std::min<uint64_t>(bytes, payload_left_);
    payload_left_ -= of_payload;
    bytes -= of_payload;
    is_whole_ = false;
    recent_.clear();
    if (payload_left_ == 0) EmitFrame();
    if (bytes == 0) return;
  }
  uint64_t begun = skipped_bytes_ + held_.size();
  if (state_ == State::kPayload)
    begun = kHeaderBytes + uint64_t{proto::LoadBig<uint32_t>(held_.data())} - payload_left_;
  if (begun > 0) TellSkipped(state_ == State::kSeeking || state_ == State::kDead ? why_ : Skipped::Why::kGap, begun);
  held_.clear();
  recent_.clear();
  handler_.OnGap(offset_, bytes);
  offset_ += bytes;
  if (state_ == State::kDead) return;
  state_ = State::kSeeking;
  why_ = Skipped::Why::kGap;
}

void FrameReader::Finish() {
  if (state_ == State::kFinished) return;
  uint64_t begun = skipped_bytes_ + held_.size();
  if (state_ == State::kPayload)
    begun = kHeaderBytes + uint64_t{proto::LoadBig<uint32_t>(held_.data())} - payload_left_;
  if (begun > 0) {
    TellSkipped(state_ == State::kSeeking || state_ == State::kDead ? why_ : Skipped::Why::kTruncated, begun);
  }
  held_.clear();
  state_ = State::kFinished;
}

}  // namespace relay::inspect

// Frames of which nobody knows when they passed between those of the other direction. What their own direction's order
// decides is judged; whether they are late, whether a slot was free and what credit was left is not.

#include "tools/inspect/connection.h"

namespace relay::inspect {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

}  // namespace

void Connection::JudgeAlone(SeenFrame& frame) {
  const bool to_server = IsToServer(frame);
  const FrameType type = frame.type();
  Stays& stays = stays_[frame.header.slot()];
  if (stays.in_line.empty()) stays.in_line.emplace_back();
  if (type == FrameType::kJoin) {
    if (const std::optional<Joined> joined = ReadJoin(frame)) {
      const Stay& last = stays.in_line.back();
      const bool is_blank = last.client == proto::kNilUuid && last.parts.empty() && !last.has_left;
      if (!is_blank) stays.in_line.emplace_back();
      stays.in_line.back().channel = joined->channel;
      stays.in_line.back().client = joined->client;
      stays.is_joined = true;
    }
  }
  Stay& stay = to_server ? stays.in_line.back() : stays.in_line.front();
  frame.channel = stay.channel;
  frame.channel_name = names_.Find(stay.channel);
  frame.client = stay.client;
  switch (type) {
    case FrameType::kLeave:
      return LeaveAlone(frame, stays);
    case FrameType::kReceive:
      if (IsReadable(frame) && to_server && !frame.content->receive.withdraw()) OperateAlone(frame, stays);
      return;
    case FrameType::kStart:
    case FrameType::kChunk:
    case FrameType::kEnd:
      return StreamAlone(frame, stays, PartOf(stay, frame.header.id()));
    case FrameType::kWindow:
    case FrameType::kReset:
    case FrameType::kExtend:
      IsReadable(frame);
      if (frame.header.id() != proto::kNilUuid) return AnswerAlone(frame, PartOf(stay, frame.header.id()));
      if (to_server) Break(frame, Rule::kNilReset);
      return;
    default:
      return;
  }
}

Connection::Part& Connection::PartOf(Stay& stay, const proto::Uuid& request) {
  const auto [found, is_new] = stay.parts.try_emplace(request);
  if (is_new) begun_alone_.emplace_back(stay.channel, request);
  return found->second;
}

void Connection::LeaveAlone(SeenFrame& frame, Stays& stays) {
  IsReadable(frame);
  if (IsToServer(frame)) {
    stays.is_joined = false;
    stays.in_line.back().has_left = true;
    return;
  }
  // Both directions are behind what this client did here: what has no end by now was left by it.
  const Stay& stay = stays.in_line.front();
  if (stay.has_left && sees_[0] && sees_[1]) {
    for (const auto& [request, part] : stay.parts) {
      if (!part.has_end) on_abandoned_(stay.channel, request, part.side, Gone::kLeft);
    }
  }
  stays.in_line.pop_front();
}

void Connection::OperateAlone(SeenFrame& frame, const Stays& stays) {
  if (!stays.is_joined) BreakIfSeen(frame, Rule::kSlotNotJoined);
  if (client_leaves_) BreakIfSeen(frame, Rule::kConnectionLeaving);
}

void Connection::StreamAlone(SeenFrame& frame, const Stays& stays, Part& part) {
  const bool to_server = IsToServer(frame);
  const bool is_request = frame.header.has(flag::kRequest);
  const FrameType type = frame.type();
  frame.side = part.side = to_server == is_request ? Side::kSender : Side::kReceiver;
  if (!to_server && frame.header.has(flag::kReceive)) Break(frame, Rule::kReceiveHandedOn);
  const bool operates = (type == FrameType::kStart && is_request) || frame.header.has(flag::kReceive);
  if (to_server && operates) OperateAlone(frame, stays);
  IsReadable(frame);
  if (frame.content->state == Payload::State::kBadStart) return;
  Said& said = part.said[Index(frame.direction)];
  if (said.is_over && type != FrameType::kStart) {
    frame.is_late = true;
    return;
  }
  frame.is_live = true;
  if (type == FrameType::kStart) {
    StartAlone(frame, said);
  } else if (!said.has_started) {
    BreakIfSeen(frame, is_request && !to_server ? Rule::kNotAssigned : Rule::kNotStarted);
  } else if (said.has_ended) {
    BreakIfSeen(frame, Rule::kAfterEnd);
  }
  if (type == FrameType::kEnd && has_welcome_ && frame.payload_bytes > max_start_bytes_) {
    Break(frame, Rule::kEndTooLarge);
  }
  if (type == FrameType::kEnd || frame.header.has(flag::kFin)) said.has_ended = true;
  if (!is_request && said.has_ended) frame.ends = part.has_end = true;
}

void Connection::StartAlone(SeenFrame& frame, Said& said) {
  const Payload& content = *frame.content;
  const bool is_request = frame.header.has(flag::kRequest);
  const bool to_client = !IsToServer(frame);
  const bool is_open = said.has_started && !said.has_ended && !said.is_over;
  if (is_open && content.attempt <= said.attempt) {
    BreakIfSeen(frame, Rule::kSecondStart);
  } else {
    said = Said();
    said.has_started = true;
    said.attempt = content.attempt;
    frame.begins = is_request;
  }
  if (to_client && is_request && content.state == Payload::State::kParsed && content.attempt == 0) {
    Break(frame, Rule::kAttempt);
  }
  if (!has_welcome_) return;
  if (content.start_bytes > max_start_bytes_) Break(frame, Rule::kStartTooLarge);
  // No WINDOW can have come before it.
  if (is_request && proto::StartCost(content.body_bytes) > window_bytes_) Break(frame, Rule::kWindowOverrun);
}

void Connection::AnswerAlone(SeenFrame& frame, Part& part) {
  const bool to_server = IsToServer(frame);
  const bool is_reset = frame.is(FrameType::kReset);
  if (part.side == Side::kNone) {
    // A client that resets what it did not send was handed it.
    const bool by_receiver =
        is_reset ? to_server : frame.is(FrameType::kExtend) || to_server == frame.header.has(flag::kRequest);
    part.side = by_receiver ? Side::kReceiver : is_reset ? Side::kNone : Side::kSender;
  }
  frame.side = part.side;
  frame.is_live = true;
  if (!is_reset) return;
  part.said[Index(frame.direction)].is_over = true;
  frame.ends = part.has_end = true;
}

}  // namespace relay::inspect

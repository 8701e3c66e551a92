#include "model/model.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "driver.h"

namespace relay::model {

using Code = absl::StatusCode;
using proto::FrameType;
using server::Id;
namespace flag = proto::flag;

namespace {

uint16_t SlotOf(int client) { return static_cast<uint16_t>(client + 1); }
uint64_t NumberOfClient(int client) { return static_cast<uint64_t>(client) + 1; }
uint64_t NumberOfRequest(int request) { return static_cast<uint64_t>(request) + 1000; }

std::string Piece(char stream, int request, int piece) {
  return absl::StrCat(std::string(1, stream), absl::Dec(request, absl::kZeroPad3), "-",
                      absl::Dec(piece, absl::kZeroPad3));
}

}  // namespace

Model::Model(const Rules& rules) : rules_(rules) {
  const int of_layout[][kClients] = {{0, 1, 2, 3}, {0, 0, 1, 1}, {0, 0, 0, 0}};
  for (int client = 0; client < kClients; ++client) {
    At(client).connection = of_layout[static_cast<size_t>(rules.layout)][client];
  }
}

std::vector<Input> Model::Setup() {
  std::vector<Input> inputs;
  for (int client = 0; client < kClients; ++client) {
    if (At(client).connection == connection_count()) Open(inputs);
    Join(client, inputs);
  }
  return inputs;
}

// ---- What happens --------------------------------------------------------------------------------------------------

std::vector<Input> Model::Apply(Event event) {
  ++now_ms_;
  std::vector<Input> inputs;
  const int who = event.who;
  const auto say = [&](std::string bytes) {
    inputs.push_back({Input::Do::kBytes, At(who).connection, std::move(bytes)});
  };
  switch (event.kind) {
    case Kind::kStartWhole:
    case Kind::kStartOpen:
    case Kind::kStartRequire:
      say(Start(who, event.kind));
      break;
    case Kind::kStartAgain:
      say(StartAgain(who));
      break;
    case Kind::kReceive:
    case Kind::kReceiveBusy:
      say(server::ReceiveFrame(SlotOf(who)));
      BeginReceive(who);
      break;
    case Kind::kWithdraw:
      say(server::WithdrawFrame(SlotOf(who)));
      if (std::erase(line_, who) != 0) At(who).doing = Doing::kIdle;
      Tell(who, {.type = FrameType::kReceive, .withdraw = true});
      break;
    case Kind::kAnswerWhole:
    case Kind::kAnswerAndReceive:
    case Kind::kAnswerOpen:
      say(Answer(who, event.kind));
      break;
    case Kind::kAnswerForeign:
      say(AnswerForeign(who));
      break;
    case Kind::kChunk:
      say(Chunk(who));
      break;
    case Kind::kEnd:
      say(End(who));
      break;
    case Kind::kWindow:
      say(Window(who));
      break;
    case Kind::kExtend:
      say(Extend(who));
      break;
    case Kind::kRequeue:
    case Kind::kReset: {
      const int request = At(who).request;
      const bool requeue = event.kind == Kind::kRequeue;
      say(server::ResetFrame(SlotOf(who), Id(NumberOfRequest(request)), Code::kAborted, requeue));
      if (Sends(who)) {
        if (const int receiver = Of(request).receiver; receiver != kNobody) {
          Reset(receiver, request, Code::kCancelled, "sender_reset", true);
        }
        Finish(request);
      } else {
        LoseReceiver(request, requeue, Code::kAborted, "receiver_reset");
        Match();
      }
      break;
    }
    case Kind::kWrongSide:
      say(WrongSide(who));
      break;
    case Kind::kLate:
      say(Late(who));
      break;
    case Kind::kLeave: {
      say(server::LeaveFrame(SlotOf(who), Id(NumberOfClient(who))));
      const Place place = PlaceOf(who);
      Depart({who});
      told_.emplace_back(place, Told{.type = FrameType::kLeave, .id = NumberOfClient(who), .end = "left"});
      break;
    }
    case Kind::kJoin:
      Join(who, inputs);
      break;
    case Kind::kTakeOver:
      TakeOver(who, inputs);
      break;
    case Kind::kCut:
      inputs.push_back({Input::Do::kCut, At(who).connection});
      On(At(who).connection).is_cut = true;
      CloseConnection(At(who).connection);
      break;
    case Kind::kGoaway:
      say(server::GoawayFrame());
      On(At(who).connection).is_leaving = true;
      for (const int client : ClientsOn(At(who).connection)) {
        if (std::erase(line_, client) != 0) At(client).doing = Doing::kIdle;
      }
      break;
    case Kind::kDeadline: {
      int64_t first = INT64_MAX;
      for (const Request& request : requests_) {
        if (request.is_live) first = std::min(first, request.ends_ms);
      }
      now_ms_ = std::max(now_ms_, first);
      break;
    }
    case Kind::kDrain:
      inputs.push_back({Input::Do::kDrain});
      Drain();
      break;
    case Kind::kDrainOver:
      now_ms_ = std::max(now_ms_, drain_over_ms_);
      break;
  }
  return inputs;
}

std::string Model::Start(int client, Kind kind) {
  const bool is_whole = kind != Kind::kStartOpen;
  const int request = static_cast<int>(requests_.size());
  auto flags = static_cast<uint8_t>((is_whole ? flag::kFin : 0) | (rules_.is_idempotent ? flag::kIdempotent : 0) |
                                    (kind == Kind::kStartRequire ? flag::kRequireReceiver : 0));
  Request& begun = requests_.emplace_back();
  begun.sender = client;
  begun.read_ms = now_ms_;
  begun.ends_ms = now_ms_ + kTimeoutMs;
  Told start{.type = FrameType::kStart,
             .flags = static_cast<uint8_t>(flag::kRequest | flags),
             .id = NumberOfRequest(request),
             .other_client = NumberOfClient(client)};
  if (is_whole) {
    start.body = Piece('q', request, begun.pieces++);
    begun.cost = kPieceCost;
    begun.has_ended = true;
  }
  begun.frames.push_back(start);
  const bool has_receiver =
      std::any_of(clients_.begin(), clients_.end(), [](const Client& c) { return c.has_received; });
  if (On(At(client).connection).is_leaving) {
    Reset(client, request, Code::kFailedPrecondition, "connection_leaving", false);
  } else if (is_draining_) {
    Reset(client, request, Code::kUnavailable, "stopping", false);
  } else if (kind == Kind::kStartRequire && !has_receiver) {
    Reset(client, request, Code::kUnavailable, "no_receiver", false);
  } else if (line_.empty() && queue_.size() >= rules_.queue_count) {
    Reset(client, request, Code::kResourceExhausted, "queue_count", false);
  } else {
    begun.is_live = true;
    At(client).doing = Doing::kSending;
    At(client).request = request;
    queue_.push_back(request);
    Match();
  }
  return server::StartFrame(flag::kRequest, SlotOf(client), Id(start.id),
                            {.flags = flags,
                             .body = start.body,
                             .timeout_ms = static_cast<uint32_t>(kTimeoutMs),
                             .max_extension_ms = static_cast<uint32_t>(kMaxExtensionMs)});
}

std::string Model::StartAgain(int client) {
  const bool is_own = At(client).doing == Doing::kSending;
  const int request = is_own ? At(client).request : OthersRequest(client);
  if (is_own) {
    Fault(request, Code::kInvalidArgument, "second_start");
  } else {
    Reset(client, request, Code::kAlreadyExists, "id_live", false);
  }
  return server::StartFrame(flag::kRequest, SlotOf(client), Id(NumberOfRequest(request)));
}

std::string Model::Answer(int client, Kind kind) {
  const int request = At(client).request;
  Request& answered = Of(request);
  const bool is_whole = kind != Kind::kAnswerOpen;
  const bool receives = kind == Kind::kAnswerAndReceive;
  Told start{.type = FrameType::kStart,
             .flags = static_cast<uint8_t>(flag::kResponse | (is_whole ? flag::kFin : 0)),
             .id = NumberOfRequest(request),
             .other_client = NumberOfClient(client),
             .attempt = static_cast<uint16_t>(answered.attempt),
             .queue_wait_us = static_cast<uint32_t>(answered.wait_ms * 1000),
             .body = is_whole ? Piece('a', request, answered.answer_pieces++) : ""};
  const std::string bytes =
      server::StartFrame(flag::kResponse, SlotOf(client), Id(start.id),
                         {.flags = static_cast<uint8_t>((is_whole ? flag::kFin : 0) | (receives ? flag::kReceive : 0)),
                          .body = start.body});
  if (answered.is_answered) {
    Fault(request, Code::kInvalidArgument, "second_start");
  } else {
    answered.is_answered = true;
    if (is_whole) answered.answer_cost = kPieceCost;
    ReleaseWindow(request);
    PassAnswer(client, std::move(start), is_whole);
  }
  if (receives) BeginReceive(client);
  return bytes;
}

// An answer, a chunk of one and a refusal, by somebody who was not asked.
std::string Model::AnswerForeign(int client) {
  const proto::Uuid id = Id(NumberOfRequest(OthersRequest(client)));
  const uint16_t slot = SlotOf(client);
  return server::StartFrame(flag::kResponse, slot, id) + server::ChunkFrame(flag::kResponse, slot, id, "forged") +
         server::WindowFrame(flag::kRequest, slot, id, kMaxWindow) +
         server::ResetFrame(slot, id, Code::kAborted, /*requeue=*/true);
}

std::string Model::WrongSide(int client) const {
  const proto::Uuid id = Id(NumberOfRequest(At(client).request));
  const uint16_t slot = SlotOf(client);
  const uint8_t others = Sends(client) ? flag::kResponse : flag::kRequest;
  const uint8_t own = Sends(client) ? flag::kRequest : flag::kResponse;
  const std::string extend = Sends(client) ? server::ExtendFrame(slot, id, UINT32_MAX) : "";
  return server::ChunkFrame(others, slot, id, "forged") + server::WindowFrame(own, slot, id, kMaxWindow) + extend +
         server::EndFrame(others, slot, id);
}

std::string Model::Late(int client) const {
  const proto::Uuid id = Id(NumberOfRequest(At(client).last));
  const uint16_t slot = SlotOf(client);
  const uint8_t written = Sends(client) ? flag::kRequest : flag::kResponse;
  const uint8_t read = Sends(client) ? flag::kResponse : flag::kRequest;
  return server::ChunkFrame(written, slot, id, "late") + server::WindowFrame(read, slot, id, kMaxWindow) +
         server::EndFrame(written, slot, id) + server::ResetFrame(slot, id, Code::kAborted);
}

std::string Model::Chunk(int client) {
  const bool is_request = Sends(client);
  const int number = At(client).request;
  Request& request = Of(number);
  Told chunk{.type = FrameType::kChunk,
             .flags = is_request ? flag::kRequest : flag::kResponse,
             .id = NumberOfRequest(number),
             .body = is_request ? Piece('q', number, request.pieces++) : Piece('a', number, request.answer_pieces++)};
  std::string bytes = server::ChunkFrame(chunk.flags, SlotOf(client), Id(chunk.id), chunk.body);
  uint64_t& cost = is_request ? request.cost : request.answer_cost;
  if (!is_request && !request.is_answered) {
    Fault(number, Code::kInvalidArgument, "not_started");
  } else if (is_request && request.has_ended) {
    Fault(number, Code::kInvalidArgument, "after_end");
  } else if (cost + kPieceCost > (is_request ? request.window : request.answer_window)) {
    Fault(number, Code::kResourceExhausted, "window_overrun");
  } else {
    cost += kPieceCost;
    if (is_request) {
      PassRequest(number, std::move(chunk));
    } else {
      PassAnswer(client, std::move(chunk), /*is_last=*/false);
    }
  }
  return bytes;
}

std::string Model::End(int client) {
  const bool is_request = Sends(client);
  const int number = At(client).request;
  Request& request = Of(number);
  Told end{
      .type = FrameType::kEnd, .flags = is_request ? flag::kRequest : flag::kResponse, .id = NumberOfRequest(number)};
  std::string bytes = server::EndFrame(end.flags, SlotOf(client), Id(end.id));
  if (!is_request && !request.is_answered) {
    Fault(number, Code::kInvalidArgument, "not_started");
  } else if (is_request && request.has_ended) {
    Fault(number, Code::kInvalidArgument, "after_end");
  } else if (is_request) {
    request.has_ended = true;
    PassRequest(number, std::move(end));
  } else {
    PassAnswer(client, std::move(end), /*is_last=*/true);
  }
  return bytes;
}

std::string Model::Window(int client) {
  const int number = At(client).request;
  Request& request = Of(number);
  const bool is_request = !Sends(client);  // who reads a stream raises its window
  uint64_t& window = is_request ? request.window : request.answer_window;
  const uint64_t to = (is_request ? std::max(window, request.kept_window) : window) + 1;
  const uint8_t flags = is_request ? flag::kRequest : flag::kResponse;
  const Told told{.type = FrameType::kWindow, .flags = flags, .id = NumberOfRequest(number), .window = to};
  if (is_request && MayMove(request)) {
    request.kept_window = to;
  } else {
    window = to;
    const int other = is_request ? request.sender : request.receiver;
    if (other != kNobody) Tell(other, told);
  }
  return server::WindowFrame(flags, SlotOf(client), Id(told.id), to);
}

std::string Model::Extend(int client) {
  const int number = At(client).request;
  Request& request = Of(number);
  const int64_t to = std::min(now_ms_ + kExtendMs, request.read_ms + kMaxExtensionMs);
  request.ends_ms = std::max(request.ends_ms, to);
  const auto remains_ms = static_cast<uint32_t>(std::max<int64_t>(1, request.ends_ms - now_ms_));
  Tell(client, {.type = FrameType::kExtend, .id = NumberOfRequest(number), .timeout_ms = remains_ms});
  return server::ExtendFrame(SlotOf(client), Id(NumberOfRequest(number)), static_cast<uint32_t>(kExtendMs));
}

}  // namespace relay::model

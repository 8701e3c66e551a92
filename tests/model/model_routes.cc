// The model's rules: who meets whom, what everybody is told when somebody goes.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "driver.h"
#include "model/model.h"

namespace relay::model {

using Code = absl::StatusCode;
using proto::FrameType;
using server::Id;
namespace flag = proto::flag;

namespace {

// An id of its own rather than a name: a join costs no hash.
constexpr std::string_view kChannel = "00000000-0000-4000-8000-0000000000c1";

}  // namespace

Place Model::PlaceOf(int client) const { return {At(client).connection, static_cast<uint16_t>(client + 1)}; }

int Model::OthersRequest(int client) const {
  for (size_t i = requests_.size(); i-- > 0;) {
    const Request& request = requests_[i];
    if (request.is_live && request.sender != client && request.receiver != client) return static_cast<int>(i);
  }
  return kNobody;
}

std::vector<int> Model::ClientsOn(int connection) const {
  std::vector<int> clients;
  for (int client = 0; client < kClients; ++client) {
    if (IsJoined(client) && At(client).connection == connection) clients.push_back(client);
  }
  return clients;
}

int Model::live_count() const {
  return static_cast<int>(
      std::count_if(requests_.begin(), requests_.end(), [](const Request& request) { return request.is_live; }));
}

int Model::joined_count() const {
  return static_cast<int>(std::count_if(clients_.begin(), clients_.end(),
                                        [](const Client& client) { return client.doing != Doing::kAbsent; }));
}

// ---- What is told --------------------------------------------------------------------------------------------------

void Model::Reset(int client, int request, Code code, std::string_view end, bool may_have_run) {
  Tell(client, {.type = FrameType::kReset,
                .id = static_cast<uint64_t>(request) + 1000,
                .code = code,
                .end = std::string(end),
                .may_have_run = may_have_run});
}

void Model::RefuseReceive(int client, Code code, std::string_view end) {
  Tell(client, {.type = FrameType::kReset, .code = code, .end = std::string(end)});
}

// ---- Requests meet receivers ---------------------------------------------------------------------------------------

bool Model::MayMove(const Request& request) const {
  return !is_draining_ && rules_.is_idempotent && !request.is_answered && request.attempt < rules_.attempts &&
         request.cost <= kFirstWindow / 2;
}

void Model::BeginReceive(int client) {
  if (At(client).doing != Doing::kIdle) return RefuseReceive(client, Code::kFailedPrecondition, "slot_busy");
  if (On(At(client).connection).is_leaving) {
    return RefuseReceive(client, Code::kFailedPrecondition, "connection_leaving");
  }
  if (is_draining_) return RefuseReceive(client, Code::kUnavailable, "stopping");
  At(client).has_received = true;
  At(client).doing = Doing::kWaiting;
  line_.push_back(client);
  Match();
}

void Model::Match() {
  while (!queue_.empty() && !line_.empty()) {
    const int request = queue_.front();
    if (Of(request).ends_ms <= now_ms_) {  // expired: never handed out
      TimeOver(request);
      continue;
    }
    const int receiver = line_.front();
    queue_.erase(queue_.begin());
    line_.erase(line_.begin());
    HandOut(request, receiver);
  }
}

void Model::HandOut(int number, int receiver) {
  Request& request = Of(number);
  request.receiver = receiver;
  ++request.attempt;
  request.wait_ms = now_ms_ - request.read_ms;
  At(receiver).doing = Doing::kReceiving;
  At(receiver).request = number;
  for (Told frame : request.frames) {
    if (frame.type == FrameType::kStart) {
      frame.attempt = static_cast<uint16_t>(request.attempt);
      frame.timeout_ms = static_cast<uint32_t>(request.ends_ms - now_ms_);
      const int64_t extends_to_ms = request.read_ms + kMaxExtensionMs;
      if (extends_to_ms > request.ends_ms) frame.max_extension_ms = static_cast<uint32_t>(extends_to_ms - now_ms_);
      frame.queue_wait_us = static_cast<uint32_t>(request.wait_ms * 1000);
    }
    Tell(receiver, std::move(frame));
  }
  if (request.answer_window > kFirstWindow) {
    Tell(receiver, {.type = FrameType::kWindow,
                    .flags = flag::kResponse,
                    .id = static_cast<uint64_t>(number) + 1000,
                    .window = request.answer_window});
  }
}

void Model::PassRequest(int number, Told told) {
  Request& request = Of(number);
  request.frames.push_back(told);
  if (request.receiver == kNobody) return;
  ReleaseWindow(number);
  Tell(request.receiver, std::move(told));
}

void Model::PassAnswer(int client, Told told, bool is_last) {
  const int request = At(client).request;
  Tell(Of(request).sender, std::move(told));
  if (is_last) Finish(request);
}

void Model::ReleaseWindow(int number) {
  Request& request = Of(number);
  if (MayMove(request) || request.kept_window <= request.window) return;
  request.window = request.kept_window;
  Tell(request.sender, {.type = FrameType::kWindow,
                        .flags = flag::kRequest,
                        .id = static_cast<uint64_t>(number) + 1000,
                        .window = request.window});
}

// ---- Ends ----------------------------------------------------------------------------------------------------------

void Model::Finish(int number) {
  Request& request = Of(number);
  request.is_live = false;
  std::erase(queue_, number);
  for (const int side : {request.sender, request.receiver}) {
    if (side == kNobody) continue;
    At(side).doing = Doing::kIdle;
    At(side).request = kNobody;
    At(side).last = number;
  }
  request.receiver = kNobody;
}

void Model::Fault(int number, Code code, std::string_view end) {
  const Request& request = Of(number);
  Reset(request.sender, number, code, end, request.attempt > 0);
  if (request.receiver != kNobody) Reset(request.receiver, number, code, end, true);
  Finish(number);
}

void Model::TimeOver(int request) { Fault(request, Code::kDeadlineExceeded, "deadline"); }

void Model::LoseReceiver(int number, bool may_move, Code code, std::string_view end) {
  Request& request = Of(number);
  if (!may_move || !MayMove(request)) {
    Reset(request.sender, number, code, end, true);
    return Finish(number);
  }
  Client& receiver = At(request.receiver);
  receiver.doing = Doing::kIdle;
  receiver.request = kNobody;
  receiver.last = number;
  request.receiver = kNobody;
  request.kept_window = 0;
  // Requests are numbered as they came, so the queue is in the order of numbers.
  queue_.insert(std::lower_bound(queue_.begin(), queue_.end(), number), number);
}

void Model::Depart(const std::vector<int>& clients) {
  for (const int client : clients) std::erase(line_, client);
  for (const int client : clients) {
    if (At(client).doing != Doing::kSending) continue;
    const int request = At(client).request;
    if (const int receiver = Of(request).receiver; receiver != kNobody) {
      Reset(receiver, request, Code::kCancelled, "sender_lost", true);
    }
    Finish(request);
  }
  for (const int client : clients) {
    if (At(client).doing != Doing::kReceiving) continue;
    LoseReceiver(At(client).request, /*may_move=*/true, Code::kUnavailable, "receiver_lost");
  }
  for (const int client : clients) {
    const int connection = At(client).connection;
    const int last = At(client).last;
    At(client) = Client{.connection = connection, .last = last};
  }
  Match();
}

void Model::CloseConnection(int connection) {
  On(connection).is_closed = true;
  Depart(ClientsOn(connection));
}

void Model::EndTurn() {
  const bool stops = is_draining_ && !is_stopped_ && now_ms_ >= drain_over_ms_;
  const int64_t until_ms = stops ? drain_over_ms_ : now_ms_;
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i].is_live && requests_[i].ends_ms <= until_ms) TimeOver(static_cast<int>(i));
  }
  if (stops) DrainOver();
  for (int connection = 0; connection < connection_count(); ++connection) {
    if (!On(connection).is_leaving || On(connection).is_closed) continue;
    const std::vector<int> clients = ClientsOn(connection);
    const auto is_idle = [this](int client) { return At(client).request == kNobody; };
    if (std::all_of(clients.begin(), clients.end(), is_idle)) CloseConnection(connection);
  }
}

void Model::Drain() {
  is_draining_ = true;
  drain_over_ms_ = now_ms_ + kDrainMs;
  for (const int client : line_) At(client).doing = Doing::kIdle;
  line_.clear();
  for (const int request : std::vector<int>(queue_)) {
    Reset(Of(request).sender, request, Code::kUnavailable, "stopping", Of(request).attempt > 0);
    Finish(request);
  }
  TellGoaway();
}

void Model::DrainOver() {
  is_stopped_ = true;
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i].is_live) Fault(static_cast<int>(i), Code::kUnavailable, "stopping");
  }
  TellGoaway();
  for (int connection = 0; connection < connection_count(); ++connection) {
    if (!On(connection).is_closed) CloseConnection(connection);
  }
}

void Model::TellGoaway() {
  for (int connection = 0; connection < connection_count(); ++connection) {
    if (On(connection).is_closed) continue;
    told_.emplace_back(Place{connection, 0},
                       Told{.type = FrameType::kGoaway, .code = Code::kUnavailable, .end = "stopping"});
  }
}

// ---- Joins ---------------------------------------------------------------------------------------------------------

int Model::Open(std::vector<Input>& inputs) {
  const int connection = connection_count();
  connections_.emplace_back();
  inputs.push_back({Input::Do::kOpen, connection});
  if (is_draining_) {
    told_.emplace_back(Place{connection, 0},
                       Told{.type = FrameType::kGoaway, .code = Code::kUnavailable, .end = "stopping"});
    On(connection).is_closed = true;
  } else {
    inputs.push_back({Input::Do::kBytes, connection, std::string(proto::kPreface) + server::HelloFrame()});
    told_.emplace_back(Place{connection, 0}, Told{.type = FrameType::kWelcome});
  }
  return connection;
}

void Model::Join(int client, std::vector<Input>& inputs) {
  Client& joining = At(client);
  if (On(joining.connection).is_closed) {
    // The new connection of one that it shared the old one with, or one of its own.
    int open = kNobody;
    const auto is_kin = [&](int other) {
      return rules_.layout == Layout::kOne || (rules_.layout == Layout::kPairs && Sends(other) == Sends(client));
    };
    for (int other = 0; other < kClients; ++other) {
      if (is_kin(other) && !On(At(other).connection).is_closed) open = At(other).connection;
    }
    joining.connection = open != kNobody ? open : Open(inputs);
    if (On(joining.connection).is_closed) return;
  }
  const uint64_t id = static_cast<uint64_t>(client) + 1;
  const Place place = PlaceOf(client);
  inputs.push_back({Input::Do::kBytes, place.connection, server::JoinFrame(place.slot, Id(id), kChannel, "key")});
  if (On(place.connection).is_leaving) {
    Tell(client, {.type = FrameType::kLeave, .id = id, .code = Code::kFailedPrecondition, .end = "connection_leaving"});
  } else if (is_draining_) {
    Tell(client, {.type = FrameType::kLeave, .id = id, .code = Code::kUnavailable, .end = "stopping"});
  } else {
    joining.doing = Doing::kIdle;
  }
}

void Model::TakeOver(int client, std::vector<Input>& inputs) {
  Tell(client, {.type = FrameType::kLeave,
                .id = static_cast<uint64_t>(client) + 1,
                .code = Code::kAborted,
                .end = "taken_over"});
  Depart({client});
  At(client).connection = Open(inputs);
  Join(client, inputs);
}

// ---- For the search ------------------------------------------------------------------------------------------------

std::string Model::Fingerprint() const {
  std::string text = absl::StrCat(is_draining_, is_stopped_);
  std::vector<int> live;
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i].is_live) live.push_back(static_cast<int>(i));
  }
  const auto name = [&](int request) { return std::find(live.begin(), live.end(), request) - live.begin(); };
  std::vector<int> used;  // connections, by first use
  for (const Client& client : clients_) {
    const auto at = std::find(used.begin(), used.end(), client.connection);
    absl::StrAppend(&text, "|", at - used.begin());
    if (at == used.end()) used.push_back(client.connection);
    const Connection& connection = On(client.connection);
    absl::StrAppend(&text, ",", connection.is_leaving, connection.is_closed, ",", static_cast<int>(client.doing), ",",
                    client.request == kNobody ? -1 : name(client.request), ",", client.has_received,
                    client.last != kNobody);
  }
  absl::StrAppend(&text, "|line ", absl::StrJoin(line_, ","), "|queue ");
  for (const int request : queue_) absl::StrAppend(&text, name(request), ",");
  for (const int number : live) {
    const Request& request = Of(number);
    const auto ends_before =
        std::count_if(live.begin(), live.end(), [&](int other) { return Of(other).ends_ms < request.ends_ms; });
    absl::StrAppend(&text, "|", request.attempt, request.has_ended, request.is_answered, ",", request.cost, ",",
                    request.answer_cost, ",", request.window, ",", request.answer_window, ",", request.kept_window, ",",
                    request.frames.size(), ",", ends_before);
  }
  return text;
}

}  // namespace relay::model

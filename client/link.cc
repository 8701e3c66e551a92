#include "client/link.h"

#include <algorithm>
#include <utility>

#include "client/wire.h"
#include "proto/messages.h"

namespace relay::client {
namespace {

// What was handed over before Close may take so long to reach a server that reads slowly, or not at all.
constexpr absl::Duration kCloseTime = absl::Seconds(1);

absl::Duration ToAbsl(std::chrono::milliseconds duration) { return absl::Milliseconds(duration.count()); }

}  // namespace

Link::Transport::Transport(Link& its_link, std::unique_ptr<net::Stream> its_stream)
    : link(its_link),
      url(net::ToString(its_link.addresses_[its_link.address_])),
      stream(std::move(its_stream)),
      session(its_link.options_.agent, its_link.loop_->Now()) {}

void Link::Transport::SayGoaway() {
  if (!std::exchange(said_goaway, true)) session.protocol.Goaway(OkStatus());
}

Link::Command::~Command() {
  if (kind == Kind::kSubmit && operation != nullptr) {
    operation->End(FailedPreconditionError("the connection was closed"));
  }
}

StatusOr<std::shared_ptr<Link>> Link::Open(std::vector<net::Address> addresses, ConnectionOptions options) {
  static const bool kIsSilent = (proto::SilenceProtobuf(), true);
  static_cast<void>(kIsSilent);
  auto loop = net::Loop::Create();
  if (!loop.ok()) return FromAbsl(loop.status());
  auto link = std::make_shared<Link>(std::move(addresses), std::move(options), *std::move(loop));
  std::optional<Status> result;
  {
    net::MutexLock lock(link->mutex_);
    link->thread_ = std::thread([link] { link->Run(); });
    while (!link->first_result_.has_value()) link->changed_.Wait(link->mutex_);
    result = link->first_result_;
  }
  if (result->ok()) return link;
  link->Close();
  return *result;
}

Link::Link(std::vector<net::Address> addresses, ConnectionOptions options, std::unique_ptr<net::Loop> loop)
    : addresses_(std::move(addresses)),
      options_(std::move(options)),
      loop_(std::move(loop)),
      roster_(ToAbsl(options_.wait_for_connection), ToAbsl(options_.reconnect_min), ToAbsl(options_.reconnect_max)),
      backoff_(ToAbsl(options_.reconnect_min), ToAbsl(options_.reconnect_max)),
      mailbox_(*loop_, [this](std::vector<Command>& commands) {
        CarryOut();  // what another thread asks for may come of a callback in this turn
        OnCommands(commands);
      }) {}

void Link::Submit(std::shared_ptr<Operation> operation) {
  Command command(Command::Kind::kSubmit);
  command.operation = std::move(operation);
  Post(std::move(command));
}

void Link::Wake(std::shared_ptr<Operation> operation) {
  Command command(Command::Kind::kLook);
  command.operation = std::move(operation);
  Post(std::move(command));
}

void Link::Leave(std::shared_ptr<Participant> participant) {
  Command command(Command::Kind::kLeave);
  command.participant = std::move(participant);
  Post(std::move(command));
}

void Link::Post(Command command) {
  if (OnIoThread()) {
    if (state_ != State::kEnded) own_commands_.push_back(std::move(command));
  } else {
    mailbox_.Post(std::move(command));
  }
}

void Link::Close() {
  Post(Command(Command::Kind::kClose));
  if (OnIoThread()) return;
  std::thread thread;
  {
    net::MutexLock lock(mutex_);
    std::swap(thread, thread_);
    if (!thread.joinable()) {
      while (!is_gone_) changed_.Wait(mutex_);
      return;
    }
  }
  thread.join();
  net::MutexLock lock(mutex_);
  is_gone_ = true;
  changed_.NotifyAll();
}

void Link::CloseForGood() {
  Close();
  if (!OnIoThread()) return;
  net::MutexLock lock(mutex_);
  if (thread_.joinable()) thread_.detach();
}

std::string Link::url() {
  net::MutexLock lock(mutex_);
  return url_;
}

void Link::Run() {
  io_thread_ = std::this_thread::get_id();
  timer_.emplace(*loop_, [this] { OnTimer(); });
  more_.emplace(*loop_, [] {});
  loop_->SetTurnEnd([this] { OnTurnEnd(); });
  BeginRound();
  loop_->Run();
  own_commands_.clear();
  connector_.reset();
  transport_.reset();
  departing_.clear();
  more_.reset();
  timer_.reset();
  loop_.reset();
  io_thread_ = std::thread::id();  // the system may give it to another thread
}

void Link::OnCommands(std::vector<Command>& commands) {
  const absl::Time now = loop_->Now();
  for (Command& command : commands) {
    switch (command.kind) {
      case Command::Kind::kSubmit:
        if (!command.operation->IsEndlessWait() || command.operation->spec().if_busy == IfBusy::kFail) LookAtAll(now);
        roster_.Submit(std::move(command.operation), now);
        break;
      case Command::Kind::kLook:
        looks_.push_back(std::move(command.operation));
        break;
      case Command::Kind::kLeave:
        LookAtAll(now);
        roster_.Leave(command.participant, now);
        break;
      case Command::Kind::kClose:
        LookAtAll(now);
        BeginClose();
        break;
    }
  }
  LookAtAll(now);
}

void Link::LookAtAll(absl::Time now) {
  for (const auto& operation : looks_) roster_.Look(operation, now);
  looks_.clear();
}

void Link::CarryOut() {
  carried_out_.swap(own_commands_);
  OnCommands(carried_out_);
  carried_out_.clear();
  if (!own_commands_.empty()) more_->Schedule();
}

void Link::Report(const Status& first_result) {
  net::MutexLock lock(mutex_);
  if (!first_result_.has_value()) first_result_ = first_result;
  if (first_result.ok()) url_ = transport_->url;
  changed_.NotifyAll();
}

void Link::BeginRound() {
  address_ = 0;
  Attempt();
}

void Link::Attempt() {
  state_ = State::kAttempting;
  state_over_ = loop_->Now() + ToAbsl(options_.connect_timeout);
  connector_ = std::make_unique<net::Connector>(
      *loop_, addresses_[address_], [this](net::Connector::Result result) { OnConnected(std::move(result)); });
}

void Link::OnConnected(net::Connector::Result result) {
  connector_.reset();
  if (!result.ok()) return OnAttemptFailed(FromAbsl(result.status()));
  transport_ = std::make_unique<Transport>(*this, *std::move(result));
  transport_->stream->SetHandler(transport_.get());
  transport_->stream->StartReading();
}

void Link::OnAttemptFailed(const Status& why) {
  connector_.reset();
  transport_.reset();
  if (++address_ < addresses_.size()) return Attempt();
  if (!was_up_) {
    Report(why);
    return EndLoop();
  }
  ++failed_rounds_;
  roster_.OnNotConnected(why);
  Rest();
}

void Link::Rest() {
  state_ = State::kResting;
  state_over_ = loop_->Now() + backoff_.Draw(failed_rounds_);
}

void Link::OnWelcome() {
  state_ = State::kUp;
  state_over_ = absl::InfiniteFuture();
  failed_rounds_ = 0;
  is_up_ = true;
  Report(OkStatus());
  roster_.OnConnected(transport_->session, loop_->Now());
  if (std::exchange(was_up_, true) && options_.on_change) options_.on_change(OkStatus());
}

void Link::OnGoaway() {
  // So a server that does not close what it has left is owed one connection, not one for each that it leaves.
  std::erase_if(departing_, [](const auto& other) { return other->said_goaway && other->is_all_sent(); });
  Transport& leaving = *departing_.emplace_back(std::move(transport_));
  is_up_ = false;
  roster_.OnGoaway(leaving.session, loop_->Now());
  Rest();
  if (!options_.on_change) return;
  std::string words = leaving.url + " takes no new operations";
  if (!leaving.goaway->message().empty()) words += ": " + leaving.goaway->message();
  options_.on_change(UnavailableError(words));
}

void Link::OnLost(std::unique_ptr<Transport> lost, const Status& why) {
  const bool was_leaving = state_ != State::kUp || transport_ != nullptr;
  if (!was_leaving) is_up_ = false;
  const uint64_t sent_bytes = lost->session.protocol.taken_bytes() - lost->stream->unsent_bytes();
  Status status = UnavailableError("the connection to " + lost->url + " was lost: " + why.message());
  status.set_end(kConnectionLost);
  roster_.OnLost(lost->session, status, sent_bytes, loop_->Now());
  if (state_ == State::kClosing && departing_.empty()) EndLoop();
  if (was_leaving) return;
  Rest();
  if (options_.on_change) options_.on_change(status);
}

void Link::BeginClose() {
  if (state_ >= State::kClosing) return;
  const bool was_up = std::exchange(state_, State::kClosing) == State::kUp;
  is_up_ = false;
  roster_.Close(CancelledError("the connection was closed"));
  connector_.reset();
  if (was_up) departing_.push_back(std::move(transport_));
  if (departing_.empty()) return EndLoop();
  for (const auto& transport : departing_) transport->SayGoaway();
  state_over_ = loop_->Now() + kCloseTime;
}

void Link::EndLoop() {
  state_ = State::kEnded;
  roster_.Close(CancelledError("the connection was closed"));
  // Nothing can be posted from here on; what was posted before ends as it is dropped.
  mailbox_.Close();
  loop_->Stop();
}

size_t Link::OnBytes(Transport& transport, std::span<uint8_t> bytes) {
  const size_t size = bytes.size();
  Protocol& protocol = transport.session.protocol;
  protocol.OnRead(loop_->Now());
  while (!transport.broken.has_value()) {
    const Event& event = protocol.Next(bytes);
    if (event.kind == Event::Kind::kNone) break;
    OnEvent(transport, event);
    if (!own_commands_.empty()) CarryOut();  // while all of it is in a cache
  }
  const size_t taken = size - bytes.size();
  if (const auto broken = std::exchange(transport.broken, std::nullopt)) {
    // The server learns what it did wrong, if it listens.
    if (protocol.is_welcome()) Write(transport);
    OnBroken(transport, *broken);
  }
  return taken;
}

void Link::OnEvent(Transport& transport, const Event& event) {
  switch (event.kind) {
    case Event::Kind::kWelcome:
      if (state_ == State::kAttempting) OnWelcome();
      return;
    case Event::Kind::kGoaway:
      transport.goaway = event.status;
      if (&transport != transport_.get()) return;
      if (state_ == State::kUp) return OnGoaway();
      transport.broken = event.status.ok() ? UnavailableError("the server takes no connections") : event.status;
      return;
    case Event::Kind::kFault:
      transport.broken = event.status;
      return;
    case Event::Kind::kNone:
    case Event::Kind::kLeft:
    case Event::Kind::kNothingCame:
    case Event::Kind::kWithdrawn:
    case Event::Kind::kRequest:
    case Event::Kind::kDiscarded:
    case Event::Kind::kResponse:
    case Event::Kind::kBody:
    case Event::Kind::kEnd:
    case Event::Kind::kCredit:
    case Event::Kind::kExtended:
    case Event::Kind::kReset:
      return roster_.OnEvent(transport.session, event, loop_->Now());
  }
}

void Link::OnEnd(Transport& transport, const absl::Status& why) {
  Status status = why.ok() ? UnavailableError("the server has closed it") : FromAbsl(why);
  if (transport.goaway.has_value() && !transport.goaway->message().empty()) {
    status = UnavailableError("the server has closed it: " + transport.goaway->message());
  }
  OnBroken(transport, status);
}

void Link::OnBroken(Transport& transport, const Status& why) {
  if (&transport == transport_.get()) {
    if (state_ == State::kAttempting) return OnAttemptFailed(why);
    if (state_ == State::kUp) return OnLost(std::move(transport_), why);
    return transport_.reset();  // the close did not wait for its WELCOME
  }
  const auto place = std::find_if(departing_.begin(), departing_.end(),
                                  [&transport](const auto& other) { return other.get() == &transport; });
  auto departed = std::move(*place);
  departing_.erase(place);
  OnLost(std::move(departed), why);
}

void Link::ForEach(absl::FunctionRef<void(Transport&)> call) {
  for (size_t i = departing_.size(); i > 0; --i) call(*departing_[i - 1]);
  if (transport_ != nullptr) call(*transport_);
}

void Link::OnTimer() {
  const absl::Time now = loop_->Now();
  timer_at_ = absl::InfiniteFuture();
  roster_.OnTime(now);
  ForEach([this, now](Transport& transport) {
    Protocol& protocol = transport.session.protocol;
    if (protocol.next_time() > now || protocol.OnTime(now)) return;
    const absl::Duration silence = protocol.limits().heartbeat_interval * protocol.limits().heartbeat_misses;
    OnBroken(transport, UnavailableError("nothing came from the server for " + absl::FormatDuration(silence)));
  });
  if (now < state_over_) return;
  state_over_ = absl::InfiniteFuture();
  switch (state_) {
    case State::kResting:
      return BeginRound();
    case State::kAttempting:
      return OnAttemptFailed(DeadlineExceededError("connect " + net::ToString(addresses_[address_]) +
                                                   ": no answer within " +
                                                   std::to_string(options_.connect_timeout.count()) + " ms"));
    case State::kClosing:
      return EndLoop();
    case State::kUp:
    case State::kEnded:
      return;
  }
}

void Link::OnTurnEnd() {
  CarryOut();
  // A server that is leaving waits for what runs; when that is over it hears so, and closes.
  for (const auto& transport : departing_) {
    if (transport->session.bound == 0) transport->SayGoaway();
  }
  ForEach([this](Transport& transport) { Write(transport); });
  SetTimer();
}

void Link::Write(Transport& transport) {
  Protocol& protocol = transport.session.protocol;
  net::Stream& stream = *transport.stream;
  if (stream.unsent_bytes() > 0 || protocol.output_bytes() == 0) return;
  protocol.TakeOutput(output_, loop_->Now());
  const std::span<const uint8_t> slice(reinterpret_cast<const uint8_t*>(output_.data()), output_.size());
  stream.Write(std::span(&slice, 1));
  output_.clear();
  // What left room for more brings it in the next turn, behind whatever else is ready.
  roster_.Unblock(transport.session, loop_->Now());
  if (protocol.output_bytes() > 0 && stream.unsent_bytes() == 0) more_->Schedule();
}

void Link::SetTimer() {
  absl::Time next = std::min(state_over_, roster_.next_time());
  ForEach([&next](const Transport& transport) { next = std::min(next, transport.session.protocol.next_time()); });
  if (next == timer_at_) return;
  timer_at_ = next;
  timer_->StartAt(next);
}

}  // namespace relay::client

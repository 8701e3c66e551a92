#include "net/stream.h"

#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "net/handle.h"
#include "net/input.h"
#include "net/output.h"
#include "net/socket.h"
#include "net/uv_error.h"

namespace relay::net {
namespace {

using Slices = std::span<const std::span<const uint8_t>>;

// Bytes that the system took of the slices, IOV_MAX of them at the most, or -errno.
ssize_t Send(int fd, Slices slices) {
  ssize_t result = 0;
  do {
    if (slices.size() == 1) {
      result = ::send(fd, slices.front().data(), slices.front().size(), MSG_NOSIGNAL);
    } else {
      iovec vectors[IOV_MAX];
      msghdr message = {};
      message.msg_iov = vectors;
      for (const std::span<const uint8_t> slice : slices.first(std::min<size_t>(slices.size(), IOV_MAX))) {
        // One type serves reading and writing alike; these are only read.
        vectors[message.msg_iovlen++] = {const_cast<uint8_t*>(slice.data()), slice.size()};
      }
      result = ::sendmsg(fd, &message, MSG_NOSIGNAL);
    }
  } while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

bool WouldBlock(ssize_t result) { return result == -EAGAIN || result == -EWOULDBLOCK; }

}  // namespace

// Everything that libuv may still refer to after the stream has been closed.
class Stream::Io {
 public:
  Io(Loop& loop, Socket socket, std::string peer)
      : loop_(loop), socket_(std::move(socket)), input_(loop.read_buffers()), peer_(std::move(peer)) {}

  uv_handle_t* base() { return reinterpret_cast<uv_handle_t*>(&poll_); }

  // Once, first. 0 or -errno; then there is no handle to close.
  int Open();
  void SetHandler(Handler* handler) { handler_ = handler; }
  void StartReading(bool with_more);
  void StopReading();
  void SetMostReadBytes(size_t bytes) { most_read_bytes_ = std::min(bytes, ReadBuffers::kSlabBytes); }
  void Write(Slices slices);
  void ShutdownWrite();
  // Deletes this, in the close callback.
  void Close();
  // The same, but leaves the socket and what was kept to the caller.
  Parts Release();
  // Takes over from another, first.
  void Restore(std::span<const uint8_t> kept, Output unsent);

  const Input& input() const { return input_; }
  const Output& output() const { return output_; }

 private:
  // Asks the loop for what the stream waits for now.
  void Watch();
  void OnReady(int result, int events);

  // False where there is no more to read for now, or nobody to give it to.
  bool Read();
  std::span<uint8_t> Room();
  void Present(std::span<uint8_t> bytes);
  void End(absl::Status why);

  // Sends what was not taken before.
  void SendOutput();
  void FailWrite(int error);
  // Ends the output behind what is unsent, if that is wanted.
  void ShutdownIfSent();
  // The connection is broken, and nothing but its poll says so.
  void OnBroken();

  void ScheduleSoon();
  void OnSoon();

  Loop& loop_;
  Socket socket_;
  uv_poll_t poll_;
  int watched_ = 0;  // The events that poll_ was asked for.
  Handler* handler_ = nullptr;
  std::optional<Soon> soon_;  // Made when first needed: most connections never do.

  Input input_;
  uint64_t read_turn_ = 0;  // The turn that read_in_turn_bytes_ counts.
  size_t read_in_turn_bytes_ = 0;
  size_t most_read_bytes_ = ReadBuffers::kSlabBytes;
  bool is_reading_ = false;    // As the user wants it.
  bool awaits_input_ = false;  // Later than is_reading_ while kept bytes come again first.
  bool with_more_ = false;     // What is kept waits for what is read next.
  bool has_ended_ = false;     // The input.
  bool is_broken_ = false;     // Told so.

  Output output_;
  bool is_shut_ = false;   // The user wants no more output.
  bool was_shut_ = false;  // The system was told.
  int write_error_ = 0;    // -errno
  bool is_write_error_untold_ = false;
  bool is_closed_ = false;
  const std::string peer_;
};

int Stream::Io::Open() {
  poll_.data = this;
  return uv_poll_init_socket(loop_.uv(), &poll_, socket_.fd());
}

void Stream::Io::Watch() {
  int events = 0;
  if (awaits_input_) events |= UV_READABLE;
  if (!output_.empty()) events |= UV_WRITABLE;
  const bool waits = events != 0;
  // Errors are always told. Urgent data, which nobody sends, is asked for because something has to be.
  if (has_ended_ && !was_shut_ && write_error_ == 0) events |= UV_PRIORITIZED;
  if (events == watched_) return;
  watched_ = events;
  if (events == 0) {
    CheckUv(uv_poll_stop(&poll_), "uv_poll_stop");
    return;
  }
  CheckUv(uv_poll_start(
              &poll_, events,
              [](uv_poll_t* poll, int result, int ready) { static_cast<Io*>(poll->data)->OnReady(result, ready); }),
          "uv_poll_start");
  waits ? uv_ref(base()) : uv_unref(base());  // that it may break is nothing to run a loop for
}

void Stream::Io::OnReady(int result, int events) {
  loop_.Now();  // the turn has begun
  if (result < 0) {
    // An error, which is told to whoever asks next. libuv has stopped the poll.
    watched_ = 0;
    events = UV_READABLE | UV_WRITABLE | UV_PRIORITIZED;
  }
  if ((events & UV_READABLE) != 0 && awaits_input_ && handler_->MayRead()) {
    while (Read() && awaits_input_) {
    }
  }
  if (!is_closed_ && (events & UV_WRITABLE) != 0 && !output_.empty()) SendOutput();
  if (!is_closed_ && (events & UV_PRIORITIZED) != 0 && has_ended_ && !was_shut_) OnBroken();
  if (!is_closed_) Watch();
}

void Stream::Io::StartReading(bool with_more) {
  if (is_reading_ || has_ended_) return;
  is_reading_ = true;
  with_more_ = with_more;
  ScheduleSoon();
}

void Stream::Io::StopReading() {
  is_reading_ = false;
  awaits_input_ = false;
  Watch();
}

std::span<uint8_t> Stream::Io::Room() {
  if (read_turn_ != loop_.turn()) {
    read_turn_ = loop_.turn();
    read_in_turn_bytes_ = 0;
  }
  const size_t most = std::min(most_read_bytes_, loop_.read_buffers().most_read_bytes());
  return input_.Room(most - std::min(most, read_in_turn_bytes_));
}

bool Stream::Io::Read() {
  const std::span<uint8_t> room = Room();
  if (room.empty()) return false;
  ssize_t result = 0;
  do {
    result = ::recv(socket_.fd(), room.data(), room.size(), 0);
  } while (result < 0 && errno == EINTR);
  if (result < 0) {
    const int error = errno;
    if (!WouldBlock(-error)) End(UvError(-error, "read", peer_));
    return false;
  }
  if (result == 0) {
    End(absl::OkStatus());
    return false;
  }
  const auto bytes = static_cast<size_t>(result);
  read_in_turn_bytes_ += bytes;
  Present(input_.Received(bytes));
  return !is_closed_ && bytes == room.size();
}

void Stream::Io::Present(std::span<uint8_t> bytes) {
  const size_t consumed = handler_->OnBytes(bytes);
  if (!is_closed_) input_.Consumed(consumed);
}

void Stream::Io::End(absl::Status why) {
  if (has_ended_) return;
  has_ended_ = true;
  is_broken_ = !why.ok();
  StopReading();
  input_.Clear();
  handler_->OnEnd(std::move(why));
}

void Stream::Io::Write(Slices slices) {
  if (is_shut_ || write_error_ != 0) return;
  size_t sent_bytes = 0;  // of the first slice
  while (output_.empty() && !slices.empty()) {
    const ssize_t result = Send(socket_.fd(), slices);
    if (WouldBlock(result)) break;
    if (result < 0) return FailWrite(static_cast<int>(result));
    sent_bytes = static_cast<size_t>(result);
    size_t whole = 0;
    const size_t offered = std::min<size_t>(slices.size(), IOV_MAX);
    while (whole < offered && sent_bytes >= slices[whole].size()) sent_bytes -= slices[whole++].size();
    slices = slices.subspan(whole);
    if (whole < offered) break;
  }
  if (slices.empty()) return;
  for (const std::span<const uint8_t> slice : slices) output_.Append(slice.subspan(std::exchange(sent_bytes, 0)));
  Watch();
}

void Stream::Io::SendOutput() {
  const ssize_t result = Send(socket_.fd(), output_.Front());
  if (WouldBlock(result)) return;
  if (result < 0) return FailWrite(static_cast<int>(result));
  output_.Sent(static_cast<size_t>(result));
  ShutdownIfSent();
  handler_->OnSent();
}

void Stream::Io::FailWrite(int error) {
  if (write_error_ != 0) return;
  output_.Clear();
  write_error_ = error;
  is_write_error_untold_ = true;
  Watch();
  ScheduleSoon();
}

void Stream::Io::ShutdownWrite() {
  if (std::exchange(is_shut_, true)) return;
  ShutdownIfSent();
}

void Stream::Io::ShutdownIfSent() {
  if (!is_shut_ || was_shut_ || write_error_ != 0 || !output_.empty()) return;
  was_shut_ = true;
  Watch();
  if (::shutdown(socket_.fd(), SHUT_WR) != 0 && errno != ENOTCONN) FailWrite(-errno);
}

void Stream::Io::OnBroken() {
  int error = 0;
  socklen_t bytes = sizeof(error);
  if (::getsockopt(socket_.fd(), SOL_SOCKET, SO_ERROR, &error, &bytes) != 0) error = errno;
  FailWrite(error == 0 ? -EPIPE : -error);
}

void Stream::Io::ScheduleSoon() {
  if (!soon_.has_value()) soon_.emplace(loop_, [this] { OnSoon(); });
  soon_->Schedule();
}

// A failed write waits a turn, in which whatever the peer has still said is read.
void Stream::Io::OnSoon() {
  if (std::exchange(is_write_error_untold_, false)) {
    absl::Status why = UvError(write_error_, "write", peer_);
    if (!has_ended_) return End(std::move(why));
    if (!std::exchange(is_broken_, true)) handler_->OnEnd(std::move(why));
    return;
  }
  if (!is_reading_ || awaits_input_ || has_ended_) return;
  if (input_.kept_bytes() > 0 && !with_more_) {
    Present(input_.Again());
  } else {
    loop_.Now();  // the turn has begun
    Read();
  }
  if (is_closed_ || soon_->scheduled()) return;  // the handler has stopped and started: what it left comes first
  soon_.reset();
  awaits_input_ = is_reading_;
  Watch();
}

void Stream::Io::Close() {
  is_closed_ = true;
  awaits_input_ = false;
  if (soon_.has_value()) soon_->Cancel();
  input_.Clear();
  output_.Clear();
  CloseAndDelete(this);  // takes the socket from the loop, so it goes before that is closed
  socket_.Close();
}

Stream::Parts Stream::Io::Release() {
  const std::span<const uint8_t> kept = input_.Again();
  Parts parts = {.socket = std::move(socket_),
                 .peer = peer_,
                 .kept = {kept.begin(), kept.end()},
                 .unsent = std::exchange(output_, {})};
  Close();
  return parts;
}

void Stream::Io::Restore(std::span<const uint8_t> kept, Output unsent) {
  if (!kept.empty()) input_.Restore(kept);
  output_ = std::move(unsent);
  Watch();
}

absl::StatusOr<std::unique_ptr<Stream>> Stream::FromSocket(Loop& loop, int socket, Address::Kind kind,
                                                           std::string peer) {
  Socket owned(socket);
  const int on = 1;
  if (kind == Address::Kind::kTcp && ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
    return UvError(-errno, "open", peer);
  }
  return FromParts(loop, {.socket = std::move(owned), .peer = std::move(peer), .kept = {}, .unsent = {}});
}

absl::StatusOr<std::unique_ptr<Stream>> Stream::FromParts(Loop& loop, Parts parts) {
  auto io = std::make_unique<Io>(loop, std::move(parts.socket), parts.peer);
  if (const int result = io->Open(); result != 0) return UvError(result, "open", parts.peer);
  io->Restore(parts.kept, std::move(parts.unsent));
  std::unique_ptr<Stream> stream(new Stream(io.release()));
  stream->peer_ = std::move(parts.peer);
  return stream;
}

Stream::Parts Stream::Release() { return std::exchange(io_, nullptr)->Release(); }

Stream::~Stream() { Close(); }

void Stream::SetHandler(Handler* handler) {
  if (io_ != nullptr) io_->SetHandler(handler);
}

void Stream::StartReading() {
  if (io_ != nullptr) io_->StartReading(/*with_more=*/false);
}

void Stream::ReadOn() {
  if (io_ != nullptr) io_->StartReading(/*with_more=*/true);
}

void Stream::StopReading() {
  if (io_ != nullptr) io_->StopReading();
}

void Stream::SetMostReadBytes(size_t bytes) {
  if (io_ != nullptr) io_->SetMostReadBytes(bytes);
}

void Stream::Write(Slices slices) {
  if (io_ != nullptr) io_->Write(slices);
}

size_t Stream::unsent_bytes() const { return io_ == nullptr ? 0 : io_->output().bytes(); }

void Stream::ShutdownWrite() {
  if (io_ != nullptr) io_->ShutdownWrite();
}

void Stream::Close() {
  if (io_ != nullptr) std::exchange(io_, nullptr)->Close();
}

size_t Stream::kept_bytes() const { return io_ == nullptr ? 0 : io_->input().kept_bytes(); }

size_t Stream::held_memory_bytes() const { return io_ == nullptr ? 0 : io_->input().held_memory_bytes(); }

const std::string& Stream::peer() const { return peer_; }

}  // namespace relay::net

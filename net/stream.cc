#include "net/stream.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <list>
#include <optional>
#include <utility>
#include <vector>

#include "net/handle.h"
#include "net/input.h"
#include "net/socket.h"
#include "net/uv_error.h"

namespace relay::net {
namespace {

// ThreadSanitizer knows the descriptors of dup3(), not those of F_DUPFD_CLOEXEC: it would take the new one for whatever
// bore its number last, and its close for a race with that one's owner.
int Duplicate(int fd) {
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
  return ::dup3(fd, ::open("/dev/null", O_RDONLY | O_CLOEXEC), O_CLOEXEC);
#endif
#endif
  return ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

// Tells once when a connection whose input has ended breaks: libuv does not look at it any more. It watches a duplicate
// of the descriptor, since libuv allows each one handle; where there is none left, only a write finds out.
class BreakWatch {
 public:
  BreakWatch(Loop& loop, int fd, std::function<void(int)> broken) : socket_(Duplicate(fd)), broken_(std::move(broken)) {
    if (socket_.fd() < 0) return;
    poll_ = new CallHandle<uv_poll_t>([this] { OnBroken(); });
    CheckUv(uv_poll_init_socket(loop.uv(), &poll_->uv, socket_.fd()), "uv_poll_init_socket");
    // Errors are always told. Urgent data, which nobody sends, is asked for because something has to be.
    CheckUv(uv_poll_start(&poll_->uv, UV_PRIORITIZED,
                          [](uv_poll_t* poll, int, int) { static_cast<CallHandle<uv_poll_t>*>(poll->data)->call(); }),
            "uv_poll_start");
    uv_unref(poll_->base());  // the stream waits for nothing
  }
  ~BreakWatch() { Stop(); }
  BreakWatch(const BreakWatch&) = delete;
  BreakWatch& operator=(const BreakWatch&) = delete;

 private:
  void Stop() {
    if (poll_ != nullptr) CloseAndDelete(std::exchange(poll_, nullptr));
  }

  void OnBroken() {
    Stop();
    int error = 0;
    socklen_t bytes = sizeof(error);
    if (::getsockopt(socket_.fd(), SOL_SOCKET, SO_ERROR, &error, &bytes) != 0) error = errno;
    broken_(error == 0 ? UV_EPIPE : -error);
  }

  Socket socket_;
  const std::function<void(int)> broken_;
  CallHandle<uv_poll_t>* poll_ = nullptr;  // Deleted by its close callback.
};

}  // namespace

namespace {

// Bytes in the order in which they came, in blocks, so that a long queue is neither moved nor twice as large as what it
// holds. A value type.
class Blocks {
 public:
  static constexpr size_t kBlockBytes = size_t{64} * 1024;

  bool empty() const { return blocks_.empty(); }
  size_t bytes() const { return bytes_; }

  void Append(std::span<const uint8_t> bytes) {
    bytes_ += bytes.size();
    while (!bytes.empty()) {
      if (blocks_.empty() || blocks_.back().size() == kBlockBytes) {
        blocks_.emplace_back();
        if (blocks_.size() > 1) blocks_.back().reserve(kBlockBytes);  // a short queue takes no more than it needs
      }
      const size_t count = std::min(bytes.size(), kBlockBytes - blocks_.back().size());
      blocks_.back().append(reinterpret_cast<const char*>(bytes.data()), count);
      bytes = bytes.subspan(count);
    }
  }

  // The first `most` blocks.
  std::vector<std::string> Take(size_t most) {
    std::vector<std::string> taken;
    for (; taken.size() < most && !blocks_.empty(); blocks_.pop_front()) {
      bytes_ -= blocks_.front().size();
      taken.push_back(std::move(blocks_.front()));
    }
    return taken;
  }

  void Clear() { *this = Blocks(); }

 private:
  std::list<std::string> blocks_;  // a deque takes half a kilobyte while it is empty
  size_t bytes_ = 0;
};

constexpr size_t kBlocksPerWrite = 16;  // a megabyte, more than a socket takes at once

}  // namespace

// Everything that libuv may still refer to after the stream has been closed.
class Stream::Io {
 public:
  Io(Loop& loop, std::string peer) : loop_(loop), input_(loop.read_buffers()), peer_(std::move(peer)) {}

  uv_handle_t* base() { return &uv_.handle; }

  int Open(int socket, Address::Kind kind);
  void SetHandler(Handler* handler) { handler_ = handler; }
  void StartReading(bool with_more);
  void StopReading();
  void SetMostReadBytes(size_t bytes) { most_read_bytes_ = std::min(bytes, ReadBuffers::kSlabBytes); }
  void Write(std::span<const std::span<const uint8_t>> slices);
  void ShutdownWrite();
  // Deletes this, in the close callback.
  void Close();

  size_t unsent_bytes() const {
    return (in_flight_.empty() ? 0 : uv_stream_get_write_queue_size(&uv_.stream)) + pending_.bytes();
  }
  const Input& input() const { return input_; }

 private:
  static Io* Of(const uv_handle_t* handle) { return static_cast<Io*>(handle->data); }
  static Io* Of(const uv_stream_t* stream) { return static_cast<Io*>(stream->data); }

  void StartUv();
  void GiveRoom(uv_buf_t* buffer);
  void OnRead(ssize_t result);
  void ReadNow();
  void Present(std::span<uint8_t> bytes);
  void End(absl::Status why);
  void WatchForBreak();

  // Writes what the system takes at once, and takes that off the front of `slices`. Returns how many bytes of the first
  // slice that is left were taken, too.
  size_t TryWrite(std::span<const std::span<const uint8_t>>& slices);
  void StartWrite();
  void OnWritten(int result);
  void FailWrite(int result);
  void StartShutdown();

  void ScheduleSoon();
  void OnSoon();

  Loop& loop_;
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } uv_;
  uv_write_t write_request_;
  uv_shutdown_t shutdown_request_;
  Handler* handler_ = nullptr;
  std::optional<Soon> soon_;  // Made when first needed: most connections never do.

  Input input_;
  uint64_t read_turn_ = 0;  // The turn that read_in_turn_bytes_ counts.
  size_t read_in_turn_bytes_ = 0;
  size_t most_read_bytes_ = ReadBuffers::kSlabBytes;
  bool reading_ = false;     // As the user wants it.
  bool uv_reading_ = false;  // As libuv has been told; later than reading_ while kept bytes come again first.
  bool with_more_ = false;   // What is kept waits for what is read next.
  bool presenting_ = false;  // Inside OnBytes.
  bool ended_ = false;
  bool broken_ = false;               // Told so.
  std::optional<BreakWatch> breaks_;  // From the end of the input to the end of the output.

  std::vector<std::string> in_flight_;  // libuv's until the write callback.
  Blocks pending_;                      // Behind it.
  bool shutdown_ = false;               // The user wants no more output.
  int write_error_ = 0;
  bool write_error_untold_ = false;
  bool closed_ = false;
  const std::string peer_;
};

int Stream::Io::Open(int socket, Address::Kind kind) {
  int result = 0;
  if (kind == Address::Kind::kTcp) {
    CheckUv(uv_tcp_init(loop_.uv(), &uv_.tcp), "uv_tcp_init");
    result = uv_tcp_open(&uv_.tcp, socket);
    if (result == 0) result = uv_tcp_nodelay(&uv_.tcp, 1);
  } else {
    CheckUv(uv_pipe_init(loop_.uv(), &uv_.pipe, 0), "uv_pipe_init");
    result = uv_pipe_open(&uv_.pipe, socket);
  }
  uv_.handle.data = this;
  return result;
}

void Stream::Io::StartReading(bool with_more) {
  if (reading_ || ended_) return;
  reading_ = true;
  with_more_ = with_more;
  ScheduleSoon();
}

void Stream::Io::StartUv() {
  if (uv_reading_) return;
  uv_reading_ = true;
  const int result = uv_read_start(
      &uv_.stream, [](uv_handle_t* handle, size_t, uv_buf_t* buffer) { Of(handle)->GiveRoom(buffer); },
      [](uv_stream_t* stream, ssize_t bytes, const uv_buf_t*) { Of(stream)->OnRead(bytes); });
  // A stream whose write has failed refuses; the failed write is what its user hears of.
  if (result != 0) FailWrite(result);
}

void Stream::Io::StopReading() {
  reading_ = false;
  if (!std::exchange(uv_reading_, false)) return;
  CheckUv(uv_read_stop(&uv_.stream), "uv_read_stop");
}

void Stream::Io::GiveRoom(uv_buf_t* buffer) {
  loop_.Now();  // the turn has begun
  if (read_turn_ != loop_.turn()) {
    read_turn_ = loop_.turn();
    read_in_turn_bytes_ = 0;
  }
  const size_t most = std::min(most_read_bytes_, loop_.read_buffers().most_read_bytes());
  const std::span<uint8_t> room = input_.Room(most - std::min(most, read_in_turn_bytes_));
  buffer->base = reinterpret_cast<char*>(room.data());
  buffer->len = room.size();
}

void Stream::Io::OnRead(ssize_t result) {
  if (result > 0) {
    read_in_turn_bytes_ += static_cast<size_t>(result);
    Present(input_.Received(static_cast<size_t>(result)));
  } else if (result == UV_EOF) {
    End(absl::OkStatus());
  } else if (result < 0 && result != UV_ENOBUFS) {
    End(UvError(static_cast<int>(result), "read", peer_));
  }
}

// Reads what is there without asking the loop for it.
void Stream::Io::ReadNow() {
  uv_buf_t room = {};
  GiveRoom(&room);
  if (room.len == 0) return;
  uv_os_fd_t fd = -1;
  CheckUv(uv_fileno(base(), &fd), "uv_fileno");
  ssize_t result = 0;
  do {
    result = ::read(fd, room.base, room.len);
  } while (result < 0 && errno == EINTR);
  if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
  OnRead(result > 0 ? result : result == 0 ? UV_EOF : -errno);
}

void Stream::Io::Present(std::span<uint8_t> bytes) {
  presenting_ = true;
  const size_t consumed = handler_->OnBytes(bytes);
  presenting_ = false;
  if (!closed_) input_.Consumed(consumed);
}

void Stream::Io::End(absl::Status why) {
  if (ended_) return;
  ended_ = true;
  broken_ = !why.ok();
  StopReading();
  input_.Clear();
  if (!broken_) WatchForBreak();
  handler_->OnEnd(std::move(why));
}

void Stream::Io::WatchForBreak() {
  uv_os_fd_t fd = -1;
  CheckUv(uv_fileno(base(), &fd), "uv_fileno");
  if (!shutdown_) breaks_.emplace(loop_, fd, [this](int error) { FailWrite(error); });
}

void Stream::Io::Write(std::span<const std::span<const uint8_t>> slices) {
  if (shutdown_ || write_error_ != 0) return;
  size_t taken_bytes = in_flight_.empty() ? TryWrite(slices) : 0;
  if (slices.empty() || write_error_ != 0) return;
  for (const std::span<const uint8_t> slice : slices) pending_.Append(slice.subspan(std::exchange(taken_bytes, 0)));
  if (in_flight_.empty() && !pending_.empty()) StartWrite();
}

size_t Stream::Io::TryWrite(std::span<const std::span<const uint8_t>>& slices) {
  uv_buf_t buffers[IOV_MAX];
  while (!slices.empty()) {
    const auto count = static_cast<unsigned>(std::min<size_t>(slices.size(), IOV_MAX));
    size_t offered_bytes = 0;
    for (unsigned i = 0; i < count; ++i) {
      // libuv's buffers serve reading and writing alike; these are only read.
      buffers[i].base = const_cast<char*>(reinterpret_cast<const char*>(slices[i].data()));
      buffers[i].len = slices[i].size();
      offered_bytes += slices[i].size();
    }
    const int result = uv_try_write(&uv_.stream, buffers, count);
    if (result == UV_EAGAIN) return 0;
    if (result < 0) {
      FailWrite(result);
      return 0;
    }
    auto taken_bytes = static_cast<size_t>(result);
    if (taken_bytes == offered_bytes) {
      slices = slices.subspan(count);
      continue;
    }
    while (taken_bytes >= slices.front().size()) {
      taken_bytes -= slices.front().size();
      slices = slices.subspan(1);
    }
    return taken_bytes;
  }
  return 0;
}

void Stream::Io::StartWrite() {
  in_flight_ = pending_.Take(kBlocksPerWrite);
  uv_buf_t buffers[kBlocksPerWrite];
  for (size_t i = 0; i < in_flight_.size(); ++i) {
    buffers[i].base = in_flight_[i].data();
    buffers[i].len = in_flight_[i].size();
  }
  write_request_.data = this;
  const int result =
      uv_write(&write_request_, &uv_.stream, buffers, static_cast<unsigned>(in_flight_.size()),
               [](uv_write_t* request, int status) { static_cast<Io*>(request->data)->OnWritten(status); });
  if (result != 0) {
    in_flight_.clear();
    FailWrite(result);
  }
}

void Stream::Io::OnWritten(int result) {
  in_flight_.clear();
  if (closed_) return;
  if (result < 0) return FailWrite(result);
  if (!pending_.empty()) {
    StartWrite();
  } else if (shutdown_) {
    StartShutdown();
  }
  handler_->OnSent();
}

void Stream::Io::FailWrite(int result) {
  if (write_error_ != 0) return;
  pending_.Clear();
  write_error_ = result;
  write_error_untold_ = true;
  ScheduleSoon();
}

void Stream::Io::ShutdownWrite() {
  if (std::exchange(shutdown_, true)) return;
  if (in_flight_.empty()) StartShutdown();
}

void Stream::Io::StartShutdown() {
  breaks_.reset();
  if (write_error_ != 0) return;
  const int result = uv_shutdown(&shutdown_request_, &uv_.stream, [](uv_shutdown_t*, int) {});
  if (result != 0 && result != UV_ENOTCONN) FailWrite(result);
}

void Stream::Io::ScheduleSoon() {
  if (!soon_.has_value()) soon_.emplace(loop_, [this] { OnSoon(); });
  soon_->Schedule();
}

// A failed write waits a turn, in which whatever the peer has still said is read.
void Stream::Io::OnSoon() {
  if (std::exchange(write_error_untold_, false)) {
    absl::Status why = UvError(write_error_, "write", peer_);
    if (!ended_) return End(std::move(why));
    if (!std::exchange(broken_, true)) handler_->OnEnd(std::move(why));
    return;
  }
  if (!reading_ || uv_reading_ || ended_) return;
  if (input_.kept_bytes() > 0 && !with_more_) {
    Present(input_.Again());
  } else {
    ReadNow();
  }
  if (closed_ || soon_->scheduled()) return;  // the handler has stopped and started: what it left comes first
  soon_.reset();
  if (reading_) StartUv();
}

void Stream::Io::Close() {
  closed_ = true;
  if (soon_.has_value()) soon_->Cancel();
  breaks_.reset();
  input_.Clear();
  CloseAndDelete(this);
}

absl::StatusOr<std::unique_ptr<Stream>> Stream::FromSocket(Loop& loop, int socket, Address::Kind kind,
                                                           std::string peer) {
  auto* io = new Io(loop, peer);
  std::unique_ptr<Stream> stream(new Stream(io));
  if (const int result = io->Open(socket, kind); result != 0) {
    uv_os_fd_t opened = -1;
    if (uv_fileno(io->base(), &opened) != 0) ::close(socket);
    return UvError(result, "open", peer);
  }
  stream->peer_ = std::move(peer);
  return stream;
}

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

void Stream::Write(std::span<const std::span<const uint8_t>> slices) {
  if (io_ != nullptr) io_->Write(slices);
}

size_t Stream::unsent_bytes() const { return io_ == nullptr ? 0 : io_->unsent_bytes(); }

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

#include "attacker.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string_view>
#include <utility>

#include "process.h"

namespace flood {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kRefusalBytes = 160;  // what a single refusal may cost whatever drew it
constexpr auto kPatience = std::chrono::minutes(1);
constexpr size_t kReadBytes = 256 * 1024;

double ThreadCpuSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

class Attacker {
 public:
  Attacker(const Flood& flood, uint16_t port, bool gives_up_early)
      : flood_(flood), port_(port), gives_up_early_(gives_up_early), poll_(epoll_create1(EPOLL_CLOEXEC)) {}
  ~Attacker() { close(poll_); }
  Attacker(const Attacker&) = delete;
  Attacker& operator=(const Attacker&) = delete;

  Toll Run(double seconds) {
    const Clock::time_point begin = Clock::now();
    const Clock::time_point end =
        begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    const double cpu_begin = ThreadCpuSeconds();
    links_.resize(flood_.connections);
    Clock::time_point next_byte = begin;
    for (Link& link : links_) Open(link);
    const bool is_to_be_ended = !gives_up_early_ && !flood_.ends.empty() && flood_.close == Flood::Close::kNever;
    const Clock::time_point give_up = begin + kPatience;
    while (Clock::now() < end || (is_to_be_ended && toll_.ended < flood_.least_ended && Clock::now() < give_up)) {
      epoll_event ready[512];
      const int count = epoll_wait(poll_, ready, 512, 1);
      for (int i = 0; i < count; ++i) OnReady(*static_cast<Link*>(ready[i].data.ptr), ready[i].events);
      // Those for which there was no descriptor or port.
      for (; closed_ > 0 && !starved_.empty(); --closed_) {
        Link& link = *starved_.back();
        starved_.pop_back();
        Open(link);
      }
      if (flood_.byte_interval_ms != 0 && Clock::now() >= next_byte) {
        next_byte += std::chrono::milliseconds(flood_.byte_interval_ms);
        for (Link& link : links_) Trickle(link);
      }
    }
    toll_.cpu_seconds = ThreadCpuSeconds() - cpu_begin;
    toll_.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    for (Link& link : links_) {
      if (link.fd >= 0) CloseLink(link);
    }
    return toll_;
  }

 private:
  struct Link {
    int fd = -1;
    std::string opening;
    size_t written = 0;  // of the opening, then of the block
    size_t blocks = 0;
    bool waits_to_write = false;
    uint64_t sent_bytes = 0;
    uint64_t drawn_bytes = 0;
  };

  void Open(Link& link) {
    link = Link();
    link.fd = Connect(port_);
    if (link.fd < 0) {
      starved_.push_back(&link);
      closed_ = 1;  // tried again
      return;
    }
    link.opening = flood_.opening(toll_.connections++);
    link.waits_to_write = true;
    epoll_event event = {};
    event.events = EPOLLOUT | Reads();
    event.data.ptr = &link;
    epoll_ctl(poll_, EPOLL_CTL_ADD, link.fd, &event);
  }

  uint32_t Reads() const { return flood_.reads ? uint32_t{EPOLLIN} : 0; }

  void WaitToWrite(Link& link, bool waits) {
    if (std::exchange(link.waits_to_write, waits) == waits) return;
    epoll_event event = {};
    event.events = (waits ? uint32_t{EPOLLOUT} : 0) | Reads();
    event.data.ptr = &link;
    epoll_ctl(poll_, EPOLL_CTL_MOD, link.fd, &event);
  }

  void CloseLink(Link& link) {
    int bytes = 0;
    if (ioctl(link.fd, SIOCINQ, &bytes) == 0) link.drawn_bytes += static_cast<uint64_t>(bytes);
    if (ioctl(link.fd, SIOCOUTQ, &bytes) == 0) {
      link.sent_bytes -= std::min(link.sent_bytes, static_cast<uint64_t>(bytes));
    }
    toll_.sent_bytes += link.sent_bytes;
    toll_.drawn_bytes += link.drawn_bytes;
    if (link.drawn_bytes > kRefusalBytes && link.sent_bytes > 0) {
      const auto excess = static_cast<double>(link.drawn_bytes - kRefusalBytes);
      toll_.most_excess = std::max(toll_.most_excess, excess / static_cast<double>(link.sent_bytes));
    }
    if (flood_.close == Flood::Close::kReset || gives_up_early_) {
      const linger at_once = {1, 0};
      setsockopt(link.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
    close(link.fd);
    link.fd = -1;
    closed_ = 1;
  }

  void Reopen(Link& link) {
    CloseLink(link);
    Open(link);
  }

  void OnEnded(Link& link) {
    ++toll_.ended;
    Reopen(link);
  }

  void OnReady(Link& link, uint32_t events) {
    if (link.fd < 0) return;
    if ((events & EPOLLIN) != 0 && !Read(link)) return OnEnded(link);
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) return OnEnded(link);
    if ((events & EPOLLOUT) == 0) return;
    if (flood_.byte_interval_ms != 0) return WaitToWrite(link, false);
    if (!Write(link)) Reopen(link);
  }

  // False where the connection is at its end.
  bool Read(Link& link) {
    const ssize_t got = recv(link.fd, scratch_.get(), kReadBytes, MSG_TRUNC);
    if (got > 0) link.drawn_bytes += static_cast<uint64_t>(got);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
  }

  // What is to be written next; nothing where all has been.
  std::string_view Rest(const Link& link) const {
    if (link.written < link.opening.size()) return std::string_view(link.opening).substr(link.written);
    if (link.blocks >= flood_.most_blocks) return {};
    return std::string_view(flood_.block).substr(link.written - link.opening.size());
  }

  void Advance(Link& link, size_t bytes) {
    link.sent_bytes += bytes;
    link.written += bytes;
    if (!flood_.block.empty() && link.written == link.opening.size() + flood_.block.size()) {
      link.written = link.opening.size();
      ++link.blocks;
    }
  }

  // False where the connection is at its end.
  bool Write(Link& link) {
    const std::string_view rest = Rest(link);
    if (rest.empty()) {
      if (flood_.close != Flood::Close::kNever || gives_up_early_) return false;
      WaitToWrite(link, false);
      return true;
    }
    const ssize_t sent = send(link.fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    Advance(link, static_cast<size_t>(sent));
    return true;
  }

  void Trickle(Link& link) {
    if (link.fd < 0 || link.waits_to_write) return;
    const std::string_view rest = Rest(link);
    if (rest.empty()) return;
    const ssize_t sent = send(link.fd, rest.data(), 1, MSG_NOSIGNAL);
    if (sent > 0) return Advance(link, static_cast<size_t>(sent));
    if (errno != EAGAIN) Reopen(link);
  }

  const Flood& flood_;
  const uint16_t port_;
  const bool gives_up_early_;
  const int poll_;
  const std::unique_ptr<char[]> scratch_ = std::make_unique<char[]>(kReadBytes);
  std::vector<Link> links_;
  std::vector<Link*> starved_;
  int closed_ = 0;
  Toll toll_;
};

}  // namespace

Toll Attack(const Flood& flood, uint16_t port, double seconds, bool gives_up_early) {
  return Attacker(flood, port, gives_up_early).Run(seconds);
}

}  // namespace flood

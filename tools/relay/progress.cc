#include "tools/relay/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "tools/relay/io.h"
#include "tools/relay/text.h"

namespace relay::tools {
namespace {

constexpr uint64_t kLongBodyBytes = uint64_t{1} << 20;
constexpr std::chrono::seconds kLongTime{1};
// Often enough to look alive, seldom enough to cost nothing.
constexpr std::chrono::milliseconds kRedrawInterval{200};
constexpr size_t kDefaultColumns = 80;

size_t TerminalColumns() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefaultColumns;
  return size.ws_col;
}

}  // namespace

std::string ProgressText(const ProgressNumbers& numbers) {
  std::string text = "sent " + FormatBytes(numbers.sent_bytes);
  if (numbers.total_bytes.has_value() && *numbers.total_bytes > 0) {
    const double part = static_cast<double>(numbers.sent_bytes) / static_cast<double>(*numbers.total_bytes);
    text += " of " + FormatBytes(*numbers.total_bytes) + " (" + std::to_string(static_cast<int>(part * 100)) + "%)";
  }
  const double seconds = std::max(1e-3, std::chrono::duration<double>(numbers.elapsed).count());
  const double bytes = static_cast<double>(std::max(numbers.sent_bytes, numbers.received_bytes));
  return text + ", received " + FormatBytes(numbers.received_bytes) + ", " +
         FormatBytes(static_cast<uint64_t>(bytes / seconds)) + "/s, " + FormatDuration(numbers.elapsed);
}

void Progress::Start(std::optional<uint64_t> total_bytes) {
  total_bytes_ = total_bytes;
  started_ = std::chrono::steady_clock::now();
  thread_ = std::thread([this] { Run(); });
}

void Progress::Finish() {
  if (!thread_.joinable()) return;
  {
    const net::MutexLock lock(mutex_);
    finishing_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
  if (!is_drawn_) return;
  Draw();
  PrintError("\n");
}

void Progress::Run() {
  const net::MutexLock lock(mutex_);
  while (!finishing_) {
    changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kRedrawInterval);
    const bool is_long =
        sent_bytes_ + received_bytes_ > kLongBodyBytes || std::chrono::steady_clock::now() - started_ > kLongTime;
    if (!finishing_ && is_long) Draw();
  }
}

void Progress::Draw() {
  is_drawn_ = true;
  const std::string text =
      ProgressText({sent_bytes_, total_bytes_, received_bytes_, std::chrono::steady_clock::now() - started_});
  // One column stays free: a line that fills the last one wraps on some terminals.
  PrintError("\r" + text.substr(0, TerminalColumns() - 1) + "\x1b[K");
}

}  // namespace relay::tools

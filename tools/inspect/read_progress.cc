#include "tools/inspect/read_progress.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tools/relay/io.h"
#include "tools/relay/text.h"

namespace relay::inspect {
namespace {

constexpr std::chrono::milliseconds kRedrawInterval{200};
constexpr size_t kBarColumns = 16;

}  // namespace

std::string ReadProgressText(const Source::Position& position, uint64_t frames, std::chrono::nanoseconds elapsed) {
  const double seconds = std::max(1e-3, std::chrono::duration<double>(elapsed).count());
  std::string text;
  if (position.total_bytes > 0) {
    const double part =
        std::min(1.0, static_cast<double>(position.read_bytes) / static_cast<double>(position.total_bytes));
    const auto done = static_cast<size_t>(part * kBarColumns);
    text = absl::StrCat("[", std::string(done, '='), std::string(kBarColumns - done, ' '), "] ",
                        static_cast<int>(part * 100), "%  ");
  }
  text += tools::FormatBytes(position.read_bytes);
  if (position.total_bytes > 0) text += " of " + tools::FormatBytes(position.total_bytes);
  absl::StrAppend(&text, ", ", tools::Counted(frames, "frame"), ", ",
                  static_cast<uint64_t>(static_cast<double>(frames) / seconds), "/s");
  return text;
}

absl::Status ReadProgress::Finish() {
  Draw();
  tools::PrintError("\n");
  return next_.Finish();
}

void ReadProgress::Look() {
  if (Clock::now() - drawn_ >= kRedrawInterval) Draw();
}

void ReadProgress::Draw() {
  drawn_ = Clock::now();
  tools::PrintError("\r" + ReadProgressText(source_.position(), frames_(), drawn_ - began_) + "\x1b[K");
}

}  // namespace relay::inspect

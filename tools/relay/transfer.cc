#include "tools/relay/transfer.h"

#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tools/relay/text.h"

namespace relay::tools {
namespace {

constexpr size_t kShownValueBytes = 1024;

void Show(std::string_view name, std::string_view value) {
  PrintError(PadRight(std::string(name) + ":", 14) + Printable(value, kShownValueBytes) + "\n");
}

void ShowMetadata(std::string_view kind, const Metadata& metadata) {
  for (const auto& [key, value] : metadata) Show(kind, key + "=" + value);
}

void ShowHead(const Uuid& request, const ResponseHead& head) {
  Show("request", request.ToString());
  Show("receiver", head.receiver.ToString());
  Show("attempt", std::to_string(head.attempt));
  Show("queue-wait", FormatDuration(head.queue_wait));
  if (!head.method.empty()) Show("method", head.method);
  if (!head.content_type.empty()) Show("content-type", head.content_type);
  ShowMetadata("meta", head.metadata);
}

}  // namespace

Transfer::Transfer(Exchange exchange, BodySource source, bool show_meta)
    : exchange_(std::move(exchange)), source_(std::move(source)), show_meta_(show_meta) {}

TransferEnd Transfer::Run() {
  StartProgress();
  std::thread upload([this] { Upload(); });
  Download();
  // The exchange has ended, so that a Write returns; this is for a source that has nothing to say.
  stop_upload_.Wake();
  upload.join();
  progress_.Finish();
  if (show_meta_) ShowMetadata("trailing", exchange_.trailing_metadata());
  if (end_.output.ok()) CheckStdout();
  return end_;
}

void Transfer::Upload() {
  std::vector<char> block(kBlockBytes);
  for (;;) {
    const StatusOr<size_t> got = source_.Read(block, stop_upload_);
    if (!got.ok()) {
      if (got.status().code() == StatusCode::kCancelled) return;
      end_.source = got.status();
      exchange_.Cancel(CancelledError("the sender could not read the request"));
      return;
    }
    // What fails here ends the download too, with the verdict.
    const Status status = *got == 0 ? exchange_.FinishWriting() : exchange_.Write({block.data(), *got});
    if (!status.ok() || *got == 0) return;
    progress_.AddSent(*got);
  }
}

void Transfer::Download() {
  if (const StatusOr<ResponseHead> head = exchange_.ReadHead(); head.ok() && show_meta_) {
    progress_.Finish();
    ShowHead(exchange_.id(), *head);
  }
  const bool shares_terminal = isatty(STDOUT_FILENO) == 1;
  std::vector<char> block(kBlockBytes);
  for (;;) {
    const StatusOr<size_t> got = exchange_.Read(block);
    if (!got.ok()) end_.exchange = got.status();
    if (!got.ok() || *got == 0) return;
    if (shares_terminal) progress_.Finish();
    if (Status status = WriteAll(STDOUT_FILENO, "stdout", {block.data(), *got}); !status.ok()) {
      end_.output = std::move(status);
      exchange_.Cancel();
      return;
    }
    progress_.AddReceived(*got);
  }
}

void Transfer::StartProgress() {
  if (isatty(STDERR_FILENO) == 1 && !source_.is_terminal()) progress_.Start(source_.total_bytes());
}

void Transfer::CheckStdout() {
  // Some file systems tell only at a close that what was written before is lost.
  const int copy = dup(STDOUT_FILENO);
  if (copy >= 0 && close(copy) != 0 && errno != EINTR) {
    end_.output = DataLossError(ErrnoText("close stdout", errno));
  }
}

}  // namespace relay::tools

#include "tools/inspect/capture.h"

#include <pcap/pcap.h>
#include <stdio.h>

#include <atomic>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tools/inspect/packet.h"
#include "tools/inspect/tcp_assembly.h"

namespace relay::inspect {
namespace {

using namespace std::string_view_literals;

class CaptureSource : public Source {
 public:
  CaptureSource(std::unique_ptr<ByteInput> input, uint16_t port, std::function<void(uint64_t)> on_skipped)
      : input_(std::move(input)), port_(port), on_skipped_(std::move(on_skipped)) {}
  ~CaptureSource() override {
    if (pcap_ != nullptr) pcap_close(pcap_);  // and the file with it
  }

  absl::Status Open() {
    cookie_io_functions_t functions = {};
    functions.read = &CaptureSource::Read;
    FILE* const file = fopencookie(this, "r", functions);
    if (file == nullptr) return absl::ResourceExhaustedError("no memory to read a capture");
    char words[PCAP_ERRBUF_SIZE] = {};
    pcap_ = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, words);
    if (pcap_ == nullptr) {
      fclose(file);
      return absl::InvalidArgumentError(absl::StrCat(input_->name(), ": ", words));
    }
    link_type_ = pcap_datalink(pcap_);
    if (IsKnownLink(link_type_)) return absl::OkStatus();
    const char* const name = pcap_datalink_val_to_name(link_type_);
    return absl::InvalidArgumentError(absl::StrCat(input_->name(), ": captured on a link of type ",
                                                   name != nullptr ? name : absl::StrCat(link_type_),
                                                   "; known are Ethernet, loopback, Linux cooked, and raw IP"));
  }

  absl::Status Run(Tap& tap) override {
    TcpAssembly assembly(tap, port_);
    absl::Status status;
    while (!is_stopped_) {
      pcap_pkthdr* header = nullptr;
      const u_char* bytes = nullptr;
      const int got = pcap_next_ex(pcap_, &header, &bytes);
      if (got == 0) continue;
      if (got != 1) {
        if (got != PCAP_ERROR_BREAK && !is_stopped_) {
          status = absl::DataLossError(absl::StrCat(input_->name(), ": ", pcap_geterr(pcap_)));
        }
        break;
      }
      const absl::Duration since = absl::Seconds(header->ts.tv_sec) + absl::Nanoseconds(header->ts.tv_usec);
      const absl::Time at = since == absl::ZeroDuration() ? absl::InfinitePast() : absl::UnixEpoch() + since;
      const std::span<const uint8_t> packet(bytes, header->caplen);
      if (std::optional<Segment> segment = FindSegment(link_type_, packet)) {
        segment->at = at;
        assembly.Take(*segment);
      } else if (const std::optional<uint64_t> lost = FindLost(link_type_, packet)) {
        assembly.TakeLost(*lost, at);
      }
    }
    assembly.Finish();
    if (assembly.other_connections() > 0) on_skipped_(assembly.other_connections());
    return read_error_.ok() ? status : read_error_;
  }

  void Stop() override { is_stopped_ = true; }

  Position position() const override { return {input_->read_bytes(), input_->total_bytes()}; }

 private:
  static ssize_t Read(void* self, char* out, size_t bytes) {
    auto& source = *static_cast<CaptureSource*>(self);
    const absl::StatusOr<size_t> got = source.input_->Read({reinterpret_cast<uint8_t*>(out), bytes});
    if (got.ok()) return static_cast<ssize_t>(*got);
    source.read_error_ = got.status();
    return -1;
  }

  const std::unique_ptr<ByteInput> input_;
  const uint16_t port_;
  const std::function<void(uint64_t)> on_skipped_;
  pcap_t* pcap_ = nullptr;
  int link_type_ = 0;
  absl::Status read_error_;
  std::atomic<bool> is_stopped_ = false;
};

}  // namespace

bool IsCapture(std::string_view first_bytes) {
  const std::string_view magic = first_bytes.substr(0, kCaptureMagicBytes);
  for (const std::string_view known :
       {"\xa1\xb2\xc3\xd4"sv, "\xd4\xc3\xb2\xa1"sv, "\xa1\xb2\x3c\x4d"sv, "\x4d\x3c\xb2\xa1"sv, "\x0a\x0d\x0d\x0a"sv}) {
    if (!magic.empty() && known.starts_with(magic)) return true;
  }
  return false;
}

absl::StatusOr<std::unique_ptr<Source>> OpenCapture(std::unique_ptr<ByteInput> input, uint16_t port,
                                                    std::function<void(uint64_t)> on_skipped) {
  auto source = std::make_unique<CaptureSource>(std::move(input), port, std::move(on_skipped));
  if (absl::Status status = source->Open(); !status.ok()) return status;
  return std::unique_ptr<Source>(std::move(source));
}

}  // namespace relay::inspect

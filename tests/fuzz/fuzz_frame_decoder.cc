// Any bytes, decoded whole and in pieces: the same frames at the same places, and the same end.
//
// The input: a byte for the greatest payload, a byte with the number of cuts, a byte for each piece's length, then the
// stream. Every piece stands in memory of its own size, so that a sanitizer sees a read behind it.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "proto/frame.h"
#include "proto/start_block.h"

namespace relay::proto {
namespace {

struct Found {
  std::vector<std::tuple<size_t, size_t, HeaderFault, StartFault>> frames;  // offset, size, what CheckHeader says
  size_t end = 0;                                                           // where the last frame ended
  bool too_large = false;

  bool operator==(const Found&) const = default;
};

class Decoder {
 public:
  explicit Decoder(uint32_t max_payload_bytes) : max_payload_bytes_(max_payload_bytes) {}

  void Take(std::span<const uint8_t> piece) {
    if (found_.too_large) return;
    kept_.insert(kept_.end(), piece.begin(), piece.end());
    const auto exact = std::make_unique<uint8_t[]>(kept_.size());
    std::copy(kept_.begin(), kept_.end(), exact.get());
    std::span<uint8_t> rest(exact.get(), kept_.size());
    Frame frame;
    for (;;) {
      const Decoded decoded = DecodeFrame(rest, max_payload_bytes_, frame);
      if (decoded == Decoded::kTooLarge) found_.too_large = true;
      if (decoded != Decoded::kFrame) break;
      Look(frame);
      rest = rest.subspan(frame.bytes().size());
    }
    kept_.assign(rest.begin(), rest.end());
  }

  const Found& found() const { return found_; }

 private:
  void Look(Frame frame) {
    HeaderFault header_fault = HeaderFault::kNone;
    StartFault start_fault = StartFault::kNone;
    if (frame.has_known_type()) {
      header_fault = CheckHeader(frame);
      if (header_fault == HeaderFault::kNone && frame.type() == FrameType::kStart) {
        start_fault = CheckStart(frame.payload(), frame.has(flag::kResponse));
        if (start_fault == StartFault::kNone) {
          const StartBlock block(frame.payload());
          if (kStartBlockBytes + block.start().size() + block.body().size() != frame.payload().size()) std::abort();
        }
      }
    }
    found_.frames.emplace_back(found_.end, frame.bytes().size(), header_fault, start_fault);
    found_.end += frame.bytes().size();
  }

  const uint32_t max_payload_bytes_;
  std::vector<uint8_t> kept_;
  Found found_;
};

}  // namespace
}  // namespace relay::proto

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using relay::proto::Decoder;
  if (size < 2) return 0;
  const uint32_t max_payload_bytes = uint32_t{data[0]} * 4;
  const size_t cuts = std::min<size_t>(data[1], size - 2);
  const std::span<const uint8_t> lengths(data + 2, cuts);
  const std::span<const uint8_t> stream(data + 2 + cuts, size - 2 - cuts);

  Decoder whole(max_payload_bytes);
  whole.Take(stream);

  Decoder in_pieces(max_payload_bytes);
  std::span<const uint8_t> rest = stream;
  for (const uint8_t length : lengths) {
    const std::span<const uint8_t> piece = rest.first(std::min<size_t>(length, rest.size()));
    in_pieces.Take(piece);
    rest = rest.subspan(piece.size());
  }
  in_pieces.Take(rest);

  if (!(whole.found() == in_pieces.found())) std::abort();
  return 0;
}

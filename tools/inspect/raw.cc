#include "tools/inspect/raw.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/frame.h"

namespace relay::inspect {
namespace {

constexpr size_t kReadBytes = size_t{64} << 10;

// A server begins with a WELCOME, or a GOAWAY, whose header nothing else looks like.
bool IsToClient(std::string_view first) {
  if (first.size() < proto::kHeaderBytes) return false;
  std::vector<uint8_t> bytes(first.begin(), first.begin() + proto::kHeaderBytes);
  const proto::Frame header(bytes);
  if (!header.has_known_type() || proto::LoadBig<uint32_t>(bytes.data()) > proto::kSmallestMaxPayloadBytes)
    return false;
  const bool is_first = header.type() == proto::FrameType::kWelcome || header.type() == proto::FrameType::kGoaway;
  return is_first && proto::CheckHeader(header) == proto::HeaderFault::kNone;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Source>> RawSource::Open(std::vector<std::unique_ptr<ByteInput>> inputs) {
  std::vector<Part> parts;
  for (std::unique_ptr<ByteInput>& input : inputs) {
    const absl::StatusOr<std::string_view> first = input->Peek(proto::kHeaderBytes);
    if (!first.ok()) return first.status();
    const Direction direction = IsToClient(*first) ? Direction::kToClient : Direction::kToServer;
    parts.push_back({std::move(input), direction});
  }
  if (parts.size() == 2 && parts[0].direction == parts[1].direction) {
    return absl::InvalidArgumentError(absl::StrCat(parts[0].input->name(), " and ", parts[1].input->name(),
                                                   ": both went to the ",
                                                   parts[0].direction == Direction::kToServer ? "server" : "client",
                                                   "; two raw files are the two directions of one connection"));
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.direction < b.direction; });
  return std::unique_ptr<Source>(new RawSource(std::move(parts)));
}

absl::Status RawSource::Run(Tap& tap) {
  Opening opening;
  opening.connection = 1;
  opening.in_order = false;
  tap.OnOpen(opening);
  std::vector<uint8_t> buffer(kReadBytes);
  for (const Part& part : parts_) {
    while (!is_stopped_) {
      const absl::StatusOr<size_t> got = part.input->Read(buffer);
      if (!got.ok()) return got.status();
      if (*got == 0) break;
      Piece piece;
      piece.connection = opening.connection;
      piece.direction = part.direction;
      piece.bytes = std::span<const uint8_t>(buffer).first(*got);
      tap.OnBytes(piece);
    }
  }
  return absl::OkStatus();
}

Source::Position RawSource::position() const {
  Position position;
  for (const Part& part : parts_) {
    position.read_bytes += part.input->read_bytes();
    position.total_bytes += part.input->total_bytes();
  }
  return position;
}

}  // namespace relay::inspect

#include "tools/inspect/raw.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/frame.h"
#include "proto/start_block.h"
#include "tools/inspect/frame_reader.h"

namespace relay::inspect {
namespace {

constexpr size_t kReadBytes = size_t{64} << 10;
constexpr ConnectionId kConnection = 1;

// A frame's header, of its own bytes.
struct Header {
  explicit Header(std::string_view from) : bytes(from.begin(), from.begin() + proto::kHeaderBytes) {}
  proto::Frame frame() { return proto::Frame(bytes); }
  size_t frame_bytes() const { return proto::kHeaderBytes + proto::LoadBig<uint32_t>(bytes.data()); }

  std::vector<uint8_t> bytes;
};

// What `bytes` begin with, where that is a frame.
std::optional<Header> FirstHeader(std::string_view bytes) {
  if (bytes.size() < proto::kHeaderBytes) return std::nullopt;
  Header header(bytes);
  const bool is_header = header.frame().has_known_type() &&
                         proto::CheckHeader(header.frame()) == proto::HeaderFault::kNone &&
                         header.frame_bytes() <= proto::kHeaderBytes + FrameReader::kPlausiblePayloadBytes;
  return is_header ? std::optional(std::move(header)) : std::nullopt;
}

// Of the first of these frames that only one side sends. Nothing where none is.
std::optional<Direction> DirectionOf(std::string_view frames) {
  while (std::optional<Header> header = FirstHeader(frames)) {
    const proto::Frame frame = header->frame();
    const std::string_view payload = frames.substr(proto::kHeaderBytes);
    switch (frame.type()) {
      case proto::FrameType::kHello:
      case proto::FrameType::kJoin:
      case proto::FrameType::kObserve:
        return Direction::kToServer;
      case proto::FrameType::kWelcome:
      case proto::FrameType::kMirror:
        return Direction::kToClient;
      case proto::FrameType::kStart: {
        if (payload.size() < proto::kStartBlockBytes) return std::nullopt;
        std::vector<uint8_t> block(payload.begin(), payload.begin() + proto::kStartBlockBytes);
        // The server numbers attempts.
        return proto::StartBlock(block).attempt() > 0 ? Direction::kToClient : Direction::kToServer;
      }
      default:
        break;
    }
    if (frames.size() <= header->frame_bytes()) break;
    frames.remove_prefix(header->frame_bytes());
  }
  return std::nullopt;
}

Direction Opposite(Direction direction) {
  return direction == Direction::kToServer ? Direction::kToClient : Direction::kToServer;
}

// How an input begins.
struct Beginning {
  std::optional<Direction> direction;  // nothing where its bytes do not say
  bool has_preface = false;
  bool is_start = true;
  size_t handshake_bytes = 0;  // of its preface and its first frame
};

absl::StatusOr<Beginning> BeginningOf(ByteInput& input) {
  const absl::StatusOr<std::string_view> first = input.Peek(proto::kPreface.size() + proto::kHeaderBytes);
  if (!first.ok()) return first.status();
  Beginning beginning;
  const bool has_preface = beginning.has_preface = first->starts_with(proto::kPreface);
  const size_t before = has_preface ? proto::kPreface.size() : 0;
  if (has_preface) beginning.direction = Direction::kToServer;
  std::optional<Header> header = FirstHeader(first->substr(before));
  if (!header.has_value()) return beginning;
  beginning.handshake_bytes = before + header->frame_bytes();
  if (has_preface) return beginning;
  const proto::FrameType type = header->frame().type();
  beginning.is_start = type == proto::FrameType::kWelcome || type == proto::FrameType::kGoaway;
  if (beginning.is_start) {
    beginning.direction = Direction::kToClient;
    return beginning;
  }
  const absl::StatusOr<std::string_view> frames = input.Peek(kReadBytes);
  if (!frames.ok()) return frames.status();
  beginning.direction = DirectionOf(*frames);
  return beginning;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Source>> RawSource::Open(std::vector<std::unique_ptr<ByteInput>> inputs) {
  std::vector<Beginning> beginnings;
  for (std::unique_ptr<ByteInput>& input : inputs) {
    const absl::StatusOr<Beginning> beginning = BeginningOf(*input);
    if (!beginning.ok()) return beginning.status();
    beginnings.push_back(*beginning);
  }
  if (beginnings.size() == 2 && beginnings[0].has_preface != beginnings[1].has_preface) {
    // The preface is the client's: the other is the server's, whatever it begins with.
    Beginning& other = beginnings[beginnings[0].has_preface ? 1 : 0];
    if (other.direction != Direction::kToClient) other.is_start = true;
    other.direction = Direction::kToClient;
  }
  // Of two of which one says nothing it is the other way; where neither does, the client's comes first.
  const bool is_second_known = beginnings.size() == 2 && beginnings[1].direction.has_value();
  if (is_second_known && !beginnings[0].direction.has_value()) {
    beginnings[0].direction = Opposite(*beginnings[1].direction);
  }
  Direction next = Direction::kToServer;
  for (Beginning& beginning : beginnings) {
    if (!beginning.direction.has_value()) beginning.direction = next;
    next = Opposite(*beginning.direction);
  }
  std::vector<Part> parts;
  bool from_start = true;
  for (size_t i = 0; i < inputs.size(); ++i) {
    from_start = from_start && beginnings[i].is_start;
    parts.push_back({std::move(inputs[i]), *beginnings[i].direction, beginnings[i].handshake_bytes});
  }
  if (parts.size() == 2 && parts[0].direction == parts[1].direction) {
    return absl::InvalidArgumentError(absl::StrCat(parts[0].input->name(), " and ", parts[1].input->name(),
                                                   ": both went to the ",
                                                   parts[0].direction == Direction::kToServer ? "server" : "client",
                                                   "; two raw files are the two directions of one connection"));
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.direction < b.direction; });
  return std::unique_ptr<Source>(new RawSource(std::move(parts), from_start));
}

absl::Status RawSource::Tell(const Part& part, size_t bytes, Tap& tap) {
  std::vector<uint8_t> buffer(std::min(bytes, kReadBytes));
  while (!is_stopped_ && bytes > 0) {
    if (const uint64_t missing = part.input->TakeHole(); missing > 0) {
      tap.OnGap(kConnection, part.direction, absl::InfinitePast(), missing);
    }
    const absl::StatusOr<size_t> got = part.input->Read(std::span(buffer).first(std::min(bytes, buffer.size())));
    if (!got.ok()) return got.status();
    if (*got == 0) break;
    bytes -= *got;
    Piece piece;
    piece.connection = kConnection;
    piece.direction = part.direction;
    piece.bytes = std::span<const uint8_t>(buffer).first(*got);
    tap.OnBytes(piece);
  }
  return absl::OkStatus();
}

absl::Status RawSource::Run(Tap& tap) {
  Opening opening;
  opening.connection = kConnection;
  opening.from_start = from_start_;
  opening.in_order = false;
  tap.OnOpen(opening);
  for (const Part& part : parts_) {
    if (absl::Status status = Tell(part, part.handshake_bytes, tap); !status.ok()) return status;
  }
  for (const Part& part : parts_) {
    if (absl::Status status = Tell(part, SIZE_MAX, tap); !status.ok()) return status;
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

// Captures of any bytes: as segments that say where each of their bytes stands, as packets of each link layer, and as a
// file. Whatever they say, what is told of a direction comes behind its opening, nothing comes behind its end, memory
// stays within its bound; and where bytes say where they stand, each is told once, in its place, or is in a gap.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "input.h"
#include "require.h"
#include "tools/inspect/capture.h"
#include "tools/inspect/packet.h"
#include "tools/inspect/tcp_assembly.h"

namespace relay::fuzz {
namespace {

using inspect::ConnectionId;
using inspect::Direction;
using inspect::Segment;

constexpr int kLinks[] = {0, 1, 12, 108, 113, 228, 229, 276};  // as pcap numbers them

// Checks the order of what it is told. With `bytes_are_places` each byte is the low half of its sequence number.
class Judge : public inspect::Tap {
 public:
  explicit Judge(bool bytes_are_places) : bytes_are_places_(bytes_are_places) {}

  void OnOpen(const inspect::Opening& opening) override {
    for (const Direction direction : {Direction::kToServer, Direction::kToClient}) {
      Require(told_.emplace(Key(opening.connection, direction), Told()).second, "a connection is opened once");
    }
  }
  void OnBytes(const inspect::Piece& piece) override {
    Require(!piece.bytes.empty(), "something is told");
    Told& told = Open(piece.connection, piece.direction);
    for (const uint8_t byte : piece.bytes) {
      const uint8_t place = told.has_next ? told.next : byte;
      Require(!bytes_are_places_ || byte == place, "bytes are told once, in their order");
      told.has_next = true;
      told.next = static_cast<uint8_t>(place + 1);
    }
  }
  void OnGap(ConnectionId id, Direction direction, absl::Time, uint64_t bytes) override {
    Told& told = Open(id, direction);
    told.next = static_cast<uint8_t>(told.next + bytes);
    if (bytes == 0) told.has_next = false;
  }
  void OnFrame(const inspect::CutFrame&) override { Require(false, "a capture knows no frames"); }
  void OnLost(uint64_t, absl::Time) override { Require(false, "a capture loses nothing"); }
  void OnClose(ConnectionId id, Direction direction, absl::Time) override { Open(id, direction).is_closed = true; }
  void OnTick(absl::Time) override {}
  absl::Status Finish() override { return absl::OkStatus(); }

 private:
  using Key = std::pair<ConnectionId, Direction>;
  struct Told {
    bool has_next = false;
    uint8_t next = 0;
    bool is_closed = false;
  };

  Told& Open(ConnectionId id, Direction direction) {
    const auto found = told_.find({id, direction});
    Require(found != told_.end(), "a connection is opened before it is told of");
    Require(!found->second.is_closed, "nothing comes behind the end, which comes once");
    return found->second;
  }

  const bool bytes_are_places_;
  std::map<Key, Told> told_;
};

// A segment of a few connections, with numbers near each other, so that they meet.
void TakeMadeUp(Input& input, inspect::TcpAssembly& assembly) {
  while (!input.is_empty()) {
    Segment segment;
    const uint8_t who = input.Byte();
    const uint8_t client = who / 2 % 4;
    inspect::Endpoint ends[2];
    ends[0].address = {10, 0, 0, 1};
    ends[0].port = static_cast<uint16_t>(50000 + client);
    ends[1].address = {10, 0, 0, 2};
    ends[1].port = static_cast<uint16_t>(client == 3 ? 80 : 7420);
    segment.source = ends[who % 2];
    segment.target = ends[1 - who % 2];
    segment.flags = input.Byte();
    segment.number = 0xffffff80u + input.Byte() * (who >= 128 ? 1u << 24 : 1u);
    segment.acknowledged = 0xffffff80u + input.Byte();
    std::string payload(input.Byte() % 64, '\0');
    const uint32_t first = segment.number + (segment.has(inspect::tcp::kSyn) ? 1 : 0);
    for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(first + i);
    segment.payload = {reinterpret_cast<const uint8_t*>(payload.data()), payload.size()};
    segment.payload_bytes = static_cast<uint32_t>(payload.size()) + (who >= 64 && who < 128 ? input.Byte() : 0);
    assembly.Take(segment);
    Require(assembly.held_bytes() <= inspect::TcpAssembly::kMostHeldBytesInAll, "what is held is bounded");
  }
  assembly.Finish();
  Require(assembly.held_bytes() == 0, "nothing is held at the end");
}

// The input as a file, whose name is the process's own.
void ReadFile(const std::string& bytes) {
  static const std::string path = "/dev/shm/relay-fuzz-capture-" + std::to_string(getpid());
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  Require(file != nullptr, "a file can be made");
  Require(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size(), "it can be written");
  Require(std::fclose(file) == 0, "and closed");
  auto input = inspect::ByteInput::Open(path);
  std::remove(path.c_str());
  Require(input.ok(), "it can be opened");
  auto source = inspect::OpenCapture(*std::move(input), inspect::kRelayPort, [](uint64_t) {});
  if (!source.ok()) return;
  Judge judge(false);
  (void)(*source)->Run(judge);
}

void Run(const uint8_t* data, size_t size) {
  Input input(data, size);
  const uint8_t how = input.Byte();
  Judge judge(how % 3 == 0);
  inspect::TcpAssembly assembly(judge);
  switch (how % 3) {
    case 0:
      TakeMadeUp(input, assembly);
      return;
    case 1: {
      const int link = kLinks[input.Byte() % std::size(kLinks)];
      while (!input.is_empty()) {
        const std::string packet = input.Bytes(input.Byte());
        const auto segment =
            inspect::FindSegment(link, {reinterpret_cast<const uint8_t*>(packet.data()), packet.size()});
        if (!segment.has_value()) continue;
        Require(segment->payload.size() <= segment->payload_bytes, "no more was captured than passed");
        assembly.Take(*segment);
      }
      assembly.Finish();
      return;
    }
    default:
      ReadFile(input.Bytes(size));
      return;
  }
}

}  // namespace
}  // namespace relay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  relay::fuzz::Run(data, size);
  return 0;
}

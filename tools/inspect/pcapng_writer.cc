#include "tools/inspect/pcapng_writer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "proto/endian.h"
#include "proto/frame.h"
#include "tools/inspect/packet.h"

namespace relay::inspect {
namespace {

using proto::StoreBig;

constexpr uint32_t kLinkTypeRaw = 101;  // packets begin with an IP header of either version
constexpr size_t kMostSegmentBytes = 65000;
constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr size_t kIpv4Bytes = 20;
constexpr size_t kTcpBytes = 20;

// Two ends that no other connection has, but for those of addresses that nobody knows after 16 million of them.
std::pair<Endpoint, Endpoint> MadeUp(ConnectionId id, uint16_t server_port) {
  Endpoint client;
  client.address = {127, static_cast<uint8_t>(id >> 16), static_cast<uint8_t>(id >> 8), static_cast<uint8_t>(id)};
  client.port = 50000;
  Endpoint server;
  server.address = {127, 0, 0, 1};
  server.port = server_port;
  return {client, server};
}

// One's complement sums of 16-bit words, as IP and TCP have them.
class Checksum {
 public:
  // All but the last piece have an even number of bytes.
  void Add(std::span<const uint8_t> bytes) {
    size_t i = 0;
    for (; i + 1 < bytes.size(); i += 2) sum_ += static_cast<uint32_t>(bytes[i] << 8 | bytes[i + 1]);
    if (i < bytes.size()) sum_ += static_cast<uint32_t>(bytes[i] << 8);
  }
  void AddWord(uint64_t word) { sum_ += word; }
  uint16_t Result() const {
    uint64_t sum = sum_;
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
  }

 private:
  uint64_t sum_ = 0;
};

class PcapngWriter : public Tap {
 public:
  PcapngWriter(std::string path, int fd, std::function<void(const absl::Status&)> on_failed)
      : path_(std::move(path)), fd_(fd), on_failed_(std::move(on_failed)) {
    buffer_.reserve(kBufferBytes + kMostSegmentBytes + 256);
    WriteHeaders();
  }
  ~PcapngWriter() override {
    if (fd_ != STDOUT_FILENO) close(fd_);
  }

  void OnOpen(const Opening& opening) override {
    Connection connection;
    std::optional<Endpoint> client = ParseEndpoint(opening.client);
    std::optional<Endpoint> server = ParseEndpoint(opening.server);
    if (client.has_value() && server.has_value() && client->is_v6 == server->is_v6) {
      connection.ends = {*client, *server};
    } else {
      const auto [made_up_client, made_up_server] =
          MadeUp(opening.connection, server.has_value() ? server->port : kRelayPort);
      connection.ends = {made_up_client, made_up_server};
    }
    connection.next = {1000, 1000};
    Connection& added = connections_.insert_or_assign(opening.connection, connection).first->second;
    if (!opening.from_start) return;
    WriteSegment(added, Direction::kToServer, tcp::kSyn, opening.at, {}, 0);
    ++added.next[0];
    WriteSegment(added, Direction::kToClient, tcp::kSyn | tcp::kAck, opening.at, {}, 0);
    ++added.next[1];
    WriteSegment(added, Direction::kToServer, tcp::kAck, opening.at, {}, 0);
  }

  void OnBytes(const Piece& piece) override {
    WriteBytes(piece.connection, piece.direction, piece.at, piece.bytes, piece.bytes.size());
  }

  void OnGap(ConnectionId id, Direction direction, absl::Time at, uint64_t bytes) override {
    if (Connection* const connection = Find(id)) {
      Skip(*connection, direction, at, bytes == 0 ? kUnknownGapBytes : static_cast<uint32_t>(bytes));
    }
  }

  void OnFrame(const CutFrame& frame) override {
    frame_.assign(frame.header.begin(), frame.header.end());
    frame_.insert(frame_.end(), frame.payload.begin(), frame.payload.end());
    const uint64_t payload_bytes = proto::LoadBig<uint32_t>(frame.header.data());
    WriteBytes(frame.connection, frame.direction, frame.at, frame_, proto::kHeaderBytes + payload_bytes);
  }

  void OnLost(uint64_t frames, absl::Time at) override {
    WriteLost(frames, at);
    // Of the others nothing was told since the loss before, which left a gap of their own.
    for (const ConnectionId id : std::exchange(told_since_loss_, {})) {
      Connection* const connection = Find(id);
      if (connection == nullptr) continue;
      connection->was_told = false;
      for (const Direction direction : {Direction::kToServer, Direction::kToClient}) {
        Skip(*connection, direction, at, kUnknownGapBytes);
      }
    }
  }

  void OnClose(ConnectionId id, Direction direction, absl::Time at) override {
    Connection* const connection = Find(id);
    if (connection == nullptr) return;
    WriteSegment(*connection, direction, tcp::kFin | tcp::kAck, at, {}, 0);
    ++connection->next[Index(direction)];
    connection->is_closed[Index(direction)] = true;
    if (connection->is_closed[0] && connection->is_closed[1]) connections_.erase(id);
  }

  void OnTick(absl::Time) override { Flush(); }

  absl::Status Finish() override {
    Flush();
    return status_;
  }

 private:
  struct Connection {
    std::array<Endpoint, 2> ends;       // the client, the server
    std::array<uint32_t, 2> next = {};  // the sequence numbers of what they send
    std::array<bool, 2> is_closed = {};
    bool was_told = false;  // frames of it, since the last loss
  };

  static size_t Index(Direction direction) { return direction == Direction::kToServer ? 0 : 1; }
  static Direction Opposite(Direction direction) {
    return direction == Direction::kToServer ? Direction::kToClient : Direction::kToServer;
  }

  Connection* Find(ConnectionId id) {
    const auto found = connections_.find(id);
    return found == connections_.end() ? nullptr : &found->second;
  }

  // The other side has what nobody saw: readers take what is half of all numbers ahead of its ACK for something old.
  void Skip(Connection& connection, Direction direction, absl::Time at, uint32_t bytes) {
    connection.next[Index(direction)] += bytes;
    WriteSegment(connection, Opposite(direction), tcp::kAck, at, {}, 0);
  }

  // `all_bytes` passed, of which the first are known.
  void WriteBytes(ConnectionId id, Direction direction, absl::Time at, std::span<const uint8_t> known,
                  uint64_t all_bytes) {
    Connection* const connection = Find(id);
    if (connection == nullptr) return;
    const size_t index = Index(direction);
    if (!std::exchange(connection->was_told, true)) told_since_loss_.push_back(id);
    while (all_bytes > 0) {
      const auto bytes = static_cast<size_t>(std::min<uint64_t>(all_bytes, kMostSegmentBytes));
      const std::span<const uint8_t> part = known.first(std::min(known.size(), bytes));
      WriteSegment(*connection, direction, tcp::kPush | tcp::kAck, at, part, bytes);
      connection->next[index] += static_cast<uint32_t>(bytes);
      known = known.subspan(part.size());
      all_bytes -= bytes;
    }
  }

  void WriteSegment(const Connection& connection, Direction direction, uint8_t flags, absl::Time at,
                    std::span<const uint8_t> known, size_t payload_bytes) {
    const size_t from = Index(direction);
    const Endpoint& source = connection.ends[from];
    const Endpoint& target = connection.ends[1 - from];
    const size_t address_bytes = source.is_v6 ? 16 : 4;
    const size_t ip_bytes = source.is_v6 ? 40 : kIpv4Bytes;
    std::array<uint8_t, 60> headers = {};
    uint8_t* const ip = headers.data();
    uint8_t* const segment = ip + ip_bytes;
    const size_t tcp_bytes = kTcpBytes + payload_bytes;
    if (!source.is_v6) {
      WriteIpv4(ip, source, target, IPPROTO_TCP, tcp_bytes);
    } else {
      ip[0] = 0x60;
      StoreBig<uint16_t>(ip + 4, static_cast<uint16_t>(tcp_bytes));
      ip[6] = IPPROTO_TCP;
      ip[7] = 64;
      std::copy_n(source.address.begin(), 16, ip + 8);
      std::copy_n(target.address.begin(), 16, ip + 24);
    }
    StoreBig<uint16_t>(segment, source.port);
    StoreBig<uint16_t>(segment + 2, target.port);
    StoreBig<uint32_t>(segment + 4, connection.next[from]);
    if ((flags & tcp::kAck) != 0) StoreBig<uint32_t>(segment + 8, connection.next[1 - from]);
    segment[12] = kTcpBytes / 4 << 4;
    segment[13] = flags;
    StoreBig<uint16_t>(segment + 14, 65535);
    if (known.size() == payload_bytes) {  // else nobody can tell it
      Checksum checksum;
      checksum.Add({source.address.data(), address_bytes});
      checksum.Add({target.address.data(), address_bytes});
      checksum.AddWord(IPPROTO_TCP);
      checksum.AddWord(tcp_bytes);
      checksum.Add({segment, kTcpBytes});
      checksum.Add(known);
      StoreBig<uint16_t>(segment + 16, checksum.Result());
    }
    WritePacket(at, {ip, ip_bytes + kTcpBytes}, known, ip_bytes + tcp_bytes);
  }

  // Behind the packet, in which relay inspect finds them, the words are a comment, which Wireshark shows.
  void WriteLost(uint64_t frames, absl::Time at) {
    const std::string words = absl::StrCat(std::string(kLostWords), frames);
    const Endpoint nobody = MadeUp(0, 0).second;
    std::array<uint8_t, kIpv4Bytes> header = {};
    WriteIpv4(header.data(), nobody, nobody, kLostProtocol, words.size());
    const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(words.data()), words.size());
    WritePacket(at, header, bytes, header.size() + bytes.size(), words);
  }

  static void WriteIpv4(uint8_t* ip, const Endpoint& source, const Endpoint& target, uint8_t protocol, size_t bytes) {
    ip[0] = 0x45;
    StoreBig<uint16_t>(ip + 2, static_cast<uint16_t>(kIpv4Bytes + bytes));
    StoreBig<uint16_t>(ip + 6, 0x4000);  // is not to be fragmented
    ip[8] = 64;
    ip[9] = protocol;
    std::copy_n(source.address.begin(), 4, ip + 12);
    std::copy_n(target.address.begin(), 4, ip + 16);
    Checksum checksum;
    checksum.Add({ip, kIpv4Bytes});
    StoreBig<uint16_t>(ip + 10, checksum.Result());
  }

  // ---- The file ----

  void WriteHeaders() {
    Put32(0x0a0d0d0a);
    Put32(28);
    Put32(0x1a2b3c4d);  // the order of bytes
    Put32(1);           // version 1.0
    Put32(0xffffffff);  // the section's size is not told
    Put32(0xffffffff);
    Put32(28);
    Put32(1);  // an interface
    Put32(32);
    Put32(kLinkTypeRaw);
    Put32(0);
    Put32(9 | 1 << 16);  // if_tsresol, 1 byte:
    Put32(9);            // times are in nanoseconds
    Put32(0);            // no further options
    Put32(32);
  }

  void WritePacket(absl::Time at, std::span<const uint8_t> headers, std::span<const uint8_t> known, size_t all_bytes,
                   std::string_view comment = {}) {
    if (at == absl::InfinitePast()) at = last_;
    last_ = at;
    const auto nanoseconds = static_cast<uint64_t>(absl::ToUnixNanos(at));
    const auto captured = static_cast<uint32_t>(headers.size() + known.size());
    const auto comment_bytes = static_cast<uint32_t>(comment.size());
    const uint32_t options = comment.empty() ? 0 : 4 + comment_bytes + PaddingOf(comment_bytes) + 4;
    const uint32_t block = 32 + captured + PaddingOf(captured) + options;
    Put32(6);
    Put32(block);
    Put32(0);
    Put32(static_cast<uint32_t>(nanoseconds >> 32));
    Put32(static_cast<uint32_t>(nanoseconds));
    Put32(captured);
    Put32(static_cast<uint32_t>(all_bytes));
    buffer_.insert(buffer_.end(), headers.begin(), headers.end());
    buffer_.insert(buffer_.end(), known.begin(), known.end());
    buffer_.insert(buffer_.end(), PaddingOf(captured), 0);
    if (options > 0) {
      Put32(1 | comment_bytes << 16);  // opt_comment
      buffer_.insert(buffer_.end(), comment.begin(), comment.end());
      buffer_.insert(buffer_.end(), PaddingOf(comment_bytes), 0);
      Put32(0);  // no further options
    }
    Put32(block);
    if (buffer_.size() >= kBufferBytes) Flush();
  }

  static uint32_t PaddingOf(uint32_t bytes) { return (4 - bytes % 4) % 4; }

  // In this machine's order, which the first block names.
  void Put32(uint32_t value) {
    uint8_t bytes[sizeof(value)];
    std::memcpy(bytes, &value, sizeof(value));
    buffer_.insert(buffer_.end(), bytes, bytes + sizeof(value));
  }

  void Flush() {
    std::span<const uint8_t> rest = buffer_;
    while (status_.ok() && !rest.empty()) {
      const ssize_t written = write(fd_, rest.data(), rest.size());
      if (written > 0) {
        rest = rest.subspan(static_cast<size_t>(written));
      } else if (errno != EINTR) {
        status_ = absl::DataLossError(absl::StrCat("write ", path_, ": ", std::strerror(errno)));
        on_failed_(status_);
      }
    }
    buffer_.clear();
  }

  const std::string path_;
  const int fd_;
  const std::function<void(const absl::Status&)> on_failed_;
  absl::Status status_;
  std::vector<uint8_t> buffer_;
  std::vector<uint8_t> frame_;
  absl::flat_hash_map<ConnectionId, Connection> connections_;
  std::vector<ConnectionId> told_since_loss_;
  absl::Time last_ = absl::UnixEpoch();
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tap>> CreatePcapng(const std::string& path,
                                                  std::function<void(const absl::Status&)> on_failed) {
  if (path == "-") return std::make_unique<PcapngWriter>("stdout", STDOUT_FILENO, std::move(on_failed));
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return absl::NotFoundError(absl::StrCat("open ", path, ": ", std::strerror(errno)));
  return std::make_unique<PcapngWriter>(path, fd, std::move(on_failed));
}

}  // namespace relay::inspect

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/endian.h"
#include "proto/frame.h"
#include "proto/messages.h"
#include "proto/relay.pb.h"
#include "proto/start_block.h"
#include "proto/uuid.h"
#include "tools/bench/peers/pipe.h"
#include "tools/bench/peers/streams.h"

namespace relay::bench {
namespace {

using proto::Frame;
using proto::FrameType;
using proto::Uuid;

const std::string& Filling() {
  static const std::string filling(kChunkBytes, 'x');
  return filling;
}

// Each pair is a channel, slot 1 on each of its connections.
class RelayWire : public Wire {
 public:
  explicit RelayWire(std::string server) : server_(std::move(server)) {}

  absl::Status Open(Load& load, Streams& streams, size_t pairs) override {
    for (size_t pair = 0; pair < pairs; ++pair) {
      const absl::StatusOr<Socket*> sender = Join(load, Side::kSender, pair);
      if (!sender.ok()) return sender.status();
      const absl::StatusOr<Socket*> receiver = Join(load, Side::kReceiver, pair);
      if (!receiver.ok()) return receiver.status();
      proto::AppendMessage((*receiver)->output(), FrameType::kReceive, 0, 1, proto::kNilUuid, v1::Receive());
      streams.AddPair(**sender, **receiver);
      ids_.push_back(proto::kNilUuid);
      has_end_.push_back(false);
    }
    return load.PumpUntil([this, pairs] { return welcomes_ == 2 * pairs; });
  }

  void Begin(Stream& stream) override {
    if (stream.is_request) {
      ids_[stream.pair] = proto::NewUuid();
      has_end_[stream.pair] = false;
      stream.allowed = window_bytes_;
    }
    std::string block(proto::kStartBlockBytes, '\0');
    Write(stream, FrameType::kStart, 0, block);
    if (stream.is_request) Grant(*stream.socket, stream.pair, proto::flag::kResponse, kWindowBytes);
  }

  void Append(Stream& stream, size_t bytes) override {
    Write(stream, FrameType::kChunk, 0, std::string_view(Filling()).substr(0, bytes));
  }

  void End(Stream& stream) override {
    Write(stream, FrameType::kEnd, stream.is_request ? uint8_t{0} : proto::flag::kReceive, {});
  }

  bool IsOver(const Stream& response, uint64_t bytes) const override {
    return has_end_[response.pair] && response.received == bytes;
  }

  absl::Status OnInput(Load& load, Streams& streams, Socket& socket) override {
    Frame frame;
    while (true) {
      const proto::Decoded decoded = proto::DecodeFrame(socket.input(), 1 << 20, frame);
      if (decoded == proto::Decoded::kNeedMore) return absl::OkStatus();
      if (decoded == proto::Decoded::kTooLarge) return absl::DataLossError("a frame that is too large");
      if (absl::Status status = OnFrame(load, streams, socket, frame); !status.ok()) return status;
      socket.Consume(frame.bytes().size());
    }
  }

 private:
  static constexpr uint64_t kWindowBytes = 8 << 20;

  absl::StatusOr<Socket*> Join(Load& load, Side side, size_t pair) {
    absl::StatusOr<Socket*> socket = load.Connect(server_, side);
    if (!socket.ok()) return socket;
    v1::Hello hello;
    hello.set_version(proto::kVersion);
    std::string& output = (*socket)->output();
    output += proto::kPreface;
    proto::AppendMessage(output, FrameType::kHello, 0, 0, proto::kNilUuid, hello);
    Uuid channel = proto::kNilUuid;
    channel.data[0] = 'b';
    channel.data[15] = static_cast<uint8_t>(pair + 1);
    const Uuid client = proto::NewUuid();
    v1::Join join;
    join.set_client_id(client.data, proto::kUuidBytes);
    join.set_channel_id(channel.data, proto::kUuidBytes);
    proto::AppendMessage(output, FrameType::kJoin, 0, 1, proto::kNilUuid, join);
    load.HasOutput(**socket);
    return socket;
  }

  void Write(Stream& stream, FrameType type, uint8_t more_flags, std::string_view payload) {
    const uint8_t direction = stream.is_request ? proto::flag::kRequest : proto::flag::kResponse;
    proto::AppendFrame(stream.socket->output(), type, static_cast<uint8_t>(direction | more_flags), 1,
                       ids_[stream.pair], payload);
  }

  void Grant(Socket& socket, size_t pair, uint8_t direction, uint64_t total) {
    char bytes[sizeof(total)];
    proto::StoreBig<uint64_t>(bytes, total);
    proto::AppendFrame(socket.output(), FrameType::kWindow, direction, 1, ids_[pair], {bytes, sizeof(bytes)});
  }

  absl::Status OnFrame(Load& load, Streams& streams, Socket& socket, const Frame& frame) {
    const size_t pair = socket.index();
    const bool at_sender = socket.side() == Side::kSender;
    Stream& incoming = at_sender ? streams.response(pair) : streams.request(pair);
    Stream& outgoing = at_sender ? streams.request(pair) : streams.response(pair);
    const uint8_t direction = at_sender ? proto::flag::kResponse : proto::flag::kRequest;
    switch (frame.type()) {
      case FrameType::kWelcome: {
        v1::Welcome welcome;
        if (!proto::ParseMessage(frame.payload_text(), welcome)) return absl::DataLossError("WELCOME");
        window_bytes_ = welcome.initial_window_bytes();
        ++welcomes_;
        return absl::OkStatus();
      }
      case FrameType::kStart:
        if (!at_sender) {
          ids_[pair] = frame.id();
          outgoing.allowed = window_bytes_;  // WINDOWs for it come behind this
          Grant(socket, pair, direction, kWindowBytes);
          load.HasOutput(socket);
        }
        return absl::OkStatus();
      case FrameType::kChunk: {
        const size_t bytes = frame.payload().size();
        incoming.granted += proto::ChunkCost(bytes);
        if (incoming.granted % (kWindowBytes / 4) < proto::ChunkCost(bytes)) {
          Grant(socket, pair, direction, incoming.granted + kWindowBytes);
          load.HasOutput(socket);
        }
        streams.OnBytes(load, incoming, bytes);
        return absl::OkStatus();
      }
      case FrameType::kWindow:
        outgoing.allowed = std::max(outgoing.allowed, proto::LoadBig<uint64_t>(frame.payload().data()));
        streams.Drive(load, outgoing);
        return absl::OkStatus();
      case FrameType::kPing:
        proto::AppendFrame(socket.output(), FrameType::kPong, 0, 0, proto::kNilUuid, frame.payload_text());
        load.HasOutput(socket);
        return absl::OkStatus();
      case FrameType::kReset: {
        v1::Reset reset;
        proto::ParseMessage(frame.payload_text(), reset);
        return absl::UnavailableError(
            absl::StrCat("a body was reset: ", reset.status().end(), " ", reset.status().message()));
      }
      case FrameType::kEnd:
        if (at_sender) has_end_[pair] = true;
        return absl::OkStatus();
      case FrameType::kPong:
        return absl::OkStatus();
      default:
        return absl::UnavailableError(absl::StrCat("the server sent ", std::string(proto::NameOf(frame.type()))));
    }
  }

  const std::string server_;
  std::vector<Uuid> ids_;
  std::vector<bool> has_end_;  // the response's
  uint64_t window_bytes_ = 0;
  size_t welcomes_ = 0;
};

// Each pair has a subject each way.
class NatsWire : public Wire {
 public:
  explicit NatsWire(std::string server) : server_(std::move(server)) {}

  absl::Status Open(Load& load, Streams& streams, size_t pairs) override {
    for (size_t pair = 0; pair < pairs; ++pair) {
      const absl::StatusOr<Socket*> sender = Connect(load, Side::kSender, absl::StrCat("a", pair));
      if (!sender.ok()) return sender.status();
      const absl::StatusOr<Socket*> receiver = Connect(load, Side::kReceiver, absl::StrCat("q", pair));
      if (!receiver.ok()) return receiver.status();
      streams.AddPair(**sender, **receiver);
    }
    return load.PumpUntil([this, pairs] { return pongs_ == 2 * pairs; });
  }

  void Append(Stream& stream, size_t bytes) override {
    std::string& output = stream.socket->output();
    absl::StrAppend(&output, "PUB ", stream.is_request ? "q" : "a", stream.pair, " ", bytes, "\r\n");
    output.append(Filling(), 0, bytes);
    output += "\r\n";
  }

  absl::Status OnInput(Load& load, Streams& streams, Socket& socket) override {
    while (true) {
      const std::string_view input = socket.input_text();
      const size_t end = input.find("\r\n");
      if (end == input.npos) return absl::OkStatus();
      const std::string_view line = input.substr(0, end);
      size_t bytes = 0;
      if (line.starts_with("MSG ")) {
        const size_t space = line.rfind(' ');
        std::from_chars(line.data() + space + 1, line.data() + line.size(), bytes);
        if (input.size() < end + 2 + bytes + 2) return absl::OkStatus();
        const bool at_sender = socket.side() == Side::kSender;
        streams.OnBytes(load, at_sender ? streams.response(socket.index()) : streams.request(socket.index()), bytes);
        bytes += 2;
      } else if (line == "PONG") {
        ++pongs_;
      } else if (line == "PING") {
        socket.output() += "PONG\r\n";
        load.HasOutput(socket);
      } else if (line.starts_with("-ERR")) {
        return absl::UnavailableError(absl::StrCat("NATS: ", std::string(line)));
      }
      socket.Consume(end + 2 + bytes);
    }
  }

 private:
  absl::StatusOr<Socket*> Connect(Load& load, Side side, const std::string& subject) {
    absl::StatusOr<Socket*> socket = load.Connect(server_, side);
    if (!socket.ok()) return socket;
    absl::StrAppend(&(*socket)->output(), "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB ", subject,
                    " 1\r\nPING\r\n");
    load.HasOutput(**socket);
    return socket;
  }

  const std::string server_;
  size_t pongs_ = 0;
};

class PipeWire : public Wire {
 public:
  PipeWire(std::string proxy, uint16_t backend_port) : proxy_(std::move(proxy)), backend_port_(backend_port) {}

  absl::Status Open(Load& load, Streams& streams, size_t pairs) override {
    absl::StatusOr<std::vector<SocketPair>> sockets = ConnectThrough(load, proxy_, backend_port_, pairs);
    if (!sockets.ok()) return sockets.status();
    for (const SocketPair& pair : *sockets) streams.AddPair(*pair.sender, *pair.receiver);
    return absl::OkStatus();
  }

  void Append(Stream& stream, size_t bytes) override { stream.socket->output().append(Filling(), 0, bytes); }

  absl::Status OnInput(Load& load, Streams& streams, Socket& socket) override {
    const size_t bytes = socket.input().size();
    const bool at_sender = socket.side() == Side::kSender;
    socket.Consume(bytes);
    streams.OnBytes(load, at_sender ? streams.response(socket.index()) : streams.request(socket.index()), bytes);
    return absl::OkStatus();
  }

 private:
  const std::string proxy_;
  const uint16_t backend_port_;
};

}  // namespace

std::unique_ptr<Wire> MakeRelayWire(std::string server) { return std::make_unique<RelayWire>(std::move(server)); }
std::unique_ptr<Wire> MakeNatsWire(std::string server) { return std::make_unique<NatsWire>(std::move(server)); }
std::unique_ptr<Wire> MakePipeWire(std::string proxy, uint16_t backend_port) {
  return std::make_unique<PipeWire>(std::move(proxy), backend_port);
}

}  // namespace relay::bench

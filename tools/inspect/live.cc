#include "tools/inspect/live.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "net/connector.h"
#include "net/loop.h"
#include "net/mailbox.h"
#include "net/stream.h"
#include "net/timer.h"
#include "proto/frame.h"
#include "proto/messages.h"
#include "proto/mirror_block.h"

namespace relay::inspect {
namespace {

using proto::FrameType;
using proto::MirrorKind;

constexpr uint32_t kMostPayloadBytes = uint32_t{16} << 20;  // no relay is told to say more
constexpr absl::Duration kTick = absl::Milliseconds(250);
constexpr std::string_view kOfTheRest = "the rest";

class LiveSource : public Source, private net::Stream::Handler {
 public:
  LiveSource(const LiveOptions& options, std::unique_ptr<net::Loop> loop)
      : options_(options),
        loop_(std::move(loop)),
        stop_(std::make_unique<net::Wakeup>(*loop_, [this] { AskForTheRest(); })),
        tick_(std::make_unique<net::Timer>(*loop_, [this] { OnTick(); })) {}
  ~LiveSource() override {
    stream_.reset();
    connector_.reset();
    tick_.reset();
    stop_.reset();
  }

  absl::Status Run(Tap& tap) override {
    tap_ = &tap;
    last_read_ = last_sent_ = last_tick_ = loop_->Now();
    connector_ = std::make_unique<net::Connector>(
        *loop_, options_.server, [this](net::Connector::Result result) { OnConnected(std::move(result)); });
    tick_->StartAt(loop_->Now() + kTick);
    loop_->Run();
    if (stream_ != nullptr && status_.ok()) {
      SendMessage(FrameType::kGoaway, v1::Status());
      stream_->ShutdownWrite();
    }
    return status_;
  }

  void Stop() override { stop_->Send(); }

 private:
  // A connection of the relay's that was told of.
  struct Mirrored {
    bool owes_preface;  // its first frame stands behind one
  };

  void OnConnected(net::Connector::Result result) {
    if (!result.ok()) return Fail(result.status());
    stream_ = *std::move(result);
    stream_->SetHandler(this);
    v1::Hello hello;
    hello.set_version(proto::kVersion);
    hello.set_agent("relay inspect");
    hello.set_observer(true);
    v1::Observe observe;
    if (options_.channel.has_value()) observe.set_channel_id(std::string(proto::BytesOf(*options_.channel)));
    if (options_.client.has_value()) observe.set_client_id(std::string(proto::BytesOf(*options_.client)));
    if (options_.request.has_value()) observe.set_request_id(std::string(proto::BytesOf(*options_.request)));
    observe.set_snap_bytes(options_.snap_bytes);
    std::string opening(proto::kPreface);
    proto::AppendMessage(opening, FrameType::kHello, 0, 0, proto::kNilUuid, hello);
    proto::AppendMessage(opening, FrameType::kObserve, 0, 0, proto::kNilUuid, observe);
    Send(opening);
    stream_->StartReading();
  }

  size_t OnBytes(std::span<uint8_t> bytes) override {
    last_read_ = loop_->Now();
    size_t taken = 0;
    for (;;) {
      proto::Frame frame;
      const proto::Decoded decoded = proto::DecodeFrame(bytes.subspan(taken), kMostPayloadBytes, frame);
      if (decoded == proto::Decoded::kNeedMore) return taken;
      if (decoded == proto::Decoded::kTooLarge) {
        Fail(absl::UnavailableError("what the server says is not the relay protocol"));
        return bytes.size();
      }
      taken += frame.bytes().size();
      OnOwnFrame(frame);
      if (!status_.ok()) return bytes.size();
    }
  }

  // A frame of the connection to the relay itself.
  void OnOwnFrame(proto::Frame frame) {
    if (!frame.has_known_type()) return;
    if (frame.type() == FrameType::kMirror) {
      if (!proto::CheckMirror(frame.payload())) return Fail(absl::UnavailableError("a MIRROR breaks its rules"));
      OnMirror(proto::MirrorBlock(frame.payload()));
    } else if (frame.type() == FrameType::kWelcome) {
      v1::Welcome welcome;
      if (!proto::ParseMessage(frame.payload_text(), welcome)) return;
      interval_ = absl::Milliseconds(std::max<uint32_t>(100, welcome.heartbeat_interval_ms()));
      misses_ = std::max<uint32_t>(2, welcome.heartbeat_misses());
    } else if (frame.type() == FrameType::kPong && frame.payload_text() == kOfTheRest && rests_ > 0) {
      if (--rests_ == 0) return loop_->Stop();
      SendPing(kOfTheRest);
    } else if (frame.type() == FrameType::kPing) {
      std::string pong;
      proto::AppendFrame(pong, FrameType::kPong, 0, 0, proto::kNilUuid, frame.payload_text());
      Send(pong);
    } else if (frame.type() == FrameType::kGoaway) {
      v1::Status status;
      if (!proto::ParseMessage(frame.payload_text(), status)) return;
      const absl::StatusCode code = proto::CodeFromWire(status.code());
      // A relay that drains says so, and goes on to show what it does until it closes.
      if (status.end() == "stopping") return;
      const absl::string_view words = status.message();
      Fail(absl::Status(code == absl::StatusCode::kOk ? absl::StatusCode::kUnavailable : code, words));
    }
  }

  void OnMirror(const proto::MirrorBlock& block) {
    const absl::Duration since_start = absl::Microseconds(static_cast<int64_t>(block.time_us() & INT64_MAX));
    if (!servers_start_.has_value()) servers_start_ = absl::Now() - since_start;
    const absl::Time at = *servers_start_ + since_start;
    if (block.lost() > 0) tap_->OnLost(block.lost(), at);
    const std::string_view words(reinterpret_cast<const char*>(block.shown().data()), block.shown().size());
    const ConnectionId id = block.connection();
    switch (block.kind()) {
      case MirrorKind::kRead:
        return TellFrame(block, Direction::kToServer, at);
      case MirrorKind::kWritten:
        return TellFrame(block, Direction::kToClient, at);
      case MirrorKind::kOpened:
        return Open(id, at, words, /*from_start=*/true);
      case MirrorKind::kEnded:
        if (mirrored_.erase(id) == 0) return;
        tap_->OnClose(id, Direction::kToServer, at);
        tap_->OnClose(id, Direction::kToClient, at);
        return;
      case MirrorKind::kLost:
        return;
    }
  }

  void Open(ConnectionId id, absl::Time at, std::string_view peer, bool from_start) {
    if (!mirrored_.emplace(id, Mirrored{from_start}).second) return;
    Opening opening;
    opening.connection = id;
    opening.at = at;
    opening.client = std::string(peer);
    opening.server = net::ToString(options_.server);
    opening.from_start = from_start;
    tap_->OnOpen(opening);
  }

  void TellFrame(const proto::MirrorBlock& block, Direction direction, absl::Time at) {
    const ConnectionId id = block.connection();
    Open(id, at, "", /*from_start=*/false);
    // No preface is mirrored, but no frame is read before it.
    if (direction == Direction::kToServer && std::exchange(mirrored_.find(id)->second.owes_preface, false)) {
      const std::span<const uint8_t> preface(reinterpret_cast<const uint8_t*>(proto::kPreface.data()),
                                             proto::kPreface.size());
      tap_->OnBytes({id, direction, at, preface});
    }
    CutFrame frame;
    frame.connection = id;
    frame.direction = direction;
    frame.at = at;
    frame.header = block.shown().first(proto::kHeaderBytes);
    frame.payload = block.shown().subspan(proto::kHeaderBytes);
    frame.channel = block.channel();
    frame.client = block.client();
    tap_->OnFrame(frame);
  }

  void OnEnd(absl::Status why) override {
    if (!why.ok()) return Fail(why);
    Fail(absl::UnavailableError(absl::StrCat(net::ToString(options_.server), ": the relay has closed the connection")));
  }
  void OnSent() override {}

  void OnTick() {
    const absl::Time now = loop_->Now();
    tap_->OnTick(absl::Now());
    // Of the time that this process stood still, the relay is not judged by.
    if (now > last_tick_ + interval_ + kTick) last_read_ = now;
    last_tick_ = now;
    if (stream_ != nullptr && now >= last_read_ + interval_ * misses_) {
      return Fail(absl::UnavailableError(absl::StrCat(net::ToString(options_.server), ": the relay is silent")));
    }
    if (stream_ != nullptr && now >= last_sent_ + interval_) {
      SendPing("observer");
    }
    tick_->StartAt(now + kTick);
  }

  // What the relay still has for this observer comes before the answer to a PING; what was lost until then is counted
  // once all of that was sent, before the answer to the next one. Nothing more is asked for, so it ends.
  void AskForTheRest() {
    if (stream_ == nullptr) return loop_->Stop();
    if (std::exchange(rests_, 2) > 0) return;
    v1::Observe nothing;
    nothing.set_request_id(std::string(sizeof(proto::Uuid), '\xff'));
    SendMessage(FrameType::kObserve, nothing);
    SendPing(kOfTheRest);
  }

  void SendPing(std::string_view words) {
    std::string ping;
    proto::AppendFrame(ping, FrameType::kPing, 0, 0, proto::kNilUuid, words);
    Send(ping);
  }

  void SendMessage(FrameType type, const google::protobuf::MessageLite& message) {
    std::string frame;
    proto::AppendMessage(frame, type, 0, 0, proto::kNilUuid, message);
    Send(frame);
  }

  void Send(std::string_view bytes) {
    const std::array<std::span<const uint8_t>, 1> slices = {
        std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size())};
    stream_->Write(slices);
    last_sent_ = loop_->Now();
  }

  void Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
    loop_->Stop();
  }

  const LiveOptions options_;
  const std::unique_ptr<net::Loop> loop_;
  std::unique_ptr<net::Wakeup> stop_;
  std::unique_ptr<net::Timer> tick_;
  std::unique_ptr<net::Connector> connector_;
  std::unique_ptr<net::Stream> stream_;
  Tap* tap_ = nullptr;
  absl::Status status_;
  absl::Duration interval_ = absl::Seconds(5);  // until WELCOME says it
  uint32_t misses_ = 3;
  int rests_ = 0;  // answers that are waited for before it stops
  absl::Time last_read_;
  absl::Time last_sent_;
  absl::Time last_tick_;
  std::optional<absl::Time> servers_start_;  // on this machine's clock
  absl::flat_hash_map<ConnectionId, Mirrored> mirrored_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Source>> OpenLive(const LiveOptions& options) {
  auto loop = net::Loop::Create();
  if (!loop.ok()) return loop.status();
  return std::unique_ptr<Source>(std::make_unique<LiveSource>(options, *std::move(loop)));
}

}  // namespace relay::inspect

// The frames that the SDK sends, seen by a server that is played by the test: what the relay itself would hide.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/support.h"
#include "proto/endian.h"
#include "proto/frame.h"
#include "proto/messages.h"
#include "proto/start_block.h"
#include "relay/client.h"
#include "relay/serve.h"

namespace relay::testing {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

// No PING comes among the frames that a test expects, however slow it is.
constexpr uint32_t kNoHeartbeatMs = 3'600'000;

// One frame, owned.
struct Heard {
  std::string bytes;
  proto::Frame view() { return proto::Frame(std::span(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size())); }
};

// Listens on a Unix socket and speaks with one client at a time, blocking.
class PlayedServer {
 public:
  PlayedServer() {
    std::string folder = (std::filesystem::temp_directory_path() / "relay-test-XXXXXX").string();
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    (folder + "/s").copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
  }
  ~PlayedServer() {
    Hangup();
    close(listener_);
    std::filesystem::remove_all(folder_);
  }

  std::string url() const { return "unix:" + folder_ + "/s"; }

  // Takes the next connection and reads the preface and HELLO.
  void Accept() {
    Hangup();
    socket_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    EXPECT_EQ(Take(proto::kPreface.size()), proto::kPreface);
    EXPECT_EQ(Hear().view().type(), FrameType::kHello);
  }
  void Welcome(uint32_t heartbeat_interval_ms = kNoHeartbeatMs) {
    v1::Welcome welcome;
    welcome.set_max_payload_bytes(128 * 1024);
    welcome.set_initial_window_bytes(256 * 1024);
    welcome.set_max_window_bytes(16 << 20);
    welcome.set_max_clients_per_connection(4096);
    welcome.set_max_start_bytes(16 * 1024);
    welcome.set_heartbeat_interval_ms(heartbeat_interval_ms);
    welcome.set_heartbeat_misses(2);
    Say(FrameType::kWelcome, 0, 0, proto::kNilUuid, welcome.SerializeAsString());
  }
  void Say(FrameType type, uint8_t flags, uint16_t slot, const proto::Uuid& id, std::string_view payload = {}) {
    std::string bytes;
    proto::AppendFrame(bytes, type, flags, slot, id, payload);
    EXPECT_EQ(write(socket_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  void SayStart(uint8_t flags, uint16_t slot, const proto::Uuid& id, std::string_view body) {
    Say(FrameType::kStart, flags, slot, id, std::string(proto::kStartBlockBytes, '\0').append(body));
  }
  // The next frame; an empty one of no type where the connection has ended.
  Heard Hear() {
    Heard heard{Take(proto::kHeaderBytes)};
    if (heard.bytes.size() < proto::kHeaderBytes) return {std::string(proto::kHeaderBytes, '\0')};
    heard.bytes += Take(proto::LoadBig<uint32_t>(heard.bytes.data()));
    return heard;
  }
  // The connection is the caller's, to close.
  int Release() { return std::exchange(socket_, -1); }
  void Hangup() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }

 private:
  std::string Take(size_t bytes) {
    std::string taken(bytes, '\0');
    size_t size = 0;
    while (size < bytes) {
      const ssize_t part = read(socket_, taken.data() + size, bytes - size);
      if (part <= 0) break;
      size += static_cast<size_t>(part);
    }
    taken.resize(size);
    return taken;
  }

  std::string folder_;
  int listener_ = -1;
  int socket_ = -1;
};

class FramesTest : public ::testing::Test {
 protected:
  // Both sides of the first connection.
  void Open(ConnectionOptions options = {}, uint32_t heartbeat_interval_ms = kNoHeartbeatMs) {
    std::thread server([&] {
      server_.Accept();
      server_.Welcome(heartbeat_interval_ms);
    });
    connection_ = MustOpen(server_.url(), std::move(options));
    server.join();
  }
  // Closes while the server reads to the end: GOAWAY, or nothing where WELCOME had not been read yet.
  void Close() {
    std::thread closer([this] { connection_->Close(); });
    while (true) {
      Heard heard = server_.Hear();
      if (!heard.view().has_known_type() || heard.view().type() == FrameType::kGoaway) break;
    }
    server_.Hangup();
    closer.join();
  }

  PlayedServer server_;
  std::shared_ptr<Connection> connection_;
};

TEST_F(FramesTest, SmallExchangeIsOneFrameEachWayBehindTheJoin) {
  Open();
  Client client(connection_, "frames");
  std::thread sender([&] {
    const auto reply = client.Send("request");
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->body, "response");
  });
  Heard join = server_.Hear();
  EXPECT_EQ(join.view().type(), FrameType::kJoin);
  Heard start = server_.Hear();
  EXPECT_EQ(start.view().type(), FrameType::kStart);
  EXPECT_EQ(start.view().flags(), flag::kRequest | flag::kFin);
  EXPECT_EQ(start.bytes.substr(start.bytes.size() - 7), "request");
  server_.SayStart(flag::kResponse | flag::kFin, start.view().slot(), start.view().id(), "response");
  sender.join();
  Close();
}

TEST_F(FramesTest, PoolThatGoesOnSaysSoOnItsLastFrameAndWithdrawsWhenItStops) {
  Open();
  auto pool = Serve(connection_, "frames", {}, [](Request& request) { return request.Reply("answer"); });
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  Heard receive = server_.Hear();
  EXPECT_EQ(receive.view().type(), FrameType::kReceive);
  const uint16_t slot = receive.view().slot();
  for (int i = 0; i < 3; ++i) {
    server_.SayStart(flag::kRequest | flag::kFin, slot, proto::NewUuid(), "ask");
    Heard answer = server_.Hear();
    EXPECT_EQ(answer.view().type(), FrameType::kStart);
    EXPECT_EQ(answer.view().flags(), flag::kResponse | flag::kFin | flag::kReceive);
  }
  (*pool)->BeginStop();
  Heard withdraw = server_.Hear();
  EXPECT_EQ(withdraw.view().type(), FrameType::kReceive);
  EXPECT_EQ(withdraw.view().payload_text(), "\x10\x01");
  server_.Say(FrameType::kReceive, 0, slot, proto::kNilUuid, "\x10\x01");
  EXPECT_EQ((*pool)->Wait(), OkStatus());
  Close();
}

TEST_F(FramesTest, PoolThatWaitsForSoLongBeginsToBehindItsAnswer) {
  Open();
  Client busy(connection_, "frames");
  busy.ReceiveAsync({}, [](const StatusOr<AsyncRequest>&) {});
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kReceive);
  ServeOptions options;
  options.wait = std::chrono::milliseconds(0);
  const std::string body(512 * 1024, 'x');  // twice the window
  auto pool = Serve(connection_, "frames", options, [&body](Request& request) { return request.Reply(body); });
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  const uint16_t slot = server_.Hear().view().slot();
  const proto::Uuid id = proto::NewUuid();
  server_.SayStart(flag::kRequest | flag::kFin, slot, id, "ask");
  Heard answer = server_.Hear();
  // When its time is over, so is that of a wait which has begun before.
  SendOptions brief;
  brief.timeout = std::chrono::milliseconds(1);
  EXPECT_EQ(busy.Send("in line", brief).status().code(), StatusCode::kDeadlineExceeded);
  uint8_t window[sizeof(uint64_t)];
  proto::StoreBig<uint64_t>(window, 1 << 20);
  server_.Say(FrameType::kWindow, flag::kResponse, slot, id, {reinterpret_cast<const char*>(window), sizeof(window)});
  while (answer.view().id() == id && !answer.view().has(flag::kFin)) answer = server_.Hear();
  EXPECT_EQ(answer.view().flags(), flag::kResponse | flag::kFin);
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kReceive);
  server_.Say(FrameType::kReceive, 0, slot, proto::kNilUuid);
  EXPECT_EQ((*pool)->Wait().code(), StatusCode::kDeadlineExceeded);
  Close();
}

TEST_F(FramesTest, WhatIsSentBehindAResetIsSentBehindIt) {
  Open();
  Client first(connection_, "frames");
  Client second(connection_, "frames");
  first.ReceiveAsync({}, [&second](StatusOr<AsyncRequest> request) {
    { const AsyncRequest dropped = *std::move(request); }
    second.SendAsync("next", {}, [](const StatusOr<Reply>&) {});
  });
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  const uint16_t slot = server_.Hear().view().slot();
  server_.SayStart(flag::kRequest | flag::kFin, slot, proto::NewUuid(), "ask");
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kReset);
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kStart);
  Close();
}

TEST_F(FramesTest, WaitWithoutEndBehindAReplyIsSaidWithTheReply) {
  Open();
  Client client(connection_, "frames");
  ReceiveOptions bounded;
  bounded.wait = std::chrono::hours(1);
  ReceiveOptions if_free;
  if_free.if_busy = IfBusy::kFail;
  const std::vector<ReceiveOptions> waits = {{}, {}, bounded, if_free};
  size_t begun = 0;
  const std::function<void()> receive = [&] {
    client.ReceiveAsync(waits[begun++], [&](StatusOr<AsyncRequest> request) {
      ASSERT_TRUE(request.ok()) << request.status();
      request->Reply(OkStatus(), "answer");
      if (begun < waits.size()) receive();
    });
  };
  receive();
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  const uint16_t slot = server_.Hear().view().slot();
  for (size_t i = 0; i < waits.size(); ++i) {
    const bool is_flagged = i == 0;
    server_.SayStart(flag::kRequest | flag::kFin, slot, proto::NewUuid(), "ask");
    EXPECT_EQ(server_.Hear().view().flags(), flag::kResponse | flag::kFin | (is_flagged ? flag::kReceive : 0)) << i;
    if (is_flagged || i + 1 == waits.size()) continue;
    EXPECT_EQ(server_.Hear().view().type(), FrameType::kReceive) << i;
  }
  Close();
}

TEST_F(FramesTest, ReplyGoesOutThoughItsCallbackDropsTheClient) {
  Open();
  {
    Client client(connection_, "frames");
    client.ReceiveAsync({}, [client](StatusOr<AsyncRequest> request) { request->Reply(OkStatus(), "answer"); });
  }
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  const uint16_t slot = server_.Hear().view().slot();
  server_.SayStart(flag::kRequest | flag::kFin, slot, proto::NewUuid(), "ask");
  EXPECT_EQ(server_.Hear().view().flags(), flag::kResponse | flag::kFin);
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kLeave);
  Close();
}

TEST_F(FramesTest, ReplyGoesOutThoughItsCallbackClosesTheConnection) {
  Open();
  Client client(connection_, "frames");
  client.ReceiveAsync({}, [this](StatusOr<AsyncRequest> request) {
    request->Reply(OkStatus(), "answer");
    connection_->Close();
  });
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  const uint16_t slot = server_.Hear().view().slot();
  server_.SayStart(flag::kRequest | flag::kFin, slot, proto::NewUuid(), "ask");
  EXPECT_EQ(server_.Hear().view().flags(), flag::kResponse | flag::kFin);
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kGoaway);
  server_.Hangup();
}

TEST_F(FramesTest, RequestThatCrossesCloseIsGivenBack) {
  Open();
  Client client(connection_, "frames");
  client.ReceiveAsync({}, [](const StatusOr<AsyncRequest>&) {});
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  const uint16_t slot = server_.Hear().view().slot();
  std::thread closer([this] { connection_->Close(); });
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kGoaway);
  server_.SayStart(flag::kRequest, slot, proto::NewUuid(), "");
  Heard reset = server_.Hear();
  EXPECT_EQ(reset.view().type(), FrameType::kReset);
  v1::Reset message;
  ASSERT_TRUE(proto::ParseMessage(reset.view().payload_text(), message));
  EXPECT_TRUE(message.requeue());
  server_.Hangup();
  closer.join();
}

TEST_F(FramesTest, RefusalBeforeWelcomeIsTheStatusOfOpen) {
  std::thread server([this] {
    server_.Accept();
    v1::Status status;
    status.set_code(static_cast<uint32_t>(StatusCode::kResourceExhausted));
    status.set_message("too many connections");
    status.set_end("max_connections");
    server_.Say(FrameType::kGoaway, 0, 0, proto::kNilUuid, status.SerializeAsString());
  });
  const Status status = Connection::Open(server_.url()).status();
  server.join();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.end(), "max_connections");
}

TEST_F(FramesTest, BusyCallersDelayNoHeartbeatAndASilentServerIsLeft) {
  Countdown lost(1);
  ConnectionOptions options;
  options.on_change = [&lost](const Status&) { lost.Down(); };
  Open(options, 100);
  Client client(connection_, "frames");
  std::thread blocked([&] { EXPECT_EQ(client.Send("").status().code(), StatusCode::kUnavailable); });
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kStart);
  Heard ping = server_.Hear();
  EXPECT_EQ(ping.view().type(), FrameType::kPing);
  server_.Say(FrameType::kPing, 0, 0, proto::kNilUuid, "87654321");
  Heard pong = server_.Hear();
  EXPECT_EQ(pong.view().type(), FrameType::kPong);
  EXPECT_EQ(pong.view().payload_text(), "87654321");
  blocked.join();
  EXPECT_TRUE(lost.Wait());
}

TEST_F(FramesTest, ServerThatBreaksTheProtocolIsToldAndLeft) {
  Open();
  Client client(connection_, "frames");
  std::thread sender([&] { EXPECT_EQ(client.Send("").status().code(), StatusCode::kUnavailable); });
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kJoin);
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kStart);
  server_.Say(FrameType::kHello, 0, 0, proto::kNilUuid);
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kGoaway);
  sender.join();
  // And it comes again.
  server_.Accept();
  server_.Welcome();
  Close();
}

TEST_F(FramesTest, ServerThatLeavesAgainAndAgainAndNeverClosesIsOwedOneConnection) {
  Open();
  std::vector<int> left;
  for (int i = 0; i < 3; ++i) {
    server_.Say(FrameType::kGoaway, 0, 0, proto::kNilUuid);
    EXPECT_EQ(server_.Hear().view().type(), FrameType::kGoaway);
    left.push_back(server_.Release());
    server_.Accept();
    server_.Welcome();
  }
  char byte = 0;
  EXPECT_EQ(recv(left[0], &byte, 1, 0), 0);
  EXPECT_EQ(recv(left[1], &byte, 1, 0), 0);
  EXPECT_EQ(recv(left[2], &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
  for (const int socket : left) close(socket);
  Close();
}

TEST_F(FramesTest, WaitGoesOnOnTheNextConnectionWithWhatIsLeftOfIt) {
  ConnectionOptions options;
  options.reconnect_min = milliseconds(1);
  options.reconnect_max = milliseconds(1);
  Open(options);
  Client client(connection_, "frames");
  std::thread receiver([&] {
    auto request = client.Receive({.wait = milliseconds(100'000)});
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(*request->ReadAll(), "late");
    EXPECT_EQ(request->Finish(), OkStatus());
  });
  const std::string first_join = server_.Hear().bytes;
  EXPECT_EQ(server_.Hear().view().type(), FrameType::kReceive);
  server_.Accept();
  server_.Welcome();
  EXPECT_EQ(server_.Hear().bytes, first_join) << "the same client, with the key to take over";
  Heard receive = server_.Hear();
  EXPECT_EQ(receive.view().type(), FrameType::kReceive);
  v1::Receive message;
  ASSERT_TRUE(proto::ParseMessage(receive.view().payload_text(), message));
  EXPECT_GT(message.wait_ms(), 50'000u);
  EXPECT_LE(message.wait_ms(), 100'000u);
  server_.SayStart(flag::kRequest | flag::kFin, receive.view().slot(), proto::NewUuid(), "late");
  Heard end = server_.Hear();
  EXPECT_EQ(end.view().flags(), flag::kResponse | flag::kFin);
  receiver.join();
  Close();
}

}  // namespace
}  // namespace relay::testing

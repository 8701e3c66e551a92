// The daemon in this process, beside a client on the same loop, so that a test can hold up a turn.

#include "server/daemon.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "driver.h"
#include "net/address.h"
#include "net/connector.h"
#include "net/socket.h"
#include "net/testing.h"
#include "net/timer.h"
#include "spdlog/sinks/null_sink.h"

namespace relay::server {
namespace {

namespace flag = proto::flag;

// Until the client's handler has heard what the test waits for; nothing else wakes the loop.
bool RunFor(net::Loop& loop, absl::Duration most) {
  bool late = false;
  net::Timer limit(loop, [&loop, &late] {
    late = true;
    loop.Stop();
  });
  limit.StartAt(loop.Now() + most);
  loop.Run();
  return !late;
}

// It tells nobody that time has passed, however slow this machine is.
std::unique_ptr<Daemon> StartDaemon(net::Loop& loop) {
  auto daemon = std::make_unique<Daemon>(
      loop, Limits{.heartbeat_interval = absl::Hours(1), .hello_timeout = absl::Hours(1)},
      Identity{.server_id = Id(1), .start = loop.Now(), .place = {}, .totals = std::make_shared<Totals>()},
      std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::null_sink_st>()), nullptr);
  const absl::Status listens = daemon->Listen("tcp://127.0.0.1:0");
  EXPECT_TRUE(listens.ok()) << listens;
  return daemon;
}

// The daemon has its turns' ends for itself.
void GoOn(net::Loop& loop, int turns) {
  net::Soon again(loop, [&] { --turns > 0 ? again.Schedule() : loop.Stop(); });
  again.Schedule();
  loop.Run();
}

// So many sockets that the daemon has accepted, and that have sent HELLO.
std::vector<std::unique_ptr<net::RawSocket>> Connect(net::Loop& loop, const Daemon& daemon, size_t count) {
  const auto address = net::WithoutLookup(*net::ParseAddress(daemon.addresses().front()));
  std::vector<std::unique_ptr<net::RawSocket>> sockets;
  for (size_t i = 0; i < count; ++i) {
    sockets.push_back(std::make_unique<net::RawSocket>(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    EXPECT_EQ(::connect(sockets.back()->fd(), (*address)->get(), (*address)->bytes), 0);
    GoOn(loop, 4);
  }
  for (const auto& socket : sockets) socket->Send("RELAY/1\n" + HelloFrame());
  return sockets;
}

TEST(Daemon, ReadsOfThoseWhoAreNotOpenAFewInATurn) {
  constexpr size_t kStrangers = 300;
  const auto loop = net::NewLoop();
  const std::unique_ptr<Daemon> daemon = StartDaemon(*loop);
  const auto strangers = Connect(*loop, *daemon, kStrangers);
  GoOn(*loop, 2);  // three turns
  size_t answered = 0;
  const auto count = [&] {
    for (const auto& stranger : strangers) answered += stranger->Receive().empty() ? 0 : 1;
  };
  count();
  EXPECT_GT(answered, 0u);
  EXPECT_LE(answered, 3 * 2u);
  GoOn(*loop, kStrangers);
  count();
  EXPECT_EQ(answered, kStrangers);
}

TEST(Daemon, TellsOneEndInATurn) {
  constexpr size_t kPeers = 64;
  const auto loop = net::NewLoop();
  const std::unique_ptr<Daemon> daemon = StartDaemon(*loop);
  const auto peers = Connect(*loop, *daemon, kPeers);
  GoOn(*loop, 4 * kPeers);
  ASSERT_EQ(daemon->TakeCounts().connections, kPeers);
  for (const auto& peer : peers) peer->Close();
  // Each of these is two turns, of which the second is that of what was put off.
  constexpr size_t kTurns = 8;
  GoOn(*loop, kTurns);
  const size_t left = daemon->TakeCounts().connections;
  EXPECT_LT(left, kPeers);
  EXPECT_GE(left, kPeers - 2 * kTurns);
  GoOn(*loop, 4 * kPeers);
  EXPECT_EQ(daemon->TakeCounts().connections, 0u);
}

TEST(Daemon, ADeadlineThatFallsDueWhileATurnRunsIsKept) {
  const auto loop = net::NewLoop();
  const std::unique_ptr<Daemon> daemon = StartDaemon(*loop);
  constexpr uint32_t kTimeoutMs = 100;
  net::Recorder client;
  std::unique_ptr<net::Stream> stream;
  net::Connector connector(*loop, *net::ParseAddress(daemon->addresses().front()), [&](auto connected) {
    ASSERT_TRUE(connected.ok()) << connected.status();
    stream = *std::move(connected);
    stream->SetHandler(&client);
    stream->StartReading();
    net::Write(*stream, {"RELAY/1\n", HelloFrame(), JoinFrame(1, Id(1), "c"),
                         StartFrame(flag::kRequest, 1, Id(9), {.timeout_ms = kTimeoutMs})});
  });
  bool was_busy = false;
  client.consume = [&](std::span<uint8_t> bytes) {
    if (!std::exchange(was_busy, true)) {
      // WELCOME, so START has been read. The turn's time is taken before the deadline, and the turn ends behind it.
      loop->Now();
      const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kTimeoutMs + 10);
      while (std::chrono::steady_clock::now() < until) {
      }
    }
    if (net::TextOf(bytes).find("deadline") != std::string_view::npos) loop->Stop();
    return bytes.size();
  };
  EXPECT_TRUE(RunFor(*loop, absl::Minutes(1))) << "the request was never told that its time is over";
  EXPECT_TRUE(was_busy);
}

}  // namespace
}  // namespace relay::server

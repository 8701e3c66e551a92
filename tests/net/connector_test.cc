#include "net/connector.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "net/listener.h"
#include "testing.h"

namespace relay::net {
namespace {

Address Tcp(const std::string& host, uint16_t port) {
  Address address;
  address.host = host;
  address.port = port;
  return address;
}

// A port on which nobody listens: one that was just given up.
uint16_t FreePort(Loop& loop) {
  return (*Listener::Listen(loop, Tcp("127.0.0.1", 0), [](std::unique_ptr<Stream>) {}))->address().port;
}

absl::Status ConnectError(Loop& loop, const Address& address) {
  std::optional<absl::Status> error;
  const Connector connector(loop, address, [&error](Connector::Result result) { error = result.status(); });
  EXPECT_FALSE(error.has_value()) << "called from inside the constructor";
  RunUntil(loop, [&error] { return error.has_value(); });
  return *error;
}

TEST(ConnectorTest, ARefusedConnectionNamesItsAddress) {
  const auto loop = NewLoop();
  const std::string address = "tcp://127.0.0.1:" + std::to_string(FreePort(*loop));
  EXPECT_EQ(ConnectError(*loop, *ParseAddress(address)),
            absl::UnavailableError("connect " + address + ": connection refused"));
}

TEST(ConnectorTest, TriesEveryAddressOfAName) {
  const auto loop = NewLoop();
  std::unique_ptr<Stream> accepted;
  // localhost is ::1 and 127.0.0.1 on most systems, and only the latter is listened on.
  const auto listener = Listener::Listen(*loop, Tcp("127.0.0.1", 0),
                                         [&accepted](std::unique_ptr<Stream> stream) { accepted = std::move(stream); });
  ASSERT_TRUE(listener.ok()) << listener.status();
  Connector::Result result = absl::UnknownError("not called");
  const Connector connector(*loop, Tcp("localhost", (*listener)->address().port),
                            [&result](Connector::Result got) { result = std::move(got); });
  RunUntil(*loop, [&accepted, &result] { return accepted != nullptr && result.ok(); });
}

TEST(ConnectorTest, AUnixPathWithoutAListenerIsUnavailable) {
  const auto loop = NewLoop();
  const absl::Status error = ConnectError(*loop, *ParseAddress("unix:" + testing::TempDir() + "/nobody"));
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable) << error;
}

TEST(ConnectorTest, DestroyingItCancelsInEveryState) {
  const auto loop = NewLoop();
  bool called = false;
  const auto done = [&called](Connector::Result) { called = true; };
  for (const std::string host : {"127.0.0.1", "localhost"}) {
    for (const int turns : {0, 1, 2}) {
      auto connector = std::make_unique<Connector>(*loop, Tcp(host, FreePort(*loop)), done);
      if (turns > 0) RunTurns(*loop, turns);
      connector.reset();
      called = false;
      loop->Run();
      EXPECT_FALSE(called);
    }
  }
}

TEST(ConnectorTest, MayBeDestroyedInsideItsCall) {
  const auto loop = NewLoop();
  for (const std::string host : {"127.0.0.1", "localhost"}) {
    std::unique_ptr<Connector> connector;
    connector = std::make_unique<Connector>(*loop, Tcp(host, FreePort(*loop)),
                                            [&connector](const Connector::Result&) { connector.reset(); });
    RunUntil(*loop, [&connector] { return connector == nullptr; });
  }
}

TEST(ConnectorTest, TheLoopMayGoWhileALookupRuns) {
  const auto loop = NewLoop();
  auto connector = std::make_unique<Connector>(*loop, Tcp("localhost", 1), [](const Connector::Result&) {});
  RunTurns(*loop, 1);
  connector.reset();
}

}  // namespace
}  // namespace relay::net

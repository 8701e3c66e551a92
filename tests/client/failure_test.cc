// What cannot be done, and what is left behind: refusals, closes, lost servers, a thousand connections.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "client/relayd_process.h"
#include "client/support.h"
#include "relay/client.h"
#include "relay/serve.h"

namespace relay::testing {
namespace {

using ::testing::HasSubstr;

size_t EntriesOf(const char* folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

// A thread that was joined may stand there for a moment yet.
bool HasEntries(const char* folder, size_t count) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (EntriesOf(folder) != count && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  return EntriesOf(folder) == count;
}

size_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  size_t pages = 0;
  statm >> pages >> pages;
  return pages * 4096;
}

TEST(Open, NamesTheAddressThatRefused) {
  const Status status = Connection::Open("tcp://127.0.0.1:1").status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "connect tcp://127.0.0.1:1: connection refused");
}

TEST(Open, RefusesAUrlThatIsNone) {
  EXPECT_EQ(Connection::Open("").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Connection::Open("http://127.0.0.1:1").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Connection::Open("tcp://127.0.0.1:1,").status().code(), StatusCode::kInvalidArgument);
}

TEST(Open, TriesEachAddressInTurn) {
  const Relayd relayd;
  const auto connection = MustOpen("tcp://127.0.0.1:1," + relayd.url());
  EXPECT_EQ(connection->url(), relayd.url());
  EXPECT_TRUE(connection->connected());
}

TEST(Open, GivesUpOnAServerThatSaysNothing) {
  const SocketPath path;
  // Bound and listening, and nobody accepts.
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.url().substr(5).copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(socket, 1), 0);
  ConnectionOptions options;
  options.connect_timeout = milliseconds(50);
  const Status status = Connection::Open(path.url(), options).status();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr(path.url()));
  close(socket);
}

class FailureTest : public ::testing::Test {
 protected:
  Relayd relayd_;
  std::shared_ptr<Connection> connection_ = MustOpen(relayd_.url());
};

TEST_F(FailureTest, OperationsBehindCloseAreRefused) {
  Client client(connection_, "closed");
  connection_->Close();
  connection_->Close();
  EXPECT_FALSE(connection_->connected());
  EXPECT_EQ(client.Send("").status(), FailedPreconditionError("the connection was closed"));
  EXPECT_EQ(client.Start().status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(client.Receive().status().code(), StatusCode::kFailedPrecondition);
  Status status;
  client.SendAsync("", {}, [&status](const StatusOr<Reply>& reply) { status = reply.status(); });
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
}

TEST_F(FailureTest, ClosedByManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([this] { connection_->Close(); });
  for (std::thread& thread : threads) thread.join();
}

TEST_F(FailureTest, WhatWasFinishedBeforeCloseStillArrives) {
  // Too little for a WINDOW to come back: one that is unread when Close has waited long enough breaks the connection.
  const std::string body = Body(100'000, 1);
  Client sender(connection_, "flush");
  std::thread receiver([&] {
    const auto own = MustOpen(relayd_.url());
    Client client(own, "flush");
    auto request = client.Receive();
    ASSERT_TRUE(request.ok());
    ASSERT_EQ(request->Reply(body), OkStatus());
    own->Close();
  });
  const auto reply = sender.Send("");
  receiver.join();
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->body == body);
}

TEST_F(FailureTest, CloseTellsTheOtherSides) {
  const auto own = MustOpen(relayd_.url());
  Client asker(own, "told");
  Client worker(connection_, "told");
  auto exchange = asker.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("x"), OkStatus());
  auto request = worker.Receive();
  ASSERT_TRUE(request.ok());
  own->Close();
  EXPECT_EQ(exchange->Write("y").code(), StatusCode::kCancelled);
  EXPECT_TRUE(request->WaitCancelled(milliseconds(30'000)));
  EXPECT_EQ(request->status().code(), StatusCode::kCancelled);
}

TEST_F(FailureTest, ZeroTimeoutSendsNothing) {
  Client client(connection_, "zero");
  SendOptions options;
  options.timeout = milliseconds(0);
  EXPECT_EQ(client.Send("", options).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(client.Start(options).status().code(), StatusCode::kDeadlineExceeded);
  Client receiver(connection_, "zero");
  EXPECT_EQ(receiver.Receive({.wait = milliseconds(0)}).status().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(FailureTest, TimeoutThatPassesInTheQueueNeverRan) {
  Client client(connection_, "nobody");
  SendOptions options;
  options.timeout = milliseconds(30);
  const Status status = client.Send("", options).status();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status;
  EXPECT_FALSE(status.may_have_run());
}

TEST_F(FailureTest, RequiredReceiverIsMissing) {
  Client client(connection_, "nobody");
  SendOptions options;
  options.require_receiver = true;
  const Status status = client.Send("", options).status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(status.end(), "no_receiver");
}

TEST_F(FailureTest, ChannelNameThatIsNoneIsRefused) {
  for (const std::string& name : {std::string(), std::string(256, 'x'), std::string("a\nb"), std::string("\xff")}) {
    Client client(connection_, name);
    EXPECT_EQ(client.Send("").status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(client.Receive().status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(Serve(connection_, name, {}, {}).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST_F(FailureTest, NamesAndTheirUuidAreTheSameChannel) {
  Client by_name(connection_, "jobs");
  Client by_id(connection_, "40FEDD3A-bcc7-59b4-b536-916749d14bb7");
  std::thread receiver([&] {
    auto request = by_id.Receive();
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(request->Reply("met"), OkStatus());
  });
  const auto reply = by_name.Send("");
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->body, "met");
  receiver.join();
}

TEST_F(FailureTest, SecondClientOfTheSameIdIsRefused) {
  Client first(connection_, "twins");
  EXPECT_EQ(first.Receive({.wait = milliseconds(0)}).status().code(), StatusCode::kDeadlineExceeded);
  Client second(connection_, "twins", {.id = first.id()});
  EXPECT_EQ(second.Receive({.wait = milliseconds(0)}).status().code(), StatusCode::kAlreadyExists);
}

TEST_F(FailureTest, SenderReceivesFromItselfOnOneConnection) {
  Client sender(connection_, "self");
  Client receiver(connection_, "self");
  auto exchange = sender.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("to me"), OkStatus());
  ASSERT_EQ(exchange->FinishWriting(), OkStatus());
  auto request = receiver.Receive();
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(*request->ReadAll(), "to me");
  EXPECT_EQ(request->Reply("from me"), OkStatus());
  EXPECT_EQ(*exchange->ReadAll(), "from me");
}

TEST_F(FailureTest, ClientThatWouldHaveToServeItselfWaitsForItsOwnTimeoutOnly) {
  Client client(connection_, "alone");
  auto exchange = client.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->FinishWriting(), OkStatus());
  EXPECT_EQ(client.Receive({.wait = milliseconds(20)}).status().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(FailureTest, LostReceiverEndsTheExchange) {
  Client sender(connection_, "lost");
  auto own = MustOpen(relayd_.url());
  std::thread receiver([&] {
    Client client(own, "lost");
    auto request = client.Receive();
    ASSERT_TRUE(request.ok());
    own->Close();
    EXPECT_EQ(request->status().code(), StatusCode::kCancelled);
  });
  const Status status = sender.Send("").status();
  receiver.join();
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(status.may_have_run()) << status;
}

TEST(Reconnect, WaitingReceiveGoesOnAndRunningExchangesEnd) {
  const SocketPath path;
  auto relayd = std::make_unique<Relayd>(path.url());
  Countdown lost(1);
  Countdown back(1);
  ConnectionOptions options;
  options.reconnect_max = milliseconds(100);
  options.on_change = [&](const Status& status) { (status.ok() ? back : lost).Down(); };
  const auto connection = MustOpen(path.url(), options);
  Client sender(connection, "again");
  Client receiver(connection, "again");
  std::thread waiting([&] {
    auto request = receiver.Receive();
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(request->info().method, "second");
    EXPECT_EQ(request->Reply("back"), OkStatus());
  });
  Client other(connection, "other");
  auto running = other.Start();
  ASSERT_TRUE(running.ok());
  ASSERT_EQ(running->Write("x"), OkStatus());
  // Answered: the server has read what was sent before it.
  EXPECT_EQ(sender.Receive({.wait = milliseconds(0)}).status().code(), StatusCode::kDeadlineExceeded);

  relayd->Kill(SIGKILL);
  ASSERT_TRUE(lost.Wait());
  const Status end = running->ReadAll().status();
  EXPECT_EQ(end.code(), StatusCode::kUnavailable) << end;
  EXPECT_TRUE(end.may_have_run());
  EXPECT_FALSE(connection->connected());

  relayd = std::make_unique<Relayd>(path.url());
  SendOptions second;
  second.method = "second";
  const auto reply = sender.Send("", second);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->body, "back");
  waiting.join();
  EXPECT_TRUE(back.Wait());
}

TEST(Reconnect, SendWaitsForTheConnectionNoLongerThanItMay) {
  const SocketPath path;
  auto relayd = std::make_unique<Relayd>(path.url());
  ConnectionOptions options;
  options.wait_for_connection = milliseconds(100);
  Countdown lost(1);
  options.on_change = [&](const Status&) { lost.Down(); };
  const auto connection = MustOpen(path.url(), options);
  relayd->Kill(SIGKILL);
  ASSERT_TRUE(lost.Wait());
  Client client(connection, "away");
  const Status status = client.Send("").status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status;
  EXPECT_FALSE(status.may_have_run());
  SendOptions short_timeout;
  short_timeout.timeout = milliseconds(10);
  EXPECT_EQ(client.Send("", short_timeout).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(client.Receive({.wait = milliseconds(10)}).status().code(), StatusCode::kDeadlineExceeded);
}

TEST(Reconnect, ServerThatIsStoppedInOrderEndsWhatRuns) {
  Relayd relayd;
  const auto connection = MustOpen(relayd.url());
  Client client(connection, "drain");
  auto exchange = client.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("x"), OkStatus());
  std::thread reader([&] { EXPECT_EQ(exchange->ReadAll().status().code(), StatusCode::kUnavailable); });
  // Only once the server has it can it end it; a receive on another client comes behind it.
  Client behind(connection, "behind");
  EXPECT_FALSE(behind.Receive({.wait = milliseconds(0)}).ok());
  EXPECT_EQ(relayd.Kill(SIGTERM), 0);
  reader.join();
}

TEST(Resources, AThousandConnectionsLeaveNothingBehind) {
  const Relayd relayd;
  const auto other = MustOpen(relayd.url());
  auto pool = Serve(other, "thousand", {}, [](Request& request) { return request.Reply(*request.ReadAll()); });
  ASSERT_TRUE(pool.ok());
  const auto round = [&](int i) {
    const auto connection = MustOpen(relayd.url());
    Client client(connection, "thousand");
    const auto reply = client.Send(Body(static_cast<size_t>(i * 7), 1));
    ASSERT_TRUE(reply.ok()) << reply.status();
    if (i % 2 == 0) connection->Close();
  };
  const std::string server = "/proc/" + std::to_string(relayd.pid());
  const size_t server_descriptors = EntriesOf((server + "/fd").c_str());
  const size_t server_threads = EntriesOf((server + "/task").c_str());
  const size_t threads = EntriesOf("/proc/self/task");
  for (int i = 0; i < 100; ++i) round(i);
  const size_t descriptors = EntriesOf("/proc/self/fd");
  const size_t resident_bytes = ResidentBytes();
  for (int i = 0; i < 1000 / kSlowness; ++i) round(i);
  EXPECT_TRUE(HasEntries("/proc/self/task", threads));
  EXPECT_TRUE(HasEntries("/proc/self/fd", descriptors));
  EXPECT_TRUE(HasEntries((server + "/fd").c_str(), server_descriptors));
  EXPECT_TRUE(HasEntries((server + "/task").c_str(), server_threads));
  if (kMemoryTells) {
    EXPECT_LT(ResidentBytes(), resident_bytes + (size_t{2} << 20));
  }
}

}  // namespace
}  // namespace relay::testing

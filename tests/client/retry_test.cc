// Servers that die, stop or lose their peers in the middle of a request, as processes: what is idempotent arrives all
// the same, and what is not says truly whether it may have run.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/half_dead_proxy.h"
#include "client/relayd_process.h"
#include "client/support.h"
#include "relay/client.h"
#include "relay/serve.h"

namespace relay::testing {
namespace {

constexpr size_t kKeptBytes = 256 * 1024;

ConnectionOptions Quick() {
  ConnectionOptions options;
  options.reconnect_max = milliseconds(100);
  options.wait_for_connection = milliseconds(30'000);
  return options;
}

SendOptions Idempotent() {
  SendOptions options;
  options.idempotent = true;
  options.timeout = milliseconds(60'000);
  return options;
}

class RetryTest : public ::testing::Test {
 protected:
  // The next request of the channel: it must come.
  static std::optional<Request> MustReceive(Client& client) {
    auto request = client.Receive({.wait = milliseconds(30'000)});
    EXPECT_TRUE(request.ok()) << request.status();
    if (!request.ok()) return std::nullopt;
    return *std::move(request);
  }

  SocketPath path_;
  std::optional<Relayd> relayd_{path_.url()};
  std::shared_ptr<Connection> sending_ = MustOpen(path_.url(), Quick());
  std::shared_ptr<Connection> receiving_ = MustOpen(path_.url(), Quick());

  void Restart() {
    relayd_->Kill(SIGKILL);
    relayd_.emplace(path_.url());
  }
};

TEST_F(RetryTest, ServerThatIsKilledMidRequestCostsAnIdempotentSendNothing) {
  Client safe(sending_, "safe");
  Client plain(sending_, "plain");
  Client safe_worker(receiving_, "safe");
  Client plain_worker(receiving_, "plain");
  const std::string body = Body(300'000, 1);
  StatusOr<Reply> reply = UnknownError("");
  std::thread safe_sender([&] { reply = safe.Send(body, Idempotent()); });
  Status end;
  std::thread plain_sender([&] { end = plain.Send(body).status(); });
  auto first = MustReceive(safe_worker);
  auto other = MustReceive(plain_worker);
  ASSERT_TRUE(first.has_value() && other.has_value());
  Restart();

  plain_sender.join();
  EXPECT_EQ(end.code(), StatusCode::kUnavailable) << end;
  EXPECT_EQ(end.end(), "connection_lost");
  EXPECT_TRUE(end.may_have_run());

  EXPECT_TRUE(first->WaitCancelled(milliseconds(30'000)));
  auto second = MustReceive(safe_worker);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->info().id, first->info().id);
  const auto received = second->ReadAll();
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_TRUE(*received == body);
  EXPECT_EQ(second->Reply("done"), OkStatus());
  safe_sender.join();
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->body, "done");
  EXPECT_EQ(reply->head.attempt, 1u);
}

TEST_F(RetryTest, StreamIsSentAgainAsLongAsAllOfItIsKept) {
  for (const size_t bytes : {kKeptBytes, kKeptBytes + 1}) {
    const std::string channel = "stream " + std::to_string(bytes);
    Client sender(sending_, channel);
    Client worker(receiving_, channel);
    const std::string body = Body(bytes, 2);
    auto exchange = sender.Start(Idempotent());
    ASSERT_TRUE(exchange.ok()) << exchange.status();
    ASSERT_EQ(exchange->Write(body.substr(0, 1000)), OkStatus());
    auto first = MustReceive(worker);
    ASSERT_TRUE(first.has_value());
    std::array<char, 1000> begin;
    for (size_t read = 0; read < begin.size();) {
      const auto part = first->Read(std::span(begin).subspan(read));
      ASSERT_TRUE(part.ok());
      read += *part;
    }
    ASSERT_EQ(exchange->Write(body.substr(1000)), OkStatus());
    Restart();
    if (bytes > kKeptBytes) {
      const Status end = exchange->ReadAll().status();
      EXPECT_EQ(end.code(), StatusCode::kUnavailable) << end;
      EXPECT_TRUE(end.may_have_run());
      continue;
    }
    EXPECT_TRUE(first->WaitCancelled(milliseconds(30'000)));
    auto second = MustReceive(worker);
    ASSERT_TRUE(second.has_value());
    ASSERT_EQ(exchange->FinishWriting(), OkStatus());
    const auto received = second->ReadAll();
    ASSERT_TRUE(received.ok()) << received.status();
    EXPECT_TRUE(*received == body);
    EXPECT_EQ(second->Reply("done"), OkStatus());
    EXPECT_EQ(*exchange->ReadAll(), "done");
  }
}

TEST_F(RetryTest, ResponseThatHasBegunIsNotBegunAgain) {
  Client sender(sending_, "begun");
  Client worker(receiving_, "begun");
  auto exchange = sender.Start(Idempotent());
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("x"), OkStatus());
  auto request = MustReceive(worker);
  ASSERT_TRUE(request.has_value());
  ASSERT_EQ(request->Write("half"), OkStatus());
  ASSERT_TRUE(exchange->ReadHead().ok());
  Restart();
  const Status end = exchange->ReadAll().status();
  EXPECT_EQ(end.code(), StatusCode::kUnavailable) << end;
  EXPECT_TRUE(end.may_have_run());
  EXPECT_EQ(worker.Receive({.wait = milliseconds(0)}).status().code(), StatusCode::kDeadlineExceeded);
}

// The server has not noticed that its client is gone, so that the request is live there when it comes again.
TEST_F(RetryTest, WhoComesBackBeforeTheServerHasNoticedTakesItsOwnPlaceOver) {
  const Relayd relayd;
  HalfDeadProxy proxy(relayd.url());
  const auto sending = MustOpen(proxy.url(), Quick());
  const auto receiving = MustOpen(relayd.url());
  Client sender(sending, "half dead");
  Client worker(receiving, "half dead");
  StatusOr<Reply> reply = UnknownError("");
  std::thread thread([&] { reply = sender.Send("body", Idempotent()); });
  auto first = MustReceive(worker);
  ASSERT_TRUE(first.has_value());
  proxy.CutClients();
  // The old exchange ends first, since its sender took itself over.
  EXPECT_TRUE(first->WaitCancelled(milliseconds(10'000)));
  EXPECT_EQ(first->status().code(), StatusCode::kCancelled);
  auto second = MustReceive(worker);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->info().id, first->info().id);
  EXPECT_EQ(second->Reply("done"), OkStatus());
  thread.join();
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->body, "done");
}

class TwoServersTest : public ::testing::Test {
 protected:
  SocketPath first_path_;
  SocketPath second_path_;
  std::string urls_ = first_path_.url() + "," + second_path_.url();
};

TEST_F(TwoServersTest, WaitingReceiversAndQueuedSendsMoveWhenOneDrains) {
  Relayd first(first_path_.url());
  const auto sending = MustOpen(urls_, Quick());
  const auto receiving = MustOpen(urls_, Quick());
  ASSERT_EQ(receiving->url(), first_path_.url());
  const Relayd second(second_path_.url());
  std::atomic<int> served = 0;
  auto pool = Serve(receiving, "moved", {.concurrency = 2}, [&](Request& request) {
    ++served;
    return request.Reply(*request.ReadAll());
  });
  ASSERT_TRUE(pool.ok());
  Client warm(sending, "moved");
  ASSERT_TRUE(warm.Send("x", Idempotent()).ok());
  // Nobody takes this one, so that it stands in the queue.
  Client queued(sending, "queued");
  StatusOr<Reply> reply = UnknownError("");
  std::thread thread([&] { reply = queued.Send("waits", Idempotent()); });
  // Answered: the server has read what was sent before it.
  EXPECT_FALSE(warm.Receive({.wait = milliseconds(0)}).ok());
  EXPECT_EQ(first.Kill(SIGTERM), 0);

  const auto there = MustOpen(second_path_.url());
  Client worker(there, "queued");
  auto request = worker.Receive({.wait = milliseconds(30'000)});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->Reply("there"), OkStatus());
  thread.join();
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->body, "there");
  // The pool waits there too, and its two clients serve somebody who was never at the first server.
  Client stranger(there, "moved");
  for (int i = 0; i < 4; ++i) {
    const auto answer = stranger.Send("y", Idempotent());
    ASSERT_TRUE(answer.ok()) << answer.status();
  }
  EXPECT_EQ(served, 5);
  EXPECT_EQ(sending->url(), second_path_.url());
  EXPECT_EQ(receiving->url(), second_path_.url());
}

TEST_F(TwoServersTest, WhatTheDrainCutShortIsSentToTheNext) {
  Relayd first(first_path_.url(), {"--drain-timeout", "100ms"});
  const auto sending = MustOpen(urls_, Quick());
  const auto receiving = MustOpen(urls_, Quick());
  const Relayd second(second_path_.url());
  Client safe(sending, "cut");
  Client plain(sending, "cut");
  Client worker(receiving, "cut");
  Client other_worker(receiving, "cut");
  StatusOr<Reply> reply = UnknownError("");
  std::thread safe_sender([&] { reply = safe.Send("safe", Idempotent()); });
  auto first_request = worker.Receive();
  ASSERT_TRUE(first_request.ok());
  Status end;
  std::thread plain_sender([&] { end = plain.Send("plain").status(); });
  auto plain_request = other_worker.Receive();
  ASSERT_TRUE(plain_request.ok());
  EXPECT_EQ(first.Kill(SIGTERM), 0);
  plain_sender.join();
  EXPECT_EQ(end.code(), StatusCode::kUnavailable) << end;
  EXPECT_EQ(end.end(), "stopping");
  EXPECT_TRUE(end.may_have_run());
  auto second_request = worker.Receive({.wait = milliseconds(30'000)});
  ASSERT_TRUE(second_request.ok()) << second_request.status();
  EXPECT_EQ(*second_request->ReadAll(), "safe");
  EXPECT_EQ(second_request->Reply("done"), OkStatus());
  safe_sender.join();
  ASSERT_TRUE(reply.ok()) << reply.status();
}

TEST_F(TwoServersTest, OneExchangeThatRunsOnHoldsNobodyElseAtAServerThatDrains) {
  Relayd first(first_path_.url(), {"--drain-timeout", "10m"});
  Countdown moved(2);
  ConnectionOptions options = Quick();
  options.on_change = [&moved](const Status& status) {
    if (status.ok()) moved.Down();
  };
  const auto sending = MustOpen(urls_, options);
  const auto receiving = MustOpen(urls_, options);
  const Relayd second(second_path_.url());
  Client patient(sending, "long");
  auto exchange = patient.Start();
  ASSERT_TRUE(exchange.ok());
  ASSERT_EQ(exchange->Write("asks"), OkStatus());
  Client worker(receiving, "long");
  auto request = worker.Receive();
  ASSERT_TRUE(request.ok()) << request.status();
  auto pool = Serve(receiving, "short", {}, [](Request& served) { return served.Reply(*served.ReadAll()); });
  ASSERT_TRUE(pool.ok());

  kill(first.pid(), SIGTERM);
  ASSERT_TRUE(moved.Wait());
  EXPECT_EQ(sending->url(), second_path_.url());
  const auto reply = Client(sending, "short").Send("x", Idempotent());
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->body, "x");

  // Whose connection has said GOAWAY goes on in both directions.
  ASSERT_EQ(exchange->Write(" more"), OkStatus());
  ASSERT_EQ(exchange->FinishWriting(), OkStatus());
  const auto asked = request->ReadAll();
  ASSERT_TRUE(asked.ok()) << asked.status();
  EXPECT_EQ(*asked, "asks more");
  EXPECT_EQ(request->Reply("done"), OkStatus());
  const auto answer = exchange->ReadAll();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, "done");
  EXPECT_EQ(first.Wait(), 0);
}

TEST_F(TwoServersTest, WaitingReceiversMoveWhenOneIsKilled) {
  Relayd first(first_path_.url());
  const auto receiving = MustOpen(urls_, Quick());
  const Relayd second(second_path_.url());
  Client worker(receiving, "killed");
  std::thread thread([&] {
    auto request = worker.Receive({.wait = milliseconds(60'000)});
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(request->Reply("moved"), OkStatus());
  });
  first.Kill(SIGKILL);
  const auto there = MustOpen(second_path_.url());
  const auto reply = Client(there, "killed").Send("x", Idempotent());
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->body, "moved");
  thread.join();
}

}  // namespace
}  // namespace relay::testing

// One operation at a time: the line before a busy client, and waits that run out as something comes.

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/relayd_process.h"
#include "client/support.h"
#include "relay/client.h"
#include "relay/serve.h"

namespace relay::testing {
namespace {

using ::testing::HasSubstr;

class BusyTest : public ::testing::Test {
 protected:
  Relayd relayd_;
  std::shared_ptr<Connection> connection_ = MustOpen(relayd_.url());
};

TEST_F(BusyTest, SecondOperationWaitsNoLongerThanItsOwnTimeoutAndIsToldForWhom) {
  Client client(connection_, "busy");
  auto exchange = client.Start();
  ASSERT_TRUE(exchange.ok());
  SendOptions send;
  send.timeout = milliseconds(20);
  const Status send_status = client.Send("", send).status();
  EXPECT_EQ(send_status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(send_status.message(), HasSubstr("client " + client.id().ToString() + " is busy with Start since"));
  EXPECT_FALSE(send_status.may_have_run());
  EXPECT_EQ(client.Receive({.wait = milliseconds(20)}).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(client.Receive({.wait = milliseconds(0)}).status().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(BusyTest, FailsAtOnceWhereAskedTo) {
  Client client(connection_, "busy");
  auto exchange = client.Start();
  ASSERT_TRUE(exchange.ok());
  SendOptions send;
  send.if_busy = IfBusy::kFail;
  const Status status = client.Send("", send).status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("is busy with Start since"));
  EXPECT_EQ(client.Start(send).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(client.Receive({.if_busy = IfBusy::kFail}).status().code(), StatusCode::kFailedPrecondition);
  exchange->Cancel();
  // Free again; by its own timeout alone does this one end.
  send.timeout = milliseconds(20);
  send.if_busy = IfBusy::kWait;
  EXPECT_EQ(client.Send("", send).status().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(BusyTest, OperationsTakeTurnsInTheOrderOfTheirCalls) {
  Client client(connection_, "turns");
  auto pool = Serve(connection_, "turns", {}, [](Request& request) { return request.Reply(*request.ReadAll()); });
  ASSERT_TRUE(pool.ok());
  std::mutex mutex;
  std::string order;
  Countdown done(20);
  for (int i = 0; i < 20; ++i) {
    client.SendAsync(std::string(1, static_cast<char>('a' + i)), {}, [&](const StatusOr<Reply>& reply) {
      std::lock_guard lock(mutex);
      order += reply->body;
      done.Down();
    });
  }
  ASSERT_TRUE(done.Wait());
  EXPECT_EQ(order, "abcdefghijklmnopqrst");
}

TEST_F(BusyTest, CloseFreesWhoeverWaits) {
  Client client(connection_, "close");
  Countdown begun(1);
  std::thread holder([&] {
    auto exchange = client.Start();
    ASSERT_TRUE(exchange.ok());
    begun.Down();
    EXPECT_EQ(exchange->ReadAll().status().code(), StatusCode::kCancelled);
  });
  ASSERT_TRUE(begun.Wait());
  std::thread waiter([&] { EXPECT_FALSE(client.Receive().ok()); });
  Client idle(connection_, "close too");
  std::thread receiver([&] { EXPECT_FALSE(idle.Receive().ok()); });
  connection_->Close();
  holder.join();
  waiter.join();
  receiver.join();
}

TEST_F(BusyTest, WaitOfZeroOfSomeMillisecondsAndWithoutEnd) {
  Client receiver(connection_, "waits");
  Client sender(connection_, "waits");
  EXPECT_EQ(receiver.Receive({.wait = milliseconds(0)}).status().code(), StatusCode::kDeadlineExceeded);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(receiver.Receive({.wait = milliseconds(50)}).status().message(), "nothing came within 50 ms");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(50));
  for (const auto wait :
       {std::optional<milliseconds>(0), std::optional<milliseconds>(30'000), std::optional<milliseconds>()}) {
    Countdown replied(1);
    sender.SendAsync("x", {}, [&](const StatusOr<Reply>& reply) {
      EXPECT_TRUE(reply.ok());
      replied.Down();
    });
    auto request = receiver.Receive({.wait = wait});
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(request->Finish(), OkStatus());
    EXPECT_TRUE(replied.Wait());
  }
}

TEST_F(BusyTest, RequestThatComesAsTheWaitRunsOutIsNeitherLostNorDoubled) {
  constexpr int kWaitsThatRanOut = 10'000 / kSlowness;
  constexpr int kPairs = 4;
  std::mutex mutex;
  std::map<std::string, int> seen;
  std::atomic<int> nothing_came = 0;
  std::atomic<bool> is_over = false;
  std::vector<std::thread> receivers;
  for (int r = 0; r < kPairs; ++r) {
    receivers.emplace_back([&, r] {
      Client client(connection_, "race");
      for (int round = r; !is_over; ++round) {
        auto request = client.Receive({.wait = milliseconds(round % 3)});
        if (!request.ok()) {
          ASSERT_EQ(request.status().code(), StatusCode::kDeadlineExceeded) << request.status();
          ++nothing_came;
          continue;
        }
        const auto body = request->ReadAll();
        ASSERT_TRUE(body.ok());
        {
          std::lock_guard lock(mutex);
          ++seen[*body];
        }
        ASSERT_EQ(request->Reply(*body), OkStatus());
      }
    });
  }
  std::atomic<size_t> sent = 0;
  std::vector<std::thread> senders;
  for (int s = 0; s < kPairs; ++s) {
    senders.emplace_back([&, s] {
      const auto connection = MustOpen(relayd_.url());
      Client client(connection, "race");
      for (int i = 0; nothing_came < kWaitsThatRanOut; ++i) {
        const std::string body = std::to_string(s) + "." + std::to_string(i);
        const auto reply = client.Send(body);
        ASSERT_TRUE(reply.ok()) << reply.status();
        ASSERT_EQ(reply->body, body);
        ++sent;
      }
    });
  }
  for (std::thread& sender : senders) sender.join();
  is_over = true;
  for (std::thread& receiver : receivers) receiver.join();
  EXPECT_EQ(seen.size(), sent);
  EXPECT_GT(sent, 0u);
  for (const auto& [body, count] : seen) EXPECT_EQ(count, 1) << body;
}

TEST_F(BusyTest, TwoThreadsSendAndReceiveOnOneClient) {
  // The server refuses a second operation of a busy slot with FAILED_PRECONDITION, which none of them may see.
  constexpr int kOperations = 10'000 / kSlowness;
  // Whatever the one client asks, and whoever asks it, there is somebody else.
  auto pool = Serve(connection_, "both", {}, [](Request& request) { return request.Reply(*request.ReadAll()); });
  ASSERT_TRUE(pool.ok());
  Client client(connection_, "both");
  std::atomic<bool> is_over = false;
  std::thread other([&] {
    Client asker(connection_, "both");
    while (!is_over) {
      const auto reply = asker.Send("?");
      ASSERT_TRUE(reply.ok()) << reply.status();
    }
  });
  std::atomic<int> received = 0;
  std::thread receiver([&] {
    for (int i = 0; i < kOperations; ++i) {
      auto request = client.Receive({.wait = milliseconds(i % 2)});
      if (!request.ok()) {
        ASSERT_EQ(request.status().code(), StatusCode::kDeadlineExceeded) << request.status();
        continue;
      }
      ++received;
      ASSERT_EQ(*request->ReadAll(), "?");
      ASSERT_EQ(request->Reply("!"), OkStatus());
    }
  });
  for (int i = 0; i < kOperations; ++i) {
    const std::string body = std::to_string(i);
    const auto reply = client.Send(body);
    ASSERT_TRUE(reply.ok()) << reply.status();
    ASSERT_EQ(reply->body, body);
  }
  receiver.join();
  is_over = true;
  other.join();
  EXPECT_GT(received, 0);
}

}  // namespace
}  // namespace relay::testing

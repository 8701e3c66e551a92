// Pools of receivers: they stop without losing anything, and end when they are told.

#include "relay/serve.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/relayd_process.h"
#include "client/support.h"

namespace relay::testing {
namespace {

Status Echo(Request& request) {
  auto body = request.ReadAll();
  return body.ok() ? request.Reply(*body) : body.status();
}

class ServeTest : public ::testing::Test {
 protected:
  // A handler that says when it has begun, and answers when it is told that the test is over.
  Handler Holding(std::string answer, milliseconds at_least = milliseconds(0)) {
    return [this, answer = std::move(answer), at_least](Request& request) {
      request.WaitCancelled(at_least);
      begun_.Down();
      while (!is_over_) request.WaitCancelled(milliseconds(1));
      return request.Reply(answer);
    };
  }

  Relayd relayd_;
  std::shared_ptr<Connection> connection_ = MustOpen(relayd_.url());
  Client sender_{connection_, "serve"};
  Countdown begun_{1};
  std::atomic<bool> is_over_ = false;
};

TEST_F(ServeTest, HandlersStatusIsTheResponses) {
  auto pool = Serve(connection_, "serve", {}, [](Request& request) -> Status {
    if (request.info().method == "write") return request.Write("written");
    if (request.info().method == "finish") return request.Finish(NotFoundError("said so"));
    if (request.info().method == "reset") request.Reset(DataLossError("reset"));
    return PermissionDeniedError("no");
  });
  ASSERT_TRUE(pool.ok());
  SendOptions options;
  EXPECT_EQ(sender_.Send("", options).status(), Ran(PermissionDeniedError("no")));
  options.method = "write";
  EXPECT_EQ(sender_.Send("", options)->body, "written");
  options.method = "finish";
  EXPECT_EQ(sender_.Send("", options).status(), Ran(NotFoundError("said so")));
  options.method = "reset";
  EXPECT_EQ(sender_.Send("", options).status().message(), "reset");
  options.method = "write";
  EXPECT_EQ(sender_.Send("", options)->body, "written") << "and the pool goes on";
}

TEST_F(ServeTest, EveryRequestMayHaveAHeadAsLargeAsTheServerTakes) {
  const Metadata large = {{"large", std::string(6000, 'x')}};
  auto pool = Serve(connection_, "serve", {}, [&](Request& request) {
    const Status status = request.SetHead("", "", large);
    return status.ok() ? request.Reply("") : status;
  });
  ASSERT_TRUE(pool.ok());
  for (int i = 0; i < 3; ++i) {
    const auto reply = sender_.Send("");
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->head.metadata, large);
  }
}

TEST_F(ServeTest, ConcurrencyIsThatOfTheHandler) {
  std::atomic<int> at_once = 0;
  std::atomic<int> most = 0;
  Countdown meeting(3);
  auto pool = Serve(connection_, "serve", {.concurrency = 3}, [&](Request& request) {
    const int now = ++at_once;
    int seen = most;
    while (now > seen && !most.compare_exchange_weak(seen, now)) {
    }
    // The first three are there at once, however slowly they come; later ones pass.
    meeting.Down();
    EXPECT_TRUE(meeting.Wait());
    request.WaitCancelled(milliseconds(5));
    --at_once;
    return OkStatus();
  });
  ASSERT_TRUE(pool.ok());
  std::vector<std::thread> senders;
  for (int s = 0; s < 6; ++s) {
    senders.emplace_back([this] {
      Client client(connection_, "serve");
      for (int i = 0; i < 10; ++i) ASSERT_TRUE(client.Send("").ok());
    });
  }
  for (std::thread& sender : senders) sender.join();
  EXPECT_EQ(most, 3);
}

TEST_F(ServeTest, EndsBehindItsRequestsOrItsWait) {
  auto counted = Serve(connection_, "serve", {.concurrency = 4, .max_requests = 10}, Echo);
  ASSERT_TRUE(counted.ok());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(sender_.Send("x").ok());
  EXPECT_EQ((*counted)->Wait(), OkStatus());
  SendOptions options;
  options.timeout = milliseconds(20);
  EXPECT_EQ(sender_.Send("x", options).status().code(), StatusCode::kDeadlineExceeded) << "nobody is left";

  // In the queue before the first wait begins, so that none runs out before they are answered.
  Countdown answered(5);
  std::vector<Client> senders;
  for (int i = 0; i < 5; ++i) {
    senders.emplace_back(connection_, "serve").SendAsync("x", {}, [&answered](const StatusOr<Reply>& reply) {
      EXPECT_TRUE(reply.ok()) << reply.status();
      answered.Down();
    });
  }
  auto waiting = Serve(connection_, "serve", {.concurrency = 2, .wait = milliseconds(50)}, Echo);
  ASSERT_TRUE(waiting.ok());
  ASSERT_TRUE(answered.Wait());
  EXPECT_EQ((*waiting)->Wait().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(ServeTest, StopLetsTheRunningRequestFinish) {
  auto pool = Serve(connection_, "serve", {}, Holding(Body(1 << 20, 1)));
  ASSERT_TRUE(pool.ok());
  std::thread sender([this] {
    const auto reply = sender_.Send("");
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_TRUE(reply->body == Body(1 << 20, 1));
  });
  ASSERT_TRUE(begun_.Wait());
  (*pool)->BeginStop();
  is_over_ = true;
  (*pool)->Stop();
  EXPECT_EQ((*pool)->Wait(), OkStatus());
  sender.join();
}

TEST_F(ServeTest, InsideACallbackNothingWaitsForThePool) {
  auto pool = Serve(connection_, "serve", {}, Holding("done"));
  ASSERT_TRUE(pool.ok());
  std::thread sender([this] { EXPECT_EQ(sender_.Send("")->body, "done"); });
  ASSERT_TRUE(begun_.Wait());
  Countdown called(1);
  Client(connection_, "other").ReceiveAsync({.wait = milliseconds(0)}, [&](const StatusOr<AsyncRequest>&) {
    EXPECT_EQ((*pool)->Wait().code(), StatusCode::kFailedPrecondition);
    (*pool)->Stop();
    pool->reset();
    is_over_ = true;
    called.Down();
  });
  EXPECT_TRUE(called.Wait());
  sender.join();
}

TEST_F(ServeTest, StopBehindAWaitThatRanOutIsAStop) {
  // The other worker leaves before this one has begun.
  auto pool =
      Serve(connection_, "serve", {.concurrency = 2, .wait = milliseconds(20)}, Holding("done", milliseconds(200)));
  ASSERT_TRUE(pool.ok());
  std::thread sender([this] { EXPECT_EQ(sender_.Send("")->body, "done"); });
  ASSERT_TRUE(begun_.Wait());
  (*pool)->BeginStop();
  is_over_ = true;
  EXPECT_EQ((*pool)->Wait(), OkStatus());
  sender.join();
}

TEST_F(ServeTest, ClosedConnectionEndsThePool) {
  const auto own = MustOpen(relayd_.url());
  auto pool = Serve(own, "serve", {.concurrency = 3}, Echo);
  ASSERT_TRUE(pool.ok());
  own->Close();
  EXPECT_FALSE((*pool)->Wait().ok());
}

TEST_F(ServeTest, PoolsThatComeAndGoLoseAndDoubleNothing) {
  constexpr int kRequests = 3000 / kSlowness;
  // Each stop may give a request back, which counts as an attempt and as a reset.
  const Relayd relayd("tcp://127.0.0.1:0", {"--max-attempts", "10000", "--resets-per-second", "0"});
  const auto connection = MustOpen(relayd.url());
  for (const bool is_idempotent : {true, false}) {
    std::mutex mutex;
    std::map<std::string, int> seen;
    const auto handler = [&](Request& request) {
      auto body = request.ReadAll();
      if (!body.ok()) return body.status();
      {
        std::lock_guard lock(mutex);
        ++seen[*body];
      }
      return request.Reply(*body);
    };
    std::atomic<bool> is_over = false;
    std::thread pools([&] {
      while (!is_over) {
        auto pool = Serve(connection, "serve", {.concurrency = 2}, handler);
        ASSERT_TRUE(pool.ok());
        // As soon as one request was worked on, it may stop while the next is on its way.
        size_t before = 0;
        {
          std::lock_guard lock(mutex);
          before = seen.size();
        }
        while (!is_over) {
          std::lock_guard lock(mutex);
          if (seen.size() > before) break;
        }
        (*pool)->Stop();
      }
    });
    SendOptions options;
    options.idempotent = is_idempotent;
    std::vector<std::thread> senders;
    for (int s = 0; s < 3; ++s) {
      senders.emplace_back([&, s] {
        Client client(connection, "serve");
        for (int i = 0; i < kRequests / 3; ++i) {
          const std::string body = std::to_string(s) + "." + std::to_string(i);
          const auto reply = client.Send(body, options);
          ASSERT_TRUE(reply.ok()) << reply.status();
          ASSERT_EQ(reply->body, body);
        }
      });
    }
    for (std::thread& sender : senders) sender.join();
    is_over = true;
    pools.join();
    EXPECT_EQ(seen.size(), static_cast<size_t>(kRequests / 3 * 3));
    for (const auto& [body, count] : seen) EXPECT_EQ(count, 1) << body;
  }
}

}  // namespace
}  // namespace relay::testing

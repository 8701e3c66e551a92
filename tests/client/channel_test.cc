// Many senders and receivers on one channel: who gets what, and in which order.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "client/relayd_process.h"
#include "client/support.h"
#include "relay/client.h"
#include "relay/serve.h"

namespace relay::testing {
namespace {

struct Crowd {
  int senders;
  int receivers;
  int requests;  // of each sender
  bool shared_connection;
};

class CrowdTest : public ::testing::TestWithParam<Crowd> {};

TEST_P(CrowdTest, EveryRequestReachesOneReceiverAndEveryResponseItsSender) {
  const Crowd& crowd = GetParam();
  const Relayd relayd;
  const auto shared = MustOpen(relayd.url());
  const auto connect = [&] { return crowd.shared_connection ? shared : MustOpen(relayd.url()); };

  std::mutex mutex;
  std::map<Uuid, int> seen;
  std::vector<std::unique_ptr<Server>> receivers;
  std::vector<std::atomic<int>> worked(static_cast<size_t>(crowd.receivers));
  for (size_t i = 0; i < worked.size(); ++i) {
    auto pool = Serve(connect(), "crowd", {}, [&, i](Request& request) {
      {
        std::lock_guard lock(mutex);
        ++seen[request.info().id];
      }
      ++worked[i];
      auto body = request.ReadAll();
      if (!body.ok()) return body.status();
      return request.Reply(Transformed(*std::move(body)));
    });
    ASSERT_TRUE(pool.ok()) << pool.status();
    receivers.push_back(*std::move(pool));
  }

  std::vector<std::thread> senders;
  for (int s = 0; s < crowd.senders; ++s) {
    senders.emplace_back([&, s, connection = connect()] {
      Client client(connection, "crowd");
      std::minstd_rand random(static_cast<uint32_t>(s + 1));
      for (int r = 0; r < crowd.requests; ++r) {
        const auto bytes = std::uniform_int_distribution<size_t>(0, 300'000)(random);
        const std::string body = Body(bytes, static_cast<uint32_t>(s * 1000 + r));
        const auto reply = client.Send(body);
        ASSERT_TRUE(reply.ok()) << reply.status();
        ASSERT_TRUE(reply->body == Transformed(body));
      }
    });
  }
  for (std::thread& sender : senders) sender.join();
  for (const auto& receiver : receivers) receiver->Stop();

  EXPECT_EQ(seen.size(), static_cast<size_t>(crowd.senders * crowd.requests));
  for (const auto& [id, count] : seen) EXPECT_EQ(count, 1) << id.ToString();
  for (const auto& count : worked) EXPECT_GT(count, 0);
}

INSTANTIATE_TEST_SUITE_P(Of, CrowdTest,
                         ::testing::Values(Crowd{3, 2, 50, true}, Crowd{3, 2, 50, false},
                                           Crowd{64, 16, 200 / kSlowness, true},
                                           Crowd{64, 16, 200 / kSlowness, false}));

class LineTest : public ::testing::Test {
 protected:
  Relayd relayd_;
  std::shared_ptr<Connection> connection_ = MustOpen(relayd_.url());
};

TEST_F(LineTest, RequestsAreHandedOutInTheOrderTheyArrived) {
  constexpr int kRequests = 100;
  Countdown replies(kRequests);
  std::vector<Client> senders;
  for (int i = 0; i < kRequests; ++i) {
    senders.emplace_back(connection_, "fifo");
    senders.back().SendAsync(std::to_string(i), {}, [&](const StatusOr<Reply>& reply) {
      EXPECT_TRUE(reply.ok()) << reply.status();
      replies.Down();
    });
  }
  Client receiver(connection_, "fifo");
  for (int i = 0; i < kRequests; ++i) {
    auto request = receiver.Receive();
    ASSERT_TRUE(request.ok());
    EXPECT_EQ(*request->ReadAll(), std::to_string(i));
    ASSERT_EQ(request->Finish(), OkStatus());
  }
  EXPECT_TRUE(replies.Wait());
}

TEST_F(LineTest, ReceiverThatHasWaitedLongestIsNext) {
  constexpr int kReceivers = 5;
  constexpr int kRounds = 4;
  // On one connection the order of the calls is the order of the line.
  std::vector<Client> receivers;
  for (int i = 0; i < kReceivers; ++i) receivers.emplace_back(connection_, "line");
  Client sender(connection_, "line");
  for (int round = 0; round < kRounds; ++round) {
    Countdown replies(kReceivers);
    for (Client& receiver : receivers) {
      receiver.ReceiveAsync({}, [](StatusOr<AsyncRequest> request) {
        ASSERT_TRUE(request.ok());
        request->Reply(OkStatus(), "");
      });
    }
    for (int i = 0; i < kReceivers; ++i) {
      const auto reply = sender.Send("");
      ASSERT_TRUE(reply.ok());
      EXPECT_EQ(reply->head.receiver, receivers[static_cast<size_t>(i)].id());
    }
  }
}

TEST_F(LineTest, SlowReceiverHoldsUpItsOwnRequestAndNoOther) {
  constexpr int kOthers = 399;
  Countdown others(kOthers);
  std::atomic<int> slow = 0;
  auto slow_pool = Serve(connection_, "share", {}, [&](Request&) {
    ++slow;
    EXPECT_TRUE(others.Wait());
    return OkStatus();
  });
  ASSERT_TRUE(slow_pool.ok());
  // The first request finds nobody but the slow one; the others come while it works.
  Countdown slow_replied(1);
  Client first(connection_, "share");
  first.SendAsync("", {}, [&](const StatusOr<Reply>& reply) {
    EXPECT_TRUE(reply.ok()) << reply.status();
    slow_replied.Down();
  });
  while (slow == 0) std::this_thread::yield();
  auto fast_pool = Serve(connection_, "share", {.concurrency = 3}, [&](Request&) { return OkStatus(); });
  ASSERT_TRUE(fast_pool.ok());
  Client client(connection_, "share");
  for (int i = 0; i < kOthers; ++i) {
    ASSERT_TRUE(client.Send("").ok());
    others.Down();
  }
  EXPECT_TRUE(slow_replied.Wait());
  EXPECT_EQ(slow, 1);
}

}  // namespace
}  // namespace relay::testing

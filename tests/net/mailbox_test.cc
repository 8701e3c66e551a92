#include "net/mailbox.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "testing.h"

namespace relay::net {
namespace {

TEST(MailboxTest, DeliversInOneBatchWhatWasPostedBefore) {
  const auto loop = NewLoop();
  std::vector<std::vector<int>> batches;
  Mailbox<int> mailbox(*loop, [&batches](std::vector<int>& items) { batches.push_back(items); });
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(mailbox.Post(i));
  RunUntil(*loop, [&batches] { return !batches.empty(); });
  EXPECT_EQ(batches, (std::vector<std::vector<int>>{{0, 1, 2}}));
}

TEST(MailboxTest, WakesForWhatIsPostedWhileDelivering) {
  const auto loop = NewLoop();
  std::vector<int> seen;
  std::unique_ptr<Mailbox<int>> mailbox;
  mailbox = std::make_unique<Mailbox<int>>(*loop, [&](std::vector<int>& items) {
    for (const int item : items) {
      seen.push_back(item);
      if (item < 5) {
        EXPECT_TRUE(mailbox->Post(item + 1));
      }
    }
  });
  ASSERT_TRUE(mailbox->Post(0));
  RunUntil(*loop, [&seen] { return seen.size() == 6; });
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST(MailboxTest, FourThreadsLoseNothingAndKeepTheirOrder) {
  constexpr int kThreads = 4;
  constexpr int kItems = 20'000;
  const auto loop = NewLoop();
  std::vector<int> next(kThreads, 0);
  int total = 0;
  bool ordered = true;
  Mailbox<std::pair<int, int>> mailbox(*loop, [&](std::vector<std::pair<int, int>>& items) {
    for (const auto& [thread, number] : items) {
      ordered = ordered && next[static_cast<size_t>(thread)]++ == number;
      ++total;
    }
  });
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&mailbox, thread] {
      for (int i = 0; i < kItems; ++i) EXPECT_TRUE(mailbox.Post({thread, i}));
    });
  }
  RunUntil(*loop, [&total] { return total == kThreads * kItems; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(total, kThreads * kItems);
  EXPECT_TRUE(ordered);
}

TEST(MailboxTest, PostsThatCrossTheCloseAreRefusedEvenWhenTheLoopIsGone) {
  auto loop = NewLoop();
  int delivered = 0;
  Mailbox<int> mailbox(*loop, [&](std::vector<int>& items) {
    delivered += static_cast<int>(items.size());
    if (delivered > 100) {
      mailbox.Close();
      loop->Stop();
    }
  });
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&mailbox] {
      while (mailbox.Post(1)) {
      }
    });
  }
  loop->Run();
  loop.reset();
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(delivered, 100);
  EXPECT_FALSE(mailbox.Post(1));
}

TEST(MailboxTest, CarriesWhatCanOnlyBeMoved) {
  const auto loop = NewLoop();
  std::vector<std::unique_ptr<int>> taken;
  Mailbox<std::unique_ptr<int>> mailbox(*loop, [&taken](auto& items) { taken.swap(items); });
  EXPECT_TRUE(mailbox.Post(std::make_unique<int>(7)));
  RunUntil(*loop, [&taken] { return !taken.empty(); });
  EXPECT_EQ(*taken[0], 7);
}

}  // namespace
}  // namespace relay::net

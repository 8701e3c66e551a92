#include "registry/channel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "proto/endian.h"

namespace relay::registry {
namespace {

proto::Uuid Id(uint64_t number) {
  proto::Uuid id = {};
  proto::StoreBig<uint64_t>(id.data, number);
  id.data[15] = 1;
  return id;
}

class ChannelTest : public testing::Test {
 protected:
  ChannelTest() : channel_(Id(0)) {}
  ~ChannelTest() override {
    for (auto& exchange : exchanges_) {
      if (exchange->sender != nullptr) channel_.End(*exchange);
    }
    for (auto& client : clients_) {
      if (client->line_hook.is_linked()) channel_.StopWaiting(*client);
    }
  }

  Client& AddClient() {
    clients_.push_back(std::make_unique<Client>());
    clients_.back()->id = Id(clients_.size());
    channel_.AddClient(*clients_.back());
    return *clients_.back();
  }
  Client& AddWaiting() {
    Client& client = AddClient();
    channel_.NoteReceiver(client);
    channel_.Wait(client);
    return client;
  }
  // A live exchange of a new sender, not queued.
  Exchange& Begin(size_t queued_bytes = 0) {
    exchanges_.push_back(std::make_unique<Exchange>(Id(1001 + exchanges_.size())));
    Exchange& exchange = *exchanges_.back();
    exchange.queued_bytes = queued_bytes;
    channel_.Begin(exchange, AddClient());
    return exchange;
  }
  Exchange& Queue(size_t queued_bytes = 0) {
    Exchange& exchange = Begin(queued_bytes);
    channel_.Enqueue(exchange);
    return exchange;
  }
  void ExpectSound() { EXPECT_EQ(channel_.Check(), ""); }

  Channel channel_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Exchange>> exchanges_;
};

TEST_F(ChannelTest, FindsClientsAndExchangesUntilTheyAreGone) {
  EXPECT_TRUE(channel_.is_unused());
  Client& client = AddClient();
  EXPECT_FALSE(channel_.is_unused());
  EXPECT_EQ(channel_.FindClient(client.id), &client);
  EXPECT_EQ(channel_.FindClient(Id(99)), nullptr);
  Exchange& exchange = Queue();
  EXPECT_EQ(channel_.FindExchange(exchange.id), &exchange);
  EXPECT_EQ(channel_.exchange_count(), 1u);
  Client& sender = *exchange.sender;
  channel_.End(exchange);
  EXPECT_EQ(channel_.FindExchange(exchange.id), nullptr);
  EXPECT_EQ(sender.operation, Operation::kIdle);
  EXPECT_EQ(sender.exchange, nullptr);
  channel_.RemoveClient(sender);
  channel_.RemoveClient(client);
  EXPECT_TRUE(channel_.is_unused());
  ExpectSound();
}

TEST_F(ChannelTest, QueueIsFirstInFirstOut) {
  std::vector<Exchange*> queued;
  for (int i = 0; i < 5; ++i) queued.push_back(&Queue());
  EXPECT_EQ(channel_.youngest(), queued.back());
  for (Exchange* const expected : queued) {
    ASSERT_EQ(channel_.oldest(), expected);
    channel_.Assign(*expected, AddClient());
    EXPECT_EQ(expected->attempt, 1);
    EXPECT_FALSE(expected->is_queued());
    ExpectSound();
  }
  EXPECT_EQ(channel_.oldest(), nullptr);
  EXPECT_EQ(channel_.youngest(), nullptr);
}

TEST_F(ChannelTest, LineIsLongestWaitFirst) {
  std::vector<Client*> waiting;
  for (int i = 0; i < 5; ++i) waiting.push_back(&AddWaiting());
  for (Client* const expected : waiting) {
    ASSERT_EQ(channel_.first_in_line(), expected);
    Exchange& exchange = Begin();
    channel_.Assign(exchange, *expected);
    EXPECT_EQ(expected->operation, Operation::kReceiving);
    EXPECT_EQ(expected->exchange, &exchange);
    EXPECT_EQ(exchange.receiver, expected);
    ExpectSound();
  }
  EXPECT_EQ(channel_.first_in_line(), nullptr);
}

TEST_F(ChannelTest, WhoIsPassedOverWaitsOutsideTheLine) {
  Client& a = AddWaiting();
  Client& b = AddWaiting();
  channel_.PassOver(a);
  ExpectSound();
  EXPECT_EQ(channel_.first_in_line(), &b);
  channel_.PassOver(b);
  EXPECT_EQ(channel_.line_count(), 0u);
  channel_.Enqueue(Begin());  // nobody stands in the line
  ExpectSound();
  channel_.Assign(*channel_.oldest(), b);
  EXPECT_EQ(b.operation, Operation::kReceiving);
  EXPECT_FALSE(b.is_passed_over);
  Client& c = AddWaiting();
  channel_.LineUp(a);
  ExpectSound();
  for (Client* const expected : {&c, &a}) {
    ASSERT_EQ(channel_.first_in_line(), expected);
    channel_.StopWaiting(*expected);
  }
  channel_.PassOver(c);  // one that is idle
  EXPECT_EQ(c.operation, Operation::kWaiting);
  channel_.StopWaiting(c);
  EXPECT_EQ(c.operation, Operation::kIdle);
  EXPECT_FALSE(c.is_passed_over);
  ExpectSound();
}

TEST_F(ChannelTest, WhoeverStopsWaitingLosesThePlaceAndNobodyElseDoes) {
  Client& a = AddWaiting();
  Client& b = AddWaiting();
  Client& c = AddWaiting();
  channel_.StopWaiting(b);
  EXPECT_EQ(channel_.line_count(), 2u);
  channel_.Wait(b);
  ExpectSound();
  for (Client* const expected : {&a, &c, &b}) {
    ASSERT_EQ(channel_.first_in_line(), expected);
    channel_.StopWaiting(*expected);
    ExpectSound();
  }
}

TEST_F(ChannelTest, AnExchangeInTheMiddleOfTheQueueEndsAlone) {
  Exchange& a = Queue(10);
  Exchange& b = Queue(200);
  Exchange& c = Queue(3000);
  EXPECT_EQ(channel_.queue_bytes(), 3210u);
  channel_.End(b);
  EXPECT_EQ(channel_.queue_bytes(), 3010u);
  EXPECT_EQ(channel_.queue_count(), 2u);
  ExpectSound();
  EXPECT_EQ(channel_.oldest(), &a);
  EXPECT_EQ(channel_.youngest(), &c);
}

TEST_F(ChannelTest, RequeuePutsTheExchangeAtTheHead) {
  Exchange& first = Begin(100);
  Client& receiver = AddClient();
  channel_.Assign(first, receiver);
  Exchange& second = Queue(20);
  EXPECT_EQ(channel_.queue_bytes(), 20u);
  channel_.Requeue(first);
  EXPECT_EQ(channel_.oldest(), &first);
  EXPECT_EQ(channel_.youngest(), &second);
  EXPECT_EQ(channel_.queue_bytes(), 120u);
  EXPECT_EQ(receiver.operation, Operation::kIdle);
  EXPECT_EQ(receiver.exchange, nullptr);
  EXPECT_EQ(first.receiver, nullptr);
  ExpectSound();
  channel_.Assign(first, receiver);
  EXPECT_EQ(first.attempt, 2);
  ExpectSound();
}

TEST_F(ChannelTest, RequeuedOnesKeepTheOrderInWhichTheyArrived) {
  Exchange& a = Begin();
  Exchange& b = Begin();
  Exchange& c = Begin();
  for (Exchange* const exchange : {&a, &b, &c}) channel_.Assign(*exchange, AddClient());
  Exchange& d = Queue();
  for (Exchange* const exchange : {&b, &a, &c}) channel_.Requeue(*exchange);
  ExpectSound();
  for (Exchange* const expected : {&a, &b, &c, &d}) {
    ASSERT_EQ(channel_.oldest(), expected);
    channel_.End(*expected);
  }
}

TEST_F(ChannelTest, CountsBytesOfQueuedExchangesAlone) {
  Exchange& queued = Queue(1);
  Exchange& assigned = Begin();
  // Where a receiver waits the queue is empty, so this one was handed out before `queued` came.
  channel_.Assign(assigned, AddClient());
  channel_.AddQueuedBytes(queued, 10);
  channel_.AddQueuedBytes(assigned, 500);
  EXPECT_EQ(channel_.queue_bytes(), 11u);
  EXPECT_EQ(assigned.queued_bytes, 500u);
  ExpectSound();
  channel_.End(assigned);
  EXPECT_EQ(channel_.queue_bytes(), 11u);
  ExpectSound();
}

TEST_F(ChannelTest, CountsEachReceiverOnceAndUntilItLeaves) {
  Client& client = AddClient();
  AddClient();
  EXPECT_EQ(channel_.receiver_count(), 0u);
  channel_.NoteReceiver(client);
  channel_.NoteReceiver(client);
  EXPECT_EQ(channel_.receiver_count(), 1u);
  channel_.Wait(client);
  channel_.StopWaiting(client);
  EXPECT_EQ(channel_.receiver_count(), 1u);
  channel_.RemoveClient(client);
  EXPECT_EQ(channel_.receiver_count(), 0u);
  ExpectSound();
}

// Removing from the middle of a line or queue of 200,000 in random order. A scan would take 10^10 steps.
TEST_F(ChannelTest, RemovalFromTheMiddleTakesTheSameTimeHoweverManyWait) {
  constexpr size_t kMany = 200000;
  std::vector<Client*> waiting;
  for (size_t i = 0; i < kMany; ++i) waiting.push_back(&AddWaiting());
  std::mt19937 random(1);
  std::shuffle(waiting.begin(), waiting.end(), random);
  const auto begin = std::chrono::steady_clock::now();
  for (Client* const client : waiting) channel_.StopWaiting(*client);
  std::vector<Exchange*> queued;
  for (size_t i = 0; i < kMany; ++i) {
    exchanges_.push_back(std::make_unique<Exchange>(Id(kMany * 2 + i)));
    Exchange& exchange = *exchanges_.back();
    channel_.Begin(exchange, *waiting[i]);
    channel_.Enqueue(exchange);
    queued.push_back(&exchange);
  }
  std::shuffle(queued.begin(), queued.end(), random);
  for (Exchange* const exchange : queued) channel_.End(*exchange);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  EXPECT_EQ(channel_.line_count() + channel_.queue_count() + channel_.exchange_count(), 0u);
  ExpectSound();
}

// Against a model made of two deques, over random orders of events.
TEST_F(ChannelTest, AgreesWithAModelOverRandomOrders) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Channel channel(Id(0));
    std::deque<Client> clients(12);
    std::deque<Exchange> exchanges;
    std::vector<Exchange*> assigned;
    std::deque<Exchange*> queue;
    std::deque<Client*> line;
    for (size_t i = 0; i < clients.size(); ++i) {
      clients[i].id = Id(i + 1);
      channel.AddClient(clients[i]);
    }
    for (int step = 0; step < 2000; ++step) {
      Client& client = clients[random() % clients.size()];
      const bool is_idle = client.operation == Operation::kIdle;
      switch (random() % 6) {
        case 0:  // RECEIVE
          if (!is_idle) break;
          channel.NoteReceiver(client);
          if (!queue.empty()) {
            ASSERT_EQ(channel.oldest(), queue.front());
            channel.Assign(*queue.front(), client);
            assigned.push_back(queue.front());
            queue.pop_front();
          } else {
            channel.Wait(client);
            line.push_back(&client);
          }
          break;
        case 1:
        case 2: {  // START
          if (!is_idle) break;
          Exchange& exchange = exchanges.emplace_back(Id(10001 + exchanges.size()));
          exchange.queued_bytes = random() % 100;
          channel.Begin(exchange, client);
          if (!line.empty()) {
            ASSERT_EQ(channel.first_in_line(), line.front());
            channel.Assign(exchange, *line.front());
            line.pop_front();
            assigned.push_back(&exchange);
          } else {
            channel.Enqueue(exchange);
            queue.push_back(&exchange);
          }
          break;
        }
        case 3:  // the receiver is lost
          if (client.operation != Operation::kReceiving) break;
          std::erase(assigned, client.exchange);
          queue.push_front(client.exchange);
          std::sort(queue.begin(), queue.end(), [](const Exchange* a, const Exchange* b) { return a->id < b->id; });
          channel.Requeue(*client.exchange);
          if (!line.empty()) {
            channel.Assign(*queue.front(), *line.front());
            assigned.push_back(queue.front());
            queue.pop_front();
            line.pop_front();
          }
          break;
        case 4:  // an end, of whatever there is
          if (client.exchange == nullptr) break;
          std::erase(assigned, client.exchange);
          std::erase(queue, client.exchange);
          channel.End(*client.exchange);
          break;
        case 5:  // withdrawn
          if (client.operation != Operation::kWaiting) break;
          std::erase(line, &client);
          channel.StopWaiting(client);
          break;
      }
      ASSERT_EQ(channel.Check(), "");
      ASSERT_TRUE(channel.queue_count() == 0 || channel.line_count() == 0);
      ASSERT_EQ(channel.queue_count(), queue.size());
      ASSERT_EQ(channel.line_count(), line.size());
      ASSERT_EQ(channel.oldest(), queue.empty() ? nullptr : queue.front());
      ASSERT_EQ(channel.youngest(), queue.empty() ? nullptr : queue.back());
      ASSERT_EQ(channel.first_in_line(), line.empty() ? nullptr : line.front());
      ASSERT_EQ(channel.exchange_count(), queue.size() + assigned.size());
    }
    for (Exchange& exchange : exchanges) {
      if (exchange.sender != nullptr) channel.End(exchange);
    }
    for (Client& client : clients) {
      if (client.operation == Operation::kWaiting) channel.StopWaiting(client);
      channel.RemoveClient(client);
    }
    EXPECT_TRUE(channel.is_unused());
    EXPECT_EQ(channel.queue_bytes(), 0u);
    EXPECT_EQ(channel.receiver_count(), 0u);
  }
}

// ---- Check() finds what is planted --------------------------------------------------------------------------------

TEST_F(ChannelTest, CheckFindsAMiscountOfBytes) {
  Exchange& exchange = Queue(5);
  exchange.queued_bytes = 6;
  EXPECT_NE(channel_.Check(), "");
  exchange.queued_bytes = 5;
  ExpectSound();
}

TEST_F(ChannelTest, CheckFindsARecordUnderAWrongId) {
  Client& client = AddClient();
  const proto::Uuid id = client.id;
  client.id = Id(77);
  EXPECT_NE(channel_.Check(), "");
  client.id = id;
  ExpectSound();
}

TEST_F(ChannelTest, CheckFindsARecordOfAnotherChannel) {
  Client& client = AddClient();
  client.channel = nullptr;
  EXPECT_NE(channel_.Check(), "");
  client.channel = &channel_;
  Exchange& exchange = Queue();
  exchange.channel = nullptr;
  EXPECT_NE(channel_.Check(), "");
  exchange.channel = &channel_;
  ExpectSound();
}

TEST_F(ChannelTest, CheckFindsAClientThatWaitsOutsideTheLine) {
  Client& client = AddClient();
  client.operation = Operation::kWaiting;
  EXPECT_NE(channel_.Check(), "");
  client.operation = Operation::kIdle;
  Client& waiting = AddWaiting();
  waiting.operation = Operation::kIdle;
  EXPECT_NE(channel_.Check(), "");
  waiting.operation = Operation::kWaiting;
  ExpectSound();
}

TEST_F(ChannelTest, CheckFindsAMiscountOfReceivers) {
  Client& client = AddClient();
  client.has_received = true;
  EXPECT_NE(channel_.Check(), "");
  client.has_received = false;
  ExpectSound();
}

TEST_F(ChannelTest, CheckFindsAnOperationWithoutItsExchange) {
  Exchange& exchange = Queue();
  Client& sender = *exchange.sender;
  sender.exchange = nullptr;
  EXPECT_NE(channel_.Check(), "");
  sender.exchange = &exchange;
  sender.operation = Operation::kIdle;
  EXPECT_NE(channel_.Check(), "");
  sender.operation = Operation::kSending;
  Exchange dead(Id(12345));
  sender.exchange = &dead;
  EXPECT_NE(channel_.Check(), "");
  sender.exchange = &exchange;
  ExpectSound();
}

TEST_F(ChannelTest, CheckFindsAnExchangeThatIsNeitherQueuedNorAssigned) {
  Exchange& exchange = Begin();
  EXPECT_NE(channel_.Check(), "");
  channel_.Enqueue(exchange);
  ExpectSound();
}

TEST_F(ChannelTest, CheckFindsAReceiverThatDoesSomethingElse) {
  Exchange& exchange = Begin();
  Client& receiver = AddClient();
  channel_.Assign(exchange, receiver);
  ExpectSound();
  exchange.receiver = exchange.sender;
  EXPECT_NE(channel_.Check(), "");
  exchange.receiver = &receiver;
  receiver.exchange = nullptr;
  EXPECT_NE(channel_.Check(), "");
  receiver.exchange = &exchange;
  ExpectSound();
}

#ifndef NDEBUG
using ChannelDeathTest = ChannelTest;

TEST_F(ChannelDeathTest, NobodyWaitsWhileARequestIsQueued) {
  Queue();
  Client& client = AddClient();
  EXPECT_DEATH(channel_.Wait(client), "");
}

TEST_F(ChannelDeathTest, NoRequestIsQueuedWhileAReceiverWaits) {
  AddWaiting();
  Exchange& exchange = Begin();
  EXPECT_DEATH(channel_.Enqueue(exchange), "");
  channel_.End(exchange);
}
#endif

}  // namespace
}  // namespace relay::registry

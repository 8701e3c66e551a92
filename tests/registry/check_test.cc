// Channel::Check() and Registry::Check() find what they are there to find. The simulation believes them, so each record
// is broken here in every way that its fields allow, and mended again.

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "proto/endian.h"
#include "registry/channel.h"
#include "registry/registry.h"

namespace relay::registry {
namespace {

proto::Uuid Id(uint64_t number) {
  proto::Uuid id = {};
  proto::StoreBig<uint64_t>(id.data, number);
  return id;
}

// A channel with all that there can be: an assigned exchange, two queued ones, a client that does nothing.
class CheckTest : public testing::Test {
 protected:
  CheckTest() {
    uint64_t number = 1;
    for (Client* const client : {&receiver_, &sender_, &second_, &third_, &idle_}) {
      client->id = Id(number++);
      channel_.AddClient(*client);
    }
    channel_.NoteReceiver(receiver_);
    channel_.Wait(receiver_);
    for (Exchange* const exchange : {&assigned_, &queued_, &youngest_}) exchange->queued_bytes = 7;
    channel_.Begin(assigned_, sender_);
    channel_.Assign(assigned_, receiver_);
    channel_.Begin(queued_, second_);
    channel_.Enqueue(queued_);
    channel_.Begin(youngest_, third_);
    channel_.Enqueue(youngest_);
  }
  ~CheckTest() override {
    EXPECT_EQ(channel_.Check(), "") << "mended";
    for (Exchange* const exchange : {&assigned_, &queued_, &youngest_}) channel_.End(*exchange);
    for (Client* const client : {&receiver_, &sender_, &second_, &third_, &idle_}) channel_.RemoveClient(*client);
    EXPECT_TRUE(channel_.is_unused());
  }

  // What Check says while `field` holds `wrong`.
  template <typename T>
  std::string CheckWith(T& field, T wrong) {
    std::swap(field, wrong);
    std::string found = channel_.Check();
    std::swap(field, wrong);
    return found;
  }

  Channel channel_{Id(0)};
  Channel other_{Id(9)};
  Client receiver_, sender_, second_, third_, idle_;
  Exchange assigned_{Id(101)}, queued_{Id(102)}, youngest_{Id(103)};
};

TEST_F(CheckTest, AClientUnderAnotherIdOrChannel) {
  EXPECT_EQ(channel_.Check(), "");
  EXPECT_EQ(CheckWith(idle_.id, Id(77)), "a client is indexed under another id or channel");
  EXPECT_EQ(CheckWith<Channel*>(idle_.channel, &other_), "a client is indexed under another id or channel");
}

TEST_F(CheckTest, AClientWhoseOperationIsNotWhatItDoes) {
  EXPECT_EQ(CheckWith(idle_.operation, Operation::kWaiting), "a client waits outside the line, or stands in it idle");
  EXPECT_EQ(CheckWith(idle_.is_passed_over, true), "a client was passed over and does not wait");
  EXPECT_EQ(CheckWith(idle_.operation, Operation::kSending), "a client's operation and exchange disagree");
  EXPECT_EQ(CheckWith(sender_.operation, Operation::kIdle), "a client's operation and exchange disagree");
  EXPECT_EQ(CheckWith<Exchange*>(receiver_.exchange, nullptr), "a client's operation and exchange disagree");
  EXPECT_EQ(CheckWith(second_.operation, Operation::kReceiving), "an exchange without its sender");
  EXPECT_EQ(CheckWith(receiver_.operation, Operation::kSending),
            "an assigned exchange whose receiver does something else");
}

TEST_F(CheckTest, AClientThatIsBusyWithSomethingElse) {
  Exchange dead(Id(999));
  EXPECT_EQ(CheckWith<Exchange*>(sender_.exchange, &dead), "a client is busy with a dead exchange");
  EXPECT_EQ(CheckWith<Exchange*>(second_.exchange, &youngest_), "an exchange without its sender");
  EXPECT_EQ(CheckWith<Exchange*>(receiver_.exchange, &queued_),
            "an assigned exchange whose receiver does something else");
}

TEST_F(CheckTest, AReceiverThatWasNotCounted) {
  EXPECT_EQ(CheckWith(idle_.has_received, true), "1 receivers counted, 2 are there");
  EXPECT_EQ(CheckWith(receiver_.has_received, false), "1 receivers counted, 0 are there");
}

TEST_F(CheckTest, AnExchangeOfAnotherChannel) {
  EXPECT_EQ(CheckWith<Channel*>(queued_.channel, &other_), "an exchange is indexed under another channel");
}

TEST_F(CheckTest, AnExchangeWithoutItsClients) {
  EXPECT_EQ(CheckWith<Client*>(queued_.sender, nullptr), "an exchange without its sender");
  EXPECT_EQ(CheckWith<Client*>(queued_.sender, &idle_), "an exchange without its sender");
  EXPECT_EQ(CheckWith<Client*>(queued_.receiver, &idle_), "an exchange is both queued and assigned, or neither");
  EXPECT_EQ(CheckWith<Client*>(assigned_.receiver, nullptr), "an exchange is both queued and assigned, or neither");
  EXPECT_EQ(CheckWith<Client*>(assigned_.receiver, &idle_), "an assigned exchange whose receiver does something else");
}

TEST_F(CheckTest, AQueueOutOfOrderOrMiscounted) {
  EXPECT_EQ(CheckWith(queued_.arrival, youngest_.arrival + 1), "the queue is out of order");
  EXPECT_EQ(CheckWith<size_t>(queued_.queued_bytes, 8), "14 queued bytes counted, 15 are there");
}

TEST(RegistryCheck, FindsWhatIsWrongInAChannelAndAChannelThatNobodyUses) {
  Registry registry;
  Client client;
  client.id = Id(1);
  Channel& channel = registry.Open(Id(5));
  EXPECT_EQ(registry.Check(), "a channel without clients was kept");
  channel.AddClient(client);
  EXPECT_EQ(registry.Check(), "");
  client.operation = Operation::kSending;
  EXPECT_EQ(registry.Check(), channel.Check());
  EXPECT_NE(registry.Check(), "");
  client.operation = Operation::kIdle;
  registry.Remove(client);
  EXPECT_EQ(registry.Check(), "");
}

}  // namespace
}  // namespace relay::registry

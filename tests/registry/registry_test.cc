#include "registry/registry.h"

#include <gtest/gtest.h>

namespace relay::registry {
namespace {

proto::Uuid Id(uint8_t number) {
  proto::Uuid id = {};
  id.data[15] = number;
  return id;
}

TEST(Registry, AChannelLivesFromItsFirstClientToItsLast) {
  Registry registry;
  EXPECT_EQ(registry.Find(Id(1)), nullptr);
  Client a;
  a.id = Id(10);
  Client b;
  b.id = Id(11);
  registry.Open(Id(1)).AddClient(a);
  registry.Open(Id(1)).AddClient(b);
  EXPECT_EQ(registry.channel_count(), 1u);
  ASSERT_NE(registry.Find(Id(1)), nullptr);
  EXPECT_EQ(registry.Find(Id(1))->id(), Id(1));
  registry.Remove(a);
  EXPECT_EQ(a.channel, nullptr);
  EXPECT_EQ(registry.channel_count(), 1u);
  EXPECT_EQ(registry.Check(), "");
  registry.Remove(b);
  EXPECT_EQ(registry.channel_count(), 0u);
  EXPECT_EQ(registry.Find(Id(1)), nullptr);
}

TEST(Registry, ChannelsKnowNothingOfEachOther) {
  Registry registry;
  Client a;
  a.id = Id(10);
  Client b;
  b.id = Id(10);  // the same client id on another channel is another client
  registry.Open(Id(1)).AddClient(a);
  registry.Open(Id(2)).AddClient(b);
  EXPECT_EQ(registry.channel_count(), 2u);
  EXPECT_EQ(registry.Find(Id(1))->FindClient(Id(10)), &a);
  EXPECT_EQ(registry.Find(Id(2))->FindClient(Id(10)), &b);
  registry.Remove(a);
  EXPECT_EQ(registry.Find(Id(2))->FindClient(Id(10)), &b);
  EXPECT_EQ(registry.Check(), "");
  registry.Remove(b);
}

TEST(Registry, CheckFindsAChannelWithoutClients) {
  Registry registry;
  registry.Open(Id(1));
  EXPECT_NE(registry.Check(), "");
}

TEST(Registry, CheckLooksIntoEveryChannel) {
  Registry registry;
  Client a;
  a.id = Id(10);
  Client b;
  b.id = Id(11);
  registry.Open(Id(1)).AddClient(a);
  registry.Open(Id(2)).AddClient(b);
  b.has_received = true;
  EXPECT_NE(registry.Check(), "");
  b.has_received = false;
  EXPECT_EQ(registry.Check(), "");
  registry.Remove(a);
  registry.Remove(b);
}

}  // namespace
}  // namespace relay::registry

// Every allocation that the core makes for a frame fails once. A program of its own, since it replaces operator new.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>

#include "driver.h"
#include "server/memory_reserve.h"

namespace {

int64_t allocations_left = -1;  // until one fails; below zero: none does

}  // namespace

[[gnu::noinline]] void* operator new(size_t bytes) {
  while (true) {
    const bool fails = allocations_left >= 0 && allocations_left-- == 0;
    if (void* const memory = fails ? nullptr : std::malloc(bytes); memory != nullptr) return memory;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t /*bytes*/) noexcept { std::free(memory); }

namespace relay::server {
namespace {

using proto::FrameType;
namespace flag = proto::flag;

// A pair whose receiver waits, and an onlooker.
struct World {
  Driver driver;
  MemoryReserve reserve;
  Peer& sender = driver.Joined("jobs", 2);
  Peer& receiver = driver.Joined("jobs", 2);
  Peer& onlooker = driver.Joined("jobs", 2);
};

// Does `step` to a fresh world as often as it allocates, and each time another one of its allocations fails. The
// connection that `who` names is the one for which the step is done.
void FailEach(const std::function<void(World&)>& before, const std::function<void(World&)>& step,
              Peer& (*who)(World&)) {
  int64_t failed = 0;
  while (true) {
    World world;
    before(world);
    allocations_left = failed;
    step(world);
    allocations_left = -1;
    if (!world.reserve.Failed()) break;
    ++failed;
    SCOPED_TRACE(failed);
    Peer& lost = who(world);
    world.driver.relay().OnMemoryShort(lost.connection(), world.driver.now());
    world.driver.InOneTurn([] {});
    lost.ExpectRefused(End::kMemory);
    EXPECT_EQ(world.driver.count(End::kMemory), 1u);
    world.driver.ExpectNothingLeft();
  }
  EXPECT_GT(failed, 0);
}

TEST(Memory, ARequestThatIsHandedOnMayFailAnywhere) {
  FailEach([](World& world) { world.receiver.Send(ReceiveFrame(1)); },
           [](World& world) {
             world.sender.Send(StartFrame(flag::kRequest, 1, Id(7), {.flags = flag::kIdempotent, .body = "body"}) +
                               ChunkFrame(flag::kRequest, 1, Id(7), std::string(1000, 'x')));
           },
           [](World& world) -> Peer& { return world.sender; });
}

TEST(Memory, ARequestThatIsQueuedMayFailAnywhere) {
  FailEach([](World&) {},
           [](World& world) {
             world.sender.Send(StartFrame(flag::kRequest, 1, Id(7)) +
                               ChunkFrame(flag::kRequest, 1, Id(7), std::string(100000, 'x')));
           },
           [](World& world) -> Peer& { return world.sender; });
}

TEST(Memory, AResponseMayFailAnywhere) {
  FailEach(
      [](World& world) {
        world.receiver.Send(ReceiveFrame(1));
        world.sender.Send(StartFrame(flag::kRequest, 1, Id(7)));
      },
      [](World& world) { world.receiver.Send(ResetFrame(1, Id(7), absl::StatusCode::kInternal)); },
      [](World& world) -> Peer& { return world.receiver; });
}

TEST(Memory, AJoinMayFailAnywhere) {
  FailEach([](World&) {}, [](World& world) { world.sender.Send(JoinFrame(9, Id(9), "another", "key")); },
           [](World& world) -> Peer& { return world.sender; });
}

TEST(Memory, NothingBeginsUntilTheReserveIsBack) {
  World world;
  world.receiver.Send(ReceiveFrame(1));
  world.sender.Send(StartFrame(flag::kRequest, 1, Id(7)));
  world.receiver.Take();
  world.driver.relay().OnMemoryShort(world.onlooker.connection(), world.driver.now());
  world.driver.InOneTurn([] {});
  world.onlooker.ExpectRefused(End::kMemory);
  world.sender.Send(StartFrame(flag::kRequest, 2, Id(8)));
  EXPECT_EQ(world.sender.TakeOne().end(), "memory");
  world.sender.Send(JoinFrame(9, Id(9), "jobs"));
  EXPECT_EQ(world.sender.TakeOne().end(), "memory");
  Peer& late = world.driver.Connect();
  late.ExpectRefused(End::kMemory);
  // What runs goes on.
  world.receiver.Send(StartFrame(flag::kResponse, 1, Id(7), {.flags = flag::kFin}));
  EXPECT_EQ(world.sender.TakeOne().type, FrameType::kStart);
  EXPECT_TRUE(world.reserve.Refill());
  world.driver.relay().OnMemoryBack();
  world.sender.Send(StartFrame(flag::kRequest, 2, Id(8)) + JoinFrame(9, Id(9), "jobs"));
  EXPECT_TRUE(world.sender.is_quiet());
  world.driver.Open();
  world.driver.ExpectNothingLeft();
}

TEST(MemoryDeathTest, WithTheReserveSpentTheProcessEndsWithAWord) {
  EXPECT_DEATH(
      {
        MemoryReserve reserve;
        for (int i = 0; i < 100; ++i) {
          allocations_left = 0;
          ::operator delete(::operator new(8));
        }
      },
      "out of memory, and the reserve is spent");
}

}  // namespace
}  // namespace relay::server

// Memory set aside for the moment in which an allocation fails, so that a connection is lost by it and not the process.

#ifndef RELAY_SERVER_MEMORY_RESERVE_H_
#define RELAY_SERVER_MEMORY_RESERVE_H_

#include <array>
#include <cstddef>
#include <cstdlib>
#include <memory>

namespace relay::server {

// While it lives, an `operator new` that would fail is given a part of the reserve and tries again; when that too is
// gone, the process ends with a word on stderr. Code that allocates thus never sees a failure; whoever drives it asks
// Failed() afterwards and lets go of what it was doing. Each is for one thread, and each thread that goes on when an
// allocation fails has one. Thread-compatible.
class MemoryReserve {
 public:
  // Each part is a few times what the largest step of the core takes: a hash table that grows.
  static constexpr size_t kPartBytes = size_t{4} << 20;

  // For the thread that makes it.
  MemoryReserve();
  ~MemoryReserve();
  MemoryReserve(const MemoryReserve&) = delete;
  MemoryReserve& operator=(const MemoryReserve&) = delete;

  // For the calling thread from now on, and for no other.
  void Guard();
  // Whether an allocation has failed since the last call.
  bool Failed();
  // Takes back what was given away. True if all of it is there.
  bool Refill();

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  static void OnFailure();

  std::array<std::unique_ptr<void, Free>, 4> parts_;
  bool has_failed_ = false;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_MEMORY_RESERVE_H_

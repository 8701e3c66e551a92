#include "load.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <utility>

#include "relay/client.h"

namespace relay::chaos {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Quick to come back, so that the time between two faults is spent on work.
ConnectionOptions QuickToReconnect() {
  ConnectionOptions options;
  options.agent = "chaos";
  options.reconnect_min = milliseconds(5);
  options.reconnect_max = milliseconds(50);
  options.connect_timeout = milliseconds(3'000);
  options.wait_for_connection = milliseconds(3'000);
  return options;
}

}  // namespace

std::string Bytes(uint64_t seed, size_t size) {
  std::string bytes(size, '\0');
  std::minstd_rand fast(static_cast<uint32_t>(seed ^ (seed >> 32)) | 1U);
  for (size_t i = 0; i < size; i += 4) {
    const auto word = static_cast<uint32_t>(fast());
    std::memcpy(bytes.data() + i, &word, std::min<size_t>(4, size - i));
  }
  // The whole of the seed, so that two bodies differ even where the generator's seeds do not.
  std::memcpy(bytes.data(), &seed, std::min<size_t>(8, size));
  return bytes;
}

size_t DrawSize(Random& random) {
  const uint64_t percent = random.Between(1, 100);
  if (percent <= 5) return 0;
  if (percent <= 75) return random.Between(8, 1000);
  if (percent <= 96) return random.Between(1000, 60'000);
  return random.Between(60'000, 700'000);  // past a window
}

Load::Load(const LoadOptions& options, const std::string& file, std::atomic<uint32_t>& numbers)
    : options_(options), numbers_(numbers), recorder_(file, options.actor) {
  for (size_t i = 0; i < options_.connections; ++i) {
    const uint64_t seed = options_.seed * 1000 + uint64_t{options_.actor} * 100 + i;
    threads_.emplace_back([this, seed] { RunConnection(seed); });
  }
}

void Load::Stop() {
  is_stopping_ = true;
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Load::RunConnection(uint64_t seed) {
  Random random(seed);
  while (!is_stopping_) {
    auto connection = Connection::Open(options_.url, QuickToReconnect());
    if (!connection.ok()) {
      std::this_thread::sleep_for(milliseconds(random.Between(1, 10)));
      continue;
    }
    RunSession(*connection, random);
  }
}

void Load::RunSession(const std::shared_ptr<Connection>& connection, Random& random) {
  const auto end = steady_clock::now() + milliseconds(random.Between(100, 4'000));
  // A receiver waits without end, and a sender may be told by Close that it will hear no more.
  const bool closes_early = options_.role == LoadOptions::Role::kReceive || random.Percent(30);
  std::mutex mutex;
  std::condition_variable changed;
  size_t running = options_.clients;
  const Session session{options_, connection, recorder_, numbers_,
                        [this, end] { return is_stopping_ || steady_clock::now() >= end; }};
  std::vector<std::thread> clients;
  for (size_t i = 0; i < options_.clients; ++i) {
    clients.emplace_back([&, seed = random.Next()] {
      Random own(seed);
      if (options_.role == LoadOptions::Role::kSend) {
        SendUntilOver(session, own);
      } else {
        ReceiveUntilOver(session, own);
      }
      std::lock_guard lock(mutex);
      --running;
      changed.notify_all();
    });
  }
  if (closes_early) {
    std::unique_lock lock(mutex);
    while (running > 0 && !session.is_over()) changed.wait_for(lock, milliseconds(10));
    const bool waits_for_sends = is_stopping_ && options_.role == LoadOptions::Role::kSend;
    lock.unlock();
    if (!waits_for_sends) connection->Close();
  }
  for (std::thread& client : clients) client.join();
  connection->Close();
}

}  // namespace relay::chaos

// bench_libnats: the load of bench_peers through the C library of NATS: a thread and a blocking request for each
// sender, a queue group of subscriptions that answer. The library gathers what it sends for up to 2 ms unless it is
// told to send at once, as it is here. What is printed is a line of JSON.

#include <nats/nats.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tools/bench/raw.h"
#include "tools/bench/server_process.h"

namespace relay::bench {
namespace {

constexpr int64_t kPatienceMs = 30'000;

void Check(natsStatus status, const char* what) {
  if (status == NATS_OK) return;
  std::fprintf(stderr, "bench_libnats: %s: %s\n", what, natsStatus_GetText(status));
  std::exit(1);
}

natsConnection* Connect(const std::string& server) {
  natsOptions* options = nullptr;
  Check(natsOptions_Create(&options), "options");
  Check(natsOptions_SetURL(options, server.c_str()), "url");
  Check(natsOptions_SetSendAsap(options, true), "send at once");
  natsConnection* connection = nullptr;
  Check(natsConnection_Connect(&connection, options), "connect");
  natsOptions_Destroy(options);
  return connection;
}

void Answer(natsConnection* connection, natsSubscription* /*subscription*/, natsMsg* message, void* /*closure*/) {
  Check(natsConnection_Publish(connection, natsMsg_GetReply(message), natsMsg_GetData(message),
                               natsMsg_GetDataLength(message)),
        "publish");
  natsMsg_Destroy(message);
}

int Run(int argc, char** argv) {
  std::string server;
  pid_t pid = 0;
  Shape shape;
  bool is_each = false;
  double seconds = 0.5;
  uint64_t warm_up = 0;
  CLI::App app("Small requests through the C library of NATS; prints a line of JSON.", "bench_libnats");
  app.add_option("PEER", "libnats");
  app.add_option("--server", server)->required();
  app.add_option("--pid", pid);
  app.add_option("--in-flight", shape.in_flight);
  app.add_option("--receivers", shape.receivers);
  app.add_option("--body", shape.body_bytes);
  app.add_flag("--each", is_each);
  app.add_option("--seconds", seconds);
  app.add_option("--warm-up", warm_up);
  CLI11_PARSE(app, argc, argv);
  if (server.starts_with("tcp://")) server.replace(0, 3, "nats");

  std::vector<natsSubscription*> subscriptions(shape.receivers);
  for (natsSubscription*& subscription : subscriptions) {
    natsConnection* const connection = Connect(server);
    Check(natsConnection_QueueSubscribe(&subscription, connection, "bench", "workers", Answer, nullptr), "subscribe");
    Check(natsConnection_Flush(connection), "flush");
  }
  std::vector<natsConnection*> senders;
  for (size_t i = 0; i < shape.in_flight; ++i) {
    senders.push_back(i > 0 && !is_each ? senders[0] : Connect(server));
  }

  using Clock = std::chrono::steady_clock;
  const std::string body(shape.body_bytes, 'x');
  std::atomic<int64_t> to_warm = static_cast<int64_t>(warm_up);
  std::atomic<bool> is_warm = warm_up == 0;
  std::atomic<bool> is_over = false;
  std::vector<std::thread> threads;
  threads.reserve(senders.size());
  std::mutex mutex;
  RawResult result;
  for (natsConnection* const sender : senders) {
    threads.emplace_back([&, sender] {
      while (!is_over) {
        const Clock::time_point since = Clock::now();
        const bool counts = is_warm;
        natsMsg* reply = nullptr;
        Check(natsConnection_Request(&reply, sender, "bench", body.data(), static_cast<int>(body.size()), kPatienceMs),
              "request");
        natsMsg_Destroy(reply);
        if (!counts) {
          if (to_warm.fetch_sub(1) <= 1) is_warm = true;
          continue;
        }
        const std::lock_guard lock(mutex);
        result.load.latencies.Add(Clock::now() - since);
        ++result.load.requests;
      }
    });
  }
  while (!is_warm) std::this_thread::yield();
  const ProcessMeter meter(pid);
  const std::chrono::nanoseconds server_before = meter.Cpu();
  const std::chrono::nanoseconds client_before = OwnCpu();
  const Clock::time_point started = Clock::now();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  result.load.elapsed = Clock::now() - started;
  result.load.in_time = result.load.requests;
  result.has_server_cpu = pid > 0;
  result.server_cpu = meter.Cpu() - server_before;
  result.client_cpu = OwnCpu() - client_before;
  result.server_rss_bytes = meter.RssBytes();
  std::fputs(ToJson(result).c_str(), stdout);
  std::fflush(stdout);
  // The library's threads go with the process.
  std::_Exit(0);
}

}  // namespace
}  // namespace relay::bench

int main(int argc, char** argv) { return relay::bench::Run(argc, argv); }

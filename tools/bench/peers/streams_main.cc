// bench_streams: large bodies there and back through a running server. What it prints is a line of JSON.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "tools/bench/peers/streams.h"
#include "tools/bench/server_process.h"

namespace relay::bench {
namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "bench_streams: %s\n", std::string(status.message()).c_str());
  return 1;
}

int Run(int argc, char** argv) {
  std::string peer;
  std::string server;
  uint16_t backend_port = 0;
  pid_t pid = 0;
  uint64_t bytes = 1 << 20;
  size_t pairs = 4;
  size_t rounds = 1;
  CLI::App app("Large bodies there and back through a running server; prints a line of JSON.", "bench_streams");
  app.add_option("PEER", peer)->required()->check(CLI::IsMember({"relay", "nats", "pipe"}));
  app.add_option("--server", server)->required();
  app.add_option("--backend-port", backend_port, "pipe: where the proxy connects to");
  app.add_option("--pid", pid, "of the server, whose CPU is told");
  app.add_option("--bytes", bytes, "of a body");
  app.add_option("--pairs", pairs, "at once")->check(CLI::PositiveNumber);
  app.add_option("--rounds", rounds, "so many bodies through each, after one that does not count");
  CLI11_PARSE(app, argc, argv);

  const std::unique_ptr<Wire> wire = peer == "relay"  ? MakeRelayWire(server)
                                     : peer == "nats" ? MakeNatsWire(server)
                                                      : MakePipeWire(server, backend_port);
  Streams streams(*wire, pairs);
  Load load(Shape(), streams);
  if (absl::Status status = streams.Open(load); !status.ok()) return Fail(status);
  if (absl::Status status = streams.Run(load, std::min<uint64_t>(bytes, 4 << 20)); !status.ok()) return Fail(status);

  const ProcessMeter meter(pid);
  const std::chrono::nanoseconds cpu_before = meter.Cpu();
  const auto started = std::chrono::steady_clock::now();
  uint64_t rss_bytes = 0;
  for (size_t round = 0; round < rounds; ++round) {
    if (absl::Status status = streams.Run(load, bytes); !status.ok()) return Fail(status);
    rss_bytes = std::max(rss_bytes, meter.RssBytes());
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started;
  const double gigabytes = 2e-9 * static_cast<double>(bytes * pairs * rounds);  // there and back
  const std::chrono::duration<double> cpu = meter.Cpu() - cpu_before;
  std::printf(
      "{\"gigabytes\": %.4f, \"seconds\": %.4f, \"mb_per_second\": %.1f, \"server_cpu_s_per_gb\": %.4f, "
      "\"server_rss_bytes\": %llu}\n",
      gigabytes, elapsed.count(), 1e3 * gigabytes / elapsed.count(), cpu.count() / gigabytes,
      static_cast<unsigned long long>(rss_bytes));
  return 0;
}

}  // namespace
}  // namespace relay::bench

int main(int argc, char** argv) { return relay::bench::Run(argc, argv); }

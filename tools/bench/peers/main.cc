// bench_peers: the load of `relay bench raw`, spoken to other systems. What it prints is a line of JSON.

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/bench/peers/gearman.h"
#include "tools/bench/peers/majordomo.h"
#include "tools/bench/peers/nats.h"
#include "tools/bench/peers/pipe.h"
#include "tools/bench/peers/rabbitmq.h"
#include "tools/bench/peers/redis.h"
#include "tools/bench/raw.h"
#include "tools/bench/relay_dialect.h"

namespace relay::bench {
namespace {

struct Arguments {
  std::string peer;
  std::string server;
  uint16_t backend_port = 0;
  pid_t pid = 0;
  Shape shape;
  bool is_each = false;
  double seconds = 0.5;
  double patience_seconds = 30;
  std::vector<int> service_us;
  RelayDialect::Options relay;
  double idle_seconds = 0;
  LoadPlan plan;
};

std::unique_ptr<Dialect> MakeDialect(const Arguments& arguments) {
  const std::string& peer = arguments.peer;
  if (peer == "relay") return std::make_unique<RelayDialect>(arguments.server, arguments.relay);
  if (peer == "nats") return std::make_unique<NatsDialect>(arguments.server);
  if (peer == "redis") return std::make_unique<RedisDialect>(arguments.server);
  if (peer == "gearman") return std::make_unique<GearmanDialect>(arguments.server);
  if (peer == "majordomo") return std::make_unique<MajordomoDialect>(arguments.server);
  if (peer == "rabbitmq") return std::make_unique<RabbitmqDialect>(arguments.server);
  return std::make_unique<PipeDialect>(arguments.server, arguments.backend_port);
}

int Run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Small requests against a running server; prints a line of JSON.", "bench_peers");
  app.add_option("PEER", arguments.peer)
      ->required()
      ->check(CLI::IsMember({"relay", "nats", "redis", "gearman", "majordomo", "rabbitmq", "pipe"}));
  app.add_option("--server", arguments.server, "tcp://HOST:PORT or unix:PATH")->required();
  app.add_option("--backend-port", arguments.backend_port, "pipe: where the proxy connects to");
  app.add_option("--pid", arguments.pid, "of the server, whose CPU is told");
  app.add_option("--in-flight", arguments.shape.in_flight)->check(CLI::PositiveNumber);
  app.add_option("--receivers", arguments.shape.receivers)->check(CLI::PositiveNumber);
  app.add_option("--slots", arguments.shape.slots, "requests that a receiver takes at once, where the system lets it");
  app.add_option("--body", arguments.shape.body_bytes)->check(CLI::Range(16, 60'000));
  app.add_option("--frames", arguments.relay.frames)->check(CLI::IsMember({1, 3}));
  app.add_flag("--each", arguments.is_each, "a connection for each sender");
  app.add_option("--warm-up", arguments.plan.warm_up_requests);
  app.add_option("--requests", arguments.plan.requests);
  app.add_option("--seconds", arguments.seconds);
  app.add_option("--rate", arguments.plan.per_second, "requests begun per second, whatever comes back");
  app.add_option("--patience", arguments.patience_seconds, "seconds for what is still to come at the end");
  app.add_option("--service-us", arguments.service_us, "what each receiver's work takes")->delimiter(',');
  app.add_option("--active", arguments.plan.most_active, "of the senders, in turn");
  app.add_option("--idle", arguments.idle_seconds, "before the load, with nothing under way");
  app.add_option("--kill-after", arguments.plan.kill_after, "requests; then a receiver's connection is cut");
  app.add_option("--channels", arguments.relay.channels, "relay: on which senders and receivers take turns");
  app.add_flag("--late", arguments.relay.is_late, "relay: receivers wait only when all senders have sent");
  CLI11_PARSE(app, argc, argv);

  arguments.shape.is_shared = !arguments.is_each;
  for (const int us : arguments.service_us) arguments.shape.service.emplace_back(us);
  const auto nanoseconds = [](double seconds) { return std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9)); };
  arguments.plan.duration = nanoseconds(arguments.seconds);
  arguments.plan.idle = nanoseconds(arguments.idle_seconds);
  arguments.plan.patience = nanoseconds(arguments.patience_seconds);
  rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  const std::unique_ptr<Dialect> dialect = MakeDialect(arguments);
  const absl::StatusOr<RawResult> result = Measure(arguments.shape, *dialect, arguments.plan, arguments.pid);
  if (!result.ok()) {
    std::fprintf(stderr, "bench_peers: %s\n", std::string(result.status().message()).c_str());
    return 1;
  }
  std::fputs(ToJson(*result).c_str(), stdout);
  return 0;
}

}  // namespace
}  // namespace relay::bench

int main(int argc, char** argv) { return relay::bench::Run(argc, argv); }

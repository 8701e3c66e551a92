#include "tools/bench/sdk.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "net/mutex.h"
#include "relay/client.h"
#include "relay/connection.h"
#include "relay/serve.h"
#include "tools/bench/server_process.h"

namespace relay::bench {
namespace {

using Clock = std::chrono::steady_clock;

absl::Status ToAbsl(const Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.code()), status.message());
}

// Who answers, on connections of their own.
class Receivers {
 public:
  absl::Status Open(const SdkPlan& plan) {
    for (size_t i = 0; i < plan.shape.receivers; ++i) {
      auto connection = Connection::Open(plan.server);
      if (!connection.ok()) return ToAbsl(connection.status());
      connections_.push_back(*connection);
      if (plan.calls == Calls::kCallback) {
        for (size_t slot = 0; slot < plan.shape.slots_each(); ++slot) Receive(Client(*connection, "bench-sdk"));
        continue;
      }
      ServeOptions options;
      options.concurrency = plan.shape.slots_each();
      auto pool = Serve(*connection, "bench-sdk", options, [](Request& request) {
        const StatusOr<std::string> body = request.ReadAll();
        return body.ok() ? request.Reply(*body) : body.status();
      });
      if (!pool.ok()) return ToAbsl(pool.status());
      pools_.push_back(*std::move(pool));
    }
    return absl::OkStatus();
  }

  ~Receivers() {
    for (const auto& connection : connections_) connection->Close();
  }

 private:
  static void Receive(Client client) {
    Client& its_client = client;
    its_client.ReceiveAsync({}, [client](StatusOr<AsyncRequest> request) {
      if (!request.ok()) return;
      request->Reply(OkStatus(), std::move(request->body()));
      Receive(client);
    });
  }

  std::vector<std::shared_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Server>> pools_;
};

class Senders {
 public:
  explicit Senders(const SdkPlan& plan) : calls_(plan.calls), body_(plan.shape.body_bytes, 'x') {}

  absl::Status Open(const SdkPlan& plan) {
    for (size_t i = 0; i < plan.shape.in_flight; ++i) {
      if (i == 0 || !plan.shape.is_shared) {
        auto connection = Connection::Open(plan.server);
        if (!connection.ok()) return ToAbsl(connection.status());
        connections_.push_back(*connection);
      }
      clients_.emplace_back(connections_.back(), "bench-sdk");
    }
    return absl::OkStatus();
  }

  // Sends so many requests, and returns when all have been answered or one has failed.
  absl::Status Run(uint64_t requests) {
    tickets_ = static_cast<int64_t>(requests);
    if (calls_ == Calls::kCallback) {
      {
        const net::MutexLock lock(mutex_);
        running_ = clients_.size();
      }
      for (Client& client : clients_) Drive(client);
      const net::MutexLock lock(mutex_);
      while (running_ > 0) changed_.Wait(mutex_);
    } else {
      std::vector<std::thread> threads;
      for (Client& client : clients_) threads.emplace_back([this, &client] { Loop(client); });
      for (std::thread& thread : threads) thread.join();
    }
    const net::MutexLock lock(mutex_);
    return ToAbsl(failure_);
  }

  void ForgetLatencies() {
    const net::MutexLock lock(mutex_);
    latencies_ = {};
  }
  tools::Histogram latencies() {
    const net::MutexLock lock(mutex_);
    return latencies_;
  }

 private:
  bool TakeTicket() { return tickets_.fetch_sub(1) > 0; }

  // The next request of a client, on whichever thread its last one has ended.
  void Drive(Client& client) {
    if (!TakeTicket()) return Stop();
    client.SendAsync(body_, {}, [this, &client, since = Clock::now()](const StatusOr<Reply>& reply) {
      if (Count(reply.status(), since)) {
        Drive(client);
      } else {
        Stop();
      }
    });
  }

  void Stop() {
    const net::MutexLock lock(mutex_);
    if (--running_ == 0) changed_.NotifyAll();
  }

  void Loop(Client& client) {
    while (TakeTicket()) {
      const Clock::time_point since = Clock::now();
      if (!Count(calls_ == Calls::kBlocking ? client.Send(body_).status() : SendStreamed(client), since)) return;
    }
  }

  Status SendStreamed(Client& client) const {
    StatusOr<Exchange> exchange = client.Start();
    if (!exchange.ok()) return exchange.status();
    // Whatever writing says, reading has the verdict.
    if (exchange->Write(body_).ok()) static_cast<void>(exchange->FinishWriting());
    return exchange->ReadAll().status();
  }

  bool Count(const Status& status, Clock::time_point since) {
    const auto latency = Clock::now() - since;
    const net::MutexLock lock(mutex_);
    latencies_.Add(latency);
    if (failure_.ok()) failure_ = status;
    return failure_.ok();
  }

  const Calls calls_;
  const std::string body_;
  std::vector<std::shared_ptr<Connection>> connections_;
  std::vector<Client> clients_;
  std::atomic<int64_t> tickets_ = 0;

  net::Mutex mutex_;
  net::Condition changed_;
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  tools::Histogram latencies_ ABSL_GUARDED_BY(mutex_);
  Status failure_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<RawResult> RunSdk(const SdkPlan& plan) {
  Receivers receivers;
  if (absl::Status status = receivers.Open(plan); !status.ok()) return status;
  Senders senders(plan);
  if (absl::Status status = senders.Open(plan); !status.ok()) return status;
  if (absl::Status status = senders.Run(plan.warm_up_requests); !status.ok()) return status;
  senders.ForgetLatencies();

  const ProcessMeter server(plan.server_pid);
  const std::chrono::nanoseconds server_before = server.Cpu();
  const std::chrono::nanoseconds client_before = OwnCpu();
  const Clock::time_point started = Clock::now();
  if (absl::Status status = senders.Run(plan.requests); !status.ok()) return status;
  RawResult result;
  result.load.elapsed = Clock::now() - started;
  result.client_cpu = OwnCpu() - client_before;
  result.load.requests = plan.requests;
  result.load.latencies = senders.latencies();
  result.has_server_cpu = plan.server_pid > 0;
  result.server_cpu = server.Cpu() - server_before;
  result.server_rss_bytes = server.RssBytes();
  return result;
}

}  // namespace relay::bench

#include "relay/serve.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "client/handles.h"
#include "client/wire.h"
#include "net/mutex.h"

namespace relay {
namespace client {

// A client and the thread that works for it.
class Worker {
 public:
  Worker(Pool& pool, Client client) : pool_(pool), client_(std::move(client)) {}

  void Run();
  Status CheckMayBlock() const { return client_.handle_->CheckMayBlock(); }
  // The request at work is the last one, and a wait is given up.
  void Stop();

 private:
  // The operation that waits for the next request; nothing where there shall be none.
  std::shared_ptr<Operation> Next();

  Pool& pool_;
  const Client client_;
  net::Mutex mutex_;
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Operation> waiting_ ABSL_GUARDED_BY(mutex_);
};

// The workers of a Server. Thread-safe. Its threads hold it.
class Pool : public std::enable_shared_from_this<Pool> {
 public:
  Pool(const std::shared_ptr<Connection>& connection, std::string_view channel, const ServeOptions& options,
       Handler handler)
      : options_(options), handler_(std::move(handler)), running_(options.concurrency) {
    for (size_t i = 0; i < options.concurrency; ++i) {
      workers_.push_back(std::make_unique<Worker>(*this, Client(connection, channel)));
    }
  }

  void Begin() {
    net::MutexLock lock(mutex_);
    for (const auto& worker : workers_) {
      threads_.emplace_back([self = shared_from_this(), &worker] { worker->Run(); });
    }
  }

  void BeginStop() {
    for (const auto& worker : workers_) worker->Stop();
  }

  // Nobody can wait for the threads.
  void Detach() {
    net::MutexLock lock(mutex_);
    for (std::thread& thread : threads_) thread.detach();
    threads_.clear();
  }

  Status Wait() {
    if (Status status = workers_.front()->CheckMayBlock(); !status.ok()) return status;
    std::vector<std::thread> threads;
    {
      net::MutexLock lock(mutex_);
      while (running_ > 0) changed_.Wait(mutex_);
      threads.swap(threads_);
    }
    for (std::thread& thread : threads) thread.join();
    net::MutexLock lock(mutex_);
    if (!threads.empty()) are_joined_ = true;
    changed_.NotifyAll();
    while (!are_joined_) changed_.Wait(mutex_);
    return end_;
  }

  const ServeOptions& options() const { return options_; }
  const Handler& handler() const { return handler_; }

  // A worker is going to take one more request, or did not after all.
  bool TakeTicket() {
    if (options_.max_requests == 0) return true;
    size_t taken = tickets_;
    do {
      if (taken == options_.max_requests) return false;
    } while (!tickets_.compare_exchange_weak(taken, taken + 1));
    return true;
  }
  void ReturnTicket() {
    if (options_.max_requests != 0) --tickets_;
  }

  // The thread of a worker ends; `why` is OK unless something other than a stop made it.
  void OnWorkerEnd(const Status& why) {
    net::MutexLock lock(mutex_);
    // The last one says how it ended, unless there was an error.
    if (end_.ok() || end_.code() == StatusCode::kDeadlineExceeded) end_ = why;
    --running_;
    changed_.NotifyAll();
  }

 private:
  const ServeOptions options_;
  const Handler handler_;
  std::vector<std::unique_ptr<Worker>> workers_;  // constant once started
  std::atomic<size_t> tickets_ = 0;               // no lock that all workers take for each request

  net::Mutex mutex_;
  net::Condition changed_;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  bool are_joined_ ABSL_GUARDED_BY(mutex_) = false;
  size_t running_ ABSL_GUARDED_BY(mutex_);
  Status end_ ABSL_GUARDED_BY(mutex_);
};

std::shared_ptr<Operation> Worker::Next() {
  net::MutexLock lock(mutex_);
  waiting_ = nullptr;
  if (is_stopped_ || !pool_.TakeTicket()) return nullptr;
  OperationSpec spec;
  spec.kind = Operation::Kind::kReceive;
  spec.name = "Serve";
  if (const auto wait = pool_.options().wait) spec.limit = absl::Milliseconds(wait->count());
  waiting_ = std::make_shared<Operation>(std::move(spec), client_.handle_->participant());
  return waiting_;
}

void Worker::Stop() {
  std::shared_ptr<Operation> waiting;
  {
    net::MutexLock lock(mutex_);
    is_stopped_ = true;
    waiting = waiting_;
  }
  if (waiting != nullptr) waiting->Withdraw();
}

void Worker::Run() {
  Status end;
  std::shared_ptr<Operation> last;  // may still be sending its response
  std::shared_ptr<Operation> operation = Next();
  if (operation != nullptr) client_.handle_->link().Submit(operation);
  while (operation != nullptr) {
    end = operation->WaitHead();
    if (!end.ok()) {
      pool_.ReturnTicket();
      break;
    }
    last = std::exchange(operation, nullptr);
    {
      Request request(std::make_shared<OperationHandle>(client_.handle_, last));
      last->set_holds_finish(true);
      const Status status = pool_.handler()(request);
      operation = Next();
      // A wait without end goes along with the answer; a bounded one does not begin before the answer is out.
      if (operation != nullptr && operation->IsEndlessWait()) client_.handle_->link().Submit(operation);
      last->FinishHeld(status);
    }
    if (operation == nullptr || operation->IsEndlessWait()) continue;
    last->WaitEnd().ok();
    client_.handle_->link().Submit(operation);
  }
  if (last != nullptr) last->WaitEnd().ok();
  bool is_stopped = false;
  {
    net::MutexLock lock(mutex_);
    is_stopped = is_stopped_;
  }
  pool_.OnWorkerEnd(is_stopped ? OkStatus() : end);
}

}  // namespace client

Server::Server(std::shared_ptr<client::Pool> pool) : pool_(std::move(pool)) {}

Server::~Server() {
  Stop();
  pool_->Detach();
}

void Server::Stop() {
  pool_->BeginStop();
  pool_->Wait().ok();
}

void Server::BeginStop() { pool_->BeginStop(); }

Status Server::Wait() { return pool_->Wait(); }

StatusOr<std::unique_ptr<Server>> Serve(std::shared_ptr<Connection> connection, std::string_view channel,
                                        ServeOptions options, Handler handler) {
  if (options.concurrency == 0) return InvalidArgumentError("a pool has a concurrency of at least 1");
  if (Status status = client::CheckChannel(channel); !status.ok()) return status;
  auto pool = std::make_shared<client::Pool>(connection, channel, options, std::move(handler));
  pool->Begin();
  return std::unique_ptr<Server>(new Server(std::move(pool)));
}

}  // namespace relay

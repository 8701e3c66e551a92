#include "server/threads.h"

#include <functional>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/uuid.h"

namespace relay::server {

absl::StatusOr<std::unique_ptr<Threads>> Threads::Start(const Options& options, std::shared_ptr<spdlog::logger> log) {
  std::unique_ptr<Threads> threads(new Threads());
  for (uint32_t i = 0; i < options.threads; ++i) {
    auto loop = net::Loop::Create();
    if (!loop.ok()) return loop.status();
    threads->threads_.push_back(std::make_unique<Thread>(Thread{.loop = *std::move(loop)}));
  }
  Identity identity = {.server_id = proto::NewUuid(),
                       .start = threads->loop().Now(),
                       .place = {.core = 0, .cores = options.threads},
                       .totals = std::make_shared<Totals>()};
  Limits limits = options.limits;
  // Bytes are counted by each thread alone, so each has its part of them.
  limits.queue_bytes_total /= options.threads;
  limits.send_queue_bytes_total /= options.threads;
  limits.partial_frame_bytes_total /= options.threads;
  for (; identity.place.core < options.threads; ++identity.place.core) threads->Fit(limits, identity, log);
  for (const std::string& url : options.listen) {
    if (absl::Status status = threads->threads_.front()->daemon->Listen(url); !status.ok()) return status;
  }
  return threads;
}

void Threads::Fit(const Limits& limits, const Identity& identity, std::shared_ptr<spdlog::logger> log) {
  Thread& thread = *threads_[identity.place.core];
  if (!identity.place.is_alone()) {
    thread.mailbox = std::make_unique<net::Mailbox<Mail>>(*thread.loop, [&thread](std::vector<Mail>& delivered) {
      for (Mail& mail : delivered) {
        if (mail.call) {
          mail.call();
        } else {
          thread.daemon->Deliver(std::move(mail.letter));
        }
      }
    });
  }
  thread.daemon = std::make_unique<Daemon>(
      *thread.loop, limits, identity, std::move(log),
      [this](uint32_t core, Letter letter) { threads_[core]->mailbox->Post({.letter = std::move(letter)}); });
}

Threads::~Threads() {
  if (others_.empty()) return;
  Stop();
  JoinOthers();
}

absl::Status Threads::StartOthers() {
  for (size_t i = 1; i < threads_.size(); ++i) {
    try {
      others_.emplace_back(RunLoop, std::ref(*threads_[i]));
    } catch (const std::system_error& error) {
      return absl::UnavailableError(absl::StrCat("start thread ", i + 1, " of ", threads_.size(), ": ", error.what()));
    }
  }
  return absl::OkStatus();
}

void Threads::Run() {
  RunLoop(*threads_.front());
  JoinOthers();
}

void Threads::RunLoop(Thread& thread) {
  thread.daemon->Guard();
  thread.loop->Run();
}

void Threads::JoinOthers() {
  for (std::thread& other : others_) other.join();
  others_.clear();
}

void Threads::OnEach(const std::function<void(Thread&)>& call) {
  for (const auto& thread : threads_) {
    if (thread == threads_.front() || others_.empty()) {
      call(*thread);
    } else {
      thread->mailbox->Post({.letter = {}, .call = [call, &thread] { call(*thread); }});
    }
  }
}

void Threads::OnFirst(std::function<void()> call) {
  Thread& first = *threads_.front();
  if (first.mailbox == nullptr || others_.empty()) return call();
  first.mailbox->Post({.letter = {}, .call = std::move(call)});
}

void Threads::Drain() {
  OnEach([this](Thread& thread) { thread.daemon->Drain([this] { OnFirst([this] { Stop(); }); }); });
}

void Threads::Stop() {
  OnEach([](Thread& thread) { thread.loop->Stop(); });
}

void Threads::TellCounts(std::function<void(const Counts&)> tell) {
  struct Sum {
    Counts counts;
    size_t missing;
  };
  const auto sum = std::make_shared<Sum>(Sum{.counts = {}, .missing = threads_.size()});
  OnEach([this, sum, tell](Thread& thread) {
    OnFirst([sum, tell, counts = thread.daemon->TakeCounts()] {
      sum->counts += counts;
      if (--sum->missing == 0) tell(sum->counts);
    });
  });
}

}  // namespace relay::server

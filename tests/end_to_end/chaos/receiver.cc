// What receivers do: mostly their work, and all else that the interface lets them do.

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "checker.h"
#include "load.h"
#include "relay/client.h"
#include "relay/serve.h"

namespace relay::chaos {
namespace {

using Kind = Event::Kind;
using std::chrono::milliseconds;

// One handing-out: what is recorded of it.
class OneDelivery {
 public:
  OneDelivery(const Session& session, const RequestInfo& info)
      : session_(session), number_(session.numbers.fetch_add(1)) {
    for (const auto& [name, value] : info.metadata) {
      if (name == kKeyName && value.size() == sizeof(key_)) std::memcpy(&key_, value.data(), sizeof(key_));
    }
    Event event = Of(Kind::kDelivered);
    event.request = info.id;
    event.attempt = info.attempt;
    session_.recorder.Write(event);
  }

  // No other delivery of the run has it.
  uint64_t nonce() const { return uint64_t{session_.options.actor} << 32 | number_; }

  void RecordBody(std::string_view body) {
    Event event = Of(Kind::kBodyRead);
    event.sum = SumOf(body);
    session_.recorder.Write(event);
  }
  void RecordAnswer(std::string_view body) { RecordAnswer(StatusCode::kOk, SumOf(body)); }
  // The failure in the receiver's own words.
  Status RecordFailure() {
    RecordAnswer(kReceiversWord, nonce());
    return Status(kReceiversWord, std::to_string(nonce()));
  }
  void RecordAnswered(const Status& status) {
    Event event = Of(Kind::kAnswered);
    event.code = status.code();
    session_.recorder.Write(event);
  }

 private:
  Event Of(Kind kind) const {
    Event event;
    event.kind = kind;
    event.key = key_;
    event.delivery = number_;
    return event;
  }
  void RecordAnswer(StatusCode code, uint64_t sum) {
    Event event = Of(Kind::kAnswer);
    event.code = code;
    event.sum = sum;
    session_.recorder.Write(event);
  }

  const Session& session_;
  const uint32_t number_;
  uint64_t key_ = 0;
};

void Dawdle(Random& random) {
  const uint64_t percent = random.Between(1, 100);
  if (percent <= 60) return;
  std::this_thread::sleep_for(std::chrono::microseconds(random.Between(0, percent <= 95 ? 5'000 : 60'000)));
}

Status Answer(Request& request, OneDelivery& delivery, Random& random, size_t size) {
  const std::string body = Bytes(delivery.nonce(), size);
  delivery.RecordAnswer(body);
  if (random.Percent(70)) return request.Reply(body);
  for (std::string_view rest = body; !rest.empty();) {
    const size_t piece = std::min<size_t>(rest.size(), random.Between(1, 100'000));
    if (Status status = request.Write(rest.substr(0, piece)); !status.ok()) return status;
    rest.remove_prefix(piece);
    Dawdle(random);
  }
  return request.Finish();
}

// `knows_the_end`: what Reply returns says how the exchange ended; in a handler of Serve it is too early for that.
void Work(const Session& session, Request& request, Random& random, bool knows_the_end) {
  OneDelivery delivery(session, request.info());
  const uint64_t percent = random.Between(1, 100);
  if (percent <= 3) return request.Reset(AbortedError("reset by the receiver"));
  if (percent <= 7) return request.Requeue();
  if (percent <= 9) return;  // Serve answers for it, or it is dropped
  if (percent <= 13) {
    const Status status = Answer(request, delivery, random, random.Between(8, 20'000));
    if (knows_the_end) delivery.RecordAnswered(status);
    return;
  }
  const auto body = request.ReadAll();
  if (!body.ok()) return;
  delivery.RecordBody(*body);
  Dawdle(random);
  const Status status = random.Percent(5) ? request.Finish(delivery.RecordFailure())
                                          : Answer(request, delivery, random, std::max<size_t>(8, DrawSize(random)));
  if (knows_the_end) delivery.RecordAnswered(status);
}

void ReceiveBlocking(const Session& session, Random& random) {
  Client client(session.connection, kChannel);
  while (!session.is_over()) {
    ReceiveOptions options;
    if (random.Percent(30)) options.wait = milliseconds(random.Between(0, 100));
    auto request = client.Receive(options);
    if (!request.ok() && request.status().code() == StatusCode::kDeadlineExceeded) continue;
    if (!request.ok()) return;
    Work(session, *request, random, true);
  }
}

void ReceiveByCallback(const Session& session, Random& random) {
  Client client(session.connection, kChannel);
  while (!session.is_over()) {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Status> done;
    client.ReceiveAsync({}, [&](StatusOr<AsyncRequest> request) {
      if (request.ok()) {
        OneDelivery delivery(session, request->info());
        delivery.RecordBody(request->body());
        if (random.Percent(5)) {
          request->Reply(delivery.RecordFailure());
        } else if (!random.Percent(5)) {
          std::string body = Bytes(delivery.nonce(), std::max<size_t>(8, DrawSize(random)));
          delivery.RecordAnswer(body);
          request->Reply(OkStatus(), std::move(body));
        }
      }
      std::lock_guard lock(mutex);
      done = request.status();
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&done] { return done.has_value(); });
    if (!done->ok()) return;
  }
}

void ReceiveByServe(const Session& session, Random& random) {
  std::mutex mutex;  // of `random`, whatever the concurrency
  auto server = Serve(session.connection, kChannel, {.concurrency = 2}, [&](Request& request) {
    std::unique_lock lock(mutex);
    Random own(random.Next());
    lock.unlock();
    Work(session, request, own, false);
    return AbortedError("not answered");  // counts only where it was not
  });
  if (!server.ok()) return;
  while (!session.is_over()) std::this_thread::sleep_for(milliseconds(5));
  (*server)->Stop();
}

}  // namespace

void ReceiveUntilOver(const Session& session, Random& random) {
  switch (random.Between(0, 3)) {
    case 0:
      return ReceiveByCallback(session, random);
    case 1:
      return ReceiveByServe(session, random);
    default:
      return ReceiveBlocking(session, random);
  }
}

}  // namespace relay::chaos

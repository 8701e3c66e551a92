// What senders do: each Send in one of three forms, with or without a deadline, some of them given up half-way.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "checker.h"
#include "load.h"
#include "relay/client.h"

namespace relay::chaos {
namespace {

using Kind = Event::Kind;

// One Send: what it is, and how it ended.
class OneSend {
 public:
  OneSend(const Session& session, Client& client, Random& random)
      : session_(session),
        client_(client),
        random_(random),
        key_(uint64_t{session.options.actor} << 32 | session.numbers.fetch_add(1)),
        body_(Bytes(random.Next(), DrawSize(random))) {
    options_.metadata = {{kKeyName, std::string(reinterpret_cast<const char*>(&key_), sizeof(key_))}};
    options_.idempotent = random.Percent(50);
    options_.require_receiver = random.Percent(5);
    const uint64_t percent = random.Between(1, 100);
    if (percent <= 20) {
      options_.timeout = std::chrono::milliseconds(random.Between(1, 200));
    } else if (percent <= 90) {
      options_.timeout = std::chrono::milliseconds(random.Between(1'000, 10'000));
    }
  }

  void Run() {
    Event begin = Of(Kind::kBegin);
    begin.sum = SumOf(body_);
    begin.is_idempotent = options_.idempotent;
    begin.timeout_ms = static_cast<uint32_t>(options_.timeout.value_or(std::chrono::milliseconds(0)).count());
    session_.recorder.Write(begin);
    switch (random_.Between(0, 2)) {
      case 0:
        return RecordReply(client_.Send(body_, options_));
      case 1:
        return SendAsync();
      default:
        return Stream();
    }
  }

 private:
  Event Of(Kind kind) const {
    Event event;
    event.kind = kind;
    event.key = key_;
    return event;
  }

  void RecordEnd(const Status& status, std::string_view body) {
    Event end = Of(Kind::kEnd);
    end.code = status.code();
    end.may_have_run = status.may_have_run();
    if (status.ok()) end.sum = SumOf(body);
    if (status.code() == kReceiversWord) end.sum = std::strtoull(status.message().c_str(), nullptr, 10);
    session_.recorder.Write(end);
  }

  void RecordReply(const StatusOr<Reply>& reply) {
    RecordEnd(reply.status(), reply.ok() ? reply->body : std::string_view());
  }

  void SendAsync() {
    const auto promise = std::make_shared<std::promise<void>>();
    client_.SendAsync(body_, options_, [this, promise](const StatusOr<Reply>& reply) {
      RecordReply(reply);
      promise->set_value();
    });
    promise->get_future().wait();
  }

  void Stream() {
    auto exchange = client_.Start(options_);
    if (!exchange.ok()) return RecordEnd(exchange.status(), {});
    Event named = Of(Kind::kNamed);
    named.request = exchange->id();
    session_.recorder.Write(named);
    const bool is_cancelled = random_.Percent(5);
    const bool is_dropped = !is_cancelled && random_.Percent(3);
    Write(*exchange, is_cancelled || is_dropped);
    // The caller that drops it learns nothing and has to think the worst.
    if (is_dropped) {
      { const Exchange gone = std::move(*exchange); }
      return RecordEnd(CancelledError("dropped").set_may_have_run(true), {});
    }
    if (is_cancelled) {
      exchange->Cancel();
    } else {
      exchange->FinishWriting().ok();
    }
    Read(*exchange);
  }

  // The body in pieces, or the half of it. Where the exchange ends meanwhile, Read has the verdict.
  void Write(Exchange& exchange, bool half) {
    std::string_view rest = std::string_view(body_).substr(0, half ? body_.size() / 2 : body_.size());
    while (!rest.empty()) {
      const size_t piece = std::min<size_t>(rest.size(), random_.Between(1, 100'000));
      if (!exchange.Write(rest.substr(0, piece)).ok()) return;
      rest.remove_prefix(piece);
      if (random_.Percent(10)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  void Read(Exchange& exchange) {
    std::string reply;
    std::vector<char> buffer(random_.Between(1'000, 100'000));
    while (true) {
      const auto bytes = exchange.Read(buffer);
      if (!bytes.ok()) return RecordEnd(bytes.status(), {});
      if (*bytes == 0) return RecordEnd(OkStatus(), reply);
      reply.append(buffer.data(), *bytes);
    }
  }

  const Session& session_;
  Client& client_;
  Random& random_;
  const uint64_t key_;
  const std::string body_;
  SendOptions options_;
};

}  // namespace

void SendUntilOver(const Session& session, Random& random) {
  Client client(session.connection, kChannel);
  while (!session.is_over()) {
    OneSend(session, client, random).Run();
    std::this_thread::sleep_for(std::chrono::microseconds(random.Between(0, 4'000)));
  }
}

}  // namespace relay::chaos

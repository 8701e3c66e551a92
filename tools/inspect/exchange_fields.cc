#include "tools/inspect/exchange_fields.h"

#include <algorithm>
#include <array>
#include <string>

#include "tools/inspect/words.h"

namespace relay::inspect {
namespace {

using Kind = FieldKind;

constexpr std::array kAll = {
    FieldInfo{"time", Kind::kTime},
    FieldInfo{"request", Kind::kId},
    FieldInfo{"channel", Kind::kText},
    FieldInfo{"channel_id", Kind::kId},
    FieldInfo{"method", Kind::kText},
    FieldInfo{"sender", Kind::kId},
    FieldInfo{"receiver", Kind::kId},
    FieldInfo{"attempt", Kind::kNumber, nullptr, UINT16_MAX},
    FieldInfo{"queue_wait_us", Kind::kNumber},
    FieldInfo{"first_byte_us", Kind::kNumber},
    FieldInfo{"total_us", Kind::kNumber},
    FieldInfo{"request_bytes", Kind::kNumber},
    FieldInfo{"response_bytes", Kind::kNumber},
    FieldInfo{"request_stalled_us", Kind::kNumber},
    FieldInfo{"response_stalled_us", Kind::kNumber},
    FieldInfo{"timeout_ms", Kind::kNumber},
    FieldInfo{"end", Kind::kText, AllEndNames},
    FieldInfo{"status", Kind::kText, AllStatusNames},
    FieldInfo{"code", Kind::kNumber},
    FieldInfo{"message", Kind::kText},
    FieldInfo{"may_have_run", Kind::kKnownBool},
    FieldInfo{"violations", Kind::kNumber},
};

uint64_t Microseconds(absl::Duration duration) {
  return static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Microseconds(duration)));
}

template <typename Call>
void Visit(const Exchange& exchange, Call& field) {
  if (exchange.began != absl::InfinitePast()) {
    field("time", [&] { return TimeText(exchange.began); });
  }
  field("request", [&] { return proto::ToString(exchange.request); });
  if (!exchange.channel_name.empty()) field("channel", [&] { return exchange.channel_name; });
  if (exchange.channel != proto::kNilUuid) field("channel_id", [&] { return proto::ToString(exchange.channel); });
  if (exchange.knows_method) field("method", [&] { return exchange.method; });
  if (exchange.sender != proto::kNilUuid) field("sender", [&] { return proto::ToString(exchange.sender); });
  if (exchange.receiver != proto::kNilUuid) field("receiver", [&] { return proto::ToString(exchange.receiver); });
  field("attempt", [&] { return uint64_t{exchange.attempt}; });
  if (exchange.queue_wait.has_value()) field("queue_wait_us", [&] { return Microseconds(*exchange.queue_wait); });
  if (FirstByte(exchange).has_value()) field("first_byte_us", [&] { return Microseconds(*FirstByte(exchange)); });
  if (const auto total = Total(exchange)) field("total_us", [&] { return Microseconds(*total); });
  if (!exchange.has_missed) {
    field("request_bytes", [&] { return exchange.request_stream.body_bytes; });
    field("response_bytes", [&] { return exchange.response_stream.body_bytes; });
  }
  if (exchange.in_order && !exchange.has_missed) {
    field("request_stalled_us", [&] { return Microseconds(exchange.request_stream.stalled); });
    field("response_stalled_us", [&] { return Microseconds(exchange.response_stream.stalled); });
  }
  if (exchange.timeout_ms.has_value()) field("timeout_ms", [&] { return uint64_t{*exchange.timeout_ms}; });
  field("end", [&] { return exchange.end; });
  if (exchange.end != "open" && exchange.code.has_value()) {
    field("status", [&] { return CodeName(*exchange.code); });
    field("code", [&] { return uint64_t{*exchange.code}; });
  }
  if (!exchange.message.empty()) field("message", [&] { return exchange.message; });
  if (exchange.may_have_run.has_value()) field("may_have_run", [&] { return *exchange.may_have_run; });
  field("violations", [&] { return exchange.broken_rules; });
}

}  // namespace

std::vector<Field> FieldsOf(const Exchange& exchange) {
  std::vector<Field> fields;
  // Made in its place: g++ 12 suspects a Field that is moved there of being uninitialized.
  auto add = [&fields](std::string_view name, auto make) {
    Field& field = fields.emplace_back();
    field.name = name;
    field.value = make();
  };
  Visit(exchange, add);
  return fields;
}

std::optional<Value> FieldOf(const Exchange& exchange, std::string_view name) {
  std::optional<Value> found;
  auto pick = [&found, name](std::string_view candidate, auto make) {
    if (candidate == name) found = make();
  };
  Visit(exchange, pick);
  return found;
}

std::span<const FieldInfo> AllExchangeFields() { return kAll; }

std::optional<absl::Duration> FirstByte(const Exchange& exchange) {
  const absl::Time first = exchange.response_stream.first;
  if (first == absl::InfiniteFuture() || first == absl::InfinitePast() || exchange.began == absl::InfinitePast()) {
    return std::nullopt;
  }
  return std::max(absl::ZeroDuration(), exchange.response_stream.first - exchange.began);
}

std::optional<absl::Duration> Total(const Exchange& exchange) {
  if (exchange.began == absl::InfinitePast() || exchange.ended == absl::InfinitePast()) return std::nullopt;
  return std::max(absl::ZeroDuration(), exchange.ended - exchange.began);
}

std::string EndWords(const Exchange& exchange) {
  if (exchange.end != "completed" || !exchange.code.has_value()) return exchange.end;
  return exchange.code == 0 ? "OK" : CodeName(*exchange.code);
}

bool IsGoodEnd(const Exchange& exchange) { return exchange.end == "completed" && exchange.code == 0; }

}  // namespace relay::inspect

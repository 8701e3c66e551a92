#include "tools/inspect/fields.h"

#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "tools/inspect/words.h"
#include "tools/relay/text.h"

namespace relay::inspect {
namespace {

using proto::FrameType;
namespace flag = proto::flag;
using Kind = FieldKind;

std::string_view SideName(Side side) { return side == Side::kSender ? "sender" : "receiver"; }

std::string_view PayloadState(Payload::State state) {
  switch (state) {
    case Payload::State::kParsed:
      return "parsed";
    case Payload::State::kCut:
      return "cut";
    case Payload::State::kMalformed:
      return "malformed";
    case Payload::State::kBadStart:
      return "bad_start";
  }
  return "";
}

// ---- What fields of few values can be ----

template <typename Enum>
std::vector<std::string> NamesOf(std::initializer_list<Enum> values, std::string_view (*name)(Enum)) {
  std::vector<std::string> names;
  for (const Enum value : values) names.emplace_back(name(value));
  return names;
}

std::vector<std::string> AllDirections() { return NamesOf({Direction::kToServer, Direction::kToClient}, NameOf); }

std::vector<std::string> AllSides() { return NamesOf({Side::kSender, Side::kReceiver}, SideName); }

std::vector<std::string> AllPayloadStates() {
  using State = Payload::State;
  return NamesOf({State::kParsed, State::kCut, State::kMalformed, State::kBadStart}, PayloadState);
}

std::vector<std::string> AllMirrorKinds() {
  using proto::MirrorKind;
  return NamesOf({MirrorKind::kRead, MirrorKind::kWritten, MirrorKind::kOpened, MirrorKind::kEnded, MirrorKind::kLost},
                 proto::NameOf);
}

std::vector<std::string> AllTypes() {
  std::vector<std::string> names;
  for (uint8_t type = 1; type <= proto::kLastFrameType; ++type) {
    names.emplace_back(proto::NameOf(static_cast<FrameType>(type)));
  }
  return names;
}

std::vector<std::string> AllViolations() {
  std::vector<std::string> names;
  for (size_t rule = 1; rule < kRuleCount; ++rule) names.emplace_back(InfoOf(static_cast<Rule>(rule)).name);
  return names;
}

// Of any header that breaks no rule.
std::vector<std::string> AllFlags() {
  using proto::HeaderFault;
  std::vector<std::string> names;
  for (uint8_t flags = 0; flags <= flag::kAll; ++flags) {
    for (uint8_t type = 1; type <= proto::kLastFrameType; ++type) {
      std::array<uint8_t, proto::kHeaderBytes> header;
      proto::WriteHeader(header.data(), 0, static_cast<FrameType>(type), flags, 0, proto::kNilUuid);
      const proto::HeaderFault fault = proto::CheckHeader(proto::Frame(header));
      if (fault == HeaderFault::kDirectionMissing || fault == HeaderFault::kFlagMisplaced) continue;
      names.push_back(FlagNames(flags));
      break;
    }
  }
  return names;
}

constexpr std::array kAll = {
    FieldInfo{"number", Kind::kNumber},
    FieldInfo{"time", Kind::kTime},
    FieldInfo{"connection", Kind::kNumber},
    FieldInfo{"direction", Kind::kText, AllDirections},
    FieldInfo{"offset", Kind::kNumber},
    FieldInfo{"type", Kind::kText, AllTypes},
    FieldInfo{"type_number", Kind::kNumber, nullptr, UINT8_MAX},
    FieldInfo{"flags", Kind::kText, AllFlags},
    FieldInfo{"slot", Kind::kNumber, nullptr, UINT16_MAX},
    FieldInfo{"id", Kind::kId},
    FieldInfo{"bytes", Kind::kNumber, nullptr, UINT32_MAX},
    FieldInfo{"known_bytes", Kind::kNumber, nullptr, UINT32_MAX},
    FieldInfo{"request", Kind::kId},
    FieldInfo{"channel", Kind::kText},
    FieldInfo{"channel_id", Kind::kId},
    FieldInfo{"client", Kind::kId},
    FieldInfo{"side", Kind::kText, AllSides},
    FieldInfo{"begins", Kind::kBool},
    FieldInfo{"ends", Kind::kBool},
    FieldInfo{"late", Kind::kBool},
    FieldInfo{"violation", Kind::kText, AllViolations},
    FieldInfo{"rule", Kind::kText},
    FieldInfo{"section", Kind::kText},
    FieldInfo{"cost", Kind::kNumber},
    FieldInfo{"credit", Kind::kNumber},
    FieldInfo{"credit_left", Kind::kNumber},
    FieldInfo{"payload", Kind::kText, AllPayloadStates},
    FieldInfo{"version", Kind::kNumber},
    FieldInfo{"agent", Kind::kText},
    FieldInfo{"observer", Kind::kBool},
    FieldInfo{"token_bytes", Kind::kNumber},
    FieldInfo{"server_id", Kind::kText},
    FieldInfo{"max_payload_bytes", Kind::kNumber},
    FieldInfo{"initial_window_bytes", Kind::kNumber},
    FieldInfo{"max_window_bytes", Kind::kNumber},
    FieldInfo{"max_clients_per_connection", Kind::kNumber},
    FieldInfo{"max_start_bytes", Kind::kNumber},
    FieldInfo{"heartbeat_interval_ms", Kind::kNumber},
    FieldInfo{"heartbeat_misses", Kind::kNumber},
    FieldInfo{"max_attempts", Kind::kNumber},
    FieldInfo{"join_client", Kind::kId},
    FieldInfo{"join_channel_id", Kind::kId},
    FieldInfo{"join_channel_name", Kind::kText},
    FieldInfo{"key_bytes", Kind::kNumber},
    FieldInfo{"wait_ms", Kind::kNumber},
    FieldInfo{"withdraw", Kind::kBool},
    FieldInfo{"method", Kind::kText},
    FieldInfo{"content_type", Kind::kText},
    FieldInfo{"other_client", Kind::kId},
    FieldInfo{"timeout_ms", Kind::kNumber},
    FieldInfo{"max_extension_ms", Kind::kNumber},
    FieldInfo{"queue_wait_us", Kind::kNumber},
    FieldInfo{"attempt", Kind::kNumber, nullptr, UINT16_MAX},
    FieldInfo{"start_bytes", Kind::kNumber},
    FieldInfo{"body_bytes", Kind::kNumber},
    FieldInfo{"status", Kind::kText, AllStatusNames},
    FieldInfo{"code", Kind::kNumber},
    FieldInfo{"message", Kind::kText},
    FieldInfo{"end", Kind::kText, AllEndNames},
    FieldInfo{"may_have_run", Kind::kKnownBool},
    FieldInfo{"retry_after_ms", Kind::kNumber},
    FieldInfo{"requeue", Kind::kBool},
    FieldInfo{"window", Kind::kNumber},
    FieldInfo{"ping", Kind::kText},
    FieldInfo{"extend_ms", Kind::kNumber},
    FieldInfo{"observe_channel", Kind::kId},
    FieldInfo{"observe_client", Kind::kId},
    FieldInfo{"observe_request", Kind::kId},
    FieldInfo{"snap_bytes", Kind::kNumber},
    FieldInfo{"mirror_kind", Kind::kText, AllMirrorKinds},
    FieldInfo{"mirror_connection", Kind::kNumber},
    FieldInfo{"mirror_lost", Kind::kNumber},
    FieldInfo{"mirror_type", Kind::kNumber},
    FieldInfo{"metadata", Kind::kMetadata},
};

std::string IdText(const std::string& bytes) {
  const auto id = proto::UuidFromBytes(bytes);
  return id.has_value() ? proto::ToString(*id) : absl::BytesToHexString(bytes);
}

template <typename Fields>
Metadata MetadataOf(const Fields& fields) {
  Metadata metadata;
  for (const v1::Field& field : fields) metadata.emplace_back(field.key(), field.value());
  return metadata;
}

// `field(name, make)` for each: `make()` gives the value, and is called only by who wants it. `tells_run`: that the
// status leaves may_have_run out means that it is false.
template <typename Call>
void VisitStatus(const v1::Status& status, bool tells_run, Call& field) {
  field("status", [&] { return CodeName(status.code()); });
  field("code", [&] { return uint64_t{status.code()}; });
  if (!status.message().empty()) field("message", [&] { return status.message(); });
  if (!status.end().empty()) field("end", [&] { return status.end(); });
  if (tells_run || status.may_have_run()) field("may_have_run", [&] { return status.may_have_run(); });
  if (status.retry_after_ms() != 0) field("retry_after_ms", [&] { return uint64_t{status.retry_after_ms()}; });
}

template <typename Call>
void VisitWelcome(const v1::Welcome& welcome, Call& field) {
  field("server_id", [&] { return IdText(welcome.server_id()); });
  field("agent", [&] { return welcome.agent(); });
  field("max_payload_bytes", [&] { return uint64_t{welcome.max_payload_bytes()}; });
  field("initial_window_bytes", [&] { return uint64_t{welcome.initial_window_bytes()}; });
  field("max_window_bytes", [&] { return uint64_t{welcome.max_window_bytes()}; });
  field("max_clients_per_connection", [&] { return uint64_t{welcome.max_clients_per_connection()}; });
  field("max_start_bytes", [&] { return uint64_t{welcome.max_start_bytes()}; });
  field("heartbeat_interval_ms", [&] { return uint64_t{welcome.heartbeat_interval_ms()}; });
  field("heartbeat_misses", [&] { return uint64_t{welcome.heartbeat_misses()}; });
  field("max_attempts", [&] { return uint64_t{welcome.max_attempts()}; });
}

template <typename Call>
void VisitStart(const Payload& content, Call& field) {
  field("method", [&] { return content.start.method(); });
  if (!content.start.content_type().empty()) field("content_type", [&] { return content.start.content_type(); });
  if (content.other_client != proto::kNilUuid)
    field("other_client", [&] { return proto::ToString(content.other_client); });
  field("timeout_ms", [&] { return uint64_t{content.timeout_ms}; });
  field("max_extension_ms", [&] { return uint64_t{content.max_extension_ms}; });
  field("queue_wait_us", [&] { return uint64_t{content.queue_wait_us}; });
  field("attempt", [&] { return uint64_t{content.attempt}; });
  field("start_bytes", [&] { return uint64_t{content.start_bytes}; });
  field("body_bytes", [&] { return content.body_bytes; });
  if (content.start.metadata_size() > 0) field("metadata", [&] { return MetadataOf(content.start.metadata()); });
}

template <typename Call>
void VisitContent(const SeenFrame& frame, Call& field) {
  const Payload& content = *frame.content;
  switch (frame.type()) {
    case FrameType::kHello:
      field("version", [&] { return uint64_t{content.hello.version()}; });
      field("agent", [&] { return content.hello.agent(); });
      if (content.hello.observer()) field("observer", [] { return true; });
      if (!content.hello.token().empty()) field("token_bytes", [&] { return uint64_t{content.hello.token().size()}; });
      return;
    case FrameType::kWelcome:
      return VisitWelcome(content.welcome, field);
    case FrameType::kJoin:
      field("join_client", [&] { return IdText(content.join.client_id()); });
      field("join_channel_id", [&] { return IdText(content.join.channel_id()); });
      if (!content.join.channel_name().empty()) field("join_channel_name", [&] { return content.join.channel_name(); });
      field("key_bytes", [&] { return uint64_t{content.join.key().size()}; });
      return;
    case FrameType::kLeave:
    case FrameType::kGoaway:
      return VisitStatus(content.status, /*tells_run=*/false, field);
    case FrameType::kReceive:
      if (content.receive.has_wait_ms()) field("wait_ms", [&] { return uint64_t{content.receive.wait_ms()}; });
      field("withdraw", [&] { return content.receive.withdraw(); });
      return;
    case FrameType::kStart:
      return VisitStart(content, field);
    case FrameType::kChunk:
      field("body_bytes", [&] { return content.body_bytes; });
      return;
    case FrameType::kEnd:
      VisitStatus(content.end.status(), /*tells_run=*/false, field);
      if (content.end.metadata_size() > 0) field("metadata", [&] { return MetadataOf(content.end.metadata()); });
      return;
    case FrameType::kWindow:
      field("window", [&] { return content.window; });
      return;
    case FrameType::kReset:
      VisitStatus(content.reset.status(), /*tells_run=*/frame.direction == Direction::kToClient, field);
      field("requeue", [&] { return content.reset.requeue(); });
      return;
    case FrameType::kObserve:
      if (!content.observe.channel_id().empty())
        field("observe_channel", [&] { return IdText(content.observe.channel_id()); });
      if (!content.observe.client_id().empty())
        field("observe_client", [&] { return IdText(content.observe.client_id()); });
      if (!content.observe.request_id().empty())
        field("observe_request", [&] { return IdText(content.observe.request_id()); });
      field("snap_bytes", [&] { return uint64_t{content.observe.snap_bytes()}; });
      return;
    case FrameType::kMirror:
      field("mirror_kind", [&] { return std::string(proto::NameOf(content.mirror_kind)); });
      field("mirror_connection", [&] { return content.mirror_connection; });
      field("mirror_lost", [&] { return uint64_t{content.mirror_lost}; });
      if (content.mirror_type != 0) field("mirror_type", [&] { return uint64_t{content.mirror_type}; });
      return;
    case FrameType::kPing:
    case FrameType::kPong:
      field("ping", [&] {
        return absl::BytesToHexString({reinterpret_cast<const char*>(frame.payload.data()), frame.payload.size()});
      });
      return;
    case FrameType::kExtend:
      field("extend_ms", [&] { return uint64_t{content.extend_ms}; });
      return;
  }
}

template <typename Call>
void Visit(const SeenFrame& frame, Call& field) {
  field("number", [&] { return frame.number; });
  if (frame.at != absl::InfinitePast()) {
    field("time", [&] { return TimeText(frame.at); });
  }
  field("connection", [&] { return frame.connection; });
  field("direction", [&] { return std::string(NameOf(frame.direction)); });
  field("offset", [&] { return frame.offset; });
  field("type", [&] { return TypeName(frame); });
  field("type_number", [&] { return uint64_t{frame.header.bytes()[4]}; });
  field("flags", [&] { return FlagNames(frame.header.flags()); });
  field("slot", [&] { return uint64_t{frame.header.slot()}; });
  if (frame.header.id() != proto::kNilUuid) field("id", [&] { return proto::ToString(frame.header.id()); });
  field("bytes", [&] { return uint64_t{frame.payload_bytes}; });
  if (frame.is_cut()) field("known_bytes", [&] { return uint64_t{frame.payload.size()}; });
  if (frame.request() != proto::kNilUuid) field("request", [&] { return proto::ToString(frame.request()); });
  if (!frame.channel_name.empty()) field("channel", [&] { return std::string(frame.channel_name); });
  if (frame.channel != proto::kNilUuid) field("channel_id", [&] { return proto::ToString(frame.channel); });
  if (frame.client != proto::kNilUuid) field("client", [&] { return proto::ToString(frame.client); });
  if (frame.side != Side::kNone) {
    field("side", [&] { return std::string(SideName(frame.side)); });
  }
  if (frame.begins) field("begins", [] { return true; });
  if (frame.ends) field("ends", [] { return true; });
  if (frame.is_late) field("late", [] { return true; });
  if (frame.rule != Rule::kNone) {
    field("violation", [&] { return std::string(InfoOf(frame.rule).name); });
    field("rule", [&] { return std::string(frame.rule_words); });
    field("section", [&] { return std::string(InfoOf(frame.rule).section); });
  }
  if (frame.credit.has_value()) {
    field("cost", [&] { return frame.credit->cost; });
    field("credit", [&] { return frame.credit->window; });
    field("credit_left", [&] { return frame.credit->left(); });
  }
  if (frame.content == nullptr) return;
  if (frame.content->state != Payload::State::kParsed) {
    field("payload", [&] { return std::string(PayloadState(frame.content->state)); });
    return;
  }
  VisitContent(frame, field);
}

}  // namespace

std::vector<Field> FieldsOf(const SeenFrame& frame) {
  std::vector<Field> fields;
  // Made in its place: g++ 12 suspects a Field that is moved there of being uninitialized.
  auto add = [&fields](std::string_view name, auto make) {
    Field& field = fields.emplace_back();
    field.name = name;
    field.value = make();
  };
  Visit(frame, add);
  return fields;
}

std::optional<Value> FieldOf(const SeenFrame& frame, std::string_view name) {
  std::optional<Value> found;
  auto pick = [&found, name](std::string_view candidate, auto make) {
    if (candidate == name) found = make();
  };
  Visit(frame, pick);
  return found;
}

std::string TimeText(absl::Time at) { return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", at, absl::UTCTimeZone()); }

std::string_view NameOf(Direction direction) { return direction == Direction::kToServer ? "to_server" : "to_client"; }

std::span<const FieldInfo> AllFields() { return kAll; }

std::vector<std::string> AllStatusNames() {
  std::vector<std::string> names;
  for (uint32_t code = 0; code <= static_cast<uint32_t>(absl::StatusCode::kUnauthenticated); ++code) {
    names.push_back(CodeName(code));
  }
  return names;
}

std::vector<std::string> AllEndNames() {
  return absl::StrSplit(
      "completed deadline queue_count queue_bytes queue_bytes_total sender_reset sender_lost receiver_reset "
      "receiver_lost no_receiver second_start not_started after_end start_too_large end_too_large "
      "window_too_far window_overrun stopping memory slot_not_joined slot_busy connection_leaving id_live left "
      "taken_over client_live client_limit max_clients channel_limit peer_closed peer_lost goaway bad_preface "
      "bad_version before_hello second_hello observer bad_header payload_too_large malformed server_frame "
      "bad_start slot_bound observer_role channel_name hello_timeout heartbeat partial_frame_bytes_total send_queue "
      "send_queue_bytes_total control_frames_owed max_connections max_unauthenticated max_observers "
      "frames_per_second resets_per_second control_frames_per_second connection_lost open reset",
      ' ');
}

std::string TextOf(const Value& value) {
  if (const auto* const text = std::get_if<std::string>(&value)) return tools::Printable(*text, text->size());
  if (const auto* const number = std::get_if<uint64_t>(&value)) return absl::StrCat(*number);
  if (const auto* const truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  std::string text;
  for (const auto& [key, of_key] : std::get<Metadata>(value)) {
    if (!text.empty()) text += ", ";
    text += tools::Printable(key, key.size()) + "=" + tools::Printable(of_key, of_key.size());
  }
  return text;
}

}  // namespace relay::inspect

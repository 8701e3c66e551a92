#include "tools/inspect/filter.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/inspect/exchange_fields.h"
#include "tools/inspect/words.h"

namespace relay::inspect {
namespace {

using Test = Filter::Test;
using Lookup = Filter::Lookup;

// Deep enough for people; a hostile text ends in an error and not in the stack's end.
constexpr int kMostDepth = 100;
constexpr size_t kChoiceColumns = 77;
constexpr std::array<std::string_view, 7> kOperators = {"==", "!=", "<=", ">=", "<", ">", "~"};
constexpr std::string_view kMetadataPrefix = "metadata.";

bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-';
}

using Fields = std::span<const FieldInfo>;

struct Error {
  size_t column;
  std::string words;
  std::vector<Fields> choices = {};  // that would have been right instead
};

std::vector<Fields> FieldsOf(Filter::Shown shown) {
  std::vector<Fields> fields;
  if (shown != Filter::Shown::kExchanges) fields.push_back(AllFields());
  if (shown != Filter::Shown::kFrames) fields.push_back(AllExchangeFields());
  return fields;
}

// Null where there is none of that name.
const FieldInfo* Find(std::string_view name, const std::vector<Fields>& among) {
  static constexpr FieldInfo kOfMetadata = {"metadata.KEY", FieldKind::kText};
  const bool has_metadata = among.front().data() == AllFields().data();
  if (has_metadata && name.starts_with(kMetadataPrefix) && name.size() > kMetadataPrefix.size()) return &kOfMetadata;
  for (const Fields fields : among) {
    for (const FieldInfo& field : fields) {
      if (field.name == name) return &field;
    }
  }
  return nullptr;
}

// How many letters would have to change.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[b.size()];
}

// "; is it NAME?", where one of `names` is much like it.
std::string Guess(std::string_view name, const std::vector<std::string>& names) {
  std::string nearest;
  size_t least = 3;
  for (const std::string& candidate : names) {
    const auto lower = [](std::string_view text) { return absl::AsciiStrToLower({text.data(), text.size()}); };
    const size_t distance = Distance(lower(name.substr(0, 64)), lower(candidate));
    if (distance >= least) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest.empty() ? "" : absl::StrCat("; is it ", nearest, "?");
}

// A name that nothing shown has.
Error UnknownName(size_t column, const std::string& name, Filter::Shown shown) {
  const std::vector<Fields> among = FieldsOf(shown);
  if (Find(name, FieldsOf(Filter::Shown::kBoth)) == nullptr) {
    std::vector<std::string> names;
    for (const Fields fields : among) {
      for (const FieldInfo& field : fields) names.emplace_back(field.name);
    }
    return {column, absl::StrCat("no field '", name, "'", Guess(name, names)), among};
  }
  const bool is_of_frames = shown == Filter::Shown::kExchanges;
  return {column,
          absl::StrCat("'", name, "' is a field of ", is_of_frames ? "frames" : "exchanges", "; here ",
                       is_of_frames ? "exchanges" : "frames", " are shown"),
          among};
}

// "4096", "4K", "1M".
std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit(rest, static_cast<size_t>(text.data() + text.size() - rest));
  if (unit.empty()) return number;
  constexpr std::string_view kUnits = "KMG";
  const size_t power = unit.size() == 1 ? kUnits.find(unit[0]) : std::string_view::npos;
  if (power == std::string_view::npos) return std::nullopt;
  const uint64_t factor = uint64_t{1} << (10 * (power + 1));
  if (number > UINT64_MAX / factor) return std::nullopt;
  return number * factor;
}

// As ids are shown, whole or in short.
bool IsId(std::string_view value) {
  if (value.size() == 8) return value.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  const std::optional<proto::Uuid> id = proto::ParseUuid(value);
  return id.has_value() && proto::ToString(*id) == value;
}

// What is wrong with a value that the field never has; empty where nothing is.
std::string FaultOf(const FieldInfo& field, const std::string& value) {
  if (field.kind == FieldKind::kId && !IsId(value)) {
    return absl::StrCat(std::string(field.name), " is an id: a UUID, or the 8 digits that are shown of it");
  }
  if (field.values == nullptr || value.starts_with("type ") || value.starts_with("code ")) return "";
  const std::vector<std::string> values = field.values();
  if (std::find(values.begin(), values.end(), value) != values.end()) return "";
  const std::string name(field.name);
  if (values.size() <= 5) return absl::StrCat(name, " is one of ", absl::StrJoin(values, ", "));
  const std::string guess = Guess(value, values);
  const bool is_part = std::any_of(values.begin(), values.end(), [&value](const std::string& whole) {
    return whole.find(value) != std::string::npos;
  });
  return absl::StrCat("no ", name, " '", value, "'", guess,
                      guess.empty() && is_part ? absl::StrCat("; ", name, "~", value, " asks for a part of it") : "");
}

// The beginning of a time as TimeText writes it, of a year at least.
bool BeginsTime(std::string_view text) {
  constexpr std::string_view kPattern = "dddd-dd-ddTdd:dd:dd.ddddddZ";
  if (text.size() < 4 || text.size() > kPattern.size()) return false;
  return std::equal(text.begin(), text.end(), kPattern.begin(), [](char c, char wanted) {
    return wanted == 'd' ? std::isdigit(static_cast<unsigned char>(c)) != 0 : c == wanted;
  });
}

std::optional<std::string> TextIn(const Lookup& lookup, std::string_view name) {
  if (!name.starts_with(kMetadataPrefix)) {
    const std::optional<Value> value = lookup(name);
    if (!value.has_value()) return std::nullopt;
    return TextOf(*value);
  }
  const std::optional<Value> value = lookup("metadata");
  if (!value.has_value()) return std::nullopt;
  for (const auto& [key, of_key] : std::get<Metadata>(*value)) {
    if (key == name.substr(kMetadataPrefix.size())) return of_key;
  }
  return std::nullopt;
}

// An id is also known by the 8 digits that are shown of it.
bool SameText(std::string_view value, std::string_view wanted) {
  if (value == wanted) return true;
  if (wanted.size() != 8 || value.size() != 36) return false;
  const std::optional<proto::Uuid> id = proto::ParseUuid(value);
  return id.has_value() && ShortId(*id) == wanted;
}

template <typename T>
bool Compare(std::string_view op, const T& a, const T& b) {
  if (op == "==") return a == b;
  if (op == "!=") return a != b;
  if (op == "<") return a < b;
  if (op == "<=") return a <= b;
  if (op == ">") return a > b;
  return a >= b;
}

class Parser {
 public:
  Parser(std::string_view text, Filter::Shown shown) : text_(text), shown_(shown) {}

  // Throws no exception: the first error is kept, and everything after it is skipped.
  Test ParseAll() {
    Test test = ParseOr(0);
    SkipSpace();
    if (!error_.has_value() && at_ < text_.size()) Fail(at_, "here '&&' or '||' was expected");
    return test;
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  Test Fail(size_t column, std::string words) { return Fail(Error{column, std::move(words)}); }

  Test Fail(Error error) {
    if (!error_.has_value()) error_ = std::move(error);
    at_ = text_.size();
    return [](const Lookup&) { return false; };
  }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }

  bool Take(std::string_view symbol) {
    SkipSpace();
    if (!text_.substr(at_).starts_with(symbol)) return false;
    at_ += symbol.size();
    return true;
  }

  Test ParseOr(int depth) {
    Test left = ParseAnd(depth);
    while (Take("||")) {
      left = [a = std::move(left), b = ParseAnd(depth)](const Lookup& lookup) { return a(lookup) || b(lookup); };
    }
    return left;
  }

  Test ParseAnd(int depth) {
    Test left = ParseNot(depth);
    while (Take("&&")) {
      left = [a = std::move(left), b = ParseNot(depth)](const Lookup& lookup) { return a(lookup) && b(lookup); };
    }
    return left;
  }

  Test ParseNot(int depth) {
    SkipSpace();
    if (depth > kMostDepth) return Fail(at_, "so deep nobody looks");
    const size_t open_at = at_;
    if (!text_.substr(at_).starts_with("!=") && Take("!")) {
      return [inner = ParseNot(depth + 1)](const Lookup& lookup) { return !inner(lookup); };
    }
    if (Take("(")) {
      Test inner = ParseOr(depth + 1);
      if (!error_.has_value() && !Take(")")) return Fail(open_at, "this '(' is not closed");
      return inner;
    }
    return ParseComparison();
  }

  Test ParseComparison() {
    const size_t name_at = at_;
    while (at_ < text_.size() && IsNameCharacter(text_[at_])) ++at_;
    std::string name(text_.substr(name_at, at_ - name_at));
    if (name == kMetadataPrefix && IsQuote()) {
      const std::optional<std::string> key = ParseQuoted();
      if (!key.has_value()) return Fail(at_, "this '\"' is not closed");
      name += *key;
    }
    if (name.empty()) return Fail(name_at, "here the name of a field was expected");
    const FieldInfo* const field = Find(name, FieldsOf(shown_));
    if (field == nullptr) return Fail(UnknownName(name_at, name, shown_));
    SkipSpace();
    const size_t op_at = at_;
    for (const std::string_view op : kOperators) {
      if (Take(op)) return ParseValue(name, *field, op, op_at);
    }
    if (text_.substr(at_).starts_with('=')) return Fail(at_, "equal is '=='");
    return [name](const Lookup& lookup) {
      const std::optional<std::string> value = TextIn(lookup, name);
      return value.has_value() && !value->empty() && *value != "0" && *value != "false";
    };
  }

  bool IsQuote() const { return at_ < text_.size() && text_[at_] == '"'; }

  // Nothing where it is not closed.
  std::optional<std::string> ParseQuoted() {
    std::string value;
    for (size_t at = at_ + 1; at < text_.size(); ++at) {
      if (text_[at] == '"') {
        at_ = at + 1;
        return value;
      }
      if (text_[at] == '\\' && at + 1 < text_.size()) ++at;
      value += text_[at];
    }
    return std::nullopt;
  }

  Test ParseValue(const std::string& name, const FieldInfo& field, std::string_view op, size_t op_at) {
    SkipSpace();
    const size_t value_at = at_;
    std::string value;
    if (IsQuote()) {
      std::optional<std::string> quoted = ParseQuoted();
      if (!quoted.has_value()) return Fail(value_at, "this '\"' is not closed");
      value = *std::move(quoted);
    } else {
      while (at_ < text_.size() && IsNameCharacter(text_[at_])) value += text_[at_++];
      if (value.empty() && text_.substr(at_).starts_with('\'')) return Fail(value_at, "quotes of values are \"");
      if (value.empty()) return Fail(value_at, absl::StrCat("here a value for ", name, " was expected"));
    }
    switch (field.kind) {
      case FieldKind::kNumber:
        return NumberTest(name, field, op, value, op_at, value_at);
      case FieldKind::kBool:
      case FieldKind::kKnownBool:
        if (value != "true" && value != "false") return Fail(value_at, absl::StrCat(name, " is true or false"));
        if (op != "==" && op != "!=") return Fail(op_at, absl::StrCat(name, " is true or false: == and != alone fit"));
        return [name, is_known = field.kind == FieldKind::kKnownBool,
                want = (value == "true") == (op == "==")](const Lookup& lookup) {
          const std::optional<std::string> text = TextIn(lookup, name);
          return (text.has_value() || !is_known) && (text.value_or("false") == "true") == want;
        };
      case FieldKind::kTime:
        return TimeTest(name, op, value, op_at, value_at);
      case FieldKind::kText:
      case FieldKind::kId:
      case FieldKind::kMetadata:
        break;
    }
    if (op == "~") {
      return [name, value](const Lookup& lookup) {
        const std::optional<std::string> text = TextIn(lookup, name);
        return text.has_value() && text->find(value) != std::string::npos;
      };
    }
    if (op != "==" && op != "!=") return Fail(op_at, absl::StrCat(name, " is text: ==, != and ~ alone fit"));
    if (const std::string fault = FaultOf(field, value); !fault.empty()) return Fail(value_at, fault);
    return [name, value, want = op == "=="](const Lookup& lookup) {
      const std::optional<std::string> text = TextIn(lookup, name);
      return (text.has_value() && SameText(*text, value)) == want;
    };
  }

  // As exactly as `value` is written: what stands behind so many characters does not count.
  Test TimeTest(const std::string& name, std::string_view op, const std::string& value, size_t op_at, size_t value_at) {
    if (!BeginsTime(value)) {
      return Fail(value_at, absl::StrCat(name, R"( is as "2026-01-31T23:59:59.000001Z", or the beginning of that)"));
    }
    if (op == "~") return Fail(op_at, absl::StrCat(name, " is a time: '~' does not fit"));
    return [name, op, value](const Lookup& lookup) {
      const std::optional<std::string> found = TextIn(lookup, name);
      return found.has_value() &&
             Compare(op, std::string_view(*found).substr(0, value.size()), std::string_view(value));
    };
  }

  Test NumberTest(const std::string& name, const FieldInfo& field, std::string_view op, const std::string& value,
                  size_t op_at, size_t value_at) {
    const std::optional<uint64_t> number = ParseNumber(value);
    if (!number.has_value())
      return Fail(value_at, absl::StrCat(name, " is a number, as 4096 or 4K; '", value, "' is none"));
    if (*number > field.most) return Fail(value_at, absl::StrCat(name, " is at most ", field.most));
    if (op == "~") return Fail(op_at, absl::StrCat(name, " is a number: '~' does not fit"));
    return [name, op, wanted = *number](const Lookup& lookup) {
      const std::optional<Value> found = lookup(name);
      if (!found.has_value()) return op == "!=";
      const auto* const has = std::get_if<uint64_t>(&*found);
      return has != nullptr && Compare(op, *has, wanted);
    };
  }

  const std::string_view text_;
  const Filter::Shown shown_;
  size_t at_ = 0;
  std::optional<Error> error_;
};

}  // namespace

absl::StatusOr<Filter> Filter::Parse(std::string_view text, Shown shown) {
  Parser parser(text, shown);
  Test test = parser.ParseAll();
  if (!parser.error().has_value()) return Filter(std::move(test), shown);
  const Error& error = *parser.error();
  const size_t column = Columns(text.substr(0, error.column));
  std::string message = absl::StrCat("--filter: ", error.words, ", at column ", column + 1, "\n  ", std::string(text),
                                     "\n  ", std::string(column, ' '), "^");
  for (const Fields fields : error.choices) {
    absl::StrAppend(&message, "\nfields of ", fields.data() == AllFields().data() ? "frames" : "exchanges", ":");
    std::string names;
    for (const FieldInfo& field : fields) absl::StrAppend(&names, names.empty() ? "" : " ", std::string(field.name));
    for (const std::string_view line : Wrap(names, kChoiceColumns))
      absl::StrAppend(&message, "\n  ", std::string(line));
  }
  return absl::InvalidArgumentError(message);
}

bool Filter::Matches(const SeenFrame& frame) const {
  return test_([&frame](std::string_view name) { return FieldOf(frame, name); });
}

bool Filter::Matches(const Exchange& exchange) const {
  return test_([&exchange](std::string_view name) { return FieldOf(exchange, name); });
}

bool Filter::Matches(const Opening& opening) const {
  return test_([&opening](std::string_view name) -> std::optional<Value> {
    if (name == "connection") return opening.connection;
    if (name == "time" && opening.at != absl::InfinitePast()) return TimeText(opening.at);
    return std::nullopt;
  });
}

bool Filter::Matches(const Place& place) const {
  return test_([&place](std::string_view name) -> std::optional<Value> {
    if (name == "connection") return place.connection;
    if (name == "direction") return std::string(NameOf(place.direction));
    if (name == "time" && place.at != absl::InfinitePast()) return TimeText(place.at);
    return std::nullopt;
  });
}

}  // namespace relay::inspect

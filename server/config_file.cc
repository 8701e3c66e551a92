#include "server/config_file.h"

#include <algorithm>
#include <istream>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace relay::server {
namespace {

constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kForm = "a line has the form: name = value";

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

// A comment begins with a # at the beginning, or behind a blank.
std::string_view WithoutComment(std::string_view text) {
  for (size_t at = text.find('#'); at != std::string_view::npos; at = text.find('#', at + 1)) {
    if (at == 0 || kBlanks.find(text[at - 1]) != std::string_view::npos) return text.substr(0, at);
  }
  return text;
}

// Names and values end up in messages and in C strings.
bool HasControl(std::string_view line) {
  return std::any_of(line.begin(), line.end(),
                     [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; });
}

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

struct Line {
  std::string_view name = {};  // "" for a line that says nothing
  std::string_view value = {};
  std::string_view fault = {};  // what is wrong with it
};

Line Read(std::string_view text) {
  if (HasControl(text)) return {.fault = "a line has no control characters"};
  if (Trimmed(WithoutComment(text)).empty()) return {};
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return {.fault = kForm};
  const std::string_view name = Trimmed(text.substr(0, equals));
  if (name.empty()) return {.fault = kForm};
  std::string_view value = Trimmed(text.substr(equals + 1));
  if (!value.starts_with('"')) {
    value = Trimmed(WithoutComment(value));
    return value.empty() ? Line{.fault = "a name without a value"} : Line{.name = name, .value = value};
  }
  const size_t close = value.find('"', 1);
  if (close == std::string_view::npos) return {.fault = "a quote is not closed"};
  const std::string_view behind = value.substr(close + 1);
  if (behind.starts_with('#') || !Trimmed(WithoutComment(behind)).empty()) {
    return {.fault = "something stands behind the value"};
  }
  if (close == 1) return {.fault = "a name without a value"};
  return {.name = name, .value = value.substr(1, close - 1)};
}

}  // namespace

std::string ConfigFile::OptionOf(std::string_view name) const {
  const CLI::Option* const option = app_.get_option_no_throw(absl::StrCat("--", Absl(name)));
  return option != nullptr && option->get_configurable() ? option->get_lnames().front() : "";
}

std::vector<CLI::ConfigItem> ConfigFile::from_config(std::istream& input) const {
  std::vector<CLI::ConfigItem> options;
  size_t number = 0;
  for (std::string text; std::getline(input, text);) {
    ++number;
    if (text.ends_with('\r')) text.pop_back();
    const Line line = Read(text);
    if (!line.fault.empty()) throw CLI::ConfigError(absl::StrCat("line ", number, ": ", Absl(line.fault)));
    if (line.name.empty()) continue;
    const std::string option = OptionOf(line.name);
    if (option.empty()) {
      throw CLI::ConfigError(absl::StrCat("line ", number, ": no option is called '", Absl(line.name), "'"));
    }
    const auto same = std::find_if(options.begin(), options.end(),
                                   [&option](const CLI::ConfigItem& item) { return item.name == option; });
    CLI::ConfigItem& item = same != options.end() ? *same : options.emplace_back();
    item.name = option;
    item.inputs.emplace_back(line.value);
  }
  return options;
}

}  // namespace relay::server

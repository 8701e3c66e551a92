#include "tools/relay/environment.h"

#include <algorithm>
#include <array>
#include <utility>

namespace relay::tools {
namespace {

constexpr std::string_view kMetadataPrefix = "RELAY_META_";
constexpr std::array<std::string_view, 7> kNames = {"RELAY_CHANNEL",   "RELAY_REQUEST_ID",   "RELAY_SENDER_ID",
                                                    "RELAY_METHOD",    "RELAY_CONTENT_TYPE", "RELAY_ATTEMPT",
                                                    "RELAY_TIMEOUT_MS"};

bool IsOurs(std::string_view variable) {
  const std::string_view name = variable.substr(0, variable.find('='));
  return name.starts_with(kMetadataPrefix) || std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

char VariableCharacter(char c) {
  if (c >= 'a' && c <= 'z') return static_cast<char>(c - 'a' + 'A');
  const bool stays = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return stays ? c : '_';
}

using Variables = std::vector<std::pair<std::string, std::string>>;

void Add(Variables& variables, std::string name, std::string_view value) {
  if (value.find('\0') != std::string_view::npos) return;
  const auto same = std::find_if(variables.begin(), variables.end(),
                                 [&name](const auto& variable) { return variable.first == name; });
  if (same == variables.end()) {
    variables.emplace_back(std::move(name), value);
  } else {
    same->second.append("\n").append(value);
  }
}

}  // namespace

std::string MetadataVariable(std::string_view key) {
  std::string name(kMetadataPrefix);
  for (const char c : key) name += VariableCharacter(c);
  return name;
}

std::vector<std::string> CommandEnvironment(const RequestInfo& info, std::string_view channel,
                                            std::optional<std::chrono::milliseconds> remaining,
                                            std::span<const std::string> inherited) {
  Variables variables;
  Add(variables, "RELAY_CHANNEL", channel);
  Add(variables, "RELAY_REQUEST_ID", info.id.ToString());
  Add(variables, "RELAY_SENDER_ID", info.sender.ToString());
  Add(variables, "RELAY_METHOD", info.method);
  Add(variables, "RELAY_CONTENT_TYPE", info.content_type);
  Add(variables, "RELAY_ATTEMPT", std::to_string(info.attempt));
  if (remaining.has_value()) Add(variables, "RELAY_TIMEOUT_MS", std::to_string(remaining->count()));
  for (const auto& [key, value] : info.metadata) Add(variables, MetadataVariable(key), value);

  std::vector<std::string> environment;
  for (const std::string& variable : inherited) {
    if (!IsOurs(variable)) environment.push_back(variable);
  }
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  return environment;
}

}  // namespace relay::tools

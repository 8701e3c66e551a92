#include "tools/relay/command_line.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "tools/relay/exit_codes.h"
#include "tools/relay/io.h"
#include "tools/relay/text.h"

namespace relay::tools {
namespace {

// "" where there is none.
std::string FaultOfServers(const std::string& urls) {
  const bool has_gap =
      urls.empty() || urls.front() == ',' || urls.back() == ',' || urls.find(",,") != std::string::npos;
  return has_gap ? "'" + urls + "' lacks a URL: it needs one, or several with a comma between" : "";
}

// For CLI11, to which "--name=" has no value yet: it takes the next argument, "--idempotent" or whatever, for that.
std::vector<std::string> WithEmptyValues(const CLI::App& app, int argc, const char* const* argv) {
  std::vector<std::string> arguments;
  bool is_value = false;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    const size_t equals = argument.find('=');
    const CLI::Option* const option =
        is_value || !argument.starts_with("--") ? nullptr : app.get_option_no_throw(argument.substr(0, equals));
    const bool takes_value = option != nullptr && option->get_items_expected_min() > 0;
    is_value = takes_value && equals == std::string::npos;
    const bool is_cut_off = takes_value && equals + 1 == argument.size();
    if (is_cut_off) argument.pop_back();
    arguments.push_back(std::move(argument));
    if (is_cut_off) arguments.emplace_back();
  }
  return arguments;
}

}  // namespace

std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv, std::string_view help) {
  app.set_help_flag("-h,--help");
  try {
    std::vector<std::string> arguments = WithEmptyValues(app, argc, argv);
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    app.parse(std::move(arguments));
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    return Print(app.get_name(), help);
  } catch (const CLI::ParseError& error) {
    return UsageError(app.get_name(), error.what());
  }
}

int Print(std::string_view command, std::string_view text) {
  const Status status = WriteAll(STDOUT_FILENO, "stdout", text);
  if (status.ok()) return kExitOk;
  // Who has read enough needs no word.
  if (status.code() == StatusCode::kFailedPrecondition) return ExitCodeOf(StatusCode::kCancelled);
  PrintError(std::string(command) + ": " + status.message() + "\n");
  return kExitIo;
}

int UsageError(std::string_view command, std::string_view words) {
  const std::string name(command);
  PrintError(name + ": " + std::string(words) + "\n" + name + " --help shows what there is\n");
  return kExitUsage;
}

std::function<std::string(const std::string&)> Needs(std::string_view what) {
  return [what](const std::string& value) { return value.empty() ? "it needs " + std::string(what) : ""; };
}

CLI::Option* AddDuration(CLI::App& app, const std::string& name, std::optional<std::chrono::milliseconds>& value) {
  return app.add_option_function<std::string>(name, [&value](const std::string& text) { value = ParseDuration(text); })
      ->check([](const std::string& text) {
        return ParseDuration(text).has_value() ? ""
                                               : "'" + text + "' is no time up to 1193h: a number and ms, s, m or h";
      });
}

void AddServer(CLI::App& app, std::string& url) {
  const char* const variable = std::getenv("RELAY_SERVER");
  const bool is_set = variable != nullptr && *variable != '\0';
  url = is_set ? variable : kDefaultServer;
  CLI::Option* const option = app.add_option("--server", url)->check(FaultOfServers);
  app.callback([option, &url] {
    const std::string fault = FaultOfServers(url);
    if (!*option && !fault.empty()) throw CLI::ValidationError("RELAY_SERVER", fault);
  });
}

}  // namespace relay::tools

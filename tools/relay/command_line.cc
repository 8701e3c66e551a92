#include "tools/relay/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdlib>

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

}  // namespace

std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv, std::string_view help) {
  app.set_help_flag("-h,--help");
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    return WriteAll(STDOUT_FILENO, "stdout", help).ok() ? kExitOk : kExitIo;
  } catch (const CLI::ParseError& error) {
    return UsageError(app.get_name(), error.what());
  }
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

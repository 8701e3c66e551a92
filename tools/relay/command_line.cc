#include "tools/relay/command_line.h"

#include <CLI/CLI.hpp>

#include "tools/relay/exit_codes.h"
#include "tools/relay/io.h"
#include "tools/relay/text.h"

namespace relay::tools {

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

CLI::Option* AddDuration(CLI::App& app, const std::string& name, std::optional<std::chrono::milliseconds>& value) {
  return app.add_option_function<std::string>(name, [&value](const std::string& text) { value = ParseDuration(text); })
      ->check([](const std::string& text) {
        return ParseDuration(text).has_value() ? ""
                                               : "'" + text + "' is no time up to 1193h: a number and ms, s, m or h";
      });
}

void AddServer(CLI::App& app, std::string& url) {
  url = kDefaultServer;
  app.add_option("--server", url)->envname("RELAY_SERVER");
}

}  // namespace relay::tools

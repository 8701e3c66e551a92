// The file of options that --config names: a line each, `name = value` or `name = "value"`, without the dashes of the
// flag. Blank lines and what follows a # (behind a blank, or at the beginning of a line) are not looked at; a value
// with a # or blanks at its ends stands in quotes. Anything else is refused with the number of its line.

#ifndef RELAY_SERVER_CONFIG_FILE_H_
#define RELAY_SERVER_CONFIG_FILE_H_

#include <CLI/CLI.hpp>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace relay::server {

// Reads for CLI11, whose own reader drops what it does not understand. A name that stands in several lines is as a flag
// that is given several times. `app`, whose options the names are, outlives it. Thread-compatible.
class ConfigFile : public CLI::Config {
 public:
  explicit ConfigFile(const CLI::App& app) : app_(app) {}

  // Throws CLI::ConfigError.
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;
  // Nobody asks for it.
  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }

 private:
  // The option of a line of the file, by the name that it has in CLI11.
  std::string OptionOf(std::string_view name) const;

  const CLI::App& app_;
};

}  // namespace relay::server

#endif  // RELAY_SERVER_CONFIG_FILE_H_

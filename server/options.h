// The command line and the configuration file of relayd.

#ifndef RELAY_SERVER_OPTIONS_H_
#define RELAY_SERVER_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/limits.h"

namespace relay::server {

// A value type.
struct Options {
  std::vector<std::string> listen = {"tcp://127.0.0.1:7420"};
  std::string log_level = "info";
  uint32_t threads = 1;
  Limits limits;

  friend bool operator==(const Options&, const Options&) = default;
};

// Reads argv, and the file that --config names; the command line goes before the file. Else the exit status: 0 where
// --help or --version was printed to stdout, 1 where it could not be, 64 (EX_USAGE) where an option was refused, with
// the reason on stderr.
std::variant<Options, int> ParseOptions(int argc, const char* const* argv);

}  // namespace relay::server

#endif  // RELAY_SERVER_OPTIONS_H_

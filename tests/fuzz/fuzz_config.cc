// Any bytes as the file that relayd's --config names. A second reading of the format (a line each: name = value, or
// name = "value"; # and blank lines) says which flags the file stands for: both are refused, or give equal options. A
// refusal names the flag or the line, and nothing else is said.
//
// The input is the file.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <optional>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "require.h"
#include "server/options.h"

namespace relay::fuzz {
namespace {

using server::Options;

struct Result {
  std::variant<Options, int> parsed;
  std::string words;
};

Result Parse(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"relayd"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::ostringstream out;
  std::ostringstream err;
  std::streambuf* const own_out = std::cout.rdbuf(out.rdbuf());
  std::streambuf* const own_err = std::cerr.rdbuf(err.rdbuf());
  auto parsed = server::ParseOptions(static_cast<int>(argv.size()), argv.data());
  std::cout.rdbuf(own_out);
  std::cerr.rdbuf(own_err);
  Require(out.str().empty(), "nothing is written to stdout");
  return {std::move(parsed), err.str()};
}

// The file's flags, or nothing where it is none.
std::optional<std::vector<std::string>> FlagsOf(const std::string& text) {
  // Printable or not ASCII: what a line may hold beside tabs.
  static const std::regex line_form(
      R"re([ \t]*(?:([a-z][a-z-]*)[ \t]*=[ \t]*(?:"([^"]+)"|([^" \t#][^]*?))[ \t]*(?:[ \t]#[^]*)?)?)re",
      std::regex::ECMAScript | std::regex::optimize);
  std::vector<std::string> flags;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    const bool has_control = std::any_of(line.begin(), line.end(), [](char c) {
      return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
    });
    if (has_control) return std::nullopt;
    const size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string::npos || line[begin] == '#') continue;
    std::smatch match;
    if (!std::regex_match(line, match, line_form)) return std::nullopt;
    const std::string name = match[1];
    if (name == "config" || name == "help" || name == "version") return std::nullopt;
    flags.push_back("--" + name + "=" + (match[2].matched ? match[2].str() : match[3].str()));
  }
  return flags;
}

std::string FileOf(const std::string& text) {
  static const int file = memfd_create("relayd.conf", MFD_CLOEXEC);
  Require(file >= 0 && ftruncate(file, 0) == 0, "a file in memory");
  Require(pwrite(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()), "a file is written");
  return "/proc/self/fd/" + std::to_string(file);
}

void Look(const std::string& text) {
  const std::string path = FileOf(text);
  const Result from_file = Parse({"--config", path});
  const std::optional<std::vector<std::string>> flags = FlagsOf(text);
  const Options* const options = std::get_if<Options>(&from_file.parsed);
  if (options == nullptr) {
    Require(std::get<int>(from_file.parsed) == 64, "a refusal is a wrong use");
    static const std::regex names_place(R"re(relayd: [^]*(--[a-z][a-z-]*|: line [0-9]+: )[^]*)re");
    Require(std::regex_match(from_file.words, names_place), "a refusal names the flag or the line");
  } else {
    Require(from_file.words.empty(), "what is taken is taken without a word");
    Require(flags.has_value(), "what is no file of flags is refused");
  }
  if (!flags.has_value()) return;
  const Result from_flags = Parse(*flags);
  const Options* const same = std::get_if<Options>(&from_flags.parsed);
  Require((options == nullptr) == (same == nullptr), "a file is refused like the flags that it stands for");
  Require(options == nullptr || *options == *same, "a file gives the options of the flags that it stands for");
}

}  // namespace
}  // namespace relay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  relay::fuzz::Look(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}

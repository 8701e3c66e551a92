#include "tools/relay/exit_codes.h"

#include <array>
#include <string_view>

#include "tools/relay/text.h"

namespace relay::tools {
namespace {

struct Meaning {
  StatusCode code;
  std::string_view words;
};

constexpr std::array<Meaning, 16> kMeanings = {{
    {StatusCode::kCancelled, "given up before its end, by sender or stdout"},
    {StatusCode::kUnknown, "the receiver said so"},
    {StatusCode::kInvalidArgument, "a channel, URL or metadata that cannot be"},
    {StatusCode::kDeadlineExceeded, "nobody answered in time; nothing came in time"},
    {StatusCode::kNotFound, "the receiver said so"},
    {StatusCode::kAlreadyExists, "the id is taken"},
    {StatusCode::kPermissionDenied, "not allowed"},
    {StatusCode::kResourceExhausted, "the channel's queue, or another limit, is full"},
    {StatusCode::kFailedPrecondition, "the receiver said so"},
    {StatusCode::kAborted, "the receiver let go of the request"},
    {StatusCode::kOutOfRange, "the receiver said so"},
    {StatusCode::kUnimplemented, "the server speaks another version"},
    {StatusCode::kInternal, "the worker failed (relay receive --exec)"},
    {StatusCode::kUnavailable, "no server, no receiver, or it was lost"},
    {StatusCode::kDataLoss, "the receiver said so"},
    {StatusCode::kUnauthenticated, "not known to the server"},
}};

void AddLine(std::string& table, int code, std::string_view name, std::string_view words) {
  table += "  " + PadLeft(std::to_string(code), 3) + "  " + PadRight(name, 21) + std::string(words) + "\n";
}

}  // namespace

int ExitCodeOf(StatusCode code) { return code == StatusCode::kOk ? kExitOk : kExitStatusBase + static_cast<int>(code); }

std::string ExitCodeTable() {
  std::string table;
  AddLine(table, kExitOk, "OK", "all of it");
  for (const Meaning& meaning : kMeanings)
    AddLine(table, ExitCodeOf(meaning.code), NameOf(meaning.code), meaning.words);
  AddLine(table, kExitUsage, "usage", "the command line was not understood");
  AddLine(table, kExitNoInput, "no input", "the file of --file cannot be opened");
  AddLine(table, kExitIo, "I/O", "reading the request, or a write here, failed");
  return table;
}

}  // namespace relay::tools

#include "proto/start_block.h"

namespace relay::proto {

std::string_view RuleOf(StartFault fault) {
  switch (fault) {
    case StartFault::kNone:
      return "";
    case StartFault::kShorterThanBlock:
      return "the payload of START begins with a block of 40 bytes";
    case StartFault::kShorterThanStart:
      return "the payload of START holds the Start that its block announces";
    case StartFault::kServerFieldsSet:
      return "the server's fields of the start block are sent as zero";
    case StartFault::kTimeoutOnResponse:
      return "the timeout and its extension are zero on a RESPONSE";
  }
  return "";
}

}  // namespace relay::proto

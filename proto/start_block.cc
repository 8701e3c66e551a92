#include "proto/start_block.h"

namespace relay::proto {

StartFault CheckStart(std::span<uint8_t> payload, bool is_response) {
  if (payload.size() < kStartBlockBytes) return StartFault::kShorterThanBlock;
  const StartBlock block(payload);
  if (payload.size() < kStartBlockBytes + block.start_bytes()) return StartFault::kShorterThanStart;
  if (block.other_client() != kNilUuid || block.queue_wait_us() != 0 || block.attempt() != 0) {
    return StartFault::kServerFieldsSet;
  }
  if (is_response && (block.timeout_ms() != 0 || block.max_extension_ms() != 0)) {
    return StartFault::kTimeoutOnResponse;
  }
  return StartFault::kNone;
}

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

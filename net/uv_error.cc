#include "net/uv_error.h"

#include <uv.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace relay::net {
namespace {

absl::StatusCode CodeFor(int result) {
  switch (result) {
    case UV_EADDRINUSE:
      return absl::StatusCode::kAlreadyExists;
    case UV_EACCES:
    case UV_EPERM:
      return absl::StatusCode::kPermissionDenied;
    case UV_EMFILE:
    case UV_ENFILE:
    case UV_ENOBUFS:
    case UV_ENOMEM:
      return absl::StatusCode::kResourceExhausted;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

}  // namespace

absl::Status UvError(int result, const std::string& operation, const std::string& object) {
  return absl::Status(CodeFor(result), absl::StrCat(operation, " ", object, ": ", uv_strerror(result)));
}

void CheckUv(int result, const char* operation) {
  if (result >= 0) return;
  std::fprintf(stderr, "relay net: %s: %s\n", operation, uv_strerror(result));
  std::abort();
}

void Check(bool condition, const char* words) {
  if (condition) return;
  std::fprintf(stderr, "relay net: %s\n", words);
  std::abort();
}

}  // namespace relay::net

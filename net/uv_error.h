// libuv's results as ours: what the environment refuses becomes a Status, what only a bug of ours can cause ends the
// program. Used inside net/ only.

#ifndef RELAY_NET_UV_ERROR_H_
#define RELAY_NET_UV_ERROR_H_

#include <string>

#include "absl/status/status.h"

namespace relay::net {

// "OPERATION OBJECT: words for the error", with the code that fits a negative result of libuv (or a negated errno).
absl::Status UvError(int result, const std::string& operation, const std::string& object);

// Aborts, with the operation and the words for the error, unless the result is 0 or more. For calls that fail only when
// they are misused.
void CheckUv(int result, const char* operation);

// Aborts with the words unless the condition holds: for what callers within this program promise.
void Check(bool condition, const char* words);

}  // namespace relay::net

#endif  // RELAY_NET_UV_ERROR_H_

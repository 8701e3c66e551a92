// --requests: one line an exchange, when it ends.

#ifndef RELAY_TOOLS_INSPECT_REQUESTS_SINK_H_
#define RELAY_TOOLS_INSPECT_REQUESTS_SINK_H_

#include <string>

#include "absl/time/time.h"
#include "tools/inspect/output.h"
#include "tools/inspect/seen.h"
#include "tools/inspect/text_sink.h"

namespace relay::inspect {

// Thread-compatible.
class RequestsSink : public Sink {
 public:
  // `out` outlives it.
  RequestsSink(const TextOptions& options, Output& out) : options_(options), out_(out) {}

  void OnBegin(absl::Time at) override { first_ = at; }
  void OnExchange(const Exchange& exchange) override;
  absl::Status Finish() override { return out_.Flush(); }

 private:
  const TextOptions options_;
  Output& out_;
  absl::Time first_ = absl::InfinitePast();
  bool has_head_ = false;
};

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_REQUESTS_SINK_H_

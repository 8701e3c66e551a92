// One JSON object a line for everything that the decoder says. JSON.md is the schema.

#ifndef RELAY_TOOLS_INSPECT_JSON_SINK_H_
#define RELAY_TOOLS_INSPECT_JSON_SINK_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "tools/inspect/exchange_fields.h"
#include "tools/inspect/fields.h"
#include "tools/inspect/output.h"
#include "tools/inspect/seen.h"

namespace relay::inspect {

// Thread-compatible.
class JsonSink : public Sink {
 public:
  struct Options {
    bool only_exchanges = false;
    bool has_payloads = false;  // as hexadecimal digits
  };

  // `out` outlives it.
  JsonSink(const Options& options, Output& out) : options_(options), out_(out) {}

  void OnOpen(const Opening& opening) override;
  void OnPreface(const Place& place) override;
  void OnFrame(const SeenFrame& frame) override;
  void OnDamage(const Place& place, const Damage& damage) override;
  void OnSkipped(const Place& place, const Skipped& skipped) override;
  void OnGap(const Place& place, uint64_t offset, uint64_t bytes) override;
  void OnLost(uint64_t frames, absl::Time at) override;
  void OnClose(const Place& place) override;
  void OnExchange(const Exchange& exchange) override;
  void OnLeftOut(uint64_t exchanges) override;
  absl::Status Finish() override { return out_.Flush(); }

 private:
  void Begin(std::string_view kind);
  void Add(std::string_view name, const Value& value);
  void AddPlace(const Place& place);
  void AddTime(absl::Time at);
  void End();

  const Options options_;
  Output& out_;
  std::string line_;
};

// As a JSON string, with its quotes: bytes that are no UTF-8 become U+FFFD, and nothing in it controls who shows it.
std::string JsonString(std::string_view text);

}  // namespace relay::inspect

#endif  // RELAY_TOOLS_INSPECT_JSON_SINK_H_

// One request: its body from a source, its response to stdout, both as they come.

#ifndef RELAY_TOOLS_RELAY_TRANSFER_H_
#define RELAY_TOOLS_RELAY_TRANSFER_H_

#include "relay/exchange.h"
#include "relay/status.h"
#include "tools/relay/body_source.h"
#include "tools/relay/io.h"
#include "tools/relay/progress.h"

namespace relay::tools {

// What became of a transfer, each OK where nothing went wrong: an error of ours ended the exchange, so that its own
// status then says no more than that.
struct TransferEnd {
  Status exchange;
  Status source;  // reading the request
  Status output;  // writing to stdout; FAILED_PRECONDITION: nobody reads it any more
};

// Runs once. Two threads: the caller's takes the response, one of its own sends the request.
class Transfer {
 public:
  // With `show_meta`, what came beside the response's body goes to stderr.
  Transfer(Exchange exchange, BodySource source, bool show_meta);

  TransferEnd Run();

 private:
  void Upload();
  void Download();
  void StartProgress();
  void CheckStdout();

  Exchange exchange_;
  BodySource source_;
  const bool show_meta_;
  Progress progress_;
  Wakeup stop_upload_;
  TransferEnd end_;  // `source` is the uploading thread's
};

}  // namespace relay::tools

#endif  // RELAY_TOOLS_RELAY_TRANSFER_H_

// Where relayd's log lines go: standard error, without ever holding up the loop or stopping the process. A line that
// cannot be written at once (the disk is full, nobody reads the pipe, or nobody is there to read it) is lost and
// counted.

#ifndef RELAY_SERVER_LOG_SINK_H_
#define RELAY_SERVER_LOG_SINK_H_

#include <cstdint>
#include <mutex>

#include "spdlog/sinks/base_sink.h"

namespace relay::server {

// Thread-safe.
class LogSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  uint64_t lines_lost() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return lines_lost_;
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override {}

  uint64_t lines_lost_ = 0;
  bool is_cut_ = false;  // the last line that was written lacks its end
};

}  // namespace relay::server

#endif  // RELAY_SERVER_LOG_SINK_H_

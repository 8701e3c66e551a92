#include "net/signal.h"

#include <uv.h>

#include <utility>

#include "net/handle.h"
#include "net/uv_error.h"

namespace relay::net {

struct SignalWatcher::Handle : CallHandle<uv_signal_t> {
  using CallHandle::CallHandle;
};

SignalWatcher::SignalWatcher(Loop& loop, int signal_number, std::function<void()> call)
    : handle_(new Handle(std::move(call))) {
  CheckUv(uv_signal_init(loop.uv(), &handle_->uv), "uv_signal_init");
  CheckUv(
      uv_signal_start(
          &handle_->uv, [](uv_signal_t* signal, int) { static_cast<CallHandle<uv_signal_t>*>(signal->data)->call(); },
          signal_number),
      "uv_signal_start");
  uv_unref(handle_->base());
}

SignalWatcher::~SignalWatcher() { CloseAndDelete(handle_); }

}  // namespace relay::net

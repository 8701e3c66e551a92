#include "net/mailbox.h"

#include <utility>

#include "net/handle.h"
#include "net/uv_error.h"

namespace relay::net {

struct Wakeup::Handle : CallHandle<uv_async_t> {
  using CallHandle::CallHandle;
};

Wakeup::Wakeup(Loop& loop, std::function<void()> call) : handle_(new Handle(std::move(call))) {
  CheckUv(uv_async_init(loop.uv(), &handle_->uv,
                        [](uv_async_t* async) { static_cast<CallHandle<uv_async_t>*>(async->data)->call(); }),
          "uv_async_init");
}

Wakeup::~Wakeup() { CloseAndDelete(handle_); }

void Wakeup::Send() { CheckUv(uv_async_send(&handle_->uv), "uv_async_send"); }

}  // namespace relay::net

// The one way in which net/ lets go of a libuv handle: it is closed now, and its memory, with the call that may be
// running at this moment, is deleted by the close callback. Used inside net/ only.

#ifndef RELAY_NET_HANDLE_H_
#define RELAY_NET_HANDLE_H_

#include <uv.h>

#include <functional>
#include <utility>

namespace relay::net {

template <typename UvHandle>
struct CallHandle {
  explicit CallHandle(std::function<void()> to_call) : call(std::move(to_call)) { uv.data = this; }

  uv_handle_t* base() { return reinterpret_cast<uv_handle_t*>(&uv); }

  UvHandle uv;
  const std::function<void()> call;
};

// H has base(), and after this call nobody reads its data but the close callback.
template <typename H>
void CloseAndDelete(H* handle) {
  handle->base()->data = handle;
  uv_close(handle->base(), [](uv_handle_t* base) { delete static_cast<H*>(base->data); });
}

}  // namespace relay::net

#endif  // RELAY_NET_HANDLE_H_

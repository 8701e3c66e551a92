// How a thread hands work to a loop: a box that any thread fills and the loop's thread empties in batches.

#ifndef RELAY_NET_MAILBOX_H_
#define RELAY_NET_MAILBOX_H_

#include <uv.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "net/loop.h"
#include "net/mutex.h"

namespace relay::net {

// The handle that another thread wakes a loop with. Loop thread only, but for Send().
class Wakeup {
 public:
  Wakeup(Loop& loop, std::function<void()> call);
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  // Thread-safe, until the destructor begins. The call comes on the loop thread, once for any number of sends before.
  void Send();

 private:
  struct Handle;

  Handle* const handle_;  // Deleted by its close callback.
};

// Post is thread-safe; everything else is for the loop thread. The owner closes the mailbox before it destroys the
// loop; those who post hold the mailbox itself (shared, or joined before it goes), and it may outlive the loop once
// closed. An open mailbox keeps Run() from returning.
template <typename T>
class Mailbox {
 public:
  // `deliver` gets everything posted since the last call, in order of posting, and may take it, or close the mailbox.
  // The mailbox is not destroyed inside it.
  Mailbox(Loop& loop, std::function<void(std::vector<T>&)> deliver)
      : deliver_(std::move(deliver)), wakeup_(std::make_unique<Wakeup>(loop, [this] { Deliver(); })) {}
  ~Mailbox() { Close(); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // False, and the item is dropped, if the mailbox is closed. Wakes the loop only if the box was empty.
  bool Post(T item) {
    MutexLock lock(mutex_);
    if (wakeup_ == nullptr) return false;
    posted_.push_back(std::move(item));
    if (posted_.size() == 1) wakeup_->Send();
    return true;
  }

  // What was posted and not delivered is dropped. Idempotent.
  void Close() {
    std::vector<T> dropped;
    std::unique_ptr<Wakeup> wakeup;
    MutexLock lock(mutex_);
    dropped.swap(posted_);
    wakeup.swap(wakeup_);
  }

 private:
  void Deliver() {
    {
      MutexLock lock(mutex_);
      delivered_.swap(posted_);
    }
    if (!delivered_.empty()) deliver_(delivered_);
    delivered_.clear();
  }

  const std::function<void(std::vector<T>&)> deliver_;
  std::vector<T> delivered_;  // Loop thread; empty between deliveries, kept for its capacity.
  Mutex mutex_;
  std::vector<T> posted_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Wakeup> wakeup_ ABSL_GUARDED_BY(mutex_);  // Null once closed.
};

}  // namespace relay::net

#endif  // RELAY_NET_MAILBOX_H_

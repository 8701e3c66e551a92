// std::mutex with the annotations that clang's -Wthread-safety checks. std::condition_variable_any waits on a Mutex.

#ifndef RELAY_NET_MUTEX_H_
#define RELAY_NET_MUTEX_H_

#include <mutex>

#include "absl/base/thread_annotations.h"

namespace relay::net {

// Thread-safe.
class ABSL_LOCKABLE Mutex {
 public:
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

// Holds a Mutex for a scope.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace relay::net

#endif  // RELAY_NET_MUTEX_H_

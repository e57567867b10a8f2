// The limit, not a product: connections that are numbers, one mutex, strict FIFO with hand-off. No lease, no
// deadline, no tenant, no count.
#pragma once

#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"

namespace pglessor::bench {

// Threads: any thread may call. `granted` is called with no lock held.
class FreeList {
 public:
  using Held = int;
  using Granted = absl::AnyInvocable<void(Held)>;

  explicit FreeList(int connections) {
    for (int i = 0; i < connections; ++i) free_.push_back(i);
  }

  void Acquire(Granted granted) {
    Held held = 0;
    {
      const std::scoped_lock lock(mutex_);
      if (free_.empty()) {
        waiters_.push_back(std::move(granted));
        return;
      }
      held = free_.back();
      free_.pop_back();
    }
    granted(held);
  }

  void Release(Held held) {
    Granted next;
    {
      const std::scoped_lock lock(mutex_);
      if (waiters_.empty()) {
        free_.push_back(held);
        return;
      }
      next = std::move(waiters_.front());
      waiters_.pop_front();
    }
    next(held);
  }

 private:
  std::mutex mutex_;
  std::vector<Held> free_;
  std::deque<Granted> waiters_;
};

}  // namespace pglessor::bench

#include "server/core/expiry_queue.h"

namespace pglessor::core {

void ExpiryQueue::Schedule(LeaseCounter lease, Time at) {
  const MutexLock lock(mutex_);
  const auto [entry, added] = times_.try_emplace(lease, at);
  if (!added) {
    if (entry->second <= at) return;
    due_.erase({entry->second, lease});
    entry->second = at;
  }
  due_.emplace(at, lease);
}

void ExpiryQueue::Remove(LeaseCounter lease) {
  const MutexLock lock(mutex_);
  const auto entry = times_.find(lease);
  if (entry == times_.end()) return;
  due_.erase({entry->second, lease});
  times_.erase(entry);
}

std::vector<LeaseCounter> ExpiryQueue::TakeDue(Time now, size_t limit) {
  std::vector<LeaseCounter> taken;
  const MutexLock lock(mutex_);
  while (taken.size() < limit && !due_.empty() && due_.begin()->first <= now) {
    taken.push_back(due_.begin()->second);
    times_.erase(due_.begin()->second);
    due_.erase(due_.begin());
  }
  return taken;
}

}  // namespace pglessor::core

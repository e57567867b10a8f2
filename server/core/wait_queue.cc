#include "server/core/wait_queue.h"

#include "server/core/check.h"

namespace pglessor::core {

void WaitQueue::Push(Waiter waiter) {
  const WaiterId id = waiter.id;
  deadlines_.emplace(waiter.deadline, id);
  if (!waiter.queues) unqueued_.insert(id);
  const bool added = waiters_.emplace(id, std::move(waiter)).second;
  PGLESSOR_CHECK(added, "a waiter stands in the queue once");
}

Waiter WaitQueue::PopFront() {
  PGLESSOR_CHECK(!waiters_.empty(), "only a queue with waiters is served");
  return Take(waiters_.begin());
}

std::optional<Waiter> WaitQueue::Remove(WaiterId id) {
  const auto entry = waiters_.find(id);
  if (entry == waiters_.end()) return std::nullopt;
  return Take(entry);
}

void WaitQueue::Extend(WaiterId id, Time deadline) {
  const auto entry = waiters_.find(id);
  if (entry == waiters_.end() || entry->second.deadline >= deadline) return;
  deadlines_.erase({entry->second.deadline, id});
  entry->second.deadline = deadline;
  deadlines_.emplace(deadline, id);
}

std::optional<Waiter> WaitQueue::PopExpired(Time now) {
  if (deadlines_.empty() || deadlines_.begin()->first > now) return std::nullopt;
  return Remove(deadlines_.begin()->second);
}

std::optional<Waiter> WaitQueue::PopLastUnqueued() {
  if (unqueued_.empty()) return std::nullopt;
  return Remove(*unqueued_.rbegin());
}

Waiter WaitQueue::Take(std::map<WaiterId, Waiter>::iterator entry) {
  Waiter waiter = std::move(entry->second);
  waiters_.erase(entry);
  deadlines_.erase({waiter.deadline, waiter.id});
  if (!waiter.queues) unqueued_.erase(waiter.id);
  return waiter;
}

}  // namespace pglessor::core

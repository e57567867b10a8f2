// The acquires that wait for one pool, in the order in which they will be served. Plain state.
//
// Fair here means: first come, first served. An entry leaves by being served, by its deadline, or because
// its caller has gone; where it goes back (its connection turned out to be dead), it takes its old place.
//
// Cost: O(log n) for everything but the front, which is O(1).
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"

#include "server/core/clock.h"
#include "server/core/grant.h"
#include "server/core/ids.h"

namespace pglessor::core {

struct Waiter {
  using Done = absl::AnyInvocable<void(absl::StatusOr<Granted>)>;

  WaiterId id;
  Time since{};
  Time deadline{};
  // Takes what is idle or can be opened for it, but does not stand in line.
  bool queues = true;
  Done done;  // exactly once, with no lock held
};

class WaitQueue {
 public:
  size_t size() const { return waiters_.size(); }
  bool empty() const { return waiters_.empty(); }
  // Since when the longest waiting one has waited. Requires: not empty.
  Time oldest() const { return waiters_.begin()->second.since; }

  // Behind all with a smaller id: at the end, for a new one.
  void Push(Waiter waiter);
  // Requires: not empty.
  Waiter PopFront();
  std::optional<Waiter> Remove(WaiterId id);
  // It waits until `deadline`, if that is later than what it had. Nothing if it has left.
  void Extend(WaiterId id, Time deadline);
  // One whose deadline is `now` or before, the most overdue first.
  std::optional<Waiter> PopExpired(Time now);
  // The youngest of those that do not queue.
  std::optional<Waiter> PopLastUnqueued();

 private:
  Waiter Take(std::map<WaiterId, Waiter>::iterator entry);

  std::map<WaiterId, Waiter> waiters_;
  std::set<std::pair<Time, WaiterId>> deadlines_;
  std::set<WaiterId> unqueued_;
};

}  // namespace pglessor::core

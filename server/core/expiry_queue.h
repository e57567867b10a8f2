// Which lease is due, and when: a queue of (time, lease) that the reaper empties.
//
// The lease itself holds the truth about its expiry; this is only the reminder to look. So a reminder may
// come too early (the lease was renewed: look, and be reminded again) but never too late. That is why
// Schedule only ever moves a reminder forward: racing renewals then leave the earliest of their times,
// and a renewal that extends, the usual one, need not come here at all.
//
// Threads: any thread may call. Cost: O(log n) under one lock, never held together with another.
#pragma once

#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"

#include "server/core/clock.h"
#include "server/core/ids.h"
#include "server/core/mutex.h"

namespace pglessor::core {

class ExpiryQueue {
 public:
  // Remind of `lease` at `at`, or at the time it is scheduled for already if that is earlier.
  void Schedule(LeaseCounter lease, Time at);
  // The lease has ended: no reminder.
  void Remove(LeaseCounter lease);
  // Takes out, earliest first, at most `limit` leases whose time is `now` or before.
  std::vector<LeaseCounter> TakeDue(Time now, size_t limit);

 private:
  Mutex mutex_;
  absl::btree_set<std::pair<Time, LeaseCounter>> due_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<LeaseCounter, Time> times_ ABSL_GUARDED_BY(mutex_);  // what is in due_
};

}  // namespace pglessor::core

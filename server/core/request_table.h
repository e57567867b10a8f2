// Acquires that carry a request_id: all attempts with one id, of one identity and tenant, are one acquire,
// so that a retry never leaks a lease.
//
//                 first attempt         granted                 lease forgotten
//     (unknown) ───────────────► waiting ──────► granted ─────────────────────► (unknown)
//         ▲                        │
//         └────────────────────────┘ failed
//
// An attempt is attached until its RPC is over. Where the last one goes and none has had the lease
// delivered, the place or the lease is kept for the pool's unclaimed_timeout, and then given up: the lease
// is ended, the place cancelled. A grant may overtake that, and is then a lease given up; an attempt may, and
// is then a new acquire.
//
// Threads: any thread may call. One mutex; nothing is called under it, callers act on what is returned.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "server/core/acquire_request.h"
#include "server/core/clock.h"
#include "server/core/ids.h"
#include "server/core/lease_table.h"
#include "server/core/mutex.h"

namespace pglessor::core {

class Pool;

class RequestTable {
 public:
  RequestTable() = default;
  // Entries and attempts hold each other until the calls are over; of those left here none will be.
  ~RequestTable();
  RequestTable(const RequestTable&) = delete;
  RequestTable& operator=(const RequestTable&) = delete;

  // One acquire, whatever the number of its attempts.
  struct Entry;
  // One call of it.
  struct Attempt {
    using Done = absl::AnyInvocable<void(absl::StatusOr<LeaseView>)>;

    Time since{};
    Time deadline{};
    // The same for one whose place does not queue: until then it waits for what is opened for it.
    Time unqueued_deadline{};
    Pool* pool = nullptr;
    std::string tenant;
    Done done;  // taken by whoever answers it, once
    // Shared with the table and the other attempts; the rest is the table's.
    std::shared_ptr<Entry> entry;
    bool attached = false;
    bool answered = false;
  };
  using AttemptRef = std::shared_ptr<Attempt>;

  // A place in a pool's queue.
  struct Place {
    Pool* pool = nullptr;
    WaiterId waiter;
    int step = 0;  // of the places that one acquire has had, the first is 0
  };

  // What an attempt finds.
  struct Joined {
    bool first = false;                 // nothing: it is to queue, and to tell of it by Queued
    std::optional<LeaseCounter> lease;  // the lease that was granted
    bool giving_up = false;             // and that somebody is about to end kUnclaimed
    std::optional<Place> extend;        // a place that is to last as long as this attempt
  };
  // `attempt` has since, both deadlines, pool and done.
  // Fails with: INVALID_ARGUMENT REQUEST_ID_REUSED.
  absl::StatusOr<Joined> Join(const AcquireRequest& request, Duration unclaimed_timeout,
                              const AttemptRef& attempt);
  // The pool that the first attempt with that request_id asked; null if this would be the first.
  Pool* PoolOf(const AcquireRequest& request) const;

  // What becomes of a place.
  struct Keep {
    std::optional<Time> until;  // it must last as long, since others made that later
    bool given_up = false;      // it is to be cancelled
  };
  // The first attempt has its place; one of an earlier step than it has already counts for nothing.
  Keep Queued(const AttemptRef& first, Place place);

  // The outcome, once for each place: the attempts to be answered with it.
  struct Answer {
    std::vector<AttemptRef> attempts;
    bool given_up = false;      // nobody waits for it any more, nor may: the lease is to end kUnclaimed
    std::optional<Time> again;  // others came after it was given up: to queue once more, until then
  };
  Answer Granted(const AttemptRef& first, LeaseCounter lease);
  Answer Failed(const AttemptRef& first);

  // Its RPC is over. True if it was not answered before: it is, by the caller, with CANCELLED.
  bool Over(const AttemptRef& attempt, bool delivered, Time now);

  // What is due.
  struct Due {
    std::vector<LeaseCounter> unclaimed;  // to end kUnclaimed, unless they were claimed
    std::vector<Place> places;            // to be given up
    std::vector<AttemptRef> late;         // have waited in vain, while others wait on
  };
  Due TakeDue(Time now);

  // The lease is remembered no more.
  void Forget(LeaseCounter lease);

  size_t size() const;

 private:
  // Identity, tenant, request_id.
  using Key = std::tuple<std::string, std::string, std::string>;

  static Key KeyOf(const AcquireRequest& request);
  void Attach(const AttemptRef& attempt, const std::shared_ptr<Entry>& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Detach(const AttemptRef& attempt) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // If nobody is attached any more, and none has had the lease.
  void GiveUpLater(const std::shared_ptr<Entry>& entry, Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Drop(const std::shared_ptr<Entry>& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  absl::flat_hash_map<Key, std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<LeaseCounter, std::shared_ptr<Entry>> granted_ ABSL_GUARDED_BY(mutex_);
  // When an entry without attempts is given up; when an attempt has waited long enough.
  std::set<std::pair<Time, std::shared_ptr<Entry>>> give_ups_ ABSL_GUARDED_BY(mutex_);
  std::set<std::pair<Time, AttemptRef>> deadlines_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pglessor::core

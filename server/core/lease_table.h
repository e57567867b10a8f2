// All leases of the process, from their grant until they are forgotten: the shell around `Lease`.
//
// Threads: any thread may call. Each call takes one shard's lock of the ordered map for one lease, reads
//   the clock under it, and has dropped it before it returns: callers act on what is returned.
// Time: an ended lease is remembered for ended_retention, and at most max_ended of them; after that its
//   token is unknown.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "server/core/clock.h"
#include "server/core/connection.h"
#include "server/core/expiry_queue.h"
#include "server/core/grant.h"
#include "server/core/lease.h"
#include "server/core/mutex.h"
#include "server/core/options.h"
#include "server/core/ordered_map.h"

namespace pglessor::core {

class Pool;

// A copy of a lease at one instant: what callers are shown.
struct LeaseView {
  LeaseGrant grant;
  LeaseState state = LeaseState::kActive;
  std::optional<EndReason> end_reason;
  Duration ttl{};
  WallTime expire_wall{};
};

class LeaseTable {
 public:
  // How an end went, told when the fence stands.
  struct Ended {
    LeaseView lease;
    bool by_this_call = false;  // or had it been ended before?
    bool transaction_was_open = false;
  };
  using OnFenced = absl::AnyInvocable<void(const Ended&)>;

  // What whoever ended a lease first must now do with its connection.
  struct EndWork {
    Pool* pool = nullptr;
    SlotRef slot;
    std::shared_ptr<Connection> connection;
    EndReason reason = EndReason::kReleased;
    bool has_run_a_statement = false;
  };
  struct Permit {
    StatementId statement;
    std::shared_ptr<Connection> connection;
    std::optional<LeaseGrant> first_of;  // the lease, with its first statement
  };

  LeaseTable(const Clock& clock, const LeaseTableOptions& options) : clock_(clock), options_(options) {}

  LeaseView Insert(LeaseGrant grant, Pool* pool, Granted granted, const LeaseLimits& limits);

  std::optional<LeaseView> View(LeaseCounter lease);

  // Each fails with NOT_FOUND LEASE_NOT_FOUND, or as Lease's member of that name.
  absl::StatusOr<Permit> TakePermit(LeaseCounter lease);
  void ReturnPermit(LeaseCounter lease, StatementId statement, TransactionState transaction);
  absl::StatusOr<LeaseView> Renew(LeaseCounter lease, std::optional<Duration> ttl, Time latest);
  // The pool whose connection it has, or had; null if it is not known.
  Pool* PoolOf(LeaseCounter lease);

  // Ends it, if nobody has; then there is work, and the caller carries it out and calls Fenced.
  // `on_fenced` is called, with no lock held, once nothing of the holder can reach the database: inside
  // this call if that is so already, or if the lease lives on (kUnclaimed, and it was claimed).
  // Fails with: NOT_FOUND LEASE_NOT_FOUND; `on_fenced` is then dropped.
  absl::StatusOr<std::optional<EndWork>> End(LeaseCounter lease, EndReason reason, OnFenced on_fenced);
  // The fence stands: the lease has ended, and only now may its connection go to the next one. Requires: an
  // EndWork for it was returned, and this is called once for it. What is returned calls each `on_fenced`;
  // the caller runs it once the connection is back in its pool, so that who is told finds it there.
  [[nodiscard]] absl::AnyInvocable<void()> Fenced(LeaseCounter lease, Connection::FenceReport report);

  // Tells when the lease has ended and the fence stands, whoever ended it: inside this call if that is so.
  // Fails with: NOT_FOUND LEASE_NOT_FOUND; `on_fenced` is then dropped.
  absl::Status WhenFenced(LeaseCounter lease, OnFenced on_fenced);

  // Of at most `limit` leases that are due: those whose time is over and that nobody has ended, and those
  // that renewed themselves just now, none past what `latest` says of its pool. It is called under a lock.
  struct Due {
    std::vector<LeaseCounter> expired;
    std::vector<LeaseCounter> renewed;
  };
  Due TakeDue(size_t limit, absl::FunctionRef<Time(const Pool*)> latest);
  // Leases whose holders were idle for too long, or that may have leaked; see Lease::LookAt. Each is looked
  // at when that says so.
  struct Remiss {
    LeaseCounter lease;
    Lease::Look look;
  };
  std::vector<Remiss> TakeRemiss(size_t limit);
  // Drops what has been remembered for long enough, and returns those of it that had a request_id. Where
  // there are too many, those without go first.
  std::vector<LeaseCounter> ForgetOld();

  // All active ones that `wanted` wants, oldest first. It is called under a lock, with the time.
  std::vector<LeaseCounter> Select(absl::FunctionRef<bool(const Lease&, Time)> wanted) const;
  // The first `limit` behind `after` (unset = from the oldest on) that `wanted` wants, ended ones included,
  // oldest first. It is called under a lock.
  std::vector<LeaseCounter> Page(std::optional<LeaseCounter> after, size_t limit,
                                 absl::FunctionRef<bool(const Lease&)> wanted) const;

 private:
  struct Record {
    Record(LeaseGrant grant, Pool* its_pool, Granted granted, const LeaseLimits& limits)
        : lease(std::move(grant), limits),
          pool(its_pool),
          slot(granted.slot.slot),
          connection(std::move(granted.connection)) {}

    Lease lease;
    Pool* const pool;
    const SlotRef slot;
    // Shared with the pool's registry; dropped when the lease has ended.
    std::shared_ptr<Connection> connection;
    bool transaction_was_open = false;                 // at its end
    std::vector<std::pair<bool, OnFenced>> on_fenced;  // until it has ended; first: by_this_call
  };

  static LeaseView ViewOf(const Record& record);

  const Clock& clock_;
  const LeaseTableOptions options_;

  // Behind a pointer: a record is too large to be moved about inside the map's nodes.
  OrderedMap<LeaseCounter, std::unique_ptr<Record>> leases_;
  ExpiryQueue expiries_;
  ExpiryQueue looks_;  // of those with limits

  // Oldest first.
  using EndedList = std::deque<std::pair<Time, LeaseCounter>>;
  bool ForgetOldest(EndedList& list, bool too_many, Time now, std::vector<LeaseCounter>& forgotten)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(ended_mutex_);

  Mutex ended_mutex_;
  EndedList ended_ ABSL_GUARDED_BY(ended_mutex_);
  EndedList ended_with_request_id_ ABSL_GUARDED_BY(ended_mutex_);
};

absl::Status LeaseNotFound();

}  // namespace pglessor::core

// The acquires that wait for one pool, in the order in which they will be served. Plain state.
//
// Fair here means:
//   1. A higher priority is served before a lower one. A waiter's priority is the one that it asked for, and
//      one higher for each `age_step` that it has waited, so that nobody waits for ever.
//   2. Within a priority, tenants take turns: in each round a tenant is served as often as its weight says,
//      however many of its acquires wait.
//   3. Within a priority and a tenant, who came first is served first; one that rose is as old as it is.
// A tenant that may not have what there is (Next's `may`) is passed over and keeps its turn.
//
// A turn is kept as a virtual time (start-time fair queueing): each service moves a tenant's on by 1 /
// weight, and one that had nothing waiting begins where the others are, so that idling saves up nothing.
//
// An entry leaves by being served, by its deadline, or because its caller has gone; where it goes back (its
// connection turned out to be dead), it takes its old place.
//
// Cost: O(log n) each; Next one step more for each tenant that is passed over.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

#include "server/core/clock.h"
#include "server/core/grant.h"
#include "server/core/ids.h"
#include "server/core/priority.h"

namespace pglessor::core {

struct Waiter {
  using Done = absl::AnyInvocable<void(absl::StatusOr<Granted>)>;

  WaiterId id;
  Time since{};
  Time deadline{};
  TenantId tenant;
  Priority priority = Priority::kNormal;
  // Takes what is idle or can be opened for it, but does not stand in line.
  bool queues = true;
  // Its wait is in the statistics: it was granted a connection that had died.
  bool measured = false;
  Done done;  // exactly once, with no lock held
};

class WaitQueue {
 public:
  // `age_step` zero: nobody rises.
  explicit WaitQueue(Duration age_step) : age_step_(age_step) {}

  size_t size() const { return waiters_.size(); }
  bool empty() const { return waiters_.empty(); }
  // Since when the longest waiting one has waited. Requires: not empty.
  Time oldest() const { return waiters_.begin()->second->waiter.since; }

  // Where its id, which rises with the order of arrival, puts it.
  void Push(Waiter waiter);
  // Who is to be served next at `now`, of the tenants that `may` be served; called at most once a tenant and
  // priority.
  std::optional<WaiterId> Next(Time now, absl::FunctionRef<bool(TenantId)> may);
  // Requires: it waits.
  TenantId TenantOf(WaiterId id) const { return waiters_.find(id)->second->waiter.tenant; }
  // Takes out one that Next named, and with it its tenant's turn.
  Waiter Serve(WaiterId id);
  // In the order of service: each tenant that has somebody waiting in a priority, and how many, until `visit`
  // returns false.
  void Visit(Time now, absl::FunctionRef<bool(TenantId, size_t)> visit);

  std::optional<Waiter> Remove(WaiterId id);
  // It waits until `deadline`, if that is later than what it had. Nothing if it has left.
  void Extend(WaiterId id, Time deadline);
  // One whose deadline is `now` or before, the most overdue first.
  std::optional<Waiter> PopExpired(Time now);
  // The one that has waited longest, whatever its priority.
  std::optional<Waiter> PopOldest();
  // The youngest of those that do not queue, among these tenants'.
  std::optional<Waiter> PopLastUnqueued(absl::FunctionRef<bool(TenantId)> among);

  // 1 for a tenant that nobody has set it for.
  void SetWeight(TenantId tenant, int32_t weight);
  // Requires: nobody of this tenant waits.
  void Forget(TenantId tenant);
  // Those that wait keep when they rise next.
  void SetAgeStep(Duration age_step) { age_step_ = age_step; }

 private:
  static constexpr size_t kPriorities = 3;
  // One service of a tenant of weight 1, in virtual time.
  static constexpr uint64_t kTurn = 1 << 20;

  struct Entry {
    Waiter waiter;
    Priority standing;  // by now
    Time rises = Time::max();
  };
  // The waiters of one tenant in one priority.
  struct Line {
    absl::btree_set<WaiterId> waiters;
    uint64_t turn = 0;
    uint64_t order = 0;  // among equal turns
  };
  struct Level {
    absl::flat_hash_map<TenantId, std::unique_ptr<Line>> lines;
    // Of the lines that are not empty: (turn, order, tenant).
    absl::btree_map<std::pair<uint64_t, uint64_t>, TenantId> turns;
    uint64_t served = 0;  // the turn of whoever was served last
  };

  Level& LevelOf(Priority priority) { return levels_[static_cast<size_t>(priority) - 1]; }
  void Stand(Entry& entry, Time rises);
  void Leave(const Entry& entry);
  void Rise(Time now);
  Waiter Take(WaiterId id);
  int32_t WeightOf(TenantId tenant) const;

  Duration age_step_;
  absl::btree_map<WaiterId, std::unique_ptr<Entry>> waiters_;
  absl::btree_set<std::pair<Time, WaiterId>> deadlines_;
  absl::btree_set<std::pair<Time, WaiterId>> rises_;
  absl::btree_set<WaiterId> unqueued_;
  std::array<Level, kPriorities> levels_;
  uint64_t last_order_ = 0;
  absl::flat_hash_map<TenantId, int32_t> weights_;  // of those that are not 1
};

}  // namespace pglessor::core

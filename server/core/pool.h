// One pool: its bookkeeping under one mutex, and the outside world acted upon after the mutex is dropped.
//
// Threads: any thread may call. Each member decides in PoolState under the lock, then opens, closes and
//   completes outside it, on the calling thread.
// Owns: the pool's connections, in a registry by index. It must outlive whatever runs its connector's
//   callbacks: stop that first.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

#include "server/core/clock.h"
#include "server/core/connection.h"
#include "server/core/events.h"
#include "server/core/grant.h"
#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/core/options.h"
#include "server/core/ordered_map.h"
#include "server/core/pool_state.h"

namespace pglessor::core {

// What Stats shows of a pool.
struct PoolView {
  struct Row {
    PoolSnapshot::Slot slot;
    // Of an opening, what follows is still empty.
    std::string id;
    int32_t backend_pid = 0;
    Time opened{};
    WallTime opened_wall{};
    std::optional<LeaseCounter> lease;
  };

  PoolOptions options;
  PoolSnapshot snapshot;
  Time now{};
  WallTime now_wall{};
  Duration uptime{};
  std::vector<Row> connections;  // oldest first
};

class Pool {
 public:
  // Told, with no lock held, when a lease must end because of its connection: the backend has died.
  using LeaseLost = absl::AnyInvocable<void(LeaseCounter)>;

  // What all pools of a process share; it outlives them.
  struct Surroundings {
    const Clock& clock;
    const Events& events;
  };

  Pool(const PoolOptions& options, const Surroundings& surroundings, Connector& connector,
       FencingSource& fencing, LeaseLost lease_lost);

  const std::string& name() const { return name_; }
  // As they are now. Shared with whoever looks, since they may be replaced meanwhile.
  std::shared_ptr<const PoolOptions> options();

  // Opens the minimum. Grants begin when the first fencing block and connection are there.
  void Start();

  // `done` comes exactly once, perhaps inside this call.
  // Fails with: RESOURCE_EXHAUSTED POOL_EXHAUSTED, NO_IDLE_CONNECTION, WAIT_QUEUE_FULL,
  //   TENANT_QUOTA_EXCEEDED, RATE_LIMITED; UNAVAILABLE DATABASE_UNAVAILABLE, BREAKER_OPEN, DRAINING;
  //   FAILED_PRECONDITION DATABASE_AUTH_FAILED; PERMISSION_DENIED; CANCELLED (by Cancel).
  WaiterId Acquire(Arrival arrival);
  void Cancel(WaiterId waiter);
  // It waits until `deadline`, if that is later. Nothing if it waits no more.
  void Extend(WaiterId waiter, Time deadline);
  // What one who has waited since then, and leaves the others waiting, is told.
  absl::Status WaitedInVain(absl::string_view tenant, Time since);
  // `lease` has this connection from now on; see LeaseLost. What is returned has overtaken it: the lease is
  // to end at once, for that reason.
  std::optional<EndReason> Bind(ConnectionIndex connection, LeaseCounter lease);

  // The ends of a lease; see PoolState.
  void Return(SlotRef slot, EndReason reason);
  void BeginClean(SlotRef slot, EndReason reason);
  void Cleaned(SlotRef slot, const Connection::CleanReport& report);
  void Discard(SlotRef slot, EndReason reason);

  // Operators; see PoolState. The leases returned are for the caller to end, for the reason given.
  std::vector<LeaseCounter> Reset(bool force, const std::string& reason, PoolOperation::Done done);
  std::vector<LeaseCounter> Expire(Duration older_than, bool force, PoolOperation::Done done);
  PoolReport WouldExpire(Duration older_than, bool force);
  void Renew(int32_t target, PoolOperation::Done done);
  // What pausing, or going on, met.
  struct Pausing {
    bool changed = false;
    int32_t in_use = 0;
    int32_t waiting = 0;  // just before
  };
  Pausing Pause(const std::string& reason);
  Pausing Resume();
  // Other options from now on; false, and nothing has changed, if `before` are its options no longer.
  // Requires: they fit together, and the name is the same.
  bool Reconfigure(const std::shared_ptr<const PoolOptions>& before, const PoolOptions& options);

  void Tick();
  void Drain();
  void CloseAll();

  // It is removed: as Drain and CloseAll in one, and its leases may last until `deadline`.
  void Leave(Time deadline);
  // No lease is renewed past this.
  Time latest_expiry() const { return latest_expiry_.load(std::memory_order_relaxed); }
  // How far one that is removed is.
  enum class Stage {
    kLeaving,
    kGone,     // no slot is taken any more
    kGivenUp,  // nothing is lent, and PostgreSQL has not confirmed the end of the rest for kGiveUpAfter
  };
  struct Departure {
    Stage stage = Stage::kLeaving;
    std::vector<LeaseCounter> overdue;  // that the caller is to end kDrained; at the deadline, once
  };
  Departure Depart();

  // Connections that are in use.
  int32_t InUse();
  // No slot is taken any more.
  bool Empty();
  // It has had as many connections as its warm-up wants.
  bool Warm();

  PoolView View();

 private:
  struct Registered {
    // Shared with the lease that has it and with statements on their way to it.
    std::shared_ptr<Connection> connection;
    std::string id;
    uint64_t generation = 0;
    Time opened{};
    WallTime opened_wall{};
    std::optional<LeaseCounter> lease;
    // The next lease to be bound ends for it at once: whoever was to end it came before it was bound.
    std::optional<EndReason> end_next;
  };

  // Runs step(state, now, actions) under the lock, lets `tell` emit what was decided, and then acts: so that
  // what follows from an event is told after it.
  template <typename Step, typename Tell>
  void Decide(Step step, Tell tell);
  template <typename Step>
  void Decide(Step step) {
    Decide(std::move(step), [] {});
  }
  void Act(Actions& actions);
  void Complete(Actions::Grant& grant);
  void Open(const Actions::Opening& opening);
  void OnOpened(const Actions::Opening& opening, absl::StatusOr<std::shared_ptr<Connection>> opened);
  void OnLost(SlotRef slot);
  void Probe(SlotRef slot);
  void Close(const Actions::Closing& closing);
  void Unbind(ConnectionIndex connection);
  std::shared_ptr<Connection> Find(ConnectionIndex connection);
  // The leases that have these connections now; one that is being granted ends when it is bound.
  std::vector<LeaseCounter> LeasesOf(const std::vector<ConnectionIndex>& connections, EndReason reason);
  // An event of a connection, if anybody wants it.
  void Emit(EventType type, ConnectionIndex connection, std::string reason = {});
  Event EventOf(EventType type);

  const std::string name_;
  const Clock& clock_;
  const Events& events_;
  const Time started_;
  Connector& connector_;
  FencingSource& fencing_;
  LeaseLost lease_lost_;

  OrderedMap<ConnectionIndex, Registered> connections_;

  Mutex mutex_;
  PoolState state_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const PoolOptions> options_ ABSL_GUARDED_BY(mutex_);  // see options()

  // Of one that is removed.
  std::atomic<Time> latest_expiry_{Time::max()};
  bool overdue_told_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<Time> nothing_lent_since_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pglessor::core

// One pool's bookkeeping: slots, waiters, counts. Plain state: no lock, `now` is an argument, and every
// call appends to `Actions` what its caller must do afterwards, outside the lock.
//
// A slot is the right to have one connection. Its states, and the only ways between them:
//
//             Opened            Acquire               BeginClean
//   kOpening ───────► kAvailable ──────► kInUse ──────────────────► kCleaning
//      │ OpenFailed    │  │ ▲ ▲            │ │ Return (ran nothing)    │ │
//      ▼               │  │ │ └────────────┼─┘                         │ │
//    (free)       Lost,│  │ └──────────────┼───────────────────────────┘ │ Cleaned, Probed (sound)
//               too old│  └────────────────┼──► kCleaning (while it is probed)
//                      ▼         Discard   ▼           Retire             │
//      Gone          kRetiring ◄───────────┴──────────────────────────────┘ Probed (dead)
//    (free) ◄──────────  │ ▲
//      ▲            Stuck▼ │
//      └─────────────  kStuck
//
// Invariants
//   1. available + in_use + opening + cleaning + retiring + stuck = total <= max_connections, at every
//      instant: a slot is reserved before anything is opened, and freed only when PostgreSQL has let go.
//   2. acquires_requested = granted + timed_out + cancelled + rejected + waiting.
//   3. granted = in_use + the sum of ended.
//   4. Nobody overtakes: what becomes available goes to whom the queue names (wait_queue.h), and a
//      newcomer is granted at once only while the queue is empty.
//   5. Fencing tokens rise with every grant.
//   6. A doomed slot (of an old generation, or picked out by an operator) is never available: it retires when
//      it comes back, and closes no faster than others can take its place: the total does not fall below the
//      minimum for it. What is too old, or was not heard of for validate_after, is never granted.
//   7. A connection serves only tenants of its role, and where its last holder or the next is isolated by
//      connection, only the same tenant again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "server/core/breaker.h"
#include "server/core/connection.h"
#include "server/core/fencing_tokens.h"
#include "server/core/lease.h"
#include "server/core/options.h"
#include "server/core/pool_operation.h"
#include "server/core/recent_durations.h"
#include "server/core/recent_peak.h"
#include "server/core/tenants.h"
#include "server/core/wait_queue.h"

namespace pglessor::core {

enum class SlotState { kOpening, kAvailable, kInUse, kCleaning, kRetiring, kStuck };
inline constexpr size_t kSlotStates = 6;
inline constexpr size_t kEndReasons = 7;

// Why a connection is taken out of use.
enum class RetireReason {
  kLost,          // its backend died
  kDiscarded,     // its holder, or the way its lease ended, wants it gone
  kUnclean,       // it did not come clean
  kInvalid,       // it did not answer a probe
  kLifetime,      // it is max_lifetime old
  kIdle,          // nobody needed it for idle_timeout
  kReset,         // it is of an old generation
  kExpired,       // an operator picked it out by its age
  kSurplus,       // the maximum was lowered
  kDisplaced,     // one of another role, or for another tenant, is to take its place
  kShuttingDown,  // the service ends
  kPoolRemoved,
};

struct PoolCounters {
  int64_t acquires_requested = 0;
  int64_t granted = 0;
  int64_t timed_out = 0;
  int64_t cancelled = 0;
  int64_t rejected = 0;
  std::array<int64_t, kEndReasons> ended{};  // by EndReason
  int64_t connections_opened = 0;
  int64_t connections_closed = 0;
  int64_t opens_failed = 0;
  int64_t validations = 0;
  int64_t validation_failures = 0;
};

// What one look under the pool's lock shows.
struct PoolSnapshot {
  struct Slot {
    ConnectionIndex index;
    SlotState state = SlotState::kOpening;
    Time last_use{};
    int64_t uses = 0;
    uint64_t generation = 0;
  };

  struct TenantRow {
    std::string name;
    int32_t in_use = 0;
    int32_t waiting = 0;
    int32_t max_leases = 0;
    int64_t granted = 0;
    int64_t rejected = 0;
  };

  std::array<int32_t, kSlotStates> slots_in{};  // by SlotState
  int32_t total = 0;
  int32_t waiting = 0;
  Duration oldest_wait{};
  uint64_t generation = 0;
  BreakerState breaker = BreakerState::kClosed;
  bool paused = false;
  PoolCounters counters;
  DurationSummary wait;
  DurationSummary hold;
  std::vector<Slot> slots;         // by index, so oldest first
  std::vector<TenantRow> tenants;  // by name

  int32_t in(SlotState state) const { return slots_in[static_cast<size_t>(state)]; }
};

// What is to be done once the lock is dropped. Order among these does not matter.
struct Actions {
  struct Grant {
    SlotGrant slot;
    Waiter waiter;
  };
  struct Refusal {
    absl::Status why;
    Waiter waiter;
  };
  struct Opening {
    SlotRef slot;
    uint64_t generation = 0;
    std::string role;        // empty = the pool's own
    bool on_demand = false;  // for a waiter, above the minimum
  };
  struct Closing {
    SlotRef slot;
    RetireReason reason = RetireReason::kLost;
  };
  struct Finished {
    PoolOperation operation;
    absl::Status status;  // if OK, its report is the answer
  };

  absl::InlinedVector<Grant, 1> grants;
  absl::InlinedVector<Refusal, 1> refusals;
  absl::InlinedVector<Opening, 1> opens;
  absl::InlinedVector<SlotRef, 1> probes;
  absl::InlinedVector<Closing, 1> closes;
  absl::InlinedVector<Finished, 1> finished;
  std::optional<BreakerState> breaker;  // it changed to this
  bool take_fencing_block = false;
  bool queued = false;     // somebody joined the queue,
  bool saturated = false;  // and is the first, since the queue was empty, for whom nothing can be opened
};

// One acquire, as it comes to a pool.
struct Arrival {
  absl::string_view tenant = "default";
  Priority priority = Priority::kNormal;
  Duration wait{};  // zero: see Waiter::queues
  Waiter::Done done;
};

class PoolState {
 public:
  explicit PoolState(const PoolOptions& options);
  PoolState(const PoolState&) = delete;
  PoolState& operator=(const PoolState&) = delete;

  // --- callers ---
  WaiterId Acquire(Time now, Arrival arrival, Actions& actions);
  // The caller has gone. Nothing if it was served or refused before.
  void Cancel(WaiterId id, Actions& actions);
  // See WaitQueue.
  void Extend(WaiterId id, Time deadline) { queue_.Extend(id, deadline); }
  // What one who has waited since then in vain is told.
  absl::Status WaitedInVain(absl::string_view tenant, Time since);
  // The granted connection turned out to be dead: takes the grant back, and the waiter its old place.
  void Regret(Time now, Actions::Grant grant, Actions& actions);

  // --- leases that end ---
  void Return(Time now, SlotRef ref, EndReason reason, Actions& actions);  // nothing ran: lend again
  void BeginClean(Time now, SlotRef ref, EndReason reason, Actions& actions);
  void Discard(Time now, SlotRef ref, EndReason reason, Actions& actions);  // close, do not lend again

  // --- connections ---
  void Opened(Time now, SlotRef ref, Actions& actions);
  void OpenFailed(Time now, SlotRef ref, const absl::Status& why, Actions& actions);
  void Cleaned(Time now, SlotRef ref, Actions& actions);
  void Retire(Time now, SlotRef ref, Actions& actions);  // it did not come clean
  void Probed(Time now, SlotRef ref, bool sound, Actions& actions);
  void Lost(Time now, SlotRef ref, Actions& actions);  // its backend died; a holder's lease is ended apart
  void Stuck(SlotRef ref);
  void Gone(Time now, SlotRef ref, Actions& actions);
  void AddFencingBlock(Time now, FencingSource::Block block, Actions& actions);

  // --- operators; each joins one like it that is under way, and `done` comes when it is done ---
  // Raises the generation. With `force`, the leases of the connections returned are to be ended.
  std::vector<ConnectionIndex> Reset(Time now, bool force, PoolOperation::Done done, Actions& actions);
  // Retires what is older; with `force`, as above.
  std::vector<ConnectionIndex> Expire(Time now, Duration older_than, bool force, PoolOperation::Done done,
                                      Actions& actions);
  // The report that Expire would begin with. Changes nothing.
  PoolReport WouldExpire(Time now, Duration older_than, bool force) const;
  // Probes what is idle, and opens up to `target`, at most max_connections.
  void Renew(Time now, int32_t target, PoolOperation::Done done, Actions& actions);

  // Nothing is granted until Resume; whether that is new.
  bool Pause();
  bool Resume(Time now, Actions& actions);
  // Other options from now on. Requires: they fit together, and the name is the same.
  void Reconfigure(Time now, const PoolOptions& options, Actions& actions);

  // --- the pool ---
  // Waiters whose time is over leave; what should be open is opened, what should not be is closed.
  void Tick(Time now, Actions& actions);
  // From now on every acquire is refused, those that wait first of all.
  void Drain(Actions& actions);
  // Requires: draining. Closes what is idle now, and everything else as it comes back.
  void CloseAll(Time now, Actions& actions);
  // Both: the pool is no more, though the service goes on.
  void Remove(Time now, Actions& actions);
  bool removed() const { return removed_; }
  // The connections that are in use.
  std::vector<ConnectionIndex> Lent() const;

  const PoolOptions& options() const { return options_; }
  uint64_t generation() const { return generation_; }
  int32_t total() const { return total_; }
  int32_t waiting() const { return static_cast<int32_t>(queue_.size()); }
  int32_t in(SlotState state) const { return in_[static_cast<size_t>(state)]; }
  // It has had as many connections as its warm-up wants.
  bool warm() const { return warm_; }
  PoolSnapshot Snapshot(Time now) const;

 private:
  struct Slot {
    bool taken = false;
    ConnectionIndex index;
    SlotState state = SlotState::kOpening;
    uint32_t role = 0;
    TenantId tenant;                   // its last holder's, once it was used
    bool apart = false;                // who is isolated by connection
    std::optional<uint32_t> promised;  // when it has gone, this role takes its place
    uint64_t generation = 0;
    int64_t uses = 0;
    Time opened{};        // when its opening began
    Time retire_at{};     // it has lived long enough
    Time last_use{};      // lent, or given back
    Time last_checked{};  // when it last answered
    bool probing = false;
    std::optional<RetireReason> doomed;  // closes when it comes back
  };

  // The connections that log in as one role: the pool's own, which is the first, or one that tenants have for
  // themselves.
  struct Role {
    explicit Role(const PoolOptions& options) : breaker(options) {}

    std::string name;
    // Its own: a tenant whose role is refused is nothing to the others.
    Breaker breaker;
    std::vector<uint32_t> available;  // positions; the most recently used last
    std::array<int32_t, kSlotStates> in{};
    std::array<int32_t, kSlotStates> doomed_in{};  // of `in`, those that are doomed
    int32_t probing = 0;                           // of those in kCleaning, and not doomed
    int32_t waiting = 0;                           // acquires
    int32_t unqueued = 0;                          // of `waiting`, those that stand in no line
    int32_t promised = 0;                          // slots that are closing to make room for it

    // On their way to being available.
    int32_t coming() const;
    // Whether anything is lent, or could be.
    bool alive() const;
    int32_t opening() const { return in[static_cast<size_t>(SlotState::kOpening)]; }
    bool MayOpen(Time now) const { return breaker.MayOpen(now, opening()); }
  };

  using RoleCounts = absl::InlinedVector<int32_t, 4>;
  RoleCounts ComingByRole() const;

  // What every call that changed something ends in: what is available goes to those that wait; what should be
  // open and is not, and may be, is opened; operations that are done are answered.
  void Conclude(Time now, Actions& actions);
  void Serve(Time now, Actions& actions);
  void Balance(Time now, Actions& actions);
  bool Fresh(Time now, const Slot& slot) const;

  // Not OK: why one that arrives is refused whatever is free; or, where nothing is, why it is not queued.
  absl::Status Admission(Time now, const Waiter& waiter);
  // Before this, nobody who waits is granted anything, whoever gives something back: `now`, if that may be.
  Time NoGrantBefore(Time now) const;
  absl::Status NoPlace(Time now, const Waiter& waiter) const;
  absl::Status WaitedInVain(const Role& role, Time since, bool queues) const;
  TenantId Find(absl::string_view tenant);
  const Role& RoleOf(const Waiter& waiter) const { return roles_[tenants_[waiter.tenant].role]; }
  // Something idle that nobody else of those that wait may have.
  bool HasItsOwn(const Waiter& waiter) const;
  // Nothing idle, nothing that can be opened for one that does not queue without its standing in a line.
  bool NothingAtOnce(Time now, const Waiter& waiter) const;
  // Waiters for whom a connection must still be opened.
  int32_t Unopened() const;
  // Slots that are room in a moment, since an operator is having what is in them replaced.
  int32_t BeingReplaced() const;
  absl::Status Shed(Time now, Priority priority) const;

  // Whether the pool lets a tenant have one more.
  bool MayHave(TenantId tenant) const;
  bool Compatible(const Slot& slot, TenantId tenant) const;
  // The available slot that it would get: the most recently used that fits.
  std::optional<uint32_t> FindAvailable(TenantId tenant) const;
  // The same, if it can be granted, or probed for it, or is too old.
  std::optional<uint32_t> FindUsable(Time now, TenantId tenant) const;
  // The one that a newcomer is granted at once.
  std::optional<uint32_t> AtOnce(Time now, TenantId tenant) const;
  // The first role, in the order of service, that has waiters with nothing on its way to them. Where there is
  // room, what was promised to it need not be waited for.
  enum class Promises { kCount, kDoNotCount };
  std::optional<uint32_t> ShortRole(Time now, Promises promises);
  // Closes the longest idle connection, so that one of `role` can take its place: among all, or those beside
  // what others wait for. False if there is none.
  enum class Among { kAll, kSpare };
  bool Displace(uint32_t role, Among among, Actions& actions);
  // For one more opening, whatever the breakers say.
  bool HasRoom() const;
  bool MayOpen(Time now, uint32_t role) const;
  void Open(Time now, uint32_t role, Actions& actions);

  void Enqueue(Waiter waiter);
  Waiter Dequeued(Waiter waiter);
  // It begins to wait (+1), or does so no more (-1).
  void CountWaiter(const Waiter& waiter, int32_t change);
  void Grant(Time now, Slot& slot, Waiter waiter, Actions& actions);
  void Refuse(Waiter waiter, absl::Status why, int64_t& counter, Actions& actions);
  absl::Status NothingIdle() const;
  // `quota`: the limit of the pool that it ran into, if it is that.
  absl::Status Exhausted(absl::string_view message, const char* reason, const std::string& quota = {}) const;
  absl::Status DrainBegan() const;

  void SetUpTenants();
  uint32_t RoleNumber(const std::string& name);
  Slot& At(SlotRef ref);
  SlotRef RefOf(const Slot& slot) const;
  void Move(Slot& slot, SlotState to);
  SlotRef Reserve(Time now, uint32_t role);
  void Free(Slot& slot);
  // The role that waited for its place waits for it no more.
  void BreakPromise(Slot& slot);
  // One of those that were made to that role, if there are any.
  void BreakPromiseTo(uint32_t role);
  void MakeAvailable(Time now, Slot& slot, Actions& actions);
  void TakeAvailable(const Slot& slot);
  // Takes out all that are available, the longest idle first in each role.
  std::vector<uint32_t> TakeAllAvailable();
  void StartProbe(Slot& slot, Actions& actions);
  void StartClosing(Slot& slot, RetireReason reason, Actions& actions);
  // Takes out of use what an operator wants replaced: it is closed when its turn comes (CloseOutgoing).
  void PutOut(Time now, Slot& slot, RetireReason reason);
  // Closes what was put out, no faster than others can take its place: with all closings confirmed, the pool
  // has what it wants, or may open at once what it lacks. At the latest after connect_timeout, as long as an
  // opening may take.
  void CloseOutgoing(Time now, Actions& actions);
  bool CanSpareAnother() const;
  void Doom(Slot& slot, RetireReason reason);
  void CountEnd(Time now, const Slot& slot, EndReason reason);
  void KeepHouse(Time now, Actions& actions);
  void CloseSurplus(Actions& actions);
  RetireReason ClosingReason() const;

  // Slots that will be available if all goes well, or are lent: what counts toward the minimum.
  int32_t Lasting() const;
  // Slots on their way to being available.
  int32_t Coming() const;
  int32_t Wanted() const;

  bool Join(PoolOperation::Kind kind, int64_t argument, PoolOperation::Done& done);
  PoolOperation& Begin(Time now, PoolOperation::Kind kind, int64_t argument, int32_t target,
                       PoolOperation::Done done);
  bool IsDone(const PoolOperation& operation) const;
  void FinishOperations(Time now, Actions& actions);
  absl::Status ResetLate() const;

  PoolOptions options_;

  std::vector<Slot> slots_;               // by position; grows to max_connections
  std::vector<uint32_t> free_positions_;  // of slots_ that are not taken
  std::vector<Role> roles_;               // at least one
  // Of all roles together.
  std::array<int32_t, kSlotStates> in_{};
  std::array<int32_t, kSlotStates> doomed_in_{};
  int32_t probing_ = 0;
  int32_t total_ = 0;
  ConnectionIndex last_index_;
  uint64_t generation_ = 1;

  Tenants tenants_;
  WaitQueue queue_;
  WaiterId last_waiter_;
  FencingTokens fencing_;
  std::vector<PoolOperation> operations_;  // under way; at most one of a kind and argument
  struct Outgoing {
    Actions::Closing closing;
    Time at_latest{};
  };
  std::deque<Outgoing> outgoing_;  // retiring, and not being closed yet
  Time next_housekeeping_ = Time::min();
  bool saturated_ = false;  // it was told
  bool paused_ = false;
  bool draining_ = false;
  bool closing_ = false;
  bool removed_ = false;

  BreakerState breaker_told_ = BreakerState::kClosed;

  bool warm_ = false;
  int32_t most_lasting_ = 0;  // ever, with Warmup::kLazy
  RecentPeak peak_;           // of leases and waiters, with Warmup::kForecast
  int32_t forecast_ = 0;

  PoolCounters counters_;
  RecentDurations waits_;
  RecentDurations holds_;
};

}  // namespace pglessor::core

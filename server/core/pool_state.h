// One pool's bookkeeping: slots, waiters, counts. Plain state: no lock, `now` is an argument, and every
// call appends to `Actions` what its caller must do afterwards, outside the lock.
//
// A slot is the right to have one connection. Its states, and the only ways between them:
//
//             Opened            Acquire               BeginClean
//   kOpening ───────► kAvailable ──────► kInUse ──────────────────► kCleaning
//      │ OpenFailed      │  ▲ ▲            │ │ Return (ran nothing)     │ │
//      ▼                 │  │ └────────────┼─┘                          │ │
//    (free)         Lost │  └──────────────┼────────────────────────────┘ │ Cleaned
//                        ▼        Discard  ▼            Retire            │
//      Gone          kRetiring ◄───────────┴──────────────────────────────┘
//    (free) ◄──────────  │ ▲
//      ▲            Stuck▼ │
//      └─────────────  kStuck
//
// Invariants
//   1. available + in_use + opening + cleaning + retiring + stuck = total <= max_connections, at every
//      instant: a slot is reserved before anything is opened, and freed only when PostgreSQL has let go.
//   2. acquires_requested = granted + timed_out + cancelled + rejected + waiting.
//   3. granted = in_use + the sum of ended.
//   4. Nobody overtakes: what becomes available goes to the front of the queue, and a newcomer is granted
//      at once only while the queue is empty.
//   5. Fencing tokens rise with every grant.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"

#include "server/core/connection.h"
#include "server/core/fencing_tokens.h"
#include "server/core/lease.h"
#include "server/core/options.h"
#include "server/core/wait_queue.h"

namespace pglessor::core {

enum class SlotState { kOpening, kAvailable, kInUse, kCleaning, kRetiring, kStuck };
inline constexpr size_t kSlotStates = 6;
inline constexpr size_t kEndReasons = 7;

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
};

// What one look under the pool's lock shows.
struct PoolSnapshot {
  struct Slot {
    ConnectionIndex index;
    SlotState state = SlotState::kOpening;
    Time last_use{};
    int64_t uses = 0;
  };

  std::array<int32_t, kSlotStates> slots_in{};  // by SlotState
  int32_t total = 0;
  int32_t waiting = 0;
  Duration oldest_wait{};
  PoolCounters counters;
  std::vector<Slot> slots;  // by index, so oldest first

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

  absl::InlinedVector<Grant, 1> grants;
  absl::InlinedVector<Refusal, 1> refusals;
  absl::InlinedVector<SlotRef, 1> opens;
  absl::InlinedVector<SlotRef, 1> closes;
  bool take_fencing_block = false;
};

class PoolState {
 public:
  explicit PoolState(const PoolOptions& options) : options_(options) {}

  // --- callers ---
  // `wait` zero: see Waiter::queues.
  WaiterId Acquire(Time now, Duration wait, Waiter::Done done, Actions& actions);
  // The caller has gone. Nothing if it was served or refused before.
  void Cancel(WaiterId id, Actions& actions);
  // The granted connection turned out to be dead: takes the grant back, and the waiter its old place.
  void Regret(Time now, Actions::Grant grant, Actions& actions);

  // --- leases that end ---
  void Return(Time now, SlotRef ref, EndReason reason, Actions& actions);  // nothing ran: lend again
  void BeginClean(Time now, SlotRef ref, EndReason reason);
  void Discard(Time now, SlotRef ref, EndReason reason, Actions& actions);  // close, do not lend again

  // --- connections ---
  void Opened(Time now, SlotRef ref, Actions& actions);
  void OpenFailed(Time now, SlotRef ref, const absl::Status& why, Actions& actions);
  void Cleaned(Time now, SlotRef ref, Actions& actions);
  void Retire(Time now, SlotRef ref, Actions& actions);  // it did not come clean
  void Lost(Time now, SlotRef ref, Actions& actions);    // its backend died; a holder's lease is ended apart
  void Stuck(SlotRef ref);
  void Gone(Time now, SlotRef ref, Actions& actions);
  void AddFencingBlock(Time now, FencingSource::Block block, Actions& actions);

  // --- the pool ---
  // Waiters whose time is over leave; what should be open is opened.
  void Tick(Time now, Actions& actions);
  // From now on every acquire is refused, those that wait first of all.
  void Drain(Actions& actions);
  // Requires: draining. Closes what is idle now, and everything else as it comes back.
  void CloseAll(Time now, Actions& actions);

  int32_t total() const { return total_; }
  int32_t in(SlotState state) const { return in_[static_cast<size_t>(state)]; }
  PoolSnapshot Snapshot(Time now) const;

 private:
  struct Slot {
    bool taken = false;
    ConnectionIndex index;
    SlotState state = SlotState::kOpening;
    Time last_use{};
    int64_t uses = 0;
  };

  // The two loops that everything above ends in: who can be served is served; what should be open and
  // is not, and may be, is opened.
  void Serve(Time now, Actions& actions);
  void Balance(Time now, Actions& actions);

  Actions::Grant MakeGrant(Time now, Waiter waiter);
  void Refuse(Waiter waiter, absl::Status why, int64_t& counter, Actions& actions);
  absl::Status WaitedInVain(const Waiter& waiter) const;
  absl::Status NothingIdle() const;
  absl::Status Exhausted(absl::string_view message, const char* reason) const;

  Slot& At(SlotRef ref);
  SlotRef RefOf(const Slot& slot) const;
  void Move(Slot& slot, SlotState to);
  SlotRef Reserve(Time now);
  void Free(Slot& slot);
  void MakeAvailable(Time now, Slot& slot, Actions& actions);
  void StartClosing(Slot& slot, Actions& actions);
  void CountEnd(EndReason reason);

  const PoolOptions options_;

  std::vector<Slot> slots_;               // by position; grows to max_connections
  std::vector<uint32_t> free_positions_;  // of slots_ that are not taken
  std::vector<uint32_t> available_;       // positions; the most recently used last
  std::array<int32_t, kSlotStates> in_{};
  int32_t total_ = 0;
  ConnectionIndex last_index_;

  WaitQueue queue_;
  WaiterId last_waiter_;
  FencingTokens fencing_;
  bool draining_ = false;
  bool closing_ = false;

  // Of openings: failures in a row, when the next may start, and since when none has succeeded.
  int failures_in_a_row_ = 0;
  Time open_not_before_ = Time::min();
  Time last_open_failure_ = Time::min();
  Time last_open_success_ = Time::min();
  absl::Status last_open_error_;

  PoolCounters counters_;
};

}  // namespace pglessor::core

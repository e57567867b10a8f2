// How a pool comes to its end, with the service or before it: PoolState's Drain, CloseAll and Remove, and
// Pool's Leave and Depart.
#include <utility>

#include "server/core/check.h"
#include "server/core/pool.h"

namespace pglessor::core {

void PoolState::Drain(Actions& actions) {
  draining_ = true;
  while (auto waiter = queue_.PopOldest()) {
    Refuse(Dequeued(*std::move(waiter)), DrainBegan(), counters_.rejected, actions);
  }
  FinishOperations(Time::max(), actions);  // none has any time left
}

void PoolState::CloseAll(Time now, Actions& actions) {
  PGLESSOR_CHECK(draining_, "a pool is drained before it is closed");
  closing_ = true;
  for (const uint32_t position : TakeAllAvailable()) {
    slots_[position].last_use = now;
    StartClosing(slots_[position], ClosingReason(), actions);
  }
  CloseOutgoing(now, actions);
}

void PoolState::Remove(Time now, Actions& actions) {
  removed_ = true;
  Drain(actions);
  CloseAll(now, actions);
}

RetireReason PoolState::ClosingReason() const {
  return removed_ ? RetireReason::kPoolRemoved : RetireReason::kShuttingDown;
}

std::vector<ConnectionIndex> PoolState::Lent() const {
  std::vector<ConnectionIndex> lent;
  for (const Slot& slot : slots_) {
    if (slot.taken && slot.state == SlotState::kInUse) lent.push_back(slot.index);
  }
  return lent;
}

void Pool::Leave(Time deadline) {
  // First: what is renewed from now on ends by then. A renewal that is under way may still go past it, and is
  // ended at the deadline like all that last so long (Depart).
  latest_expiry_ = deadline;
  Actions actions;
  {
    const MutexLock lock(mutex_);
    state_.Remove(clock_.Now(), actions);
  }
  Act(actions);
}

Pool::Departure Pool::Depart() {
  Departure departure;
  std::vector<ConnectionIndex> overdue;
  {
    const MutexLock lock(mutex_);
    if (!state_.removed()) return departure;
    const Time now = clock_.Now();
    if (now >= latest_expiry() && !std::exchange(overdue_told_, true)) overdue = state_.Lent();
    if (state_.in(SlotState::kInUse) == 0 && !nothing_lent_since_) nothing_lent_since_ = now;
    if (state_.total() == 0) {
      departure.stage = Stage::kGone;
    } else if (nothing_lent_since_ && now - *nothing_lent_since_ >= kGiveUpAfter) {
      departure.stage = Stage::kGivenUp;
    }
  }
  departure.overdue = LeasesOf(overdue, EndReason::kDrained);
  return departure;
}

}  // namespace pglessor::core

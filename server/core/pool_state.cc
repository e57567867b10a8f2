#include "server/core/pool_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/check.h"
#include "server/core/error.h"

namespace pglessor::core {
namespace {

absl::Status DrainBegan() {
  return MakeError(absl::StatusCode::kUnavailable,
                   "the service began to drain while this acquire waited; acquire from another replica",
                   {.reason = reason::kDraining});
}

}  // namespace

WaiterId PoolState::Acquire(Time now, Duration wait, Waiter::Done done, Actions& actions) {
  ++counters_.acquires_requested;
  Waiter waiter;
  waiter.id = WaiterId{++last_waiter_.value};
  waiter.since = now;
  waiter.queues = wait > Duration::zero();
  waiter.deadline = SaturatingAdd(now, waiter.queues ? wait : options_.connect_timeout);
  waiter.done = std::move(done);
  const WaiterId id = waiter.id;

  if (draining_) {
    Refuse(std::move(waiter),
           MakeError(absl::StatusCode::kUnavailable,
                     "the service is draining and grants no more leases; acquire from another replica",
                     {.reason = reason::kDraining}),
           counters_.rejected, actions);
  } else if (queue_.empty() && !available_.empty() && !fencing_.empty() &&
             Fresh(now, slots_[available_.back()])) {
    actions.grants.push_back(MakeGrant(now, std::move(waiter)));
  } else if (queue_.size() >= options_.max_waiters) {
    Refuse(std::move(waiter),
           Exhausted(absl::StrCat("already ", queue_.size(),
                                  " callers wait for this pool, which is its limit; retry later"),
                     reason::kWaitQueueFull),
           counters_.rejected, actions);
  } else if (!waiter.queues && NothingAtOnce(now)) {
    Refuse(std::move(waiter), NothingIdle(), counters_.rejected, actions);
  } else {
    queue_.Push(std::move(waiter));
    Conclude(now, actions);
    actions.queued = actions.grants.empty();
    const bool full = total_ >= options_.max_connections && static_cast<int64_t>(queue_.size()) > Coming();
    actions.saturated = actions.queued && full && !saturated_;
    saturated_ = saturated_ || actions.saturated;
  }
  return id;
}

bool PoolState::NothingAtOnce(Time now) const {
  const auto waiting = static_cast<int64_t>(queue_.size());
  // Those before it get what is idle first, once it is probed.
  if (static_cast<int64_t>(available_.size()) + probing_ > waiting) return false;
  return total_ >= options_.max_connections || now < open_not_before_ || waiting > Coming();
}

void PoolState::Cancel(WaiterId id, Actions& actions) {
  if (auto waiter = queue_.Remove(id)) {
    Refuse(*std::move(waiter), absl::CancelledError("the caller has gone"), counters_.cancelled, actions);
  }
}

void PoolState::Regret(Time now, Actions::Grant grant, Actions& actions) {
  Slot& slot = At(grant.slot.slot);
  PGLESSOR_CHECK(slot.state == SlotState::kInUse, "only a grant that stands is taken back");
  --counters_.granted;
  --slot.uses;
  StartClosing(slot, RetireReason::kLost, actions);
  if (draining_) {
    Refuse(std::move(grant.waiter), DrainBegan(), counters_.rejected, actions);
  } else {
    queue_.Push(std::move(grant.waiter));
  }
  Conclude(now, actions);
}

void PoolState::Return(Time now, SlotRef ref, EndReason reason, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kInUse, "only what was lent comes back");
  CountEnd(now, slot, reason);
  slot.last_use = now;
  MakeAvailable(now, slot, actions);
  Conclude(now, actions);
}

void PoolState::BeginClean(Time now, SlotRef ref, EndReason reason, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kInUse, "only what was lent is cleaned");
  CountEnd(now, slot, reason);
  slot.last_use = now;
  Move(slot, SlotState::kCleaning);
  Conclude(now, actions);
}

void PoolState::Discard(Time now, SlotRef ref, EndReason reason, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kInUse, "only what was lent is discarded");
  CountEnd(now, slot, reason);
  slot.last_use = now;
  StartClosing(slot, slot.doomed.value_or(RetireReason::kDiscarded), actions);
  Conclude(now, actions);
}

void PoolState::Opened(Time now, SlotRef ref, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kOpening, "a connection is opened once");
  ++counters_.connections_opened;
  failures_in_a_row_ = 0;
  open_not_before_ = Time::min();
  last_open_success_ = now;
  slot.last_use = now;
  slot.last_checked = now;
  for (PoolOperation& operation : operations_) operation.report.opened += slot.doomed ? 0 : 1;
  MakeAvailable(now, slot, actions);
  Conclude(now, actions);
}

void PoolState::OpenFailed(Time now, SlotRef ref, const absl::Status& why, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kOpening, "only an opening fails to open");
  Free(slot);
  ++counters_.opens_failed;
  // Several openings that failed together are one failure: it is the database that is asked less often.
  if (now >= open_not_before_) {
    ++failures_in_a_row_;
    open_not_before_ = SaturatingAdd(now, OpenBackoff());
  }
  last_open_failure_ = now;
  last_open_error_ = why;
  for (PoolOperation& operation : operations_) ++operation.report.failed;
  // One that does not queue had this opening, or one like it, and no other hope.
  if (auto waiter = queue_.PopLastUnqueued()) {
    const absl::Status vain = WaitedInVain(waiter->since, waiter->queues);
    Refuse(*std::move(waiter), vain, counters_.timed_out, actions);
  }
  Conclude(now, actions);
}

void PoolState::Cleaned(Time now, SlotRef ref, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kCleaning && !slot.probing,
                 "only what is being cleaned comes clean");
  slot.last_use = now;
  slot.last_checked = now;
  MakeAvailable(now, slot, actions);
  Conclude(now, actions);
}

void PoolState::Retire(Time now, SlotRef ref, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kCleaning && !slot.probing,
                 "only what is being cleaned is given up so");
  StartClosing(slot, RetireReason::kUnclean, actions);
  Conclude(now, actions);
}

void PoolState::Lost(Time now, SlotRef ref, Actions& actions) {
  Slot& slot = At(ref);
  // In use: its lease's end discards it. Cleaning: the cleaning fails, and so it is retired.
  if (slot.state != SlotState::kAvailable) return;
  std::erase(available_, ref.position);
  StartClosing(slot, RetireReason::kLost, actions);
  Conclude(now, actions);
}

void PoolState::Stuck(SlotRef ref) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kRetiring, "only a closing gets stuck");
  Move(slot, SlotState::kStuck);
}

void PoolState::Gone(Time now, SlotRef ref, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kRetiring || slot.state == SlotState::kStuck,
                 "only what was being closed can be gone");
  Free(slot);
  ++counters_.connections_closed;
  Conclude(now, actions);
}

void PoolState::AddFencingBlock(Time now, FencingSource::Block block, Actions& actions) {
  fencing_.Add(block);
  Conclude(now, actions);
}

void PoolState::Tick(Time now, Actions& actions) {
  while (auto waiter = queue_.PopExpired(now)) {
    const absl::Status vain = WaitedInVain(waiter->since, waiter->queues);
    Refuse(*std::move(waiter), vain, counters_.timed_out, actions);
  }
  if (now >= next_housekeeping_) KeepHouse(now, actions);
  Conclude(now, actions);
}

void PoolState::Drain(Actions& actions) {
  draining_ = true;
  while (!queue_.empty()) {
    Refuse(queue_.PopFront(), DrainBegan(), counters_.rejected, actions);
  }
  FinishOperations(Time::max(), actions);  // none has any time left
}

void PoolState::CloseAll(Time now, Actions& actions) {
  PGLESSOR_CHECK(draining_, "a pool is drained before it is closed");
  closing_ = true;
  while (!available_.empty()) {
    Slot& slot = slots_[available_.back()];
    available_.pop_back();
    slot.last_use = now;
    StartClosing(slot, RetireReason::kShuttingDown, actions);
  }
}

PoolSnapshot PoolState::Snapshot(Time now) const {
  PoolSnapshot snapshot;
  snapshot.slots_in = in_;
  snapshot.total = total_;
  snapshot.waiting = static_cast<int32_t>(queue_.size());
  snapshot.oldest_wait = queue_.empty() ? Duration::zero() : now - queue_.oldest();
  snapshot.generation = generation_;
  snapshot.counters = counters_;
  snapshot.wait = waits_.Summary(now);
  snapshot.hold = holds_.Summary(now);
  for (const Slot& slot : slots_) {
    if (!slot.taken) continue;
    snapshot.slots.push_back({slot.index, slot.state, slot.last_use, slot.uses, slot.generation});
  }
  std::sort(snapshot.slots.begin(), snapshot.slots.end(),
            [](const auto& a, const auto& b) { return a.index < b.index; });
  return snapshot;
}

void PoolState::Serve(Time now, Actions& actions) {
  while (!queue_.empty() && !available_.empty() && !fencing_.empty()) {
    Slot& slot = slots_[available_.back()];
    if (Fresh(now, slot)) {
      actions.grants.push_back(MakeGrant(now, queue_.PopFront()));
      continue;
    }
    if (now >= slot.retire_at) {
      available_.pop_back();
      StartClosing(slot, RetireReason::kLifetime, actions);
      continue;
    }
    if (static_cast<size_t>(probing_) >= queue_.size()) return;
    available_.pop_back();
    StartProbe(slot, actions);
  }
}

int32_t PoolState::Coming() const {
  const auto sound = [&](SlotState state) { return in(state)-doomed_in_[static_cast<size_t>(state)]; };
  return sound(SlotState::kOpening) + sound(SlotState::kCleaning);
}

int32_t PoolState::Lasting() const { return in(SlotState::kAvailable) + in(SlotState::kInUse) + Coming(); }

int32_t PoolState::Wanted() const {
  int32_t wanted = options_.min_connections;
  for (const PoolOperation& operation : operations_) wanted = std::max(wanted, operation.target);
  return wanted;
}

void PoolState::Conclude(Time now, Actions& actions) {
  Serve(now, actions);
  if (queue_.empty()) saturated_ = false;
  Balance(now, actions);
  if (!operations_.empty()) FinishOperations(now, actions);
}

void PoolState::Balance(Time now, Actions& actions) {
  if (fencing_.ShouldAsk()) actions.take_fencing_block = true;
  if (draining_ || now < open_not_before_) return;
  while (total_ < options_.max_connections && in(SlotState::kOpening) < options_.max_concurrent_opens) {
    const bool for_minimum = Lasting() < Wanted();
    // A waiter beside an idle connection waits for its probe, or for a fencing block, which no opening
    // brings. What is being cleaned serves a waiter long before a new connection could.
    const bool for_waiters = available_.empty() && static_cast<int64_t>(queue_.size()) > Coming();
    if (!for_minimum && !for_waiters) return;
    actions.opens.push_back({Reserve(now), generation_, !for_minimum});
  }
}

Actions::Grant PoolState::MakeGrant(Time now, Waiter waiter) {
  Slot& slot = slots_[available_.back()];
  available_.pop_back();
  Move(slot, SlotState::kInUse);
  slot.last_use = now;
  ++slot.uses;
  ++counters_.granted;
  const SlotGrant granted{RefOf(slot), fencing_.Next(), now, now - waiter.since};
  waits_.Record(now, granted.waited);
  return {granted, std::move(waiter)};
}

void PoolState::Refuse(Waiter waiter, absl::Status why, int64_t& counter, Actions& actions) {
  ++counter;
  actions.refusals.push_back({std::move(why), std::move(waiter)});
}

Duration PoolState::OpenBackoff() const {
  const int doublings = std::clamp(failures_in_a_row_ - 1, 0, 20);
  return std::min(options_.max_open_backoff, options_.first_open_backoff * (int64_t{1} << doublings));
}

absl::Status PoolState::WaitedInVain(Time since, bool queues) const {
  const bool failing = last_open_success_ < last_open_failure_;
  // No opening need have been tried: the slots of connections that died are taken until that is confirmed.
  const bool none_alive = in(SlotState::kAvailable) + in(SlotState::kInUse) + in(SlotState::kCleaning) == 0;
  const bool nothing_opened =
      (failing && last_open_failure_ >= since) || (none_alive && last_open_success_ < since);
  if (nothing_opened && !(failing && absl::IsResourceExhausted(last_open_error_))) {
    if (failing && absl::IsFailedPrecondition(last_open_error_)) return last_open_error_;
    return MakeError(absl::StatusCode::kUnavailable,
                     absl::StrCat("no connection to the database could be opened meanwhile: ",
                                  failing ? last_open_error_.message()
                                          : "none of the pool's is alive, or yet confirmed gone"),
                     {.reason = reason::kDatabaseUnavailable, .retry_after = OpenBackoff()});
  }
  if (!queues) return NothingIdle();
  return Exhausted(
      "all of the pool's connections stayed in use for the whole wait; retry, wait longer, or "
      "raise max_connections",
      reason::kPoolExhausted);
}

absl::Status PoolState::NothingIdle() const {
  return Exhausted(
      "no connection is idle and none can be opened at once; wait_timeout 0 does not queue: "
      "give it a wait_timeout, or retry",
      reason::kNoIdleConnection);
}

absl::Status PoolState::Exhausted(absl::string_view message, const char* reason) const {
  return MakeError(absl::StatusCode::kResourceExhausted, message,
                   {.reason = reason,
                    .metadata = {{"pool", options_.name},
                                 {"in_use", absl::StrCat(in(SlotState::kInUse))},
                                 {"max", absl::StrCat(options_.max_connections)},
                                 {"waiting", absl::StrCat(queue_.size())}},
                    .retry_after = std::chrono::milliseconds(100)});
}

PoolState::Slot& PoolState::At(SlotRef ref) {
  PGLESSOR_CHECK(ref.position < slots_.size(), "a slot is named by whoever has it");
  Slot& slot = slots_[ref.position];
  PGLESSOR_CHECK(slot.taken && slot.index == ref.index, "a slot is freed only by its own connection");
  return slot;
}

SlotRef PoolState::RefOf(const Slot& slot) const {
  return {static_cast<uint32_t>(&slot - slots_.data()), slot.index};
}

void PoolState::Move(Slot& slot, SlotState to) {
  --in_[static_cast<size_t>(slot.state)];
  ++in_[static_cast<size_t>(to)];
  if (slot.doomed) {
    --doomed_in_[static_cast<size_t>(slot.state)];
    ++doomed_in_[static_cast<size_t>(to)];
  }
  slot.state = to;
}

void PoolState::Doom(Slot& slot, RetireReason reason) {
  if (slot.doomed) return;
  slot.doomed = reason;
  if (slot.probing) {
    --probing_;
    for (PoolOperation& operation : operations_) operation.probes_awaited -= operation.probes_awaited > 0;
  }
  ++doomed_in_[static_cast<size_t>(slot.state)];
}

SlotRef PoolState::Reserve(Time now) {
  uint32_t position = 0;
  if (free_positions_.empty()) {
    position = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    position = free_positions_.back();
    free_positions_.pop_back();
  }
  Slot& slot = slots_[position];
  slot = {};
  slot.taken = true;
  slot.index = ConnectionIndex{++last_index_.value};
  slot.generation = generation_;
  slot.opened = now;
  slot.last_use = now;
  // The golden ratio spreads neighbours evenly, and the same run gives the same times.
  const Duration early = options_.max_lifetime / 10'000 * ((slot.index.value * 618) % 1'000);
  slot.retire_at = options_.max_lifetime > Duration::zero()
                       ? SaturatingAdd(now, options_.max_lifetime - early)
                       : Time::max();
  ++in_[static_cast<size_t>(SlotState::kOpening)];
  ++total_;
  PGLESSOR_CHECK(total_ <= options_.max_connections, "the maximum is exact");
  return RefOf(slot);
}

void PoolState::Free(Slot& slot) {
  --in_[static_cast<size_t>(slot.state)];
  if (slot.doomed) --doomed_in_[static_cast<size_t>(slot.state)];
  --total_;
  slot.taken = false;
  free_positions_.push_back(RefOf(slot).position);
}

void PoolState::MakeAvailable(Time now, Slot& slot, Actions& actions) {
  if (closing_ || slot.doomed || now >= slot.retire_at) {
    const RetireReason reason = closing_ ? RetireReason::kShuttingDown : RetireReason::kLifetime;
    StartClosing(slot, slot.doomed.value_or(reason), actions);
    return;
  }
  Move(slot, SlotState::kAvailable);
  // At the end, unless it comes back from a probe.
  auto place = available_.end();
  while (place != available_.begin() && slots_[*(place - 1)].last_use > slot.last_use) --place;
  available_.insert(place, RefOf(slot).position);
}

void PoolState::StartClosing(Slot& slot, RetireReason reason, Actions& actions) {
  Move(slot, SlotState::kRetiring);
  actions.closes.push_back({RefOf(slot), reason});
}

void PoolState::CountEnd(Time now, const Slot& slot, EndReason reason) {
  ++counters_.ended[static_cast<size_t>(reason)];
  holds_.Record(now, now - slot.last_use);
  for (PoolOperation& operation : operations_) {
    // Of the leases it was to end, those that did not end by themselves before.
    const EndReason its = operation.Resets() ? EndReason::kPoolReset : EndReason::kRevoked;
    if (std::erase(operation.leased, slot.index) > 0 && reason == its) ++operation.report.leases_ended;
  }
}

}  // namespace pglessor::core

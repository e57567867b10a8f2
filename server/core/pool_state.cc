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
  } else if (queue_.empty() && !available_.empty() && !fencing_.empty()) {
    actions.grants.push_back(MakeGrant(now, std::move(waiter)));
  } else if (queue_.size() >= options_.max_waiters) {
    Refuse(std::move(waiter),
           Exhausted(absl::StrCat("already ", queue_.size(),
                                  " callers wait for this pool, which is its limit; retry later"),
                     reason::kWaitQueueFull),
           counters_.rejected, actions);
  } else if (!waiter.queues &&
             (total_ >= options_.max_connections || now < open_not_before_ ||
              static_cast<int64_t>(queue_.size()) > in(SlotState::kOpening) + in(SlotState::kCleaning))) {
    Refuse(std::move(waiter), NothingIdle(), counters_.rejected, actions);
  } else {
    queue_.Push(std::move(waiter));
    Balance(now, actions);
  }
  return id;
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
  StartClosing(slot, actions);
  if (draining_) {
    Refuse(std::move(grant.waiter), DrainBegan(), counters_.rejected, actions);
  } else {
    queue_.Push(std::move(grant.waiter));
  }
  Serve(now, actions);
  Balance(now, actions);
}

void PoolState::Return(Time now, SlotRef ref, EndReason reason, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kInUse, "only what was lent comes back");
  CountEnd(reason);
  MakeAvailable(now, slot, actions);
}

void PoolState::BeginClean(Time now, SlotRef ref, EndReason reason) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kInUse, "only what was lent is cleaned");
  CountEnd(reason);
  slot.last_use = now;
  Move(slot, SlotState::kCleaning);
}

void PoolState::Discard(Time now, SlotRef ref, EndReason reason, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kInUse, "only what was lent is discarded");
  CountEnd(reason);
  slot.last_use = now;
  StartClosing(slot, actions);
  Balance(now, actions);
}

void PoolState::Opened(Time now, SlotRef ref, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kOpening, "a connection is opened once");
  ++counters_.connections_opened;
  failures_in_a_row_ = 0;
  open_not_before_ = Time::min();
  last_open_success_ = now;
  MakeAvailable(now, slot, actions);
  Balance(now, actions);
}

void PoolState::OpenFailed(Time now, SlotRef ref, const absl::Status& why, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kOpening, "only an opening fails to open");
  Free(slot);
  ++counters_.opens_failed;
  // Several openings that failed together are one failure: it is the database that is asked less often.
  if (now >= open_not_before_) {
    const Duration backoff =
        std::min(options_.max_open_backoff,
                 options_.first_open_backoff * (int64_t{1} << std::min(failures_in_a_row_, 20)));
    ++failures_in_a_row_;
    open_not_before_ = SaturatingAdd(now, backoff);
  }
  last_open_failure_ = now;
  last_open_error_ = why;
  // One that does not queue had this opening, or one like it, and no other hope.
  if (auto waiter = queue_.PopLastUnqueued()) {
    const absl::Status vain = WaitedInVain(*waiter);
    Refuse(*std::move(waiter), vain, counters_.timed_out, actions);
  }
  Balance(now, actions);
}

void PoolState::Cleaned(Time now, SlotRef ref, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kCleaning, "only what is being cleaned comes clean");
  MakeAvailable(now, slot, actions);
}

void PoolState::Retire(Time now, SlotRef ref, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kCleaning, "only what is being cleaned is given up so");
  StartClosing(slot, actions);
  Balance(now, actions);
}

void PoolState::Lost(Time now, SlotRef ref, Actions& actions) {
  Slot& slot = At(ref);
  // In use: its lease's end discards it. Cleaning: the cleaning fails, and so it is retired.
  if (slot.state != SlotState::kAvailable) return;
  std::erase(available_, ref.position);
  StartClosing(slot, actions);
  Balance(now, actions);
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
  Balance(now, actions);
}

void PoolState::AddFencingBlock(Time now, FencingSource::Block block, Actions& actions) {
  fencing_.Add(block);
  Serve(now, actions);
  Balance(now, actions);
}

void PoolState::Tick(Time now, Actions& actions) {
  while (auto waiter = queue_.PopExpired(now)) {
    const absl::Status vain = WaitedInVain(*waiter);
    Refuse(*std::move(waiter), vain, counters_.timed_out, actions);
  }
  Balance(now, actions);
}

void PoolState::Drain(Actions& actions) {
  draining_ = true;
  while (!queue_.empty()) {
    Refuse(queue_.PopFront(), DrainBegan(), counters_.rejected, actions);
  }
}

void PoolState::CloseAll(Time now, Actions& actions) {
  PGLESSOR_CHECK(draining_, "a pool is drained before it is closed");
  closing_ = true;
  while (!available_.empty()) {
    Slot& slot = slots_[available_.back()];
    available_.pop_back();
    slot.last_use = now;
    StartClosing(slot, actions);
  }
}

PoolSnapshot PoolState::Snapshot(Time now) const {
  PoolSnapshot snapshot;
  snapshot.slots_in = in_;
  snapshot.total = total_;
  snapshot.waiting = static_cast<int32_t>(queue_.size());
  snapshot.oldest_wait = queue_.empty() ? Duration::zero() : now - queue_.oldest();
  snapshot.counters = counters_;
  for (const Slot& slot : slots_) {
    if (!slot.taken) continue;
    snapshot.slots.push_back({slot.index, slot.state, slot.last_use, slot.uses});
  }
  std::sort(snapshot.slots.begin(), snapshot.slots.end(),
            [](const auto& a, const auto& b) { return a.index < b.index; });
  return snapshot;
}

void PoolState::Serve(Time now, Actions& actions) {
  while (!queue_.empty() && !available_.empty() && !fencing_.empty()) {
    actions.grants.push_back(MakeGrant(now, queue_.PopFront()));
  }
}

void PoolState::Balance(Time now, Actions& actions) {
  if (fencing_.ShouldAsk()) actions.take_fencing_block = true;
  if (draining_ || now < open_not_before_) return;
  while (total_ < options_.max_connections && in(SlotState::kOpening) < options_.max_concurrent_opens) {
    const int32_t lasting = total_ - in(SlotState::kRetiring)-in(SlotState::kStuck);
    // What is being cleaned serves a waiter long before a new connection could.
    const int64_t coming = in(SlotState::kOpening) + in(SlotState::kCleaning);
    const bool for_minimum = lasting < options_.min_connections;
    // A waiter beside an idle connection waits for a fencing block, which no opening brings.
    const bool for_waiters = available_.empty() && static_cast<int64_t>(queue_.size()) > coming;
    if (!for_minimum && !for_waiters) return;
    actions.opens.push_back(Reserve(now));
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
  return {granted, std::move(waiter)};
}

void PoolState::Refuse(Waiter waiter, absl::Status why, int64_t& counter, Actions& actions) {
  ++counter;
  actions.refusals.push_back({std::move(why), std::move(waiter)});
}

absl::Status PoolState::WaitedInVain(const Waiter& waiter) const {
  const bool nothing_opened = last_open_failure_ >= waiter.since && last_open_success_ < last_open_failure_;
  if (nothing_opened && !absl::IsResourceExhausted(last_open_error_)) {
    if (absl::IsFailedPrecondition(last_open_error_)) return last_open_error_;
    return MakeError(
        absl::StatusCode::kUnavailable,
        absl::StrCat("no connection to the database could be opened meanwhile: ", last_open_error_.message()),
        {.reason = reason::kDatabaseUnavailable,
         .retry_after =
             std::max<Duration>(options_.first_open_backoff, open_not_before_ - last_open_failure_)});
  }
  if (!waiter.queues) return NothingIdle();
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
  slot.state = to;
  ++in_[static_cast<size_t>(to)];
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
  slot = {true, ConnectionIndex{++last_index_.value}, SlotState::kOpening, now, 0};
  ++in_[static_cast<size_t>(SlotState::kOpening)];
  ++total_;
  PGLESSOR_CHECK(total_ <= options_.max_connections, "the maximum is exact");
  return RefOf(slot);
}

void PoolState::Free(Slot& slot) {
  --in_[static_cast<size_t>(slot.state)];
  --total_;
  slot.taken = false;
  free_positions_.push_back(RefOf(slot).position);
}

void PoolState::MakeAvailable(Time now, Slot& slot, Actions& actions) {
  slot.last_use = now;
  if (closing_) {
    StartClosing(slot, actions);
    return;
  }
  Move(slot, SlotState::kAvailable);
  available_.push_back(RefOf(slot).position);
  Serve(now, actions);
}

void PoolState::StartClosing(Slot& slot, Actions& actions) {
  Move(slot, SlotState::kRetiring);
  actions.closes.push_back(RefOf(slot));
}

void PoolState::CountEnd(EndReason reason) { ++counters_.ended[static_cast<size_t>(reason)]; }

}  // namespace pglessor::core

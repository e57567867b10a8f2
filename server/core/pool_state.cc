#include "server/core/pool_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/check.h"
#include "server/core/error.h"

namespace pglessor::core {

WaiterId PoolState::Acquire(Time now, Arrival arrival, Actions& actions) {
  ++counters_.acquires_requested;
  Waiter waiter;
  waiter.id = WaiterId{++last_waiter_.value};
  waiter.since = now;
  waiter.queues = arrival.wait > Duration::zero();
  waiter.deadline = SaturatingAdd(now, waiter.queues ? arrival.wait : options_.connect_timeout);
  waiter.tenant = Find(arrival.tenant);
  waiter.priority = arrival.priority;
  waiter.done = std::move(arrival.done);
  const WaiterId id = waiter.id;

  absl::Status why = Admission(now, waiter);
  if (why.ok()) {
    if (const std::optional<uint32_t> free = AtOnce(now, waiter.tenant)) {
      TakeAvailable(slots_[*free]);
      Grant(now, slots_[*free], std::move(waiter), actions);
      return id;
    }
    if (!HasItsOwn(waiter)) why = NoPlace(now, waiter);
  }
  if (!why.ok()) {
    Refuse(std::move(waiter), std::move(why), counters_.rejected, actions);
    return id;
  }
  Enqueue(std::move(waiter));
  Conclude(now, actions);
  // Those before it may be passed over.
  const auto is_it = [id](const Actions::Grant& grant) { return grant.waiter.id == id; };
  actions.queued = std::none_of(actions.grants.begin(), actions.grants.end(), is_it);
  const bool full = total_ >= options_.max_connections && static_cast<int64_t>(queue_.size()) > Coming();
  actions.saturated = actions.queued && full && !saturated_;
  saturated_ = saturated_ || actions.saturated;
  return id;
}

void PoolState::Cancel(WaiterId id, Actions& actions) {
  if (auto waiter = queue_.Remove(id)) {
    Refuse(Dequeued(*std::move(waiter)), absl::CancelledError("the caller has gone"), counters_.cancelled,
           actions);
  }
}

void PoolState::Regret(Time now, Actions::Grant grant, Actions& actions) {
  Slot& slot = At(grant.slot.slot);
  PGLESSOR_CHECK(slot.state == SlotState::kInUse, "only a grant that stands is taken back");
  --counters_.granted;
  --slot.uses;
  tenants_.GivenBack(slot.tenant);
  --tenants_[slot.tenant].granted;
  for (PoolOperation& operation : operations_) std::erase(operation.leased, slot.index);
  StartClosing(slot, RetireReason::kLost, actions);
  if (draining_) {
    Refuse(std::move(grant.waiter), DrainBegan(), counters_.rejected, actions);
  } else {
    Enqueue(std::move(grant.waiter));
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
  const bool lost = reason == EndReason::kConnectionLost;
  StartClosing(slot, lost ? RetireReason::kLost : RetireReason::kDiscarded, actions);
  Conclude(now, actions);
}

void PoolState::Opened(Time now, SlotRef ref, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kOpening, "a connection is opened once");
  ++counters_.connections_opened;
  roles_[slot.role].breaker.Succeeded(now);
  slot.last_use = now;
  slot.last_checked = now;
  for (PoolOperation& operation : operations_) operation.report.opened += slot.doomed ? 0 : 1;
  MakeAvailable(now, slot, actions);
  Conclude(now, actions);
}

void PoolState::OpenFailed(Time now, SlotRef ref, const absl::Status& why, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kOpening, "only an opening fails to open");
  const uint32_t number = slot.role;
  Free(slot);
  ++counters_.opens_failed;
  Role& role = roles_[number];
  role.breaker.Failed(now, why);
  for (PoolOperation& operation : operations_) ++operation.report.failed;
  // One that does not queue had this opening, or one like it, and no other hope.
  if (auto waiter =
          queue_.PopLastUnqueued([&](TenantId tenant) { return tenants_[tenant].role == number; })) {
    const absl::Status vain = WaitedInVain(role, waiter->since, waiter->queues);
    Refuse(Dequeued(*std::move(waiter)), vain, counters_.timed_out, actions);
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
  TakeAvailable(slot);
  StartClosing(slot, RetireReason::kLost, actions);
  Conclude(now, actions);
}

void PoolState::Stuck(SlotRef ref) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.state == SlotState::kRetiring, "only a closing gets stuck");
  BreakPromise(slot);
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
  // Who cannot be served in time is told now, and may try elsewhere meanwhile.
  const Time horizon = NoGrantBefore(now);
  while (auto waiter = queue_.PopExpired(horizon)) {
    const absl::Status vain = WaitedInVain(RoleOf(*waiter), waiter->since, waiter->queues);
    Refuse(Dequeued(*std::move(waiter)), vain, counters_.timed_out, actions);
  }
  if (now >= next_housekeeping_) KeepHouse(now, actions);
  Conclude(now, actions);
}

PoolSnapshot PoolState::Snapshot(Time now) const {
  PoolSnapshot snapshot;
  snapshot.slots_in = in_;
  snapshot.total = total_;
  snapshot.waiting = static_cast<int32_t>(queue_.size());
  snapshot.oldest_wait = queue_.empty() ? Duration::zero() : now - queue_.oldest();
  snapshot.generation = generation_;
  snapshot.breaker = roles_.front().breaker.state(now);
  snapshot.paused = paused_;
  snapshot.counters = counters_;
  snapshot.wait = waits_.Summary(now);
  snapshot.hold = holds_.Summary(now);
  for (const Slot& slot : slots_) {
    if (!slot.taken) continue;
    snapshot.slots.push_back({slot.index, slot.state, slot.last_use, slot.uses, slot.generation});
  }
  std::sort(snapshot.slots.begin(), snapshot.slots.end(),
            [](const auto& a, const auto& b) { return a.index < b.index; });
  tenants_.Visit([&](TenantId, const Tenant& tenant) {
    snapshot.tenants.push_back({tenant.name, tenant.in_use, tenant.waiting, tenant.limits.max_leases,
                                tenant.granted, tenant.rejected});
  });
  std::sort(snapshot.tenants.begin(), snapshot.tenants.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return snapshot;
}

void PoolState::Enqueue(Waiter waiter) {
  CountWaiter(waiter, 1);
  queue_.Push(std::move(waiter));
}

Waiter PoolState::Dequeued(Waiter waiter) {
  CountWaiter(waiter, -1);
  return waiter;
}

void PoolState::CountWaiter(const Waiter& waiter, int32_t change) {
  Tenant& tenant = tenants_[waiter.tenant];
  Role& role = roles_[tenant.role];
  tenant.waiting += change;
  role.waiting += change;
  if (waiter.queues) return;
  tenant.unqueued += change;
  role.unqueued += change;
}

void PoolState::Refuse(Waiter waiter, absl::Status why, int64_t& counter, Actions& actions) {
  ++counter;
  if (&counter == &counters_.rejected) ++tenants_[waiter.tenant].rejected;
  actions.refusals.push_back({std::move(why), std::move(waiter)});
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
  const auto shift = [&](auto& counts) {
    --counts[static_cast<size_t>(slot.state)];
    ++counts[static_cast<size_t>(to)];
  };
  Role& role = roles_[slot.role];
  shift(in_);
  shift(role.in);
  if (slot.doomed) {
    shift(doomed_in_);
    shift(role.doomed_in);
  }
  slot.state = to;
}

void PoolState::Doom(Slot& slot, RetireReason reason) {
  if (slot.doomed) return;
  slot.doomed = reason;
  if (slot.probing) {
    --probing_;
    --roles_[slot.role].probing;
    for (PoolOperation& operation : operations_) operation.probes_awaited -= operation.probes_awaited > 0;
  }
  ++doomed_in_[static_cast<size_t>(slot.state)];
  ++roles_[slot.role].doomed_in[static_cast<size_t>(slot.state)];
}

SlotRef PoolState::Reserve(Time now, uint32_t role) {
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
  slot.role = role;
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
  ++roles_[role].in[static_cast<size_t>(SlotState::kOpening)];
  ++total_;
  PGLESSOR_CHECK(total_ <= options_.max_connections, "the maximum is exact");
  return RefOf(slot);
}

void PoolState::Free(Slot& slot) {
  BreakPromise(slot);
  Role& role = roles_[slot.role];
  const auto state = static_cast<size_t>(slot.state);
  --in_[state];
  --role.in[state];
  if (slot.doomed) {
    --doomed_in_[state];
    --role.doomed_in[state];
  }
  --total_;
  slot.taken = false;
  free_positions_.push_back(RefOf(slot).position);
}

void PoolState::BreakPromise(Slot& slot) {
  if (slot.promised) --roles_[*slot.promised].promised;
  slot.promised.reset();
}

void PoolState::BreakPromiseTo(uint32_t role) {
  if (roles_[role].promised == 0) return;
  const auto slot = std::find_if(slots_.begin(), slots_.end(),
                                 [&](const Slot& each) { return each.taken && each.promised == role; });
  BreakPromise(*slot);
}

void PoolState::MakeAvailable(Time now, Slot& slot, Actions& actions) {
  if (slot.doomed) {
    PutOut(now, slot, *slot.doomed);
    return;
  }
  if (closing_ || now >= slot.retire_at || Lasting() > options_.max_connections) {
    RetireReason reason = RetireReason::kLifetime;
    if (Lasting() > options_.max_connections) reason = RetireReason::kSurplus;
    if (closing_) reason = ClosingReason();
    StartClosing(slot, reason, actions);
    return;
  }
  Move(slot, SlotState::kAvailable);
  std::vector<uint32_t>& available = roles_[slot.role].available;
  // At the end, unless it comes back from a probe.
  auto place = available.end();
  while (place != available.begin() && slots_[*(place - 1)].last_use > slot.last_use) --place;
  available.insert(place, RefOf(slot).position);
}

void PoolState::TakeAvailable(const Slot& slot) {
  std::vector<uint32_t>& available = roles_[slot.role].available;
  // Nearly always the last.
  const auto place = std::find(available.rbegin(), available.rend(), RefOf(slot).position);
  available.erase(std::next(place).base());
}

std::vector<uint32_t> PoolState::TakeAllAvailable() {
  std::vector<uint32_t> all;
  for (Role& role : roles_) {
    all.insert(all.end(), role.available.begin(), role.available.end());
    role.available.clear();
  }
  return all;
}

void PoolState::StartClosing(Slot& slot, RetireReason reason, Actions& actions) {
  Move(slot, SlotState::kRetiring);
  actions.closes.push_back({RefOf(slot), reason});
}

void PoolState::CountEnd(Time now, const Slot& slot, EndReason reason) {
  ++counters_.ended[static_cast<size_t>(reason)];
  tenants_.GivenBack(slot.tenant);
  holds_.Record(now, now - slot.last_use);
  for (PoolOperation& operation : operations_) {
    // Of the leases it was to end, those that did not end by themselves before.
    const EndReason its = operation.Resets() ? EndReason::kPoolReset : EndReason::kRevoked;
    if (std::erase(operation.leased, slot.index) > 0 && reason == its) ++operation.report.leases_ended;
  }
}

}  // namespace pglessor::core

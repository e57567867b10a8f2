// Who is served with what, and what is opened for whom: where every change of PoolState ends.
#include <algorithm>
#include <utility>

#include "server/core/check.h"
#include "server/core/pool_state.h"

namespace pglessor::core {

int32_t PoolState::Role::coming() const {
  const auto sound = [&](SlotState state) {
    return in[static_cast<size_t>(state)] - doomed_in[static_cast<size_t>(state)];
  };
  return sound(SlotState::kOpening) + sound(SlotState::kCleaning) + promised;
}

bool PoolState::Role::alive() const {
  const auto count = [&](SlotState state) { return in[static_cast<size_t>(state)]; };
  return count(SlotState::kAvailable) + count(SlotState::kInUse) + count(SlotState::kCleaning) > 0;
}

PoolState::RoleCounts PoolState::ComingByRole() const {
  RoleCounts counts;
  for (const Role& role : roles_) counts.push_back(role.coming());
  return counts;
}

int32_t PoolState::Coming() const {
  const auto sound = [&](SlotState state) { return in(state)-doomed_in_[static_cast<size_t>(state)]; };
  return sound(SlotState::kOpening) + sound(SlotState::kCleaning);
}

int32_t PoolState::Lasting() const { return in(SlotState::kAvailable) + in(SlotState::kInUse) + Coming(); }

void PoolState::Conclude(Time now, Actions& actions) {
  Serve(now, actions);
  if (queue_.empty()) saturated_ = false;
  Balance(now, actions);
  CloseOutgoing(now, actions);
  if (!operations_.empty()) FinishOperations(now, actions);
  if (const BreakerState breaker = roles_.front().breaker.state(now); breaker != breaker_told_) {
    actions.breaker = breaker_told_ = breaker;
  }
  const int32_t opening = in(SlotState::kOpening)-doomed_in_[static_cast<size_t>(SlotState::kOpening)];
  warm_ = warm_ || Lasting() - opening >= WarmLevel(options_);
}

bool PoolState::MayHave(TenantId tenant) const {
  return tenants_.MayHave(tenant, options_.max_connections - in(SlotState::kInUse)-in(SlotState::kStuck));
}

bool PoolState::Compatible(const Slot& slot, TenantId tenant) const {
  return slot.uses == 0 || slot.tenant == tenant || (!slot.apart && !tenants_[tenant].apart);
}

std::optional<uint32_t> PoolState::FindAvailable(TenantId tenant) const {
  const std::vector<uint32_t>& available = roles_[tenants_[tenant].role].available;
  const auto found = std::find_if(available.rbegin(), available.rend(),
                                  [&](uint32_t position) { return Compatible(slots_[position], tenant); });
  if (found == available.rend()) return std::nullopt;
  return *found;
}

std::optional<uint32_t> PoolState::FindUsable(Time now, TenantId tenant) const {
  const std::optional<uint32_t> found = FindAvailable(tenant);
  if (!found) return std::nullopt;
  const Slot& slot = slots_[*found];
  const Role& role = roles_[slot.role];
  // One that must be probed first serves only where not each of those that wait has one that is probed.
  if (!Fresh(now, slot) && now < slot.retire_at && role.probing >= role.waiting) return std::nullopt;
  return found;
}

std::optional<uint32_t> PoolState::AtOnce(Time now, TenantId tenant) const {
  if (!queue_.empty() || paused_ || fencing_.empty() || !MayHave(tenant)) return std::nullopt;
  const std::optional<uint32_t> found = FindAvailable(tenant);
  return found && Fresh(now, slots_[*found]) ? found : std::nullopt;
}

void PoolState::Serve(Time now, Actions& actions) {
  while (!queue_.empty() && !paused_ && !fencing_.empty()) {
    std::optional<RoleCounts> coming;
    std::optional<uint32_t> usable;
    const std::optional<WaiterId> next = queue_.Next(now, [&](TenantId tenant) {
      if (!MayHave(tenant)) return false;
      usable = FindUsable(now, tenant);
      // One that is short of a connection of its own, and could have the place of another's, goes before
      // those behind it, whom the others' would fit.
      if (usable || total_ < options_.max_connections || FindAvailable(tenant)) return usable.has_value();
      if (!roles_[tenants_[tenant].role].MayOpen(now)) return false;
      if (!coming) coming = ComingByRole();
      return --(*coming)[tenants_[tenant].role] < 0;
    });
    if (!next) return;
    if (!usable) {
      if (!Displace(tenants_[queue_.TenantOf(*next)].role, Among::kAll, actions)) return;
      continue;
    }
    Slot& slot = slots_[*usable];
    TakeAvailable(slot);
    if (Fresh(now, slot)) {
      Grant(now, slot, Dequeued(queue_.Serve(*next)), actions);
    } else if (now >= slot.retire_at) {
      StartClosing(slot, RetireReason::kLifetime, actions);
    } else {
      StartProbe(slot, actions);
    }
  }
}

void PoolState::Grant(Time now, Slot& slot, Waiter waiter, Actions& actions) {
  Tenant& tenant = tenants_[waiter.tenant];
  Move(slot, SlotState::kInUse);
  slot.tenant = waiter.tenant;
  slot.apart = tenant.apart;
  slot.last_use = now;
  ++slot.uses;
  ++counters_.granted;
  ++tenant.granted;
  tenants_.Lent(waiter.tenant);
  if (options_.warmup == Warmup::kForecast) peak_.Record(now, in(SlotState::kInUse) + waiting());
  const SlotGrant granted{RefOf(slot), fencing_.Next(), now, now - waiter.since};
  if (!waiter.measured) waits_.Record(now, granted.waited);
  waiter.measured = true;
  actions.grants.push_back({granted, std::move(waiter)});
}

bool PoolState::HasRoom() const {
  return total_ < options_.max_connections && in(SlotState::kOpening) < options_.max_concurrent_opens;
}

bool PoolState::MayOpen(Time now, uint32_t role) const { return HasRoom() && roles_[role].MayOpen(now); }

void PoolState::Balance(Time now, Actions& actions) {
  if (fencing_.ShouldAsk()) actions.take_fencing_block = true;
  if (draining_) return;
  for (;;) {
    const bool room = HasRoom();
    const auto role = ShortRole(now, room ? Promises::kDoNotCount : Promises::kCount);
    if (!role) break;
    if (room) {
      BreakPromiseTo(*role);
      Open(now, *role, actions);
    } else if (total_ < options_.max_connections || fencing_.empty() ||
               !Displace(*role, Among::kSpare, actions)) {
      break;
    }
  }
  while (Lasting() < Wanted() && MayOpen(now, 0)) Open(now, 0, actions);
  if (options_.warmup == Warmup::kLazy) most_lasting_ = std::max(most_lasting_, Lasting());
}

void PoolState::Open(Time now, uint32_t role, Actions& actions) {
  const bool on_demand = Lasting() >= Wanted();
  actions.opens.push_back({Reserve(now, role), generation_, roles_[role].name, on_demand});
}

std::optional<uint32_t> PoolState::ShortRole(Time now, Promises promises) {
  if (paused_ || queue_.empty()) return std::nullopt;
  // The usual case of a busy pool: whoever is short, nothing can be done about it.
  if (total_ >= options_.max_connections && in(SlotState::kAvailable) == 0) return std::nullopt;
  // First who is at the head of each line, then those behind.
  for (const bool heads_only : {true, false}) {
    RoleCounts coming = ComingByRole();
    if (promises == Promises::kDoNotCount) {
      for (size_t i = 0; i < roles_.size(); ++i) coming[i] -= roles_[i].promised;
    }
    std::optional<uint32_t> found;
    queue_.Visit(now, [&](TenantId tenant, size_t waiting) {
      const uint32_t role = tenants_[tenant].role;
      // A waiter beside an idle connection waits for its probe, or for a fencing block, which no opening
      // brings.
      if (!MayHave(tenant) || FindAvailable(tenant)) return true;
      if (!roles_[role].MayOpen(now)) return true;  // others' turn
      // What is being cleaned serves a waiter long before a new connection could.
      coming[role] -= heads_only ? 1 : static_cast<int32_t>(waiting);
      if (coming[role] >= 0) return true;
      found = role;
      return false;
    });
    if (found) return found;
  }
  return std::nullopt;
}

bool PoolState::Displace(uint32_t role, Among among, Actions& actions) {
  Slot* longest_idle = nullptr;
  for (Role& other : roles_) {
    // Those that wait for a probe of one of these keep as many.
    const auto spare =
        static_cast<int32_t>(other.available.size()) - std::max(0, other.waiting - other.probing);
    if (other.available.empty() || (among == Among::kSpare && &other != &roles_[role] && spare <= 0))
      continue;
    Slot& slot = slots_[other.available.front()];
    if (longest_idle == nullptr || slot.last_use < longest_idle->last_use) longest_idle = &slot;
  }
  if (longest_idle == nullptr) return false;
  TakeAvailable(*longest_idle);
  longest_idle->promised = role;
  ++roles_[role].promised;
  StartClosing(*longest_idle, RetireReason::kDisplaced, actions);
  return true;
}

}  // namespace pglessor::core

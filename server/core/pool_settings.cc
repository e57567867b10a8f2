// What a pool is told to be: PoolState's options, tenants, warm-up, and whether it grants at all.
#include <algorithm>
#include <utility>

#include "server/core/check.h"
#include "server/core/pool_state.h"

namespace pglessor::core {

PoolState::PoolState(const PoolOptions& options) : options_(options), queue_(options.age_step) {
  roles_.emplace_back(options_);
  SetUpTenants();
}

void PoolState::SetUpTenants() {
  tenants_.Configure(options_.tenants, options_.isolation);
  for (Role& role : roles_) role.waiting = role.unqueued = 0;
  tenants_.Change([this](TenantId id, Tenant& tenant) {
    tenant.role = RoleNumber(tenant.limits.role);
    roles_[tenant.role].waiting += tenant.waiting;
    roles_[tenant.role].unqueued += tenant.unqueued;
    queue_.SetWeight(id, tenant.limits.weight);
  });
}

TenantId PoolState::Find(absl::string_view tenant) {
  return tenants_.Find(tenant, [this](TenantId gone) { queue_.Forget(gone); });
}

uint32_t PoolState::RoleNumber(const std::string& name) {
  const auto known =
      std::find_if(roles_.begin(), roles_.end(), [&](const Role& role) { return role.name == name; });
  if (known != roles_.end()) return static_cast<uint32_t>(known - roles_.begin());
  roles_.emplace_back(options_).name = name;
  return static_cast<uint32_t>(roles_.size() - 1);
}

void PoolState::Reconfigure(Time now, const PoolOptions& options, Actions& actions) {
  PGLESSOR_CHECK(options.name == options_.name, "a pool keeps its name");
  options_ = options;
  queue_.SetAgeStep(options.age_step);
  SetUpTenants();
  CloseSurplus(actions);
  Conclude(now, actions);
}

void PoolState::CloseSurplus(Actions& actions) {
  for (const Role& role : roles_) {
    while (Lasting() > options_.max_connections && !role.available.empty()) {
      Slot& slot = slots_[role.available.front()];
      TakeAvailable(slot);
      StartClosing(slot, RetireReason::kSurplus, actions);
    }
  }
}

bool PoolState::Pause() { return !std::exchange(paused_, true); }

bool PoolState::Resume(Time now, Actions& actions) {
  const bool was_paused = std::exchange(paused_, false);
  Conclude(now, actions);
  return was_paused;
}

int32_t PoolState::Wanted() const {
  int32_t wanted = options_.min_connections;
  if (options_.warmup == Warmup::kLazy) wanted = std::min(wanted, most_lasting_);
  if (options_.warmup == Warmup::kForecast) wanted = std::clamp(forecast_, wanted, options_.max_connections);
  if (!warm_) wanted = std::max(wanted, WarmLevel(options_));
  for (const PoolOperation& operation : operations_) wanted = std::max(wanted, operation.target);
  return wanted;
}

}  // namespace pglessor::core

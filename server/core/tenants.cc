#include "server/core/tenants.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"

namespace pglessor::core {

TenantId Tenants::Find(absl::string_view name, Forgotten forgotten) {
  if (recent_ != nullptr && recent_->name == name) return recent_id_;
  if (const auto known = ids_.find(name); known != ids_.end()) return known->second;
  if (unconfigured_ >= kMaxUnconfiguredTenants) ForgetIdle(forgotten);
  const TenantId id{++last_id_.value};
  auto tenant = std::make_unique<Tenant>();
  tenant->name = std::string(name);
  tenant->apart = isolation_ == Isolation::kConnection;
  ids_.emplace(tenant->name, id);
  tenants_.emplace(id, std::move(tenant));
  ++unconfigured_;
  return id;
}

Tenant& Tenants::Look(TenantId id) const {
  recent_ = tenants_.find(id)->second.get();
  recent_id_ = id;
  return *recent_;
}

void Tenants::ForgetIdle(Forgotten forgotten) {
  recent_ = nullptr;
  recent_id_ = {};
  absl::erase_if(tenants_, [&](const auto& entry) {
    const Tenant& tenant = *entry.second;
    if (tenant.configured || tenant.busy()) return false;
    ids_.erase(tenant.name);
    --unconfigured_;
    forgotten(entry.first);
    return true;
  });
}

void Tenants::Configure(const std::map<std::string, TenantLimits>& limits, Isolation isolation) {
  isolation_ = isolation;
  for (const auto& [name, unused] : limits) Find(name, [](TenantId) {});
  reserved_ = 0;
  unconfigured_ = 0;
  for (auto& [unused, tenant] : tenants_) {
    const auto configured = limits.find(tenant->name);
    tenant->configured = configured != limits.end();
    const TenantLimits now = tenant->configured ? configured->second : TenantLimits{};
    if (now.acquires_per_second != tenant->limits.acquires_per_second || now.burst != tenant->limits.burst) {
      tenant->rate = RateLimiter(now.acquires_per_second, now.burst);
    }
    tenant->limits = now;
    tenant->apart = now.isolation.value_or(isolation) == Isolation::kConnection;
    reserved_ += Lacking(*tenant);
    unconfigured_ += tenant->configured ? 0 : 1;
  }
}

absl::Status Tenants::Admit(Time now, TenantId id, Priority priority) {
  Tenant& tenant = (*this)[id];
  const TenantLimits& limits = tenant.limits;
  if (priority > limits.max_priority) {
    return MakeError(
        absl::StatusCode::kPermissionDenied,
        absl::StrCat("tenant \"", tenant.name, "\" may not ask for so high a priority; ask for a lower one"),
        {.reason = reason::kPermissionDenied});
  }
  if (const auto retry_after = tenant.rate.Take(now)) {
    return MakeError(
        absl::StatusCode::kResourceExhausted,
        absl::StrCat("tenant \"", tenant.name, "\" acquires more often than ", limits.acquires_per_second,
                     " times a second, which is its rate; retry later"),
        {.reason = reason::kRateLimited,
         .retry_after = retry_after,
         .quotas = {{absl::StrCat("tenant:", tenant.name),
                     absl::StrCat("acquires_per_second ", limits.acquires_per_second)}}});
  }
  if (limits.max_leases > 0 && tenant.in_use + tenant.waiting >= limits.max_leases) {
    return MakeError(
        absl::StatusCode::kResourceExhausted,
        absl::StrCat("tenant \"", tenant.name, "\" has or waits for ", limits.max_leases,
                     " leases, which is its quota; release one, or retry later"),
        {.reason = reason::kTenantQuotaExceeded,
         .metadata = {{"in_use", absl::StrCat(tenant.in_use)}, {"waiting", absl::StrCat(tenant.waiting)}},
         .retry_after = std::chrono::milliseconds(100),
         .quotas = {{absl::StrCat("tenant:", tenant.name), absl::StrCat("max_leases ", limits.max_leases)}}});
  }
  return absl::OkStatus();
}

int32_t Tenants::Lacking(const Tenant& tenant) {
  return std::max(0, tenant.limits.guaranteed - tenant.in_use);
}

bool Tenants::MayHave(TenantId id, int32_t left) const {
  const Tenant& tenant = (*this)[id];
  // Of its waiters some came in before its quota was lowered.
  if (tenant.limits.max_leases > 0 && tenant.in_use >= tenant.limits.max_leases) return false;
  return left > reserved_ || Lacking(tenant) > 0;
}

void Tenants::Lent(TenantId id) {
  Tenant& tenant = (*this)[id];
  reserved_ -= Lacking(tenant) > 0 ? 1 : 0;
  ++tenant.in_use;
}

void Tenants::GivenBack(TenantId id) {
  Tenant& tenant = (*this)[id];
  --tenant.in_use;
  reserved_ += Lacking(tenant) > 0 ? 1 : 0;
}

void Tenants::Visit(absl::FunctionRef<void(TenantId, const Tenant&)> visit) const {
  for (const auto& [id, tenant] : tenants_) visit(id, *tenant);
}

void Tenants::Change(absl::FunctionRef<void(TenantId, Tenant&)> change) {
  for (const auto& [id, tenant] : tenants_) change(id, *tenant);
}

}  // namespace pglessor::core

// The tenants of one pool: what each may take, what it has, and what is kept back for others. Plain state.
//
// A tenant is known from its first acquire. Those that are configured are known for ever; of the others,
// those with nothing in the pool are forgotten when there are more than kMaxUnconfiguredTenants.
//
// Invariants
//   1. A tenant's leases never exceed its max_leases (unless that was lowered under them).
//   2. A tenant that has fewer leases than it is guaranteed finds a connection that no other holds: nobody is
//      granted one beyond his own guarantee while those that are left are no more than others' guarantees
//      still lack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "server/core/clock.h"
#include "server/core/ids.h"
#include "server/core/options.h"
#include "server/core/rate_limiter.h"

namespace pglessor::core {

struct Tenant {
  std::string name;
  TenantLimits limits;
  bool configured = false;
  RateLimiter rate{0, 0};
  uint32_t role = 0;   // the pool's number for limits.role
  bool apart = false;  // isolated from other tenants by connection
  int32_t in_use = 0;
  int32_t waiting = 0;
  int32_t unqueued = 0;  // of `waiting`, those that stand in no line
  int64_t granted = 0;
  int64_t rejected = 0;

  bool busy() const { return in_use > 0 || waiting > 0; }
};

class Tenants {
 public:
  // Told of a tenant that is known no more.
  using Forgotten = absl::FunctionRef<void(TenantId)>;

  // The one of that name, which is known from now on.
  TenantId Find(absl::string_view name, Forgotten forgotten);
  // Requires: known.
  Tenant& operator[](TenantId id) { return id == recent_id_ ? *recent_ : Look(id); }
  const Tenant& operator[](TenantId id) const { return id == recent_id_ ? *recent_ : Look(id); }

  // The limits of those that are configured, from now on: others are as if nobody had configured them. A
  // tenant's rate begins anew where it changed.
  // `isolation` is that of tenants that have none of their own.
  void Configure(const std::map<std::string, TenantLimits>& limits, Isolation isolation);

  // Whether an acquire of it may come in: nothing is taken yet but from its rate.
  // Fails with: RESOURCE_EXHAUSTED RATE_LIMITED, TENANT_QUOTA_EXCEEDED; PERMISSION_DENIED.
  absl::Status Admit(Time now, TenantId id, Priority priority);
  // Whether it may have one of the `left` connections that nobody holds.
  bool MayHave(TenantId id, int32_t left) const;

  void Lent(TenantId id);
  void GivenBack(TenantId id);

  void Visit(absl::FunctionRef<void(TenantId, const Tenant&)> visit) const;
  void Change(absl::FunctionRef<void(TenantId, Tenant&)> change);

 private:
  Tenant& Look(TenantId id) const;
  static int32_t Lacking(const Tenant& tenant);
  void ForgetIdle(Forgotten forgotten);

  // Behind a pointer: a tenant is looked at while others come.
  absl::flat_hash_map<TenantId, std::unique_ptr<Tenant>> tenants_;
  absl::flat_hash_map<std::string, TenantId> ids_;
  size_t unconfigured_ = 0;
  TenantId last_id_;
  Isolation isolation_ = Isolation::kSession;
  // The one that was looked at last: who decides about a tenant asks for it a dozen times. Null with id 0.
  mutable Tenant* recent_ = nullptr;
  mutable TenantId recent_id_;
  int32_t reserved_ = 0;  // what all guarantees together still lack
};

}  // namespace pglessor::core

// Who calls, and what that caller may do.
//
// Every edge asks it before it touches the core: which tenant a lease is for, whether a lease token is this
// caller's to use, and whose rows a list may show. Whether a call may be made at all is authorization.h's.
//
// Threads: immutable.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "server/core/lessor.h"
#include "server/rpc/identity_options.h"

namespace pglessor::rpc {

class Caller {
 public:
  // `identity.secret_sha256` and its certificates are not kept.
  explicit Caller(const IdentityOptions& identity);
  // Whoever it is, where no identities are configured: all roles, any tenant.
  static Caller Anonymous();

  const std::string& identity() const { return identity_; }

  // An operator is a viewer too. A holder may look as well: at what Sees leaves of it.
  bool May(Role role) const;

  bool ActsFor(absl::string_view tenant) const;
  // The tenant of a request that names `requested`: its default where that is empty.
  // Fails with: PERMISSION_DENIED PERMISSION_DENIED.
  absl::StatusOr<std::string> TenantFor(const std::string& requested) const;

  // In Stats, lists and watches: viewers see everything, others the rows of their own tenants, and none that
  // has no tenant.
  bool SeesEverything() const;
  bool Sees(absl::string_view tenant) const { return SeesEverything() || ActsFor(tenant); }

 private:
  const std::string identity_;
  const std::set<Role> roles_;
  const std::vector<std::string> tenants_;
};

// Shared by its calls and by Identities, which may replace it while they go on.
using CallerRef = std::shared_ptr<const Caller>;

// The lease that `token` proves to `caller`.
// Fails with: NOT_FOUND LEASE_NOT_FOUND, the same for a lease of a tenant that is not the caller's.
absl::StatusOr<core::LeaseCounter> Prove(const Caller& caller, const core::Lessor& lessor,
                                         absl::string_view token);

// PERMISSION_DENIED PERMISSION_DENIED: `what` is not for this caller.
absl::Status PermissionDenied(const Caller& caller, absl::string_view what);

}  // namespace pglessor::rpc

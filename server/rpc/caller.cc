#include "server/rpc/caller.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"

namespace pglessor::rpc {
namespace {

constexpr char kAnonymous[] = "anonymous";
constexpr char kAnyTenant[] = "*";
constexpr char kDefaultTenant[] = "default";

}  // namespace

Caller::Caller(const IdentityOptions& identity)
    : identity_(identity.name), roles_(identity.roles), tenants_(identity.tenants) {}

Caller Caller::Anonymous() {
  return Caller({.name = kAnonymous,
                 .roles = {Role::kHolder, Role::kViewer, Role::kOperator},
                 .tenants = {kAnyTenant},
                 .secret_sha256 = {},
                 .certificates = {}});
}

bool Caller::May(Role role) const {
  if (role == Role::kViewer && (SeesEverything() || roles_.contains(Role::kHolder))) return true;
  return roles_.contains(role);
}

bool Caller::ActsFor(absl::string_view tenant) const {
  return std::any_of(tenants_.begin(), tenants_.end(),
                     [&](const std::string& own) { return own == kAnyTenant || tenant == own; });
}

absl::StatusOr<std::string> Caller::TenantFor(const std::string& requested) const {
  if (requested.empty() && !tenants_.empty()) {
    return tenants_.front() == kAnyTenant ? kDefaultTenant : tenants_.front();
  }
  if (requested.empty()) return PermissionDenied(*this, "it has no tenant to act for");
  if (ActsFor(requested)) return requested;
  return PermissionDenied(*this, absl::StrCat("it may not act for the tenant \"", requested, "\""));
}

bool Caller::SeesEverything() const {
  return roles_.contains(Role::kViewer) || roles_.contains(Role::kOperator);
}

absl::StatusOr<core::LeaseCounter> Prove(const Caller& caller, const core::Lessor& lessor,
                                         absl::string_view token) {
  const absl::StatusOr<core::Lessor::Proof> proof = lessor.Prove(token);
  if (!proof.ok()) return proof.status();
  if (!caller.ActsFor(proof->tenant)) return core::LeaseNotFound();
  return proof->lease;
}

absl::Status PermissionDenied(const Caller& caller, absl::string_view what) {
  return core::MakeError(absl::StatusCode::kPermissionDenied,
                         absl::StrCat("not for \"", caller.identity(), "\": ", what),
                         {.reason = core::reason::kPermissionDenied});
}

}  // namespace pglessor::rpc

#include "server/rpc/convert_settings.h"

#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"
#include "server/rpc/convert.h"

namespace pglessor::rpc {
namespace {

using core::FieldInvalid;

// One field of a tenant's row, by its path.
std::string FieldOf(const v1::TenantLimits& row, absl::string_view field) {
  return absl::StrCat("settings.tenants[", row.tenant(), "].", field);
}

// `limits` with all that a row says; what no row can say stays.
absl::Status Replace(const v1::TenantLimits& row, core::TenantLimits& limits) {
  limits.max_leases = row.max_leases();
  limits.acquires_per_second = row.acquires_per_second();
  limits.burst = row.burst();
  limits.guaranteed = row.guaranteed();
  limits.weight = row.weight() == 0 ? 1 : row.weight();
  switch (row.max_priority()) {
    case v1::PRIORITY_UNSPECIFIED:
    case v1::PRIORITY_HIGH:
      limits.max_priority = core::Priority::kHigh;
      return absl::OkStatus();
    case v1::PRIORITY_NORMAL:
      limits.max_priority = core::Priority::kNormal;
      return absl::OkStatus();
    case v1::PRIORITY_LOW:
      limits.max_priority = core::Priority::kLow;
      return absl::OkStatus();
    default:
      return FieldInvalid(FieldOf(row, "max_priority"), "expected a Priority, or unset for any");
  }
}

absl::Status ReplaceTenants(const v1::PoolSettings& settings, core::PoolOptions& options) {
  std::set<std::string> seen;
  for (const v1::TenantLimits& row : settings.tenants()) {
    if (absl::Status name = CheckTenant(row.tenant(), "settings.tenants.tenant"); !name.ok()) return name;
    if (!seen.insert(row.tenant()).second) {
      return FieldInvalid("settings.tenants",
                          absl::StrCat("expected each tenant once, got ", row.tenant(), " twice"));
    }
    if (absl::Status row_fault = Replace(row, options.tenants[row.tenant()]); !row_fault.ok()) {
      return row_fault;
    }
  }
  return absl::OkStatus();
}

absl::Status SetTtl(bool given, const google::protobuf::Duration& from, const char* field,
                    core::Duration& to) {
  if (!given) return FieldInvalid(field, "expected a duration, for the mask names it");
  const absl::StatusOr<core::Duration> ttl = FromProto(from, field);
  if (ttl.ok()) to = *ttl;
  return ttl.status();
}

absl::Status SetField(const std::string& name, const v1::PoolSettings& settings, core::PoolOptions& options) {
  if (name == "min_connections") {
    options.min_connections = settings.min_connections();
    return absl::OkStatus();
  }
  if (name == "max_connections") {
    options.max_connections = settings.max_connections();
    return absl::OkStatus();
  }
  if (name == "min_ttl") {
    return SetTtl(settings.has_min_ttl(), settings.min_ttl(), "settings.min_ttl", options.min_ttl);
  }
  if (name == "default_ttl") {
    return SetTtl(settings.has_default_ttl(), settings.default_ttl(), "settings.default_ttl",
                  options.default_ttl);
  }
  if (name == "max_ttl") {
    return SetTtl(settings.has_max_ttl(), settings.max_ttl(), "settings.max_ttl", options.max_ttl);
  }
  if (name == "tenants") return ReplaceTenants(settings, options);
  return FieldInvalid(
      "update_mask",
      absl::StrCat("expected fields of PoolSettings, such as max_connections, got \"", name, "\""));
}

}  // namespace

v1::PoolSettings ToProto(const core::PoolOptions& options) {
  v1::PoolSettings proto;
  proto.set_min_connections(options.min_connections);
  proto.set_max_connections(options.max_connections);
  *proto.mutable_min_ttl() = ToProto(options.min_ttl);
  *proto.mutable_default_ttl() = ToProto(options.default_ttl);
  *proto.mutable_max_ttl() = ToProto(options.max_ttl);
  for (const auto& [tenant, limits] : options.tenants) {
    v1::TenantLimits& row = *proto.add_tenants();
    row.set_tenant(tenant);
    row.set_max_leases(limits.max_leases);
    row.set_acquires_per_second(limits.acquires_per_second);
    row.set_burst(limits.burst);
    row.set_guaranteed(limits.guaranteed);
    row.set_weight(limits.weight);
    row.set_max_priority(static_cast<v1::Priority>(limits.max_priority));
  }
  return proto;
}

absl::StatusOr<core::PoolOptions> Changed(core::PoolOptions options, const v1::UpdatePoolRequest& request) {
  if (request.update_mask().paths().empty()) {
    return FieldInvalid("update_mask", "expected the fields of PoolSettings to change");
  }
  for (const std::string& name : request.update_mask().paths()) {
    if (absl::Status fault = SetField(name, request.settings(), options); !fault.ok()) return fault;
  }
  if (const absl::Status fault = core::CheckOptions(options); !fault.ok()) return Within("settings", fault);
  return options;
}

}  // namespace pglessor::rpc

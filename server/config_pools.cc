#include "server/config_pools.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "server/config_keys.h"
#include "server/core/names.h"
#include "server/postgres/opening.h"

namespace pglessor {
namespace {

constexpr size_t kMostRoleBytes = 63;  // PostgreSQL's NAMEDATALEN - 1

std::string Shown(int32_t number) { return absl::StrCat(number); }
std::string Shown(core::Duration time) { return absl::FormatDuration(absl::FromChrono(time)); }

void ReadDsn(ConfigTable& table, const std::string& key, std::string& target) {
  if (!table.Secret(key, target) || target.empty()) return;
  // Never quotes it: it may hold a password.
  const absl::Status status = postgres::CheckDsn(target);
  if (!status.ok()) table.Fault(key, status.message());
}

// `low` must not lie above `high`; the fault is at `low` if the file says it, else at `high`.
struct Pair {
  const char* low_key;
  const char* high_key;
};
template <typename Value>
void CheckOrder(ConfigTable& table, Pair pair, Value low, Value high) {
  if (low <= high) return;
  if (table.Says(pair.low_key)) {
    table.Fault(pair.low_key, absl::StrCat("expected at most ", pair.high_key, ", which is ", Shown(high),
                                           ", got ", Shown(low)));
  } else {
    table.Fault(pair.high_key, absl::StrCat("expected at least ", pair.low_key, ", which is ", Shown(low),
                                            ", got ", Shown(high)));
  }
}

core::TenantLimits ReadTenant(ConfigTable& table, PoolConfig& pool) {
  core::TenantLimits limits;
  for (const auto& key : kTenantNumbers) {
    table.Number(key.name, {key.least, key.most},
                 [&](int64_t number) { limits.*key.field = static_cast<int32_t>(number); });
  }
  for (const auto& key : kTenantRates) {
    table.Number(key.name, ConfigTable::Bounds<double>{key.least, key.most}, limits.*key.field);
  }
  table.Choice("max_priority", kPriorities, limits.max_priority);
  core::Isolation isolation = pool.options.isolation;
  table.Choice("isolation", kIsolations, isolation);
  if (table.Says("isolation")) limits.isolation = isolation;
  table.Text("role", limits.role);
  if (table.Says("role") && (limits.role.empty() || limits.role.size() > kMostRoleBytes)) {
    table.Fault("role", absl::StrCat("expected 1 to ", kMostRoleBytes, " bytes"));
  }
  std::string password;
  if (table.Secret("password", password)) {
    const auto [entry, added] = pool.passwords.emplace(limits.role, password);
    if (limits.role.empty()) table.Fault("password", "expected a role that it is the password of");
    if (!added && entry->second != password) {
      table.Fault("password", "expected the same as another tenant with this role has");
    }
  }
  if (limits.burst > 0 && limits.acquires_per_second == 0) {
    table.Fault("burst", "expected acquires_per_second with it");
  }
  if (limits.max_leases > 0) {
    CheckOrder(table, {"guaranteed", "max_leases"}, limits.guaranteed, limits.max_leases);
  }
  table.Finish();
  return limits;
}

void ReadTenants(ConfigTable& table, PoolConfig& pool) {
  int64_t guaranteed = 0;
  for (auto& [name, tenant] : table.Tables("tenants")) {
    if (name == core::kReservedTenant) {
      table.Fault("tenants", "expected another name than \"lease\", which the gateway uses");
    }
    const core::TenantLimits limits = ReadTenant(tenant, pool);
    guaranteed += limits.guaranteed;
    pool.options.tenants.emplace(name, limits);
  }
  if (guaranteed > pool.options.max_connections) {
    table.Fault("tenants",
                absl::StrCat("expected guaranteed connections of at most max_connections, which is ",
                             pool.options.max_connections, ", in sum, got ", guaranteed));
  }
}

void CheckTogether(ConfigTable& table, const core::PoolOptions& options) {
  CheckOrder(table, {"min_connections", "max_connections"}, options.min_connections, options.max_connections);
  CheckOrder(table, {"min_ttl", "default_ttl"}, options.min_ttl, options.default_ttl);
  CheckOrder(table, {"default_ttl", "max_ttl"}, options.default_ttl, options.max_ttl);
  CheckOrder(table, {"max_ttl", "max_lease_lifetime"}, options.max_ttl, options.max_lease_lifetime);
  CheckOrder(table, {"first_open_backoff", "max_open_backoff"}, options.first_open_backoff,
             options.max_open_backoff);
}

void ReadSession(ConfigTable& table, PoolConfig& pool) {
  table.Text("validate_query", pool.validation.query);
  table.Text("validate_expect", pool.validation.expect);
  if (table.Says("validate_expect") && pool.validation.query.empty()) {
    table.Fault("validate_expect", "expected a validate_query that answers it");
  }
  table.Choice("target_session", kTargetSessions, pool.target_session);
  table.Text("primary", pool.primary);
  if (pool.target_session == postgres::TargetSession::kReadOnly && !table.Says("primary")) {
    table.Fault("target_session", "expected primary with it: a standby gives no fencing tokens");
  }
}

PoolConfig ReadPool(const std::string& name, ConfigTable& table) {
  PoolConfig pool;
  pool.options.name = name;
  for (const auto& key : kPoolTimes) table.Time(key.name, {key.least, key.most}, pool.options.*key.field);
  for (const auto& key : kPoolNumbers) {
    table.Number(key.name, {key.least, key.most},
                 [&](int64_t number) { pool.options.*key.field = static_cast<int32_t>(number); });
  }
  for (const auto& key : kPoolSizes) {
    table.Number(key.name, {static_cast<int64_t>(key.least), static_cast<int64_t>(key.most)},
                 [&](int64_t number) { pool.options.*key.field = static_cast<size_t>(number); });
  }
  table.Choice("warmup", kWarmups, pool.options.warmup);
  table.Choice("isolation", kIsolations, pool.options.isolation);
  table.Text("fallback_pool", pool.options.fallback_pool);
  ReadDsn(table, "dsn", pool.dsn);
  if (!table.Says("dsn") && !table.Says("dsn_file")) {
    table.Fault("dsn", "expected a dsn or a dsn_file: postgresql://USER@HOST/DB or key=value pairs");
  }
  ReadDsn(table, "control_dsn", pool.control_dsn);
  ReadSession(table, pool);
  CheckTogether(table, pool.options);
  ReadTenants(table, pool);
  table.Finish();
  return pool;
}

using PoolTables = std::map<std::string, std::pair<ConfigTable*, const PoolConfig*>>;

// A pool's fallback is another pool, and following them leads never back.
void CheckFallback(const std::string& name, const PoolTables& pools) {
  const auto& [table, config] = pools.at(name);
  std::string chain = name;
  std::string next = config->options.fallback_pool;
  for (size_t steps = 0; !next.empty() && steps < pools.size(); ++steps) {
    absl::StrAppend(&chain, " → ", next);
    const auto pool = pools.find(next);
    if (pool == pools.end()) {
      if (steps == 0) table->Fault("fallback_pool", absl::StrCat("expected a pool, got ", Quoted(next)));
      return;
    }
    if (next == name) {
      table->Fault("fallback_pool", absl::StrCat("expected no way back to the pool itself, got ", chain));
      return;
    }
    next = pool->second.second->options.fallback_pool;
  }
}

// A pool's primary is another pool, whose fencing tokens are its own.
void CheckPrimary(const std::string& name, const PoolTables& pools) {
  const auto& [table, config] = pools.at(name);
  if (config->primary.empty()) return;
  const auto primary = pools.find(config->primary);
  if (primary == pools.end() || config->primary == name) {
    table->Fault("primary", absl::StrCat("expected another pool, got ", Quoted(config->primary)));
  } else if (!primary->second.second->primary.empty()) {
    table->Fault("primary", absl::StrCat("expected a pool without a primary, got ", Quoted(config->primary)));
  }
}

}  // namespace

void ReadPools(ConfigTable& root, Config& config) {
  auto tables = root.Tables("pools");
  for (auto& [name, table] : tables) config.pools.push_back(ReadPool(name, table));
  PoolTables pools;
  for (size_t i = 0; i < tables.size(); ++i) {
    pools.emplace(tables[i].first, std::make_pair(&tables[i].second, &config.pools[i]));
  }
  for (const auto& [name, pool] : pools) {
    CheckFallback(name, pools);
    CheckPrimary(name, pools);
  }
}

}  // namespace pglessor

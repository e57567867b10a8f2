#include "server/config_change.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace pglessor {
namespace {

const PoolConfig* Find(const std::vector<PoolConfig>& pools, const std::string& name) {
  const auto pool = std::find_if(pools.begin(), pools.end(),
                                 [&](const PoolConfig& each) { return each.options.name == name; });
  return pool == pools.end() ? nullptr : &*pool;
}

// A pool that is no longer in the file. Where one that stays has its fencing tokens, so does it.
void CompareGone(const PoolConfig& pool, const std::vector<PoolConfig>& before,
                 const std::vector<PoolConfig>& after, ConfigChange& change) {
  const std::string& name = pool.options.name;
  const bool gives_tokens = std::any_of(before.begin(), before.end(), [&](const PoolConfig& other) {
    return other.primary == name && Find(after, other.options.name) != nullptr;
  });
  if (!gives_tokens) {
    change.removed.push_back(name);
    return;
  }
  change.needs_restart.push_back(absl::StrCat("pools.", name));
  change.pools.push_back(pool);
}

void ComparePools(const std::vector<PoolConfig>& before, const std::vector<PoolConfig>& after,
                  ConfigChange& change) {
  // Those that have a primary first, which gives them their tokens until then.
  for (const bool has_primary : {true, false}) {
    for (const PoolConfig& pool : before) {
      const bool its_turn = pool.primary.empty() != has_primary;
      if (its_turn && Find(after, pool.options.name) == nullptr) CompareGone(pool, before, after, change);
    }
  }
  for (const PoolConfig& pool : after) {
    PoolConfig& then = change.pools.emplace_back(pool);
    const PoolConfig* const known = Find(before, pool.options.name);
    if (known == nullptr) {
      change.added.push_back(pool);
      continue;
    }
    if (pool.options != known->options) change.limits.push_back(pool);
    if (pool.dsn != known->dsn || pool.control_dsn != known->control_dsn ||
        pool.validation != known->validation || pool.passwords != known->passwords) {
      change.moved.push_back(pool);
    }
    const auto restart = [&](const char* key, auto PoolConfig::*field) {
      if (pool.*field == known->*field) return;
      change.needs_restart.push_back(absl::StrCat("pools.", pool.options.name, ".", key));
      then.*field = known->*field;
    };
    restart("target_session", &PoolConfig::target_session);
    restart("primary", &PoolConfig::primary);
  }
}

}  // namespace

ConfigChange Compare(const Config& before, const Config& after) {
  ConfigChange change;
  const auto restart = [&change](const char* key, bool changed) {
    if (changed) change.needs_restart.emplace_back(key);
  };
  restart("listen", before.listen != after.listen);
  restart("advertise", before.advertise != after.advertise);
  restart("gateway", before.gateway != after.gateway);
  restart("gateway_advertise", before.gateway_advertise != after.gateway_advertise);
  restart("http", before.http != after.http);
  restart("insecure", before.insecure != after.insecure);
  restart("reflection", before.reflection != after.reflection);
  restart("enable_fault_injection", before.fault_injection != after.fault_injection);
  restart("ended_retention", before.ended_retention != after.ended_retention);
  restart("log_level", before.log_level != after.log_level);
  restart("log_format", before.log_format != after.log_format);
  restart("tls", before.tls.cert != after.tls.cert || before.tls.key != after.tls.key ||
                     before.tls.client_ca != after.tls.client_ca);
  // A file from which the callers are missing does not open the server to all.
  restart("identities", !before.identities.empty() && after.identities.empty());
  ComparePools(before.pools, after.pools, change);
  return change;
}

}  // namespace pglessor

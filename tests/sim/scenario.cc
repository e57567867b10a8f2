#include "tests/sim/scenario.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"

namespace pglessor::core::sim {
namespace {

using namespace std::chrono_literals;

void DrawSize(PoolOptions& pool, Random& random) {
  pool.max_connections = random.From(1, 6);
  pool.min_connections = random.From(0, pool.max_connections);
}

void DrawTenants(PoolOptions& pool, Random& random) {
  int32_t unguaranteed = pool.max_connections;
  // The last tenant stays as nobody has configured it.
  for (const char* const name : {"a", "b"}) {
    TenantLimits& limits = pool.tenants[name];
    limits.weight = random.From(1, 4);
    limits.max_leases = random.Percent(50) ? random.From(1, 4) : 0;
    limits.acquires_per_second = random.Percent(25) ? random.From(1, 20) : 0;
    limits.burst = random.Percent(50) ? random.From(1, 5) : 0;
    limits.max_priority = random.Percent(15) ? Priority::kNormal : Priority::kHigh;
    const int32_t most = limits.max_leases > 0 ? std::min(limits.max_leases, unguaranteed) : unguaranteed;
    limits.guaranteed = random.Percent(25) ? random.From(0, most) : 0;
    unguaranteed -= limits.guaranteed;
  }
}

}  // namespace

Scenario DrawScenario(Random& random) {
  Scenario scenario;
  PoolOptions& pool = scenario.pool;
  DrawSize(pool, random);
  pool.warmup = random.Percent(80) ? Warmup::kMinimum : Warmup::kLazy;
  pool.min_ttl = 20ms;
  pool.default_ttl = 400ms;
  pool.max_ttl = 2s;
  pool.max_lease_lifetime = random.Percent(50) ? 3s : 1h;
  pool.acquire_timeout = 1s;
  pool.unclaimed_timeout = random.Between(50ms, 700ms);
  pool.connect_timeout = random.Between(200ms, 1s);
  pool.max_concurrent_opens = random.From(1, 4);
  pool.max_waiters = random.Percent(20) ? static_cast<size_t>(random.From(1, 4)) : 100;
  pool.max_open_backoff = 800ms;
  pool.breaker_failures = random.From(1, 7);
  pool.breaker_probe_interval = random.Between(200ms, 1s);
  pool.validate_after = random.Between(20ms, 500ms);
  pool.keepalive = random.Percent(50) ? random.Between(500ms, 2s) : Duration::zero();
  pool.idle_timeout = random.Percent(50) ? random.Between(300ms, 2s) : Duration::zero();
  pool.max_lifetime = random.Percent(50) ? random.Between(1s, 5s) : Duration::zero();
  pool.age_step = random.Percent(80) ? random.Between(50ms, 500ms) : Duration::zero();
  pool.degrade_after = random.Percent(15) ? random.Between(100ms, 500ms) : Duration::zero();
  pool.max_think_time = random.Percent(15) ? random.Between(200ms, 800ms) : Duration::zero();
  pool.max_idle_in_transaction = random.Percent(15) ? random.Between(100ms, 500ms) : Duration::zero();
  scenario.tenants = {"a", "b", "c"};
  if (random.Percent(70)) DrawTenants(pool, random);
  // Few seeds have roles of their own or walls between tenants: the order of service is judged in the others.
  if (random.Percent(20)) pool.tenants["b"].role = "b";
  if (random.Percent(15)) pool.tenants["a"].isolation = Isolation::kConnection;

  scenario.leases.ended_retention = random.Between(200ms, 2s);
  scenario.callers = random.From(1, random.Percent(75) ? 12 : 30);
  scenario.trouble = random.Percent(30) ? 0 : random.Below(12);
  scenario.between_disasters = random.Percent(30) ? Duration::zero() : random.Between(500ms, 4s);
  scenario.between_operators = random.Percent(40) ? Duration::zero() : random.Between(200ms, 2s);
  scenario.length = random.Between(3s, 8s);
  return scenario;
}

std::string Describe(const PoolOptions& options) {
  std::string text = absl::StrCat("minimum ", options.min_connections, ", maximum ", options.max_connections);
  for (const auto& [name, limits] : options.tenants) {
    absl::StrAppend(&text, "; ", name, ": weight ", limits.weight, ", quota ", limits.max_leases,
                    ", guaranteed ", limits.guaranteed, limits.role.empty() ? "" : ", a role of its own",
                    limits.isolation ? ", isolated" : "");
  }
  return text;
}

PoolOptions Redraw(PoolOptions options, Random& random) {
  DrawSize(options, random);
  if (!options.tenants.empty()) {
    const std::string role = options.tenants["b"].role;
    const std::optional<Isolation> isolation = options.tenants["a"].isolation;
    DrawTenants(options, random);
    options.tenants["b"].role = role;
    options.tenants["a"].isolation = isolation;
  }
  return options;
}

}  // namespace pglessor::core::sim

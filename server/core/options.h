// What can be set in the core, with its defaults, and the limits that several of its parts share, by name. A
// limit of one part alone stands in that part. A queue, map, loop or retry without any is a defect.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"

#include "server/core/clock.h"
#include "server/core/priority.h"

namespace pglessor::core {

// What stands between two holders of one connection.
enum class Isolation {
  kSession,     // the session is cleaned: ROLLBACK, DISCARD ALL, verified
  kConnection,  // and where the next holder is of another tenant, the connection is replaced
};

// How many connections are opened before the pool counts as warm, and kept open.
enum class Warmup {
  kLazy,      // none: the first acquires open them; the minimum is kept from then on
  kMinimum,   // min_connections
  kMaximum,   // max_connections, when it starts; then the minimum
  kForecast,  // the minimum, and from then on as many as were in use at the peak of the last minutes
};

// What one tenant may take from one pool, on this replica. The default is a tenant that nobody configured.
struct TenantLimits {
  int32_t max_leases = 0;          // leases, and acquires that wait for one; 0 = no quota
  int32_t guaranteed = 0;          // connections that no other tenant takes; their sum <= max_connections
  int32_t weight = 1;              // its turns in a priority, 1 to kMostWeight
  double acquires_per_second = 0;  // on average; 0 = no limit
  int32_t burst = 0;               // acquires at once after a pause; 0 = a second's worth, at least 1
  Priority max_priority = Priority::kHigh;  // a higher one is refused
  std::optional<Isolation> isolation = {};  // unset = the pool's
  std::string role = {};  // logs in as this PostgreSQL role instead of the pool's own; empty = the pool's own

  friend bool operator==(const TenantLimits&, const TenantLimits&) = default;
};

struct PoolOptions {
  std::string name = "default";
  int32_t min_connections = 10;  // kept open; 0 <= min <= max
  int32_t max_connections = 20;  // never exceeded, not even for an instant; >= 1
  Duration default_ttl = std::chrono::seconds(30);
  Duration min_ttl = std::chrono::milliseconds(100);  // a shorter ttl is raised to it
  Duration max_ttl = std::chrono::hours(1);           // a longer ttl is lowered to it
  Duration max_lease_lifetime = std::chrono::hours(24);
  Duration acquire_timeout = std::chrono::seconds(30);  // where the caller names no wait
  // How long the place or the grant of an acquire with a request_id is kept for a retry once its last caller
  // has gone without an answer.
  Duration unclaimed_timeout = std::chrono::seconds(5);
  Duration connect_timeout = std::chrono::seconds(5);  // one opening, to a session that is ready
  int32_t max_concurrent_opens = 10;  // PostgreSQL forks for each: more at once only queue there
  size_t max_waiters = 10'000;
  Duration first_open_backoff = std::chrono::milliseconds(50);  // doubles with each failure in a row
  Duration max_open_backoff = std::chrono::seconds(2);

  // A connection that nothing was heard of for longer is probed before it is lent.
  Duration validate_after = std::chrono::milliseconds(500);
  // One that has idled for so long is probed although nobody wants it, so that no firewall forgets it; zero =
  // never.
  Duration keepalive = std::chrono::minutes(2);
  // One above the minimum that has idled for so long is closed; zero = never.
  Duration idle_timeout = std::chrono::minutes(10);
  // One that has lived so long is closed when it is not lent, up to a tenth earlier, so that connections
  // opened together do not all go together; zero = never.
  Duration max_lifetime = std::chrono::minutes(30);
  Warmup warmup = Warmup::kMinimum;
  Isolation isolation = Isolation::kSession;

  // A waiter rises by one priority each time it has waited so long; zero = never.
  Duration age_step = std::chrono::seconds(5);
  // Where the queue's oldest has waited so long, acquires of low priority are refused instead of queued; at
  // twice that of normal, at three times that of high; zero = never.
  Duration degrade_after = Duration::zero();
  // Where acquires that allow it go when this pool cannot serve them; empty = nowhere.
  std::string fallback_pool = {};

  // So many openings fail in a row (seven take three seconds, each waiting longer than the one before) before
  // the breaker opens; from then on one is tried so often.
  int32_t breaker_failures = 7;
  Duration breaker_probe_interval = std::chrono::seconds(1);

  // A lease whose holder runs no statement for so long is revoked; inside a transaction; zero = never.
  Duration max_think_time = Duration::zero();
  Duration max_idle_in_transaction = Duration::zero();
  // A lease that is held for longer is reported, once; zero = never.
  Duration leak_warning = Duration::zero();

  std::map<std::string, TenantLimits> tenants = {};  // those that are configured

  friend bool operator==(const PoolOptions&, const PoolOptions&) = default;
};

inline constexpr int32_t kMostConnections = 10'000;
inline constexpr int32_t kMostWeight = 1'000;

// Whether they fit together. Fails with: INVALID_ARGUMENT FIELD_INVALID, a violation for each that does not;
// a tenant's is called "tenants[NAME].max_leases".
absl::Status CheckOptions(const PoolOptions& options);

// With how many connections a pool counts as warm.
int32_t WarmLevel(const PoolOptions& options);

// Of tenants that are not configured, a pool remembers so many; those with nothing in it are forgotten first.
inline constexpr size_t kMaxUnconfiguredTenants = 10'000;

// A removed pool with nothing lent waits so long for PostgreSQL to confirm the end of its last connections.
inline constexpr Duration kGiveUpAfter = std::chrono::minutes(1);

// How often a pool looks for idle connections that are too old, surplus, or due a keepalive.
inline constexpr Duration kHousekeepingPeriod = std::chrono::milliseconds(100);

struct LeaseTableOptions {
  // How long an ended lease is known by its end reason rather than as unknown, and how many at most.
  Duration ended_retention = std::chrono::minutes(10);
  size_t max_ended = 100'000;
};

// How often the reaper looks for what is due. A waiter or a lease ends at most this much late.
inline constexpr Duration kReaperTick = std::chrono::milliseconds(25);

}  // namespace pglessor::core

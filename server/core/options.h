// Every limit and default of the core, by name. A queue, map, loop or retry without a bound here is a
// defect.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "server/core/clock.h"

namespace pglessor::core {

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
};

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

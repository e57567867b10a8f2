// What operators list, page by page: which leases and connections, and what a page of them holds.
//
// A page is weakly consistent, as the ordered map's is: what is there during a whole walk appears in it
// exactly once, and what comes or goes meanwhile may or may not.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "server/core/clock.h"
#include "server/core/ids.h"
#include "server/core/lease.h"
#include "server/core/lease_table.h"
#include "server/core/pool.h"

namespace pglessor::core {

// Leases that match every filter that is set.
struct LeaseFilter {
  std::string pool;
  std::string tenant;
  std::map<std::string, std::string> tags;
  std::optional<Duration> held_longer_than = std::nullopt;
  // Whether who asks may see that tenant's; null = any.
  std::function<bool(absl::string_view tenant)> sees = nullptr;
};

// Judges by pool, tenant and tags; how long it is held is for whoever knows the time.
bool Matches(const LeaseFilter& filter, const LeaseGrant& grant);

struct LeaseQuery {
  LeaseFilter filter;
  std::optional<LeaseState> state;  // unset = those that have not ended
};

struct LeasePage {
  std::vector<LeaseView> leases;            // oldest first
  std::optional<LeaseCounter> next_behind;  // where the next page begins; unset: this is the last one
};

struct ConnectionQuery {
  // With a tenant or tags: of the lease that has it.
  LeaseFilter filter;
  std::optional<SlotState> state;  // unset = any
};

struct ConnectionPlace {
  std::string pool;
  ConnectionIndex index;
};

// A connection as it was at `now`, and the lease that had it.
struct ListedConnection {
  std::string pool;
  PoolView::Row row;
  std::optional<LeaseView> lease;
  Time now{};
  WallTime now_wall{};
};

struct ConnectionPage {
  std::vector<ListedConnection> connections;   // by pool, in each oldest first
  std::optional<ConnectionPlace> next_behind;  // as above
};

}  // namespace pglessor::core

// What a caller asks for: one attempt at an acquire, as it comes from an edge.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "server/core/clock.h"
#include "server/core/lease.h"

namespace pglessor::core {

struct AcquireRequest {
  std::string pool = "default";
  std::string identity = "anonymous";  // who calls
  std::string tenant;
  std::string holder;
  std::optional<Duration> ttl;   // clamped to the pool's bounds
  std::optional<Duration> wait;  // zero = do not queue
  Priority priority = Priority::kNormal;
  std::map<std::string, std::string> tags;
  Renewal renewal = Renewal::kByHolder;
  bool allow_fallback = false;  // the pool's fallback_pool will do, where the pool itself cannot serve it
  std::string request_id;       // attempts with the same one are one acquire; empty = it is alone
};

}  // namespace pglessor::core

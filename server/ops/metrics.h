// Stats as Prometheus reads it: every figure of every pool, from one look under that pool's lock, so that
// the sums that hold in Stats hold in a scrape.
//
// Labels are bounded: pool, the names of states, outcomes and end reasons, and the kShownTenants tenants with
// the most grants; the others of a pool are summed as one, kOtherTenants.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "server/core/clock.h"
#include "server/core/pool.h"

namespace pglessor::ops {

// Prometheus' text format, version 0.0.4.
inline constexpr char kMetricsContentType[] = "text/plain; version=0.0.4; charset=utf-8";

inline constexpr size_t kShownTenants = 100;       // of each pool
inline constexpr char kOtherTenants[] = "_other";  // no tenant may be called that

// What is told of the process itself.
struct ServerFacts {
  std::string version;
  std::string replica;
  core::WallTime started;
};

std::string MetricsText(const ServerFacts& server, const std::vector<core::PoolView>& pools);

}  // namespace pglessor::ops

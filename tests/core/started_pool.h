// A pool in the middle of its life, for tests of who gets what from it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "server/core/error.h"
#include "server/core/pool_state.h"
#include "tests/core/pool_state_driver.h"

namespace pglessor::core {

// Nothing is ever probed.
inline PoolOptions UnprobedOptions(int32_t min, int32_t max) {
  PoolOptions options;
  options.min_connections = min;
  options.max_connections = max;
  options.validate_after = std::chrono::hours(1);
  return options;
}

// Started, and its openings may end in any order.
class StartedPool : public PoolStateDriver {
 public:
  explicit StartedPool(const PoolOptions& options) : PoolStateDriver(options) {
    in_order = false;
    Start();
  }

  std::string ReasonOf(WaiterId id) const {
    for (const Refused& refused : refusals) {
      if (refused.waiter == id) return DetailOf(refused.why).value_or(ErrorDetail{}).reason;
    }
    return "";
  }
  const PoolSnapshot::TenantRow Row(const std::string& tenant) const {
    for (const PoolSnapshot::TenantRow& row : Snapshot().tenants) {
      if (row.name == tenant) return row;
    }
    return {};
  }
  void CloseAllThatClose() {
    while (!closing.empty()) Gone(closing.front());
  }
};

}  // namespace pglessor::core

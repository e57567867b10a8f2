// What a seed decides before anything happens: the pool, its tenants, how many call, and how much goes wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/core/options.h"
#include "tests/sim/random.h"

namespace pglessor::core::sim {

struct Scenario {
  PoolOptions pool;
  std::vector<std::string> tenants;
  LeaseTableOptions leases;
  int32_t callers = 0;
  uint64_t trouble = 0;          // percent of the single steps at PostgreSQL
  Duration between_disasters{};  // on average; zero = none
  Duration between_operators{};  // the same of what operators do
  Duration length{};
};

Scenario DrawScenario(Random& random);

// In a line, for the history.
std::string Describe(const PoolOptions& options);

// Other limits of the same pool, as an operator would set them.
PoolOptions Redraw(PoolOptions options, Random& random);

}  // namespace pglessor::core::sim

#include "server/core/options.h"

#include <chrono>
#include <functional>
#include <string>

#include "gtest/gtest.h"

#include "server/core/error.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;

TEST(PoolOptions, FitTogetherAsTheyAre) { EXPECT_THAT(CheckOptions({}), IsOk()); }

TEST(PoolOptions, NameEveryFieldThatDoesNotFit) {
  struct Fault {
    const char* field;
    std::function<void(PoolOptions&)> make;
  };
  const Fault faults[] = {
      {"max_connections", [](PoolOptions& o) { o.max_connections = o.min_connections = 0; }},
      {"max_connections", [](PoolOptions& o) { o.max_connections = 10'001; }},
      {"min_connections", [](PoolOptions& o) { o.min_connections = -1; }},
      {"min_connections", [](PoolOptions& o) { o.min_connections = 21; }},
      {"min_ttl", [](PoolOptions& o) { o.min_ttl = 0s; }},
      {"default_ttl", [](PoolOptions& o) { o.default_ttl = 2h; }},
      {"max_ttl", [](PoolOptions& o) { o.max_ttl = 48h; }},
      {"tenants[a].max_leases", [](PoolOptions& o) { o.tenants["a"].max_leases = -1; }},
      {"tenants[a].guaranteed", [](PoolOptions& o) { o.tenants["a"] = {.max_leases = 1, .guaranteed = 2}; }},
      {"tenants[a].weight", [](PoolOptions& o) { o.tenants["a"].weight = 0; }},
      {"tenants[a].acquires_per_second", [](PoolOptions& o) { o.tenants["a"].acquires_per_second = -0.5; }},
      {"tenants[a].burst", [](PoolOptions& o) { o.tenants["a"].burst = -1; }},
      {"tenants",
       [](PoolOptions& o) {
         o.tenants["a"].guaranteed = 11;
         o.tenants["b"].guaranteed = 10;
       }},
  };
  for (const Fault& fault : faults) {
    PoolOptions options;
    fault.make(options);
    const absl::Status status = CheckOptions(options);
    EXPECT_THAT(status, HasReason("FIELD_INVALID"));
    ASSERT_TRUE(DetailOf(status).has_value()) << fault.field;
    ASSERT_EQ(DetailOf(status)->fields.size(), 1U) << status;
    EXPECT_EQ(DetailOf(status)->fields[0].subject, fault.field);
  }
}

}  // namespace
}  // namespace pglessor::core

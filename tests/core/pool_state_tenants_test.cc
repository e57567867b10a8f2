// What a pool gives to tenants: quotas, rates, priorities, turns and guarantees.
#include <chrono>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/core/started_pool.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::StatusIs;
using testing::ElementsAre;

TEST(PoolStateTenants, RefusesOneThatHasOrWaitsForItsQuota) {
  PoolOptions options = UnprobedOptions(2, 2);
  options.tenants["billing"].max_leases = 3;
  StartedPool pool(options);
  const WaiterId first = pool.AcquireAs("billing");
  pool.AcquireAs("billing");
  const WaiterId waits = pool.AcquireAs("billing");
  EXPECT_TRUE(pool.Waits(waits));
  const WaiterId refused = pool.AcquireAs("billing");
  EXPECT_EQ(pool.ReasonOf(refused), "TENANT_QUOTA_EXCEEDED");
  const absl::Status why = pool.refusals.back().why;
  EXPECT_THAT(why, StatusIs(absl::StatusCode::kResourceExhausted));
  ASSERT_EQ(DetailOf(why)->quotas.size(), 1U);
  EXPECT_EQ(DetailOf(why)->quotas[0].subject, "tenant:billing");
  EXPECT_EQ(DetailOf(why)->quotas[0].description, "max_leases 3");
  EXPECT_TRUE(DetailOf(why)->retry_after.has_value());
  EXPECT_TRUE(pool.Waits(pool.AcquireAs("shop"))) << "others are not concerned";
  pool.Return(*pool.SlotOf(first));
  EXPECT_TRUE(pool.SlotOf(waits).has_value());
  EXPECT_TRUE(pool.Waits(pool.AcquireAs("billing"))) << "there is room in the quota again";
  EXPECT_EQ(pool.Row("billing").rejected, 1);
  EXPECT_EQ(pool.Row("billing").granted, 3);
  EXPECT_EQ(pool.Row("billing").max_leases, 3);
}

TEST(PoolStateTenants, GrantsNothingBeyondAQuotaThatWasLoweredUnderWaiters) {
  PoolOptions options = UnprobedOptions(2, 2);
  options.tenants["billing"].max_leases = 4;
  StartedPool pool(options);
  const WaiterId first = pool.AcquireAs("billing");
  const WaiterId other = pool.AcquireAs("shop");
  const WaiterId second = pool.AcquireAs("billing");
  options.tenants["billing"].max_leases = 1;
  pool.Reconfigure(options);
  pool.Return(*pool.SlotOf(other));
  EXPECT_TRUE(pool.Waits(second)) << "one is its quota now";
  pool.Return(*pool.SlotOf(first));
  EXPECT_TRUE(pool.SlotOf(second).has_value());
}

TEST(PoolStateTenants, LimitsTheRateOfAcquiresWithABurst) {
  PoolOptions options = UnprobedOptions(8, 8);
  options.tenants["batch"].acquires_per_second = 2;
  options.tenants["batch"].burst = 3;
  StartedPool pool(options);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("batch")).has_value());
  EXPECT_EQ(pool.ReasonOf(pool.AcquireAs("batch")), "RATE_LIMITED");
  EXPECT_EQ(DetailOf(pool.refusals.back().why)->retry_after, Duration(500ms));
  EXPECT_EQ(DetailOf(pool.refusals.back().why)->quotas.at(0).description, "acquires_per_second 2");
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("shop")).has_value());
  pool.now += 500ms - 1ns;
  EXPECT_EQ(pool.ReasonOf(pool.AcquireAs("batch")), "RATE_LIMITED");
  pool.now += 1ns;
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("batch")).has_value());
}

TEST(PoolStateTenants, RefusesAPriorityAboveItsOwn) {
  PoolOptions options = UnprobedOptions(1, 1);
  options.tenants["batch"].max_priority = Priority::kNormal;
  StartedPool pool(options);
  pool.AcquireAs("batch", 1s, Priority::kHigh);
  EXPECT_THAT(pool.refusals.back().why, StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(pool.refusals.back().why, HasReason("PERMISSION_DENIED"));
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("batch", 1s, Priority::kNormal)).has_value());
}

TEST(PoolStateTenants, ServesPrioritiesAndTurnsFromTheQueue) {
  StartedPool pool(UnprobedOptions(1, 1));
  pool.AcquireAs("a");
  const WaiterId a1 = pool.AcquireAs("a");
  const WaiterId a2 = pool.AcquireAs("a");
  const WaiterId b1 = pool.AcquireAs("b");
  const WaiterId high = pool.AcquireAs("c", 30s, Priority::kHigh);
  std::vector<WaiterId> order;
  for (int i = 0; i < 4; ++i) {
    pool.Return(pool.Lent().front());
    order.push_back(pool.grants.back().first);
  }
  EXPECT_THAT(order, ElementsAre(high, a1, b1, a2));
}

TEST(PoolStateTenants, KeepsBackWhatIsGuaranteedToAnother) {
  PoolOptions options = UnprobedOptions(3, 3);
  options.tenants["vip"].guaranteed = 2;
  StartedPool pool(options);
  const WaiterId first = pool.AcquireAs("crowd");
  EXPECT_TRUE(pool.SlotOf(first).has_value());
  const WaiterId second = pool.AcquireAs("crowd");
  EXPECT_TRUE(pool.Waits(second)) << "the two that are left are guaranteed to vip";
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("vip")).has_value()) << "whoever waits before it may not have them";
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("vip")).has_value());
  EXPECT_TRUE(pool.Waits(pool.AcquireAs("vip"))) << "beyond its guarantee it waits like everybody";
  pool.Return(*pool.SlotOf(first));
  EXPECT_TRUE(pool.SlotOf(second).has_value());
}

TEST(PoolStateTenants, RefusesAtOnceOneThatDoesNotQueueWhereAllIsGuaranteedToOthers) {
  PoolOptions options = UnprobedOptions(1, 1);
  options.tenants["vip"].guaranteed = 1;
  StartedPool pool(options);
  EXPECT_EQ(pool.ReasonOf(pool.AcquireAs("crowd", 0s)), "NO_IDLE_CONNECTION");
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("vip", 0s)).has_value());
}

TEST(PoolStateTenants, GivesWhatIsGuaranteedWhoeverWaitsForTheRest) {
  PoolOptions options = UnprobedOptions(3, 3);
  options.tenants["vip"].guaranteed = 2;
  options.max_waiters = 2;
  options.degrade_after = 1s;
  StartedPool pool(options);
  for (int i = 0; i < 3; ++i) pool.AcquireAs("crowd");
  EXPECT_EQ(pool.Snapshot().waiting, 2) << "the queue is full";
  pool.now += 10s;
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("vip", 0s)).has_value());
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("vip", 30s, Priority::kLow)).has_value());
  EXPECT_EQ(pool.ReasonOf(pool.AcquireAs("vip")), "WAIT_QUEUE_FULL") << "beyond it like everybody";
}

TEST(Tenants, ForgetsThoseWithNothingInThePoolWhereThereAreTooMany) {
  Tenants tenants;
  int forgotten = 0;
  const TenantId busy = tenants.Find("busy", [](TenantId) {});
  tenants.Lent(busy);
  for (size_t i = 0; i < 2 * kMaxUnconfiguredTenants; ++i) {
    tenants.Find("t" + std::to_string(i), [&](TenantId id) {
      EXPECT_NE(id, busy);
      ++forgotten;
    });
  }
  EXPECT_GT(forgotten, 0);
  size_t known = 0;
  tenants.Visit([&](TenantId, const Tenant&) { ++known; });
  EXPECT_LE(known, kMaxUnconfiguredTenants);
  EXPECT_EQ(tenants[busy].in_use, 1);
}

}  // namespace
}  // namespace pglessor::core

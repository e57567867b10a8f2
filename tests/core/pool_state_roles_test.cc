// Tenants with a role of their own, and those that share no connection with others.
#include <chrono>

#include "gtest/gtest.h"

#include "tests/core/started_pool.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;

PoolOptions WithRole(int32_t max) {
  PoolOptions options = UnprobedOptions(0, max);
  options.tenants["billing"].role = "billing_role";
  return options;
}

TEST(PoolStateRoles, OpensForATenantByItsRole) {
  StartedPool pool(WithRole(2));
  const WaiterId own = pool.AcquireAs("billing");
  ASSERT_EQ(pool.opening.size(), 1U);
  EXPECT_EQ(pool.roles[pool.opening.front().index], "billing_role");
  pool.OpenAll();
  ASSERT_TRUE(pool.SlotOf(own).has_value());
  pool.Return(*pool.SlotOf(own));
  const WaiterId other = pool.AcquireAs("shop");
  EXPECT_TRUE(pool.Waits(other)) << "what is idle is of another role";
  ASSERT_EQ(pool.opening.size(), 1U);
  EXPECT_EQ(pool.roles[pool.opening.front().index], "");
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(other).has_value());
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("billing")).has_value()) << "its own is idle again";
}

TEST(PoolStateRoles, RetiresTheLongestIdleOfAnotherRoleWhereThePoolIsFull) {
  StartedPool pool(WithRole(2));
  const WaiterId one = pool.AcquireAs("shop");
  const WaiterId two = pool.AcquireAs("shop");
  pool.OpenAll();
  const SlotRef longest = *pool.SlotOf(one);
  pool.Return(longest);
  pool.now += 1s;
  pool.Return(*pool.SlotOf(two));
  const WaiterId billing = pool.AcquireAs("billing");
  ASSERT_EQ(pool.closing.size(), 1U);
  EXPECT_EQ(pool.closing.front(), longest);
  EXPECT_EQ(pool.retired[RetireReason::kDisplaced], 1);
  EXPECT_TRUE(pool.opening.empty()) << "the slot is taken until PostgreSQL has let go";
  pool.CloseAllThatClose();
  ASSERT_EQ(pool.opening.size(), 1U);
  EXPECT_EQ(pool.roles[pool.opening.front().index], "billing_role");
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(billing).has_value());
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("shop")).has_value()) << "only one was displaced";
}

TEST(PoolStateRoles, DoesNotWaitForADisplacedConnectionWhereAnotherPlaceIsFree) {
  StartedPool pool(WithRole(2));
  const WaiterId one = pool.AcquireAs("shop");
  const WaiterId two = pool.AcquireAs("shop");
  pool.OpenAll();
  pool.Return(*pool.SlotOf(one));
  pool.AcquireAs("billing");
  ASSERT_EQ(pool.retired[RetireReason::kDisplaced], 1);
  const SlotRef other = *pool.SlotOf(two);
  pool.Discard(other);
  pool.Gone(other);
  ASSERT_EQ(pool.opening.size(), 1U) << "the displaced one may take long to go";
  EXPECT_EQ(pool.roles[pool.opening.front().index], "billing_role");
}

TEST(PoolStateRoles, GivesAReturnedConnectionUpForAnEarlierWaiterOfAnotherRole) {
  StartedPool pool(WithRole(1));
  const WaiterId holder = pool.AcquireAs("shop");
  pool.OpenAll();
  const WaiterId billing = pool.AcquireAs("billing");
  const WaiterId later = pool.AcquireAs("shop");
  pool.Return(*pool.SlotOf(holder));
  EXPECT_TRUE(pool.Waits(later)) << "it would otherwise be handed on for ever";
  pool.CloseAllThatClose();
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(billing).has_value());
}

// A tenant can make PostgreSQL refuse its own role: by its password, or by holding all that it may have.
TEST(PoolStateRoles, ARefusedRoleIsNothingToTheOthers) {
  PoolOptions options = WithRole(3);
  options.min_connections = 1;
  StartedPool pool(options);
  const SlotRef shop = *pool.SlotOf(pool.AcquireAs("shop"));
  const WaiterId billing = pool.AcquireAs("billing", 30s, Priority::kHigh);
  ASSERT_EQ(pool.opening.size(), 1U);
  pool.OpenFailed(pool.opening.front(), absl::FailedPreconditionError("no such password"));
  EXPECT_TRUE(pool.Waits(billing));
  EXPECT_EQ(pool.Snapshot().breaker, BreakerState::kClosed) << "that of the pool's own role";

  const WaiterId other = pool.AcquireAs("shop");
  ASSERT_EQ(pool.opening.size(), 1U) << "others' connections are opened";
  EXPECT_EQ(pool.roles[pool.opening.front().index], "");
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(other).has_value());
  pool.Return(shop);
  EXPECT_TRUE(pool.closing.empty()) << "nothing is displaced for what cannot be opened";

  EXPECT_EQ(pool.ReasonOf(pool.AcquireAs("billing")), "") << "it is told what PostgreSQL says, at once";
  const WaiterId late = pool.AcquireAs("shop", 1s);
  const WaiterId later = pool.AcquireAs("shop", 1s);
  EXPECT_TRUE(pool.SlotOf(late).has_value());
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(later).has_value());
}

// --- isolation by connection ---

PoolOptions Isolated(int32_t max) {
  PoolOptions options = UnprobedOptions(0, max);
  options.isolation = Isolation::kConnection;
  return options;
}

TEST(PoolStateIsolation, LendsAConnectionToTheSameTenantAgain) {
  StartedPool pool(Isolated(2));
  const WaiterId first = pool.AcquireAs("a");
  pool.OpenAll();
  const SlotRef slot = *pool.SlotOf(first);
  pool.Return(slot);
  EXPECT_EQ(pool.SlotOf(pool.AcquireAs("a")), slot);
}

TEST(PoolStateIsolation, ReplacesAConnectionBetweenTenants) {
  StartedPool pool(Isolated(1));
  const WaiterId first = pool.AcquireAs("a");
  pool.OpenAll();
  const SlotRef old = *pool.SlotOf(first);
  pool.Return(old);
  const WaiterId second = pool.AcquireAs("b");
  EXPECT_TRUE(pool.Waits(second));
  ASSERT_EQ(pool.closing.size(), 1U);
  EXPECT_EQ(pool.closing.front(), old);
  pool.CloseAllThatClose();
  pool.OpenAll();
  ASSERT_TRUE(pool.SlotOf(second).has_value());
  EXPECT_NE(pool.SlotOf(second)->index, old.index);
}

TEST(PoolStateIsolation, IsATenantsOwnWishInAPoolWithout) {
  PoolOptions options = UnprobedOptions(0, 1);
  options.tenants["wary"].isolation = Isolation::kConnection;
  StartedPool pool(options);
  const WaiterId a = pool.AcquireAs("a");
  pool.OpenAll();
  pool.Return(*pool.SlotOf(a));
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("b")).has_value()) << "these two share";
  pool.Return(pool.Lent().front());
  const WaiterId wary = pool.AcquireAs("wary");
  pool.CloseAllThatClose();
  pool.OpenAll();
  ASSERT_TRUE(pool.SlotOf(wary).has_value());
  pool.Return(*pool.SlotOf(wary));
  EXPECT_TRUE(pool.Waits(pool.AcquireAs("a"))) << "nobody comes after it either";
}

}  // namespace
}  // namespace pglessor::core

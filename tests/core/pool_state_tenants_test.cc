// What a pool gives to tenants: quotas, rates, guarantees, turns, priorities, roles and isolation.
#include <chrono>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/pool_state.h"
#include "tests/core/pool_state_driver.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::StatusIs;
using testing::ElementsAre;

PoolOptions Options(int32_t min, int32_t max) {
  PoolOptions options;
  options.min_connections = min;
  options.max_connections = max;
  options.validate_after = 1h;
  return options;
}

class Pool : public PoolStateDriver {
 public:
  explicit Pool(const PoolOptions& options) : PoolStateDriver(options) {
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

TEST(PoolStateTenants, RefusesOneThatHasOrWaitsForItsQuota) {
  PoolOptions options = Options(2, 2);
  options.tenants["billing"].max_leases = 3;
  Pool pool(options);
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
  PoolOptions options = Options(2, 2);
  options.tenants["billing"].max_leases = 4;
  Pool pool(options);
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
  PoolOptions options = Options(8, 8);
  options.tenants["batch"].acquires_per_second = 2;
  options.tenants["batch"].burst = 3;
  Pool pool(options);
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
  PoolOptions options = Options(1, 1);
  options.tenants["batch"].max_priority = Priority::kNormal;
  Pool pool(options);
  pool.AcquireAs("batch", 1s, Priority::kHigh);
  EXPECT_THAT(pool.refusals.back().why, StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(pool.refusals.back().why, HasReason("PERMISSION_DENIED"));
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("batch", 1s, Priority::kNormal)).has_value());
}

TEST(PoolStateTenants, ServesPrioritiesAndTurnsFromTheQueue) {
  Pool pool(Options(1, 1));
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
  PoolOptions options = Options(3, 3);
  options.tenants["vip"].guaranteed = 2;
  Pool pool(options);
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
  PoolOptions options = Options(1, 1);
  options.tenants["vip"].guaranteed = 1;
  Pool pool(options);
  EXPECT_EQ(pool.ReasonOf(pool.AcquireAs("crowd", 0s)), "NO_IDLE_CONNECTION");
  EXPECT_TRUE(pool.SlotOf(pool.AcquireAs("vip", 0s)).has_value());
}

TEST(PoolStateTenants, GivesWhatIsGuaranteedWhoeverWaitsForTheRest) {
  PoolOptions options = Options(3, 3);
  options.tenants["vip"].guaranteed = 2;
  options.max_waiters = 2;
  options.degrade_after = 1s;
  Pool pool(options);
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

// --- roles of their own ---

PoolOptions WithRole(int32_t max) {
  PoolOptions options = Options(0, max);
  options.tenants["billing"].role = "billing_role";
  return options;
}

TEST(PoolStateRoles, OpensForATenantByItsRole) {
  Pool pool(WithRole(2));
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
  Pool pool(WithRole(2));
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
  Pool pool(WithRole(2));
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
  Pool pool(WithRole(1));
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
  Pool pool(options);
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
  PoolOptions options = Options(0, max);
  options.isolation = Isolation::kConnection;
  return options;
}

TEST(PoolStateIsolation, LendsAConnectionToTheSameTenantAgain) {
  Pool pool(Isolated(2));
  const WaiterId first = pool.AcquireAs("a");
  pool.OpenAll();
  const SlotRef slot = *pool.SlotOf(first);
  pool.Return(slot);
  EXPECT_EQ(pool.SlotOf(pool.AcquireAs("a")), slot);
}

TEST(PoolStateIsolation, ReplacesAConnectionBetweenTenants) {
  Pool pool(Isolated(1));
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
  PoolOptions options = Options(0, 1);
  options.tenants["wary"].isolation = Isolation::kConnection;
  Pool pool(options);
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

// --- pause, update, warm-up, degradation, breaker ---

TEST(PoolStatePause, GrantsNothingUntilItIsResumed) {
  Pool pool(Options(1, 1));
  EXPECT_TRUE(pool.Pause());
  EXPECT_FALSE(pool.Pause());
  const WaiterId waits = pool.AcquireAs("a");
  EXPECT_TRUE(pool.Waits(waits));
  EXPECT_TRUE(pool.Snapshot().paused);
  EXPECT_EQ(pool.ReasonOf(pool.AcquireAs("a", 0s)), "NO_IDLE_CONNECTION");
  pool.Tick();
  EXPECT_TRUE(pool.Waits(waits));
  pool.Resume();
  EXPECT_TRUE(pool.SlotOf(waits).has_value());
}

TEST(PoolStateUpdate, OpensUpToARaisedMinimumAtOnce) {
  PoolOptions options = Options(1, 4);
  Pool pool(options);
  options.min_connections = 3;
  pool.Reconfigure(options);
  EXPECT_EQ(pool.opening.size(), 2U);
}

TEST(PoolStateUpdate, ServesWaitersFromARaisedMaximum) {
  PoolOptions options = Options(1, 1);
  Pool pool(options);
  pool.AcquireAs("a");
  const WaiterId waits = pool.AcquireAs("a");
  options.max_connections = 2;
  pool.Reconfigure(options);
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(waits).has_value());
}

TEST(PoolStateUpdate, OpensNothingUntilTheTotalHasFallenToALoweredMaximum) {
  PoolOptions options = Options(4, 4);
  Pool pool(options);
  std::vector<WaiterId> holders;
  for (int i = 0; i < 3; ++i) holders.push_back(pool.AcquireAs("a"));
  options.min_connections = 2;
  options.max_connections = 2;
  pool.Reconfigure(options);
  EXPECT_EQ(pool.closing.size(), 1U) << "the idle one goes at once";
  EXPECT_EQ(pool.In(SlotState::kInUse), 3) << "no lease ends for it";
  const WaiterId waits = pool.AcquireAs("a");
  pool.CloseAllThatClose();
  pool.Return(*pool.SlotOf(holders[0]));
  EXPECT_TRUE(pool.Waits(waits));
  EXPECT_EQ(pool.retired[RetireReason::kSurplus], 2);
  pool.CloseAllThatClose();
  EXPECT_TRUE(pool.opening.empty());
  pool.Return(*pool.SlotOf(holders[1]));
  EXPECT_TRUE(pool.SlotOf(waits).has_value()) << "two are within the maximum";
  EXPECT_EQ(pool.Snapshot().total, 2);
}

TEST(PoolStateWarmup, OpensNothingWhereItIsLazyUntilSomebodyAsks) {
  PoolOptions options = Options(2, 4);
  options.warmup = Warmup::kLazy;
  Pool pool(options);
  EXPECT_EQ(pool.Snapshot().total, 0);
  EXPECT_TRUE(pool.state().warm());
  pool.Return(*[&] {
    const WaiterId id = pool.AcquireAs("a");
    pool.OpenAll();
    return pool.SlotOf(id);
  }());
  pool.now += 20min;
  pool.Tick();
  EXPECT_EQ(pool.In(SlotState::kAvailable) + static_cast<int>(pool.probing.size()), 1)
      << "what it has had counts as its minimum";
}

TEST(PoolStateWarmup, OpensTheMaximumFirstWhereItIsToldTo) {
  PoolOptions options = Options(1, 4);
  options.warmup = Warmup::kMaximum;
  PoolStateDriver pool(options);
  pool.AddBlock({1 << 20, 1 << 20});
  pool.Tick();
  EXPECT_EQ(pool.opening.size(), 4U);
  EXPECT_FALSE(pool.state().warm());
  pool.OpenAll();
  EXPECT_TRUE(pool.state().warm());
  pool.Lost(pool.slots.begin()->second);
  pool.Gone(pool.closing.front());
  EXPECT_TRUE(pool.opening.empty()) << "once warm, it keeps its minimum";
}

TEST(PoolStateWarmup, KeepsOpenWhatTheLastMinutesPeakUsed) {
  PoolOptions options = Options(1, 8);
  options.warmup = Warmup::kForecast;
  options.idle_timeout = 1s;
  options.max_lifetime = 0s;
  options.keepalive = 0s;
  Pool pool(options);
  std::vector<WaiterId> held;
  for (int i = 0; i < 5; ++i) held.push_back(pool.AcquireAs("a"));
  pool.OpenAll();
  for (const WaiterId id : held) pool.Return(*pool.SlotOf(id));
  pool.now += 1min;
  pool.Tick();
  EXPECT_EQ(pool.In(SlotState::kAvailable), 5);
  pool.now += 5min;
  pool.Tick();  // it learns that the peak has passed
  pool.now += 1s;
  pool.Tick();
  EXPECT_EQ(pool.In(SlotState::kAvailable), 1);
}

TEST(PoolStateDegrade, ShedsTheLowestPriorityFirst) {
  PoolOptions options = Options(1, 1);
  options.degrade_after = 1s;
  options.age_step = 0s;
  Pool pool(options);
  pool.AcquireAs("a");
  pool.AcquireAs("a", 1h);
  const auto refused = [&](Priority priority) {
    return pool.ReasonOf(pool.AcquireAs("b", 1s, priority)) == "WAIT_QUEUE_FULL";
  };
  pool.now += 1s - 1ns;
  EXPECT_FALSE(refused(Priority::kLow));
  pool.now += 1ns;
  EXPECT_TRUE(refused(Priority::kLow));
  EXPECT_FALSE(refused(Priority::kNormal));
  pool.now += 1s;
  EXPECT_TRUE(refused(Priority::kNormal));
  EXPECT_FALSE(refused(Priority::kHigh));
  pool.now += 1s;
  EXPECT_TRUE(refused(Priority::kHigh));
}

TEST(PoolStateBreaker, OpensAfterSevenFailuresAndTriesOneNowAndThen) {
  Pool pool(Options(0, 4));
  const WaiterId queued = pool.AcquireAs("a", 1h);
  pool.AcquireAs("a", 1h);
  for (int i = 0; i < 7; ++i) {
    ASSERT_FALSE(pool.opening.empty()) << i;
    EXPECT_EQ(pool.Snapshot().breaker, BreakerState::kClosed);
    while (!pool.opening.empty()) pool.OpenFailed(pool.opening.front());
    if (i < 6) pool.now += 2s;
    pool.Tick();
  }
  EXPECT_EQ(pool.Snapshot().breaker, BreakerState::kOpen);
  const WaiterId refused = pool.AcquireAs("a");
  EXPECT_EQ(pool.ReasonOf(refused), "BREAKER_OPEN");
  EXPECT_THAT(pool.refusals.back().why, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_TRUE(DetailOf(pool.refusals.back().why)->retry_after.has_value());
  EXPECT_TRUE(pool.Waits(queued)) << "a failed opening alone fails no waiter";
  pool.now += 1s;
  pool.Tick();
  EXPECT_EQ(pool.opening.size(), 1U) << "one is tried, not one for each that waits";
  EXPECT_EQ(pool.Snapshot().breaker, BreakerState::kHalfOpen);
  pool.OpenFailed(pool.opening.front());
  EXPECT_EQ(pool.Snapshot().breaker, BreakerState::kOpen);
  pool.now += 1s;
  pool.Tick();
  pool.Opened(pool.opening.front());
  EXPECT_EQ(pool.Snapshot().breaker, BreakerState::kClosed);
  EXPECT_TRUE(pool.SlotOf(queued).has_value());
  EXPECT_EQ(pool.opening.size(), 1U) << "and now the other's";
  EXPECT_THAT(pool.breaker, ElementsAre(BreakerState::kOpen, BreakerState::kHalfOpen, BreakerState::kOpen,
                                        BreakerState::kHalfOpen, BreakerState::kClosed));
}

TEST(PoolStateBreaker, OpensAtOnceWhereOurCredentialsAreRefused) {
  Pool pool(Options(0, 1));
  pool.AcquireAs("a");
  pool.OpenFailed(pool.opening.front(), MakeError(absl::StatusCode::kFailedPrecondition, "28P01",
                                                  {.reason = reason::kDatabaseAuthFailed}));
  EXPECT_EQ(pool.Snapshot().breaker, BreakerState::kOpen);
  EXPECT_EQ(pool.ReasonOf(pool.AcquireAs("a")), "DATABASE_AUTH_FAILED");
}

TEST(PoolStateBreaker, TakesTooManyConnectionsForBackPressure) {
  Pool pool(Options(0, 1));
  const WaiterId waits = pool.AcquireAs("a", 1h);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(pool.opening.size(), 1U) << i;
    pool.OpenFailed(pool.opening.front(), absl::ResourceExhaustedError("53300"));
    EXPECT_EQ(pool.Snapshot().breaker, BreakerState::kClosed);
    pool.now += 2s;
    pool.Tick();
  }
  EXPECT_TRUE(pool.Waits(waits));
}

TEST(PoolStateBreaker, LetsCallersQueueWhileAConnectionLives) {
  Pool pool(Options(1, 2));
  pool.AcquireAs("a");
  const WaiterId waits = pool.AcquireAs("a", 1h);
  for (int i = 0; i < 7; ++i) {
    while (!pool.opening.empty()) pool.OpenFailed(pool.opening.front());
    if (i < 6) pool.now += 2s;
    pool.Tick();
  }
  ASSERT_EQ(pool.Snapshot().breaker, BreakerState::kOpen);
  EXPECT_TRUE(pool.Waits(pool.AcquireAs("a")));
  EXPECT_TRUE(pool.Waits(waits));
}

}  // namespace
}  // namespace pglessor::core

// What keeps connections sound: probes, keepalives, idle timeouts, lifetimes.
#include <chrono>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/pool_state.h"
#include "tests/core/pool_state_driver.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;

PoolOptions Options(int32_t min, int32_t max) {
  PoolOptions options;
  options.min_connections = min;
  options.max_connections = max;
  options.validate_after = 500ms;
  options.keepalive = 0s;
  options.idle_timeout = 0s;
  options.max_lifetime = 0s;
  return options;
}

TEST(PoolStateUpkeep, LendsAtOnceWhatAnsweredLately) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  pool.now += 500ms;
  pool.Acquire();
  EXPECT_EQ(pool.grants.size(), 1U);
  EXPECT_TRUE(pool.probing.empty());
}

TEST(PoolStateUpkeep, ProbesWhatIdledLongerBeforeItIsLent) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  pool.now += 501ms;
  const WaiterId waiter = pool.Acquire();
  ASSERT_EQ(pool.probing.size(), 1U);
  EXPECT_TRUE(pool.Waits(waiter));
  EXPECT_EQ(pool.In(SlotState::kCleaning), 1);
  pool.Probed(pool.probing.front());
  EXPECT_EQ(pool.grants.size(), 1U);
  EXPECT_EQ(pool.Counters().validations, 1);
  EXPECT_EQ(pool.Counters().validation_failures, 0);
}

TEST(PoolStateUpkeep, NeverLendsWhatDidNotAnswerItsProbe) {
  PoolStateDriver pool(Options(2, 2));
  pool.Start();
  pool.now += 1s;
  const WaiterId waiter = pool.Acquire();
  const SlotRef dead = pool.probing.front();
  pool.Probed(dead, /*sound=*/false);
  EXPECT_EQ(pool.retired[RetireReason::kInvalid], 1);
  EXPECT_EQ(pool.Counters().validation_failures, 1);
  // The next idle one is asked; the dead one is replaced once it has gone.
  ASSERT_EQ(pool.probing.size(), 1U);
  EXPECT_NE(pool.probing.front(), dead);
  pool.Probed(pool.probing.front());
  EXPECT_FALSE(pool.Waits(waiter));
  pool.Gone(dead);
  EXPECT_EQ(pool.opening.size(), 1U);
}

TEST(PoolStateUpkeep, ProbesNoMoreThanThereAreWaiters) {
  PoolStateDriver pool(Options(5, 5));
  pool.Start();
  pool.now += 1s;
  pool.Acquire();
  pool.Acquire();
  EXPECT_EQ(pool.probing.size(), 2U);
  EXPECT_EQ(pool.In(SlotState::kAvailable), 3);
}

TEST(PoolStateUpkeep, ServesInOrderWhoeverWasProbedFor) {
  PoolStateDriver pool(Options(2, 2));
  pool.Start();
  pool.now += 1s;
  const WaiterId first = pool.Acquire();
  const WaiterId second = pool.Acquire();
  const SlotRef late = pool.probing.back();
  pool.Probed(late);
  EXPECT_EQ(pool.SlotOf(first), late);
  EXPECT_TRUE(pool.Waits(second));
}

// S: a caller that does not queue gets an idle connection even where that must be probed first.
TEST(PoolStateUpkeep, ProbesForOneThatDoesNotQueue) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  pool.now += 1s;
  const WaiterId waiter = pool.Acquire(0s);
  ASSERT_EQ(pool.probing.size(), 1U);
  const WaiterId other = pool.Acquire(0s);
  EXPECT_FALSE(pool.Waits(other)) << "there is nothing idle for a second one";
  EXPECT_TRUE(pool.Waits(waiter));
  pool.Probed(pool.probing.front());
  EXPECT_EQ(pool.grants.size(), 1U);
}

TEST(PoolStateUpkeep, AProbeIsNoUse) {
  PoolStateDriver pool(Options(3, 3));
  pool.Start();
  pool.Return(*pool.SlotOf(pool.Acquire()));
  const SlotRef last_used = pool.grants.front().second.slot;
  pool.now += 1s;
  pool.Acquire();
  EXPECT_EQ(pool.probing.front(), last_used) << "the most recently used";
  pool.Acquire();
  pool.Probed(pool.probing.back());
  pool.Probed(pool.probing.front());
  for (const SlotRef slot : pool.Lent()) pool.Return(slot);
}

TEST(PoolStateUpkeep, KeepsIdleConnectionsAlive) {
  PoolOptions options = Options(2, 2);
  options.keepalive = 2min;
  PoolStateDriver pool(options);
  pool.Start();
  pool.now += 2min - 1ns;
  pool.Tick();
  EXPECT_TRUE(pool.probing.empty());
  pool.now += kHousekeepingPeriod;
  pool.Tick();
  EXPECT_EQ(pool.probing.size(), 2U);
  while (!pool.probing.empty()) pool.Probed(pool.probing.front());
  pool.now += 2min - 1ns;
  pool.Tick();
  EXPECT_TRUE(pool.probing.empty()) << "it was heard of since";
}

TEST(PoolStateUpkeep, ClosesWhatNobodyNeededForAWhileDownToTheMinimum) {
  PoolOptions options = Options(2, 5);
  options.idle_timeout = 10min;
  PoolStateDriver pool(options);
  pool.Start();
  for (int i = 0; i < 5; ++i) pool.Acquire();
  pool.OpenAll();
  for (const SlotRef slot : pool.Lent()) pool.Return(slot);
  EXPECT_EQ(pool.In(SlotState::kAvailable), 5);
  pool.now += 10min;
  pool.Tick();
  EXPECT_EQ(pool.retired[RetireReason::kIdle], 3);
  EXPECT_EQ(pool.In(SlotState::kAvailable), 2);
}

TEST(PoolStateUpkeep, ReplacesWhatHasLivedLongEnough) {
  PoolOptions options = Options(2, 4);
  options.max_lifetime = 30min;
  PoolStateDriver pool(options);
  pool.Start();
  pool.now += 30min;
  pool.Tick();
  EXPECT_EQ(pool.retired[RetireReason::kLifetime], 2);
  EXPECT_EQ(pool.opening.size(), 2U) << "the minimum is kept";
}

TEST(PoolStateUpkeep, LifetimesEndApart) {
  PoolOptions options = Options(10, 10);
  options.max_lifetime = 30min;
  PoolStateDriver pool(options);
  pool.Start();
  int most_at_once = 0;
  for (int second = 0; second <= 30 * 60; ++second) {
    pool.now += 1s;
    const size_t before = pool.closing.size();
    pool.Tick();
    most_at_once = std::max(most_at_once, static_cast<int>(pool.closing.size() - before));
  }
  EXPECT_EQ(pool.retired[RetireReason::kLifetime], 10);
  EXPECT_LE(most_at_once, 2);
}

TEST(PoolStateUpkeep, NeverLendsWhatIsTooOld) {
  PoolOptions options = Options(1, 2);
  options.max_lifetime = 30min;
  PoolStateDriver pool(options);
  pool.Start();
  const SlotRef old = pool.slots.begin()->second;
  pool.now += 30min;
  const WaiterId waiter = pool.Acquire();  // with no tick in between
  EXPECT_TRUE(pool.Waits(waiter));
  EXPECT_THAT(pool.closing, testing::ElementsAre(old));
  pool.OpenAll();
  EXPECT_FALSE(pool.Waits(waiter));
}

TEST(PoolStateUpkeep, ClosesWhatGrewTooOldWhileItWasLent) {
  PoolOptions options = Options(1, 1);
  options.max_lifetime = 30min;
  PoolStateDriver pool(options);
  pool.Start();
  const SlotRef slot = *pool.SlotOf(pool.Acquire());
  pool.now += 31min;
  pool.BeginClean(slot);
  pool.Cleaned(slot);
  EXPECT_EQ(pool.retired[RetireReason::kLifetime], 1);
}

}  // namespace
}  // namespace pglessor::core

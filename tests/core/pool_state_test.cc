// Whom a pool serves, whom it refuses, and what it opens.
#include "server/core/pool_state.h"

#include <chrono>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/core/pool_state_driver.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::MetadataOf;
using test::StatusIs;

PoolOptions Options(int32_t min, int32_t max) {
  PoolOptions options;
  options.min_connections = min;
  options.max_connections = max;
  return options;
}

TEST(PoolState, OpensTheMinimumAtTheStart) {
  PoolStateDriver pool(Options(3, 5));
  pool.Tick();
  EXPECT_EQ(pool.opening.size(), 3U);
}

TEST(PoolState, OpensNoMoreAtOnceThanItMay) {
  PoolOptions options = Options(7, 9);
  options.max_concurrent_opens = 2;
  PoolStateDriver pool(options);
  pool.Tick();
  EXPECT_EQ(pool.opening.size(), 2U);
  pool.OpenAll();
  EXPECT_EQ(pool.In(SlotState::kAvailable), 7);
}

TEST(PoolState, GrantsTheMostRecentlyUsedConnection) {
  PoolStateDriver pool(Options(3, 3));
  pool.Start();
  const WaiterId one = pool.Acquire();
  const WaiterId two = pool.Acquire();
  const SlotRef first = *pool.SlotOf(one);
  const SlotRef second = *pool.SlotOf(two);
  pool.Return(second);
  pool.Return(first);
  EXPECT_EQ(pool.SlotOf(pool.Acquire()), first);
  EXPECT_EQ(pool.SlotOf(pool.Acquire()), second);
}

TEST(PoolState, GrantsNothingBeforeTheFirstFencingBlock) {
  PoolStateDriver pool(Options(1, 2));
  pool.Tick();
  pool.OpenAll();
  const WaiterId waiter = pool.Acquire();
  EXPECT_TRUE(pool.Waits(waiter));
  EXPECT_TRUE(pool.opening.empty()) << "no opening brings a fencing block";
  pool.AddBlock({1 << 20, 1 << 20});
  EXPECT_TRUE(pool.SlotOf(waiter).has_value());
}

TEST(PoolState, WaitsForTheNextFencingBlockOnceTheLastTokenHasGone) {
  PoolStateDriver pool(Options(2, 2));
  pool.Tick();
  pool.OpenAll();
  pool.AddBlock({100, 1});
  EXPECT_EQ(pool.blocks_asked, 1);
  pool.Acquire();
  const WaiterId waiter = pool.Acquire();
  EXPECT_TRUE(pool.Waits(waiter));
  pool.AddBlock({50, 10});  // not above the last: another is asked for
  EXPECT_TRUE(pool.Waits(waiter));
  EXPECT_EQ(pool.blocks_asked, 2);
  pool.AddBlock({200, 10});
  EXPECT_FALSE(pool.Waits(waiter));
}

TEST(PoolState, ServesFirstComeFirst) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  const WaiterId holder = pool.Acquire();
  const WaiterId first = pool.Acquire(20s);
  const WaiterId second = pool.Acquire(10s);
  pool.Return(*pool.SlotOf(holder));
  ASSERT_TRUE(pool.SlotOf(first).has_value());
  EXPECT_TRUE(pool.Waits(second));
  pool.BeginClean(*pool.SlotOf(first));
  pool.Cleaned(pool.cleaning.front());
  EXPECT_TRUE(pool.SlotOf(second).has_value());
}

TEST(PoolState, OpensForWaitersWhatIsNotComingAnyway) {
  PoolStateDriver pool(Options(1, 10));
  pool.Start();
  pool.Acquire();
  for (int i = 0; i < 3; ++i) pool.Acquire();
  EXPECT_EQ(pool.opening.size(), 3U);
}

TEST(PoolState, OpensNothingForAWaiterWhomACleaningServes) {
  PoolStateDriver pool(Options(1, 10));
  pool.Start();
  pool.BeginClean(*pool.SlotOf(pool.Acquire()));
  const WaiterId waiter = pool.Acquire();
  EXPECT_TRUE(pool.opening.empty());
  pool.Cleaned(pool.cleaning.front());
  EXPECT_TRUE(pool.SlotOf(waiter).has_value());
}

TEST(PoolState, OpensForAWaiterWhoseCleaningFailed) {
  PoolStateDriver pool(Options(0, 10));
  pool.Start();
  pool.Acquire();
  pool.OpenAll();
  pool.BeginClean(pool.Lent().front());
  const WaiterId waiter = pool.Acquire();
  pool.Retire(pool.cleaning.front());
  ASSERT_EQ(pool.opening.size(), 1U);
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(waiter).has_value());
}

TEST(PoolState, OpensExactlyTenForFiftyCallersOfTenToTwenty) {
  PoolStateDriver pool(Options(10, 20));
  pool.Start();
  for (int i = 0; i < 50; ++i) pool.Acquire();
  EXPECT_EQ(pool.opening.size(), 10U);
  pool.OpenAll();
  EXPECT_TRUE(pool.opening.empty());
  EXPECT_EQ(pool.Lent().size(), 20U);
  EXPECT_EQ(pool.Snapshot().waiting, 30);
  EXPECT_EQ(pool.Counters().connections_opened, 20);
}

TEST(PoolState, LetsAConnectionWhoseWaiterLeftLandIdle) {
  PoolStateDriver pool(Options(0, 5));
  pool.Start();
  const WaiterId waiter = pool.Acquire();
  ASSERT_EQ(pool.opening.size(), 1U);
  pool.Cancel(waiter);
  EXPECT_THAT(pool.refusals.at(0).why, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(pool.Counters().cancelled, 1);
  pool.OpenAll();
  EXPECT_EQ(pool.In(SlotState::kAvailable), 1);
}

TEST(PoolState, IgnoresTheCancelOfWhoWasServed) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  const WaiterId holder = pool.Acquire();
  pool.Cancel(holder);
  pool.Cancel(holder);
  pool.Cancel({999});
  EXPECT_TRUE(pool.SlotOf(holder).has_value());
  EXPECT_EQ(pool.Counters().cancelled, 0);
}

TEST(PoolState, RefusesAtTheVeryInstantOfTheDeadline) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  pool.Acquire();
  const WaiterId waiter = pool.Acquire(10s);
  pool.now += 10s - 1ns;
  pool.Tick();
  EXPECT_TRUE(pool.Waits(waiter));
  pool.now += 1ns;
  pool.Tick();
  ASSERT_EQ(pool.refusals.size(), 1U);
  const absl::Status& why = pool.refusals[0].why;
  EXPECT_THAT(why, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(why, HasReason("POOL_EXHAUSTED"));
  EXPECT_EQ(MetadataOf(why, "in_use"), "1");
  EXPECT_EQ(MetadataOf(why, "max"), "1");
  EXPECT_EQ(MetadataOf(why, "waiting"), "0");
  EXPECT_TRUE(DetailOf(why)->retry_after.has_value());
  EXPECT_EQ(pool.Counters().timed_out, 1);
}

TEST(PoolState, RefusesMoreWaitersThanItsLimit) {
  PoolOptions options = Options(1, 1);
  options.max_waiters = 2;
  PoolStateDriver pool(options);
  pool.Start();
  pool.Acquire();
  pool.Acquire();
  pool.Acquire();
  EXPECT_TRUE(pool.refusals.empty());
  pool.Acquire();
  ASSERT_EQ(pool.refusals.size(), 1U);
  EXPECT_THAT(pool.refusals[0].why, HasReason("WAIT_QUEUE_FULL"));
  ASSERT_EQ(DetailOf(pool.refusals[0].why)->quotas.size(), 1U);
  EXPECT_EQ(DetailOf(pool.refusals[0].why)->quotas[0].subject, "pool:default");
  EXPECT_EQ(DetailOf(pool.refusals[0].why)->quotas[0].description, "max_waiters 2");
  EXPECT_EQ(pool.Counters().rejected, 1);
}

// --- wait_timeout 0 ---

TEST(PoolStateWithoutWait, TakesWhatIsIdle) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  EXPECT_TRUE(pool.SlotOf(pool.Acquire(0s)).has_value());
}

TEST(PoolStateWithoutWait, TakesWhatCanBeOpened) {
  PoolStateDriver pool(Options(0, 1));
  pool.Start();
  const WaiterId waiter = pool.Acquire(0s);
  ASSERT_EQ(pool.opening.size(), 1U);
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(waiter).has_value());
}

TEST(PoolStateWithoutWait, IsRefusedAtTheMaximum) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  pool.Acquire();
  pool.Acquire(0s);
  ASSERT_EQ(pool.refusals.size(), 1U);
  EXPECT_THAT(pool.refusals[0].why, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(pool.refusals[0].why, HasReason("NO_IDLE_CONNECTION"));
}

TEST(PoolStateWithoutWait, IsRefusedBehindThoseThatWait) {
  PoolOptions options = Options(0, 5);
  options.max_concurrent_opens = 1;
  PoolStateDriver pool(options);
  pool.Start();
  pool.Acquire();
  pool.Acquire();
  pool.Acquire(0s);
  ASSERT_EQ(pool.refusals.size(), 1U);
  EXPECT_THAT(pool.refusals[0].why, HasReason("NO_IDLE_CONNECTION"));
}

TEST(PoolStateWithoutWait, ComesInWhereThereIsRoomThoughNoMoreMayBeOpenedAtOnce) {
  PoolStateDriver pool(Options(0, 40));
  pool.Start();
  std::vector<WaiterId> waiters;
  for (int i = 0; i < 20; ++i) waiters.push_back(pool.Acquire(0s));
  EXPECT_TRUE(pool.refusals.empty()) << pool.refusals.size() << " are refused";
  EXPECT_EQ(pool.opening.size(), 10U);
  pool.OpenAll();
  for (const WaiterId waiter : waiters) EXPECT_TRUE(pool.SlotOf(waiter).has_value());
}

TEST(PoolStateWithoutWait, ComesInOnlyWhereThereIsRoomForThoseBeforeItToo) {
  PoolStateDriver pool(Options(0, 15));
  pool.Start();
  std::vector<WaiterId> waiters;
  for (int i = 0; i < 15; ++i) waiters.push_back(pool.Acquire(0s));
  EXPECT_TRUE(pool.refusals.empty()) << pool.refusals.size() << " are refused";
  const WaiterId surplus = pool.Acquire(0s);
  ASSERT_EQ(pool.refusals.size(), 1U);
  EXPECT_EQ(pool.refusals[0].waiter, surplus);
  EXPECT_THAT(pool.refusals[0].why, HasReason("NO_IDLE_CONNECTION"));
  pool.OpenAll();
  EXPECT_EQ(pool.Lent().size(), 15U);
}

TEST(PoolStateWithoutWait, WaitsForItsTurnToBeOpenedNoLongerThanAnOpeningMayTake) {
  PoolOptions options = Options(0, 4);
  options.max_concurrent_opens = 1;
  PoolStateDriver pool(options);
  pool.Start();
  pool.Acquire(0s);
  const WaiterId second = pool.Acquire(0s);
  EXPECT_TRUE(pool.Waits(second));
  pool.now += 5s;
  pool.Tick();
  EXPECT_FALSE(pool.Waits(second));
}

TEST(PoolStateWithoutWait, IsToldThatItsOpeningFailed) {
  PoolStateDriver pool(Options(0, 1));
  pool.Start();
  pool.Acquire(0s);
  pool.OpenFailed(pool.opening.front());
  ASSERT_EQ(pool.refusals.size(), 1U);
  EXPECT_THAT(pool.refusals[0].why, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(pool.refusals[0].why, HasReason("DATABASE_UNAVAILABLE"));
}

TEST(PoolStateWithoutWait, IsToldThatTheServerIsFullAsThatNothingIsIdle) {
  PoolStateDriver pool(Options(0, 1));
  pool.Start();
  pool.Acquire(0s);
  pool.OpenFailed(pool.opening.front(), absl::ResourceExhaustedError("53300"));
  ASSERT_EQ(pool.refusals.size(), 1U);
  EXPECT_THAT(pool.refusals[0].why, HasReason("NO_IDLE_CONNECTION"));
}

TEST(PoolStateWithoutWait, IsRefusedWhileOpeningsAreBackedOff) {
  PoolStateDriver pool(Options(0, 1));
  pool.Start();
  pool.Acquire(0s);
  pool.OpenFailed(pool.opening.front());
  pool.Acquire(0s);
  EXPECT_EQ(pool.refusals.size(), 2U);
  EXPECT_TRUE(pool.opening.empty());
}

TEST(PoolStateWithoutWait, WaitsNoLongerThanAnOpeningMayTake) {
  PoolStateDriver pool(Options(0, 1));
  pool.Start();
  const WaiterId waiter = pool.Acquire(0s);
  pool.now += 5s;
  pool.Tick();
  EXPECT_FALSE(pool.Waits(waiter));
}

}  // namespace
}  // namespace pglessor::core

// What a pool does while the database lets it open nothing.
#include <chrono>

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

PoolOptions Options(int32_t min, int32_t max) {
  PoolOptions options;
  options.min_connections = min;
  options.max_connections = max;
  return options;
}

TEST(PoolStateBackoff, DoublesToItsLimitAndEndsWithASuccess) {
  PoolOptions options = Options(1, 1);
  options.breaker_failures = 100;
  PoolStateDriver pool(options);
  pool.Start();
  pool.Lost(*pool.SlotOf(pool.Acquire()));
  pool.Discard(pool.Lent().front(), EndReason::kConnectionLost);
  pool.Gone(pool.closing.front());
  for (const Duration backoff : {50ms, 100ms, 200ms, 400ms, 800ms, 1600ms, 2000ms, 2000ms}) {
    ASSERT_EQ(pool.opening.size(), 1U);
    pool.OpenFailed(pool.opening.front());
    // Up to a tenth earlier.
    pool.now += backoff * 9 / 10 - 1ns;
    pool.Tick();
    ASSERT_TRUE(pool.opening.empty()) << backoff.count();
    pool.now += backoff / 10 + 1ns;
    pool.Tick();
  }
  pool.OpenAll();
  EXPECT_EQ(pool.In(SlotState::kAvailable), 1);
  pool.Lost(pool.Snapshot().slots.empty() ? SlotRef{} : SlotRef{0, pool.Snapshot().slots[0].index});
  pool.Gone(pool.closing.front());
  pool.OpenFailed(pool.opening.front());
  pool.now += 50ms;
  pool.Tick();
  EXPECT_EQ(pool.opening.size(), 1U) << "it starts again from the first";
}

TEST(PoolStateBackoff, TakesOpeningsThatFailTogetherForOne) {
  PoolStateDriver pool(Options(8, 8));
  pool.Tick();
  while (!pool.opening.empty()) pool.OpenFailed(pool.opening.front());
  EXPECT_EQ(pool.Counters().opens_failed, 8);
  pool.now += 50ms;
  pool.Tick();
  EXPECT_EQ(pool.opening.size(), 8U);
}

TEST(PoolStateBackoff, LeavesWaitersInTheirPlaces) {
  PoolStateDriver pool(Options(0, 1));
  pool.Start();
  const WaiterId waiter = pool.Acquire();
  pool.OpenFailed(pool.opening.front());
  EXPECT_TRUE(pool.Waits(waiter));
  pool.now += 50ms;
  pool.Tick();
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(waiter).has_value());
}

// The next opening is tried after the wait of one of the two.
TEST(PoolStateBackoff, TellsEarlyWhoCannotBeServedInTime) {
  PoolOptions options = Options(0, 1);
  options.first_open_backoff = 1s;
  PoolStateDriver pool(options);
  pool.Start();
  const WaiterId hopeless = pool.Acquire(800ms);
  const WaiterId patient = pool.Acquire(5s);
  pool.OpenFailed(pool.opening.front());
  pool.Tick();
  EXPECT_FALSE(pool.Waits(hopeless));
  EXPECT_THAT(pool.refusals.at(0).why, HasReason("DATABASE_UNAVAILABLE"));
  EXPECT_EQ(pool.Counters().timed_out, 1);
  EXPECT_TRUE(pool.Waits(patient));
  pool.now += 1s;
  pool.Tick();
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(patient).has_value());
}

// What one holder has may come back at any time.
TEST(PoolStateBackoff, TellsNobodyEarlyWhileAConnectionLives) {
  PoolOptions options = Options(0, 2);
  options.first_open_backoff = 1s;
  PoolStateDriver pool(options);
  pool.Start();
  pool.Acquire();
  pool.OpenAll();
  const WaiterId waiter = pool.Acquire(800ms);
  pool.OpenFailed(pool.opening.front());
  pool.Tick();
  ASSERT_TRUE(pool.Waits(waiter));
  pool.Return(pool.Lent().front());
  EXPECT_TRUE(pool.SlotOf(waiter).has_value());
}

TEST(PoolStateBackoff, TellsWhoWaitedInVainThatTheDatabaseWasAway) {
  PoolStateDriver pool(Options(0, 1));
  pool.Start();
  pool.Acquire(1s);
  pool.OpenFailed(pool.opening.front());
  pool.now += 1s;
  pool.Tick();
  ASSERT_EQ(pool.refusals.size(), 1U);
  EXPECT_THAT(pool.refusals[0].why, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(pool.refusals[0].why, HasReason("DATABASE_UNAVAILABLE"));
}

TEST(PoolStateBackoff, TellsWhoWaitedInVainThatOurCredentialsWereRefused) {
  PoolStateDriver pool(Options(0, 1));
  pool.Start();
  pool.Acquire(1s);
  pool.OpenFailed(pool.opening.front(), MakeError(absl::StatusCode::kFailedPrecondition, "28P01",
                                                  {.reason = reason::kDatabaseAuthFailed}));
  pool.now += 1s;
  pool.Tick();
  ASSERT_EQ(pool.refusals.size(), 1U);
  EXPECT_THAT(pool.refusals[0].why, HasReason("DATABASE_AUTH_FAILED"));
}

// Its place is taken until that is confirmed, and so no opening is even tried.
TEST(PoolStateBackoff, TellsWhoWaitedForADeadConnectionThatTheDatabaseWasAway) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  const SlotRef slot = *pool.SlotOf(pool.Acquire());
  pool.now += 1s;
  pool.Discard(slot, EndReason::kConnectionLost);
  pool.Acquire(1s);
  pool.now += 1s;
  pool.Tick();
  ASSERT_EQ(pool.refusals.size(), 1U);
  EXPECT_THAT(pool.refusals[0].why, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(pool.refusals[0].why, HasReason("DATABASE_UNAVAILABLE"));
}

TEST(PoolStateBackoff, TellsWhenToRetryAlsoAfterAReset) {
  PoolStateDriver pool(Options(0, 1));
  pool.Start();
  pool.Acquire(1s);
  pool.OpenFailed(pool.opening.front());
  pool.Reset(/*force=*/false);
  pool.now += 1s;
  pool.Tick();
  ASSERT_EQ(pool.refusals.size(), 1U);
  const Duration retry_after = DetailOf(pool.refusals[0].why)->retry_after.value_or(0ns);
  EXPECT_GE(retry_after, 45ms);
  EXPECT_LE(retry_after, 50ms);
}

TEST(PoolStateBackoff, CallsAFailureBeforeTheWaitNoReason) {
  PoolStateDriver pool(Options(0, 1));
  pool.Start();
  const WaiterId first = pool.Acquire();
  pool.OpenFailed(pool.opening.front());
  pool.now += 1s;
  pool.Tick();
  pool.OpenAll();
  ASSERT_TRUE(pool.SlotOf(first).has_value());
  pool.Acquire(1s);
  pool.now += 1s;
  pool.Tick();
  EXPECT_THAT(pool.refusals.at(0).why, HasReason("POOL_EXHAUSTED"));
}

}  // namespace
}  // namespace pglessor::core

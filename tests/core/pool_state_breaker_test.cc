// A pool that cannot serve all: the breaker, and who is shed first.
#include <chrono>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/core/started_pool.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::StatusIs;
using testing::ElementsAre;

TEST(PoolStateDegrade, ShedsTheLowestPriorityFirst) {
  PoolOptions options = UnprobedOptions(1, 1);
  options.degrade_after = 1s;
  options.age_step = 0s;
  StartedPool pool(options);
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
  StartedPool pool(UnprobedOptions(0, 4));
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
  StartedPool pool(UnprobedOptions(0, 1));
  pool.AcquireAs("a");
  pool.OpenFailed(pool.opening.front(), MakeError(absl::StatusCode::kFailedPrecondition, "28P01",
                                                  {.reason = reason::kDatabaseAuthFailed}));
  EXPECT_EQ(pool.Snapshot().breaker, BreakerState::kOpen);
  EXPECT_EQ(pool.ReasonOf(pool.AcquireAs("a")), "DATABASE_AUTH_FAILED");
}

TEST(PoolStateBreaker, TakesTooManyConnectionsForBackPressure) {
  StartedPool pool(UnprobedOptions(0, 1));
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
  StartedPool pool(UnprobedOptions(1, 2));
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

// How a pool comes to its end.
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

TEST(PoolStateDrain, RefusesThoseThatWaitAndThoseThatCome) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  pool.Acquire();
  pool.Acquire();
  pool.Drain();
  pool.Acquire();
  ASSERT_EQ(pool.refusals.size(), 2U);
  for (const auto& refusal : pool.refusals) {
    EXPECT_THAT(refusal.why, StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_THAT(refusal.why, HasReason("DRAINING"));
  }
  EXPECT_EQ(pool.Counters().rejected, 2);
}

TEST(PoolStateDrain, RefusesEvenWhereAConnectionIsIdle) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  pool.Drain();
  pool.Acquire();
  EXPECT_THAT(pool.refusals.at(0).why, HasReason("DRAINING"));
}

TEST(PoolStateDrain, RefusesWhoWasHandedADeadConnection) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  const WaiterId waiter = pool.Acquire();
  pool.Drain();
  pool.Regret(*pool.SlotOf(waiter));
  EXPECT_THAT(pool.refusals.at(0).why, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(pool.refusals.at(0).why, HasReason("DRAINING"));
}

TEST(PoolStateDrain, OpensNothingMore) {
  PoolStateDriver pool(Options(3, 3));
  pool.Start();
  pool.Acquire();
  pool.Drain();
  pool.Discard(pool.Lent().front());
  pool.Gone(pool.closing.front());
  pool.now += 1h;
  pool.Tick();
  EXPECT_TRUE(pool.opening.empty());
}

TEST(PoolStateDrain, ClosesEverythingAsItComesBack) {
  PoolOptions options = Options(4, 6);
  PoolStateDriver pool(options);
  pool.Start();
  for (int i = 0; i < 5; ++i) pool.Acquire();  // four are lent, one is opening
  const auto lent = pool.Lent();
  pool.BeginClean(lent[0]);
  pool.Return(lent[1]);
  ASSERT_EQ(pool.Lent().size(), 4U - 2 + 1);
  pool.Drain();
  pool.CloseAll();
  EXPECT_EQ(pool.In(SlotState::kAvailable), 0);
  pool.Cleaned(pool.cleaning.front());
  pool.OpenAll();
  for (const SlotRef slot : pool.Lent()) pool.Return(slot, EndReason::kDrained);
  EXPECT_EQ(pool.In(SlotState::kRetiring), pool.Snapshot().total);
  while (!pool.closing.empty()) pool.Gone(pool.closing.front());
  EXPECT_EQ(pool.state().total(), 0);
}

TEST(PoolStateDrain, ForgetsAnOpeningThatFails) {
  PoolStateDriver pool(Options(1, 1));
  pool.Tick();
  pool.Drain();
  pool.CloseAll();
  pool.OpenFailed(pool.opening.front());
  EXPECT_EQ(pool.state().total(), 0);
}

TEST(PoolStateDeathTest, IsDrainedBeforeItIsClosed) {
  PoolStateDriver pool(Options(1, 1));
  EXPECT_DEATH(pool.CloseAll(), "drained before");
}

}  // namespace
}  // namespace pglessor::core

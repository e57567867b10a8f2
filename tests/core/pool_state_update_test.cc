// A pool that is paused, has its options changed, or warms up.
#include <chrono>
#include <vector>

#include "gtest/gtest.h"

#include "tests/core/started_pool.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;

TEST(PoolStatePause, GrantsNothingUntilItIsResumed) {
  StartedPool pool(UnprobedOptions(1, 1));
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
  PoolOptions options = UnprobedOptions(1, 4);
  StartedPool pool(options);
  options.min_connections = 3;
  pool.Reconfigure(options);
  EXPECT_EQ(pool.opening.size(), 2U);
}

TEST(PoolStateUpdate, ServesWaitersFromARaisedMaximum) {
  PoolOptions options = UnprobedOptions(1, 1);
  StartedPool pool(options);
  pool.AcquireAs("a");
  const WaiterId waits = pool.AcquireAs("a");
  options.max_connections = 2;
  pool.Reconfigure(options);
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(waits).has_value());
}

TEST(PoolStateUpdate, OpensNothingUntilTheTotalHasFallenToALoweredMaximum) {
  PoolOptions options = UnprobedOptions(4, 4);
  StartedPool pool(options);
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
  PoolOptions options = UnprobedOptions(2, 4);
  options.warmup = Warmup::kLazy;
  StartedPool pool(options);
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
  PoolOptions options = UnprobedOptions(1, 4);
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
  PoolOptions options = UnprobedOptions(1, 8);
  options.warmup = Warmup::kForecast;
  options.idle_timeout = 1s;
  options.max_lifetime = 0s;
  options.keepalive = 0s;
  StartedPool pool(options);
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

}  // namespace
}  // namespace pglessor::core

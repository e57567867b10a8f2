// Every way between a slot's states, and that there is no other.
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "server/core/pool_state.h"
#include "tests/core/pool_state_driver.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;

constexpr SlotState kAllStates[] = {SlotState::kOpening,  SlotState::kAvailable, SlotState::kInUse,
                                    SlotState::kCleaning, SlotState::kRetiring,  SlotState::kStuck};

PoolOptions One() {
  PoolOptions options;
  options.min_connections = 1;
  options.max_connections = 1;
  return options;
}

// A pool of one whose only slot is in `state`.
SlotRef Bring(PoolStateDriver& pool, SlotState state) {
  pool.AddBlock({1 << 20, 1 << 20});
  pool.Tick();
  const SlotRef slot = pool.opening.front();
  if (state == SlotState::kOpening) return slot;
  pool.Opened(slot);
  if (state == SlotState::kAvailable) return slot;
  pool.Acquire();
  if (state == SlotState::kInUse) return slot;
  if (state == SlotState::kCleaning) {
    pool.BeginClean(slot);
    return slot;
  }
  pool.Discard(slot);
  if (state == SlotState::kStuck) pool.Stuck(slot);
  return slot;
}

struct Step {
  const char* name;
  std::function<void(PoolStateDriver&, SlotRef)> take;
  // From each state: where it leads (nothing: the slot is free), or "" where it must not happen.
  std::vector<std::pair<SlotState, std::optional<SlotState>>> ways;
};

const std::vector<Step>& Steps() {
  using enum SlotState;
  static const auto& steps = *new std::vector<Step>{
      {"Opened", [](auto& pool, SlotRef slot) { pool.Opened(slot); }, {{kOpening, kAvailable}}},
      {"OpenFailed", [](auto& pool, SlotRef slot) { pool.OpenFailed(slot); }, {{kOpening, {}}}},
      {"Return", [](auto& pool, SlotRef slot) { pool.Return(slot); }, {{kInUse, kAvailable}}},
      {"BeginClean", [](auto& pool, SlotRef slot) { pool.BeginClean(slot); }, {{kInUse, kCleaning}}},
      {"Discard", [](auto& pool, SlotRef slot) { pool.Discard(slot); }, {{kInUse, kRetiring}}},
      {"Cleaned", [](auto& pool, SlotRef slot) { pool.Cleaned(slot); }, {{kCleaning, kAvailable}}},
      {"Retire", [](auto& pool, SlotRef slot) { pool.Retire(slot); }, {{kCleaning, kRetiring}}},
      {"Stuck", [](auto& pool, SlotRef slot) { pool.Stuck(slot); }, {{kRetiring, kStuck}}},
      {"Gone", [](auto& pool, SlotRef slot) { pool.Gone(slot); }, {{kRetiring, {}}, {kStuck, {}}}},
      // News, which may come at any time: it changes nothing where somebody else will.
      {"Lost",
       [](auto& pool, SlotRef slot) { pool.Lost(slot); },
       {{kOpening, kOpening},
        {kAvailable, kRetiring},
        {kInUse, kInUse},
        {kCleaning, kCleaning},
        {kRetiring, kRetiring},
        {kStuck, kStuck}}},
  };
  return steps;
}

std::optional<SlotState> StateOf(const PoolStateDriver& pool, SlotRef slot) {
  for (const auto& row : pool.Snapshot().slots) {
    if (row.index == slot.index) return row.state;
  }
  return std::nullopt;
}

TEST(PoolStateTransitions, BringEachStateAsTheNextTestsBelieve) {
  for (const SlotState state : kAllStates) {
    PoolStateDriver pool(One());
    EXPECT_EQ(StateOf(pool, Bring(pool, state)), state);
  }
}

TEST(PoolStateTransitions, LeadWhereThePictureSays) {
  for (const Step& step : Steps()) {
    for (const auto& [from, to] : step.ways) {
      PoolStateDriver pool(One());
      const SlotRef slot = Bring(pool, from);
      step.take(pool, slot);
      EXPECT_EQ(StateOf(pool, slot), to) << step.name << " from " << static_cast<int>(from);
    }
  }
}

TEST(PoolStateTransitions, CloseWhateverIsRetired) {
  for (const auto& [name, from] :
       {std::pair("Discard", SlotState::kInUse), std::pair("Retire", SlotState::kCleaning),
        std::pair("Lost", SlotState::kAvailable)}) {
    PoolStateDriver pool(One());
    const SlotRef slot = Bring(pool, from);
    for (const Step& step : Steps()) {
      if (step.name == std::string(name)) step.take(pool, slot);
    }
    EXPECT_EQ(pool.closing, std::deque<SlotRef>{slot}) << name;
  }
}

// "threadsafe" is not needed: there is one thread.
TEST(PoolStateTransitionsDeathTest, AreNoOthers) {
  for (const Step& step : Steps()) {
    for (const SlotState from : kAllStates) {
      bool allowed = false;
      for (const auto& [state, unused] : step.ways) allowed = allowed || state == from;
      if (allowed) continue;
      PoolStateDriver pool(One());
      const SlotRef slot = Bring(pool, from);
      EXPECT_DEATH(step.take(pool, slot), "invariant broken")
          << step.name << " from " << static_cast<int>(from);
    }
  }
}

TEST(PoolStateTransitionsDeathTest, AreOfTheConnectionThatIsInTheSlot) {
  PoolStateDriver pool(One());
  const SlotRef old = Bring(pool, SlotState::kRetiring);
  pool.Gone(old);
  ASSERT_EQ(pool.opening.size(), 1U);
  ASSERT_EQ(pool.opening.front().position, old.position);
  EXPECT_DEATH(pool.Gone(old), "its own connection");
  EXPECT_DEATH(pool.Opened({old.position + 1, old.index}), "whoever has it");
}

TEST(PoolState, KeepsAStuckSlotUntilItHasReallyGone) {
  PoolStateDriver pool(One());
  const SlotRef slot = Bring(pool, SlotState::kStuck);
  const WaiterId waiter = pool.Acquire();
  pool.now += 1s;
  pool.Tick();
  EXPECT_TRUE(pool.opening.empty()) << "a stuck slot counts against the maximum";
  pool.Gone(slot);
  ASSERT_EQ(pool.opening.size(), 1U) << "freed capacity wakes the waiter";
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(waiter).has_value());
}

TEST(PoolState, ReplacesWhatItLostToKeepTheMinimum) {
  PoolOptions options;
  options.min_connections = 2;
  options.max_connections = 4;
  PoolStateDriver pool(options);
  pool.Start();
  const SlotRef lost{0, pool.Snapshot().slots[0].index};
  pool.Lost(lost);
  EXPECT_EQ(pool.opening.size(), 1U);
  pool.OpenAll();
  EXPECT_EQ(pool.In(SlotState::kAvailable), 2);
  pool.Gone(lost);
  EXPECT_TRUE(pool.opening.empty());
}

TEST(PoolState, GivesAWaiterHisOldPlaceWhenHisConnectionWasDead) {
  PoolOptions options;
  options.min_connections = 2;
  options.max_connections = 2;
  PoolStateDriver pool(options);
  pool.Start();
  const WaiterId first = pool.Acquire();
  const WaiterId second = pool.Acquire();
  const WaiterId third = pool.Acquire();
  const SlotRef dead = *pool.SlotOf(first);
  pool.Regret(dead);
  EXPECT_EQ(pool.In(SlotState::kRetiring), 1);
  EXPECT_EQ(pool.Counters().granted, 1);
  EXPECT_TRUE(pool.Waits(first));
  pool.Return(*pool.SlotOf(second));
  EXPECT_TRUE(pool.SlotOf(first).has_value());
  EXPECT_TRUE(pool.Waits(third));
  EXPECT_EQ(pool.Snapshot().wait.count, 2) << "one for each caller";
}

TEST(PoolState, CountsEachEndUnderItsReason) {
  for (size_t i = 0; i < kEndReasons; ++i) {
    const auto reason = static_cast<EndReason>(i);
    PoolStateDriver pool(One());
    pool.Return(Bring(pool, SlotState::kInUse), reason);
    EXPECT_EQ(pool.Ended(reason), 1);
    pool.Acquire();
    pool.BeginClean(pool.Lent().front(), reason);
    EXPECT_EQ(pool.Ended(reason), 2);
    pool.Cleaned(pool.cleaning.front());
    pool.Acquire();
    pool.Discard(pool.Lent().front(), reason);
    EXPECT_EQ(pool.Ended(reason), 3);
  }
}

TEST(PoolState, ShowsItsSlotsOldestFirstWithTheirUses) {
  PoolOptions options;
  options.min_connections = 3;
  options.max_connections = 3;
  PoolStateDriver pool(options);
  pool.Start();
  const WaiterId waiter = pool.Acquire();
  const ConnectionIndex used = pool.SlotOf(waiter)->index;
  pool.now += 5s;
  pool.Return(*pool.SlotOf(waiter));
  const auto slots = pool.Snapshot().slots;
  ASSERT_EQ(slots.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(slots[i].index.value, i + 1);
    EXPECT_EQ(slots[i].uses, slots[i].index == used ? 1 : 0);
    if (slots[i].index == used) {
      EXPECT_EQ(slots[i].last_use, pool.now);
    }
  }
}

TEST(PoolState, ShowsHowLongTheOldestHasWaited) {
  PoolStateDriver pool(One());
  pool.Start();
  EXPECT_EQ(pool.Snapshot().oldest_wait, 0s);
  pool.Acquire();
  pool.now += 1s;
  pool.Acquire();
  pool.now += 2s;
  pool.Acquire();
  pool.now += 4s;
  EXPECT_EQ(pool.Snapshot().oldest_wait, 6s);
}

}  // namespace
}  // namespace pglessor::core

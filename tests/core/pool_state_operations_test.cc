// What operators ask of a whole pool: Reset, Expire, Renew.
#include <chrono>
#include <cstdint>
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
using testing::ElementsAre;
using testing::IsEmpty;

using ReportAnswer = test::Answer<absl::StatusOr<PoolReport>>;

PoolOptions Options(int32_t min, int32_t max) {
  PoolOptions options;
  options.min_connections = min;
  options.max_connections = max;
  options.max_concurrent_opens = 20;
  return options;
}

// With as many openings at once as a pool has where nobody says otherwise: fewer than the minimum.
PoolOptions Large(int32_t min, int32_t max) {
  PoolOptions options;
  options.min_connections = min;
  options.max_connections = max;
  return options;
}

// PostgreSQL confirms all closings together, and only then one opening after the other, until nothing is
// under way: the total never falls below the minimum.
void SettleAbove(int32_t minimum, PoolStateDriver& pool) {
  while (!pool.closing.empty() || !pool.opening.empty()) {
    for (size_t left = pool.closing.size(); left > 0; --left) {
      pool.Gone(pool.closing.front());
      ASSERT_GE(pool.Snapshot().total, minimum);
    }
    for (size_t left = pool.opening.size(); left > 0; --left) {
      pool.Opened(pool.opening.front());
      ASSERT_GE(pool.Snapshot().total, minimum);
    }
  }
}

std::vector<SlotRef> LendAll(PoolStateDriver& pool) {
  while (pool.In(SlotState::kAvailable) > 0) pool.Acquire();
  return pool.Lent();
}

void GoneAll(PoolStateDriver& pool) {
  while (!pool.closing.empty()) pool.Gone(pool.closing.front());
}

TEST(PoolStateReset, RaisesTheGenerationAndReplacesWhatIsIdle) {
  PoolStateDriver pool(Options(2, 4));
  pool.Start();
  EXPECT_EQ(pool.Snapshot().generation, 1U);
  ReportAnswer answer;
  EXPECT_THAT(pool.Reset(/*force=*/false, answer), IsEmpty());
  EXPECT_EQ(pool.Snapshot().generation, 2U);
  EXPECT_EQ(pool.retired[RetireReason::kReset], 2);
  EXPECT_EQ(pool.Snapshot().total, 4) << "the new ones open while the old ones close";
  EXPECT_FALSE(answer.here());
  pool.OpenAll();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->generation, 2U);
  EXPECT_EQ((*answer)->retired, 2);
  EXPECT_EQ((*answer)->opened, 2);
  EXPECT_EQ((*answer)->retiring, 0);
  for (const auto& slot : pool.Snapshot().slots) {
    EXPECT_EQ(slot.generation, slot.state == SlotState::kAvailable ? 2U : 1U);
  }
}

TEST(PoolStateReset, AwaitsNoLeaseThatIsTakenBack) {
  PoolStateDriver pool(Options(1, 2));
  pool.Start();
  const SlotRef leased = *pool.SlotOf(pool.Acquire());
  ReportAnswer answer;
  EXPECT_THAT(pool.Reset(/*force=*/true, answer), ElementsAre(leased.index));
  pool.Regret(leased);  // its connection was dead, and no lease was ever bound
  pool.OpenAll();
  EXPECT_TRUE(answer.here());
}

TEST(PoolStateReset, NeverExceedsTheMaximumNorGoesBelowTheMinimum) {
  PoolStateDriver pool(Options(3, 3));
  pool.Start();
  pool.Reset(/*force=*/false);
  while (!pool.closing.empty() || !pool.opening.empty()) {
    EXPECT_EQ(pool.Snapshot().total, 3);
    if (!pool.closing.empty()) pool.Gone(pool.closing.front());
    pool.OpenAll();
  }
  EXPECT_EQ(pool.In(SlotState::kAvailable), 3);
}

TEST(PoolStateReset, KeepsAMinimumThatIsMoreThanMayBeOpenedAtOnce) {
  for (const int32_t max : {20, 25, 40}) {
    PoolStateDriver pool(Large(20, max));
    pool.Start();
    ReportAnswer answer;
    pool.Reset(/*force=*/false, answer);
    SettleAbove(20, pool);
    ASSERT_TRUE(answer.here());
    EXPECT_EQ((*answer)->retired, 20);
    EXPECT_EQ(pool.In(SlotState::kAvailable), 20);
    for (const auto& slot : pool.Snapshot().slots) EXPECT_EQ(slot.generation, 2U);
  }
}

TEST(PoolStateReset, KeepsTheMinimumWhereAllLeasesEndAtOnce) {
  for (const bool force : {false, true}) {
    for (const bool used : {false, true}) {
      PoolStateDriver pool(Large(20, 20));
      pool.Start();
      const std::vector<SlotRef> lent = LendAll(pool);
      EXPECT_EQ(pool.Reset(force).size(), force ? 20U : 0U);
      for (const SlotRef slot : lent) used ? pool.BeginClean(slot) : pool.Return(slot);
      while (!pool.cleaning.empty()) pool.Cleaned(pool.cleaning.front());
      SettleAbove(20, pool);
      EXPECT_EQ(pool.In(SlotState::kAvailable), 20);
      for (const auto& slot : pool.Snapshot().slots) EXPECT_EQ(slot.generation, 2U);
    }
  }
}

TEST(PoolStateReset, WaitsForReplacementsNoLongerThanAnOpeningMayTake) {
  PoolStateDriver pool(Large(20, 20));
  pool.Start();
  pool.Reset(/*force=*/false);
  EXPECT_EQ(pool.closing.size(), 10U);
  EXPECT_EQ(pool.In(SlotState::kRetiring), 20) << "none of them is lent again";
  GoneAll(pool);
  pool.now += 5s - 1ns;
  pool.Tick();
  EXPECT_TRUE(pool.closing.empty());
  pool.now += 1ns;
  pool.Tick();
  EXPECT_EQ(pool.closing.size(), 10U);
}

TEST(PoolStateReset, WaitsForNoReplacementsWhereThePoolIsClosed) {
  PoolStateDriver pool(Large(20, 20));
  pool.Start();
  pool.Reset(/*force=*/false);
  EXPECT_EQ(pool.closing.size(), 10U);
  pool.Drain();
  pool.CloseAll();
  EXPECT_EQ(pool.closing.size(), 20U);
}

TEST(PoolStateReset, LetsInWhoDoesNotQueue) {
  PoolStateDriver pool(Large(2, 2));
  pool.Start();
  pool.Reset(/*force=*/false);
  const WaiterId first = pool.Acquire(0s);
  const WaiterId second = pool.Acquire(0s);
  EXPECT_TRUE(pool.refusals.empty());
  pool.Acquire(0s);
  ASSERT_EQ(pool.refusals.size(), 1U) << "there will be two";
  EXPECT_THAT(pool.refusals[0].why, HasReason("NO_IDLE_CONNECTION"));
  GoneAll(pool);
  pool.OpenAll();
  EXPECT_TRUE(pool.SlotOf(first).has_value() && pool.SlotOf(second).has_value());
}

TEST(PoolStateReset, ClosesLeasedConnectionsWhenTheyComeBack) {
  PoolStateDriver pool(Options(2, 4));
  pool.Start();
  const SlotRef returned = *pool.SlotOf(pool.Acquire());
  const SlotRef cleaned = *pool.SlotOf(pool.Acquire());
  ReportAnswer answer;
  EXPECT_THAT(pool.Reset(/*force=*/false, answer), IsEmpty());
  ASSERT_TRUE(answer.here()) << "two connections are there, as the minimum asks";
  EXPECT_EQ((*answer)->retiring, 2);
  pool.Return(returned);
  pool.BeginClean(cleaned);
  pool.Cleaned(cleaned);
  EXPECT_THAT(pool.closing, ElementsAre(returned, cleaned));
  pool.OpenAll();
  EXPECT_EQ(pool.In(SlotState::kAvailable), 2);
}

TEST(PoolStateReset, ForcedNamesTheLeasedAndWaitsForThem) {
  PoolStateDriver pool(Options(2, 4));
  pool.Start();
  const SlotRef leased = *pool.SlotOf(pool.Acquire());
  ReportAnswer answer;
  EXPECT_THAT(pool.Reset(/*force=*/true, answer), ElementsAre(leased.index));
  pool.OpenAll();
  EXPECT_FALSE(answer.here());
  pool.Discard(leased, EndReason::kPoolReset);
  pool.OpenAll();
  GoneAll(pool);
  pool.OpenAll();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->leases_ended, 1);
  EXPECT_EQ((*answer)->retired, 1);
}

TEST(PoolStateReset, CountsOnlyLeasesThatItEnded) {
  PoolStateDriver pool(Options(1, 1));
  pool.Start();
  const SlotRef leased = *pool.SlotOf(pool.Acquire());
  ReportAnswer answer;
  pool.Reset(/*force=*/true, answer);
  pool.Discard(leased, EndReason::kReleased);  // its holder was faster
  GoneAll(pool);
  pool.OpenAll();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->leases_ended, 0);
}

TEST(PoolStateReset, ServesWaitersFromTheNewGeneration) {
  PoolStateDriver pool(Options(1, 2));
  pool.Start();
  const SlotRef first = *pool.SlotOf(pool.Acquire());
  pool.Acquire();
  pool.OpenAll();
  const WaiterId waiter = pool.Acquire();
  pool.Reset(/*force=*/false);
  EXPECT_TRUE(pool.Waits(waiter));
  pool.BeginClean(first);
  pool.Cleaned(first);
  EXPECT_TRUE(pool.Waits(waiter)) << "not from the old one";
  GoneAll(pool);
  pool.OpenAll();
  ASSERT_TRUE(pool.SlotOf(waiter).has_value());
  EXPECT_GT(pool.SlotOf(waiter)->index, first.index);
}

TEST(PoolStateReset, ClosesWhatWasBeingOpenedAsSoonAsItIsOpen) {
  PoolStateDriver pool(Options(1, 2));
  pool.AddBlock({1, 100});
  pool.Tick();
  const SlotRef old = pool.opening.front();
  pool.Reset(/*force=*/false);
  ASSERT_EQ(pool.opening.size(), 2U);
  pool.Opened(old);
  EXPECT_THAT(pool.closing, ElementsAre(old));
}

TEST(PoolStateReset, JoinsOneThatIsUnderWay) {
  PoolStateDriver pool(Options(2, 4));
  pool.Start();
  ReportAnswer first;
  ReportAnswer second;
  pool.Reset(/*force=*/false, first);
  pool.Reset(/*force=*/false, second);
  EXPECT_EQ(pool.Snapshot().generation, 2U);
  pool.OpenAll();
  ASSERT_TRUE(first.here() && second.here());
  EXPECT_FALSE((*first)->coalesced);
  EXPECT_TRUE((*second)->coalesced);
  EXPECT_EQ((*second)->generation, 2U);
}

TEST(PoolStateReset, AForcedOneDoesNotJoinAGracefulOne) {
  PoolStateDriver pool(Options(2, 4));
  pool.Start();
  const SlotRef leased = *pool.SlotOf(pool.Acquire());
  ReportAnswer graceful;
  ReportAnswer forced;
  ReportAnswer joining;
  pool.Reset(/*force=*/false, graceful);
  EXPECT_THAT(pool.Reset(/*force=*/true, forced), ElementsAre(leased.index));
  EXPECT_EQ(pool.Snapshot().generation, 3U);
  pool.Reset(/*force=*/false, joining);
  EXPECT_EQ(pool.Snapshot().generation, 3U) << "the forced one does what this one asks for";
}

TEST(PoolStateReset, SaysSoWhenTheMinimumDoesNotStandInTime) {
  PoolStateDriver pool(Options(2, 4));
  pool.Start();
  ReportAnswer answer;
  pool.Reset(/*force=*/false, answer);
  while (!pool.opening.empty()) pool.OpenFailed(pool.opening.front());
  pool.now += 5s - 1ns;
  pool.Tick();
  EXPECT_FALSE(answer.here());
  pool.now += 1ns;
  pool.Tick();
  ASSERT_TRUE(answer.here());
  EXPECT_THAT(*answer, HasReason("DATABASE_UNAVAILABLE"));
  EXPECT_EQ(pool.Snapshot().generation, 2U) << "it stays raised";
  GoneAll(pool);
  pool.OpenAll();
  EXPECT_EQ(pool.In(SlotState::kAvailable), 2) << "and the refill goes on";
}

TEST(PoolStateReset, OpensAtOnceEvenWhereOpeningsFailedBefore) {
  PoolStateDriver pool(Options(1, 2));
  pool.AddBlock({1, 100});
  pool.Tick();
  pool.OpenFailed(pool.opening.front());
  EXPECT_TRUE(pool.opening.empty());
  pool.Reset(/*force=*/false);
  EXPECT_EQ(pool.opening.size(), 1U);
}

TEST(PoolStateReset, FailsWhereThePoolDrains) {
  PoolStateDriver pool(Options(2, 4));
  pool.Start();
  ReportAnswer before;
  ReportAnswer after;
  pool.Reset(/*force=*/false, before);
  pool.Drain();
  ASSERT_TRUE(before.here());
  EXPECT_THAT(*before, HasReason("DRAINING"));
  pool.Reset(/*force=*/false, after);
  ASSERT_TRUE(after.here());
  EXPECT_THAT(*after, HasReason("DRAINING"));
}

TEST(PoolStateExpire, ChangesNothingWhereAllAreYoung) {
  PoolStateDriver pool(Options(2, 4));
  pool.Start();
  ReportAnswer answer;
  pool.Expire(1h, /*force=*/false, answer);
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->retired, 0);
  EXPECT_EQ((*answer)->total, 2);
  EXPECT_EQ(pool.In(SlotState::kAvailable), 2);
}

TEST(PoolStateExpire, RetiresTheOldAndKeepsTheMinimum) {
  PoolStateDriver pool(Options(2, 4));
  pool.Start();
  const SlotRef leased = *pool.SlotOf(pool.Acquire());
  pool.now += 10s;
  ReportAnswer answer;
  EXPECT_THAT(pool.Expire(10s, /*force=*/false, answer), IsEmpty());
  EXPECT_GE(pool.Snapshot().total, 2);
  pool.OpenAll();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->retired, 1);
  EXPECT_EQ((*answer)->retiring, 1);
  EXPECT_EQ((*answer)->opened, 1);
  pool.Return(leased);
  EXPECT_EQ(pool.retired[RetireReason::kExpired], 2);
}

TEST(PoolStateExpire, KeepsAMinimumThatIsMoreThanMayBeOpenedAtOnce) {
  for (const int32_t max : {20, 25, 40}) {
    PoolStateDriver pool(Large(20, max));
    pool.Start();
    const ConnectionIndex last_old = pool.slots.rbegin()->first;
    ReportAnswer answer;
    pool.Expire(0s, /*force=*/false, answer);
    SettleAbove(20, pool);
    ASSERT_TRUE(answer.here());
    EXPECT_EQ((*answer)->retired, 20);
    EXPECT_EQ(pool.In(SlotState::kAvailable), 20);
    EXPECT_GT(pool.Snapshot().slots.front().index, last_old);
  }
}

TEST(PoolStateExpire, WithLeasedOnesNamesTheirsAndWaitsForThem) {
  PoolStateDriver pool(Options(1, 2));
  pool.Start();
  const SlotRef leased = *pool.SlotOf(pool.Acquire());
  ReportAnswer answer;
  EXPECT_THAT(pool.Expire(0s, /*force=*/true, answer), ElementsAre(leased.index));
  EXPECT_FALSE(answer.here());
  pool.Discard(leased, EndReason::kRevoked);
  pool.OpenAll();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->leases_ended, 1);
  EXPECT_EQ((*answer)->retired, 1);
}

TEST(PoolStateExpire, SaysBeforehandWhatItWouldDo) {
  PoolStateDriver pool(Options(2, 4));
  pool.Start();
  pool.Acquire();
  const PoolReport graceful = pool.state().WouldExpire(pool.now, 0s, /*force=*/false);
  EXPECT_EQ(graceful.retired, 1);
  EXPECT_EQ(graceful.retiring, 1);
  EXPECT_EQ(graceful.opened, 1);
  const PoolReport forced = pool.state().WouldExpire(pool.now, 0s, /*force=*/true);
  EXPECT_EQ(forced.retired, 2);
  EXPECT_EQ(forced.leases_ended, 1);
  EXPECT_EQ(forced.opened, 2);
  EXPECT_EQ(pool.state().WouldExpire(pool.now, 1ns, /*force=*/true).retired, 0);
  EXPECT_TRUE(pool.closing.empty());
}

TEST(PoolStateRenew, ProbesWhatIsIdleReplacesWhatFailsAndGrows) {
  PoolStateDriver pool(Options(2, 5));
  pool.Start();
  ReportAnswer answer;
  pool.Renew(4, answer);
  ASSERT_EQ(pool.probing.size(), 2U);
  EXPECT_EQ(pool.opening.size(), 2U);
  pool.Probed(pool.probing.front(), /*sound=*/false);
  pool.Probed(pool.probing.front());
  EXPECT_FALSE(answer.here());
  pool.OpenAll();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->validated, 2);
  EXPECT_EQ((*answer)->replaced, 1);
  EXPECT_EQ((*answer)->opened, 2);
  EXPECT_EQ((*answer)->failed, 0);
  EXPECT_EQ(pool.In(SlotState::kAvailable), 4);
}

TEST(PoolStateRenew, GoesNoFurtherThanTheMaximum) {
  PoolStateDriver pool(Options(1, 3));
  pool.Start();
  ReportAnswer answer;
  pool.Renew(100, answer);
  pool.Probed(pool.probing.front());
  pool.OpenAll();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->total, 3);
}

TEST(PoolStateRenew, ClosesNothingThatIsSound) {
  PoolStateDriver pool(Options(3, 3));
  pool.Start();
  ReportAnswer answer;
  pool.Renew(1, answer);
  while (!pool.probing.empty()) pool.Probed(pool.probing.front());
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->total, 3);
  EXPECT_EQ((*answer)->opened, 0);
}

TEST(PoolStateRenew, GivesUpWhereNothingCanBeOpened) {
  PoolStateDriver pool(Options(1, 3));
  pool.Start();
  ReportAnswer answer;
  pool.Renew(3, answer);
  pool.Probed(pool.probing.front());
  while (!pool.opening.empty()) pool.OpenFailed(pool.opening.front());
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->failed, 2);
  EXPECT_EQ((*answer)->total, 1);
}

}  // namespace
}  // namespace pglessor::core

#include "server/core/lease_table.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/fake_clock.h"
#include "tests/support/fake_connection.h"
#include "tests/support/manual_executor.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;
using test::StatusIs;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr size_t kAll = SIZE_MAX;

Time NoDrain(const Pool*) { return Time::max(); }

class LeaseTableTest : public testing::Test {
 protected:
  LeaseView Insert(uint64_t counter, Duration ttl = 10s, Duration max_lifetime = 24h) {
    LeaseGrant grant;
    grant.counter = {counter};
    grant.terms.ttl = ttl;
    grant.acquired = clock_.Now();
    grant.acquired_wall = clock_.WallNow();
    core::Granted granted;
    granted.slot.slot = {static_cast<uint32_t>(counter), {counter + 100}};
    granted.connection = connection_;
    return table_.Insert(std::move(grant), nullptr, std::move(granted), {.max_lifetime = max_lifetime});
  }

  // What each OnFenced was told, in order.
  std::optional<LeaseTable::EndWork> End(uint64_t counter, EndReason reason) {
    auto work =
        table_.End({counter}, reason, [this](const LeaseTable::Ended& ended) { told_.push_back(ended); });
    EXPECT_THAT(work, IsOk());
    return work.ok() ? std::move(*work) : std::nullopt;
  }

  void EndAndFence(uint64_t counter, EndReason reason = EndReason::kReleased) {
    EXPECT_TRUE(End(counter, reason).has_value());
    table_.Fenced({counter}, {})();
  }

  test::FakeClock clock_;
  test::ManualExecutor executor_{clock_};
  std::shared_ptr<test::FakeConnection> connection_ = std::make_shared<test::FakeConnection>(
      executor_, 1, [] {}, [] {});
  LeaseTable table_{clock_, {.ended_retention = 60s, .max_ended = 3}};
  std::vector<LeaseTable::Ended> told_;
};

TEST_F(LeaseTableTest, ShowsALeaseFromItsGrant) {
  const LeaseView view = Insert(1);
  EXPECT_EQ(view.grant.counter.value, 1U);
  EXPECT_EQ(view.state, LeaseState::kActive);
  EXPECT_EQ(view.ttl, 10s);
  EXPECT_EQ(view.expire_wall, clock_.WallNow() + 10s);
  EXPECT_EQ(table_.View({1})->expire_wall, view.expire_wall);
  EXPECT_FALSE(table_.View({2}).has_value());
}

TEST_F(LeaseTableTest, KnowsNoLeaseThatIsNotThere) {
  EXPECT_THAT(table_.TakePermit({1}), HasReason("LEASE_NOT_FOUND"));
  EXPECT_THAT(table_.Renew({1}, 1s, Time::max()), HasReason("LEASE_NOT_FOUND"));
  bool called = false;
  const auto end = table_.End({1}, EndReason::kReleased, [&](const LeaseTable::Ended&) { called = true; });
  EXPECT_THAT(end, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(end, HasReason("LEASE_NOT_FOUND"));
  EXPECT_FALSE(called);
  table_.ReturnPermit({1}, {1}, TransactionState::kNone);  // of a lease forgotten meanwhile
}

TEST_F(LeaseTableTest, GivesThePermitWithTheConnection) {
  Insert(1);
  const auto permit = table_.TakePermit({1});
  ASSERT_THAT(permit, IsOk());
  EXPECT_EQ(permit->connection, connection_);
  EXPECT_THAT(table_.TakePermit({1}), HasReason("LEASE_BUSY"));
  table_.ReturnPermit({1}, permit->statement, TransactionState::kNone);
  EXPECT_THAT(table_.TakePermit({1}), IsOk());
}

TEST_F(LeaseTableTest, GivesTheWorkToWhoeverEndsItFirst) {
  Insert(1);
  const auto work = End(1, EndReason::kRevoked);
  ASSERT_TRUE(work.has_value());
  EXPECT_EQ(work->connection, connection_);
  EXPECT_EQ(work->slot, (SlotRef{1, {101}}));
  EXPECT_EQ(work->reason, EndReason::kRevoked);
  EXPECT_FALSE(work->has_run_a_statement);
  EXPECT_FALSE(End(1, EndReason::kReleased).has_value());
}

TEST_F(LeaseTableTest, SaysThatAStatementHasRun) {
  Insert(1);
  ASSERT_THAT(table_.TakePermit({1}), IsOk());
  EXPECT_TRUE(End(1, EndReason::kReleased)->has_run_a_statement);
}

TEST_F(LeaseTableTest, TellsNobodyBeforeTheFenceStandsAndThenEachOnce) {
  Insert(1);
  End(1, EndReason::kRevoked);
  End(1, EndReason::kReleased);
  EXPECT_THAT(told_, IsEmpty());
  EXPECT_EQ(table_.View({1})->state, LeaseState::kEnding);

  table_.Fenced({1}, {.transaction_was_open = true})();
  ASSERT_EQ(told_.size(), 2U);
  EXPECT_TRUE(told_[0].by_this_call);
  EXPECT_FALSE(told_[1].by_this_call);
  for (const LeaseTable::Ended& ended : told_) {
    EXPECT_EQ(ended.lease.state, LeaseState::kEnded);
    EXPECT_EQ(ended.lease.end_reason, EndReason::kRevoked);
    EXPECT_TRUE(ended.transaction_was_open);
  }
}

// The caller hands the connection on in between.
TEST_F(LeaseTableTest, HasEndedTheLeaseBeforeAnybodyIsTold) {
  Insert(1);
  End(1, EndReason::kReleased);
  auto tell = table_.Fenced({1}, {});
  EXPECT_EQ(table_.View({1})->state, LeaseState::kEnded);
  EXPECT_THAT(told_, IsEmpty());
  tell();
  EXPECT_EQ(told_.size(), 1U);
}

TEST_F(LeaseTableTest, TellsAtOnceWhereTheFenceStands) {
  Insert(1);
  End(1, EndReason::kReleased);
  table_.Fenced({1}, {.transaction_was_open = true})();
  told_.clear();
  EXPECT_FALSE(End(1, EndReason::kRevoked).has_value());
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_FALSE(told_[0].by_this_call);
  EXPECT_TRUE(told_[0].transaction_was_open);
  EXPECT_EQ(told_[0].lease.end_reason, EndReason::kReleased);
}

TEST_F(LeaseTableTest, LetsGoOfTheConnectionOnceTheFenceStands) {
  Insert(1);
  {
    const auto work = End(1, EndReason::kReleased);
    EXPECT_GT(connection_.use_count(), 1);
  }
  table_.Fenced({1}, {})();
  EXPECT_EQ(connection_.use_count(), 1);
}

TEST_F(LeaseTableTest, CallsBackWithNoLockHeld) {
  Insert(1);
  Insert(17);  // the same shard
  auto work = table_.End({1}, EndReason::kReleased, [this](const LeaseTable::Ended&) {
    EXPECT_TRUE(table_.View({1}).has_value());
    EXPECT_THAT(table_.Renew({17}, std::nullopt, Time::max()), IsOk());
    table_.ForgetOld();
    EXPECT_THAT(table_.Select([](const Lease&, Time) { return true; }), ElementsAre(LeaseCounter{17}));
  });
  ASSERT_THAT(work, IsOk());
  table_.Fenced({1}, {})();
}

TEST_F(LeaseTableTest, HandsEachExpiredLeaseOutOnce) {
  Insert(1, 10s);
  Insert(2, 5s);
  Insert(3, 20s);
  clock_.Advance(10s - 1ns);
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, ElementsAre(LeaseCounter{2}));
  clock_.Advance(1ns);
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, ElementsAre(LeaseCounter{1}));
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, IsEmpty());
}

TEST_F(LeaseTableTest, HandsOutNoMoreExpiredThanAskedFor) {
  for (uint64_t i = 1; i <= 5; ++i) Insert(i, 10s);
  clock_.Advance(10s);
  EXPECT_EQ(table_.TakeDue(2, NoDrain).expired.size(), 2U);
  EXPECT_EQ(table_.TakeDue(2, NoDrain).expired.size(), 2U);
  EXPECT_EQ(table_.TakeDue(2, NoDrain).expired.size(), 1U);
}

TEST_F(LeaseTableTest, RemindsARenewedLeaseAtItsNewExpiry) {
  Insert(1, 10s);
  clock_.Advance(9s);
  ASSERT_THAT(table_.Renew({1}, std::nullopt, Time::max()), IsOk());
  clock_.Advance(9s);
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, IsEmpty());
  clock_.Advance(1s - 1ns);
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, IsEmpty());
  clock_.Advance(1ns);
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, ElementsAre(LeaseCounter{1}));
}

TEST_F(LeaseTableTest, RemindsAShortenedLeaseAtItsSoonerExpiry) {
  Insert(1, 1h);
  ASSERT_THAT(table_.Renew({1}, 1s, Time::max()), IsOk());
  clock_.Advance(1s);
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, ElementsAre(LeaseCounter{1}));
}

TEST_F(LeaseTableTest, DoesNotExpireWhatHasEnded) {
  Insert(1, 10s);
  Insert(2, 10s);
  EndAndFence(1);
  End(2, EndReason::kReleased);  // its fence does not stand yet
  clock_.Advance(10s);
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, IsEmpty());
}

// S16: both judge in one critical section by one clock, so exactly one of them wins.
TEST_F(LeaseTableTest, RenewAtTheVeryInstantOfExpiryFindsItExpired) {
  Insert(1, 10s);
  clock_.Advance(10s);
  EXPECT_THAT(table_.Renew({1}, std::nullopt, Time::max()), HasReason("LEASE_EXPIRED"));
  EXPECT_THAT(table_.TakePermit({1}), HasReason("LEASE_EXPIRED"));
  EXPECT_EQ(End(1, EndReason::kReleased)->reason, EndReason::kExpired);
}

TEST_F(LeaseTableTest, RenewsOneNanosecondBeforeExpiry) {
  Insert(1, 10s);
  clock_.Advance(10s - 1ns);
  EXPECT_THAT(table_.Renew({1}, std::nullopt, Time::max()), IsOk());
  clock_.Advance(1ns);
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, IsEmpty());
}

TEST_F(LeaseTableTest, NeverRenewsPastTheLongestLifetime) {
  Insert(1, 10s, 15s);
  clock_.Advance(9s);
  const auto renewed = table_.Renew({1}, 1h, Time::max());
  ASSERT_THAT(renewed, IsOk());
  EXPECT_EQ(renewed->expire_wall, clock_.WallNow() + 6s);
  clock_.Advance(6s);
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, ElementsAre(LeaseCounter{1}));
}

TEST_F(LeaseTableTest, RemembersAnEndedLeaseForTheRetention) {
  Insert(1, 1h);
  EndAndFence(1, EndReason::kRevoked);
  clock_.Advance(60s - 1ns);
  table_.ForgetOld();
  EXPECT_THAT(table_.Renew({1}, std::nullopt, Time::max()), HasReason("LEASE_REVOKED"));
  clock_.Advance(1ns);
  table_.ForgetOld();
  EXPECT_THAT(table_.Renew({1}, std::nullopt, Time::max()), HasReason("LEASE_NOT_FOUND"));
}

TEST_F(LeaseTableTest, CountsTheRetentionFromTheFence) {
  Insert(1, 1h);
  End(1, EndReason::kReleased);
  clock_.Advance(10min);
  table_.ForgetOld();
  EXPECT_EQ(table_.View({1})->state, LeaseState::kEnding) << "a lease is not forgotten while it is ending";
  table_.Fenced({1}, {})();
  table_.ForgetOld();
  EXPECT_TRUE(table_.View({1}).has_value());
}

TEST_F(LeaseTableTest, RemembersAtMostSoManyTheYoungest) {
  for (uint64_t i = 1; i <= 5; ++i) {
    Insert(i, 1h);
    EndAndFence(i);
  }
  table_.ForgetOld();
  EXPECT_FALSE(table_.View({1}).has_value());
  EXPECT_FALSE(table_.View({2}).has_value());
  for (uint64_t i = 3; i <= 5; ++i) EXPECT_TRUE(table_.View({i}).has_value()) << i;
}

TEST_F(LeaseTableTest, NeverForgetsALiveLease) {
  Insert(1, 24h);
  clock_.Advance(23h);
  table_.ForgetOld();
  EXPECT_THAT(table_.Renew({1}, std::nullopt, Time::max()), IsOk());
}

TEST_F(LeaseTableTest, ListsTheLiveOldestFirst) {
  for (const uint64_t counter : {5U, 1U, 33U, 2U, 17U}) Insert(counter);
  End(2, EndReason::kReleased);
  EXPECT_THAT(table_.Select([](const Lease&, Time) { return true; }),
              ElementsAre(LeaseCounter{1}, LeaseCounter{5}, LeaseCounter{17}, LeaseCounter{33}));
}

TEST_F(LeaseTableTest, HasEachCounterOnce) {
  Insert(1);
  EXPECT_DEATH(Insert(1), "given once");
}

// --- bound to a call ---------------------------------------------------------------------------

class BoundLeaseTest : public LeaseTableTest {
 protected:
  void InsertBound(uint64_t counter, Duration ttl, Duration max_lifetime = 24h) {
    LeaseGrant grant;
    grant.counter = {counter};
    grant.terms.ttl = ttl;
    grant.terms.renewal = Renewal::kByItself;
    grant.acquired = clock_.Now();
    core::Granted granted;
    granted.connection = connection_;
    table_.Insert(std::move(grant), nullptr, std::move(granted), {.max_lifetime = max_lifetime});
  }
  // As the reaper does, often.
  std::vector<LeaseCounter> TickFor(Duration span, Time latest = Time::max()) {
    std::vector<LeaseCounter> expired;
    for (Duration gone{}; gone < span && expired.empty(); gone += 1s) {
      clock_.Advance(1s);
      expired = table_.TakeDue(kAll, [latest](const Pool*) { return latest; }).expired;
    }
    return expired;
  }
};

TEST_F(BoundLeaseTest, IsRenewedAsLongAsItLives) {
  InsertBound(1, 10s);
  EXPECT_THAT(TickFor(1h), IsEmpty());
  EXPECT_THAT(table_.TakePermit({1}), IsOk());
  EndAndFence(1);
  EXPECT_THAT(TickFor(1h), IsEmpty());
}

TEST_F(BoundLeaseTest, ExpiresWhenNobodyLookedForATtl) {
  InsertBound(1, 10s);
  clock_.Advance(10s);
  EXPECT_THAT(table_.TakePermit({1}), HasReason("LEASE_EXPIRED"));
  EXPECT_THAT(table_.TakeDue(kAll, NoDrain).expired, ElementsAre(LeaseCounter{1}));
}

TEST_F(BoundLeaseTest, IsNotRenewedPastItsLifetime) {
  InsertBound(1, 10s, 60s);
  EXPECT_THAT(TickFor(59s), IsEmpty());
  EXPECT_THAT(TickFor(1s), ElementsAre(LeaseCounter{1}));
}

TEST_F(BoundLeaseTest, IsNotRenewedPastADrainsDeadline) {
  InsertBound(1, 10s);
  const Time deadline = clock_.Now() + 30s;
  EXPECT_THAT(TickFor(29s, deadline), IsEmpty());
  EXPECT_THAT(TickFor(1s, deadline), ElementsAre(LeaseCounter{1}));
}

TEST_F(BoundLeaseTest, ARenewalByItsHolderSetsWhatItIsRenewedBy) {
  InsertBound(1, 10s);
  EXPECT_EQ(table_.Renew({1}, 2s, Time::max())->ttl, 2s);
  EXPECT_THAT(TickFor(1h), IsEmpty());
  EXPECT_EQ(table_.View({1})->ttl, 2s);
}

// --- who waits for an end ----------------------------------------------------------------------

TEST_F(LeaseTableTest, TellsWhenTheFenceStandsWhoeverEndedIt) {
  Insert(1);
  int told = 0;
  EXPECT_THAT(table_.WhenFenced({1},
                                [&](const LeaseTable::Ended& ended) {
                                  ++told;
                                  EXPECT_EQ(ended.lease.end_reason, EndReason::kRevoked);
                                  EXPECT_FALSE(ended.by_this_call);
                                }),
              IsOk());
  EXPECT_TRUE(End(1, EndReason::kRevoked).has_value());
  EXPECT_EQ(told, 0);
  table_.Fenced({1}, {})();
  EXPECT_EQ(told, 1);
  EXPECT_THAT(table_.WhenFenced({1}, [&](const LeaseTable::Ended&) { ++told; }), IsOk());
  EXPECT_EQ(told, 2) << "at once, of one that has ended";
  EXPECT_THAT(table_.WhenFenced({2}, [&](const LeaseTable::Ended&) { ++told; }),
              HasReason("LEASE_NOT_FOUND"));
  EXPECT_EQ(told, 2);
}

}  // namespace
}  // namespace pglessor::core

#include "server/core/lease.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/error.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;
using test::StatusIs;

constexpr Time kStart{Duration(100s)};
constexpr Duration kTtl = 10s;
constexpr Time kExpiry = kStart + kTtl;
constexpr Time kFar = kStart + 24h;

Lease NewLease() {
  LeaseGrant grant;
  grant.counter = {1};
  grant.terms.ttl = kTtl;
  grant.acquired = kStart;
  return Lease(grant, {.max_lifetime = Duration::max()});
}

constexpr EndReason kAllReasons[] = {EndReason::kReleased,  EndReason::kExpired,        EndReason::kRevoked,
                                     EndReason::kPoolReset, EndReason::kConnectionLost, EndReason::kDrained,
                                     EndReason::kUnclaimed};

TEST(Lease, IsActiveFromItsGrant) {
  const Lease lease = NewLease();
  EXPECT_EQ(lease.state(), LeaseState::kActive);
  EXPECT_EQ(lease.end_reason(), std::nullopt);
  EXPECT_EQ(lease.expiry(), kExpiry);
  EXPECT_FALSE(lease.has_run_a_statement());
}

TEST(Lease, LastsNoLongerThanItsLifetimeFromItsGrant) {
  LeaseGrant grant;
  grant.terms.ttl = kTtl;
  grant.acquired = kStart;
  const Lease lease(grant, {.max_lifetime = 4s});
  EXPECT_EQ(lease.expiry(), kStart + 4s);
  EXPECT_EQ(lease.ttl(), 4s);
}

TEST(Lease, IsNotAliveAtTheVeryInstantOfExpiry) {
  const Lease lease = NewLease();
  EXPECT_TRUE(lease.Alive(kStart));
  EXPECT_TRUE(lease.Alive(kExpiry - 1ns));
  EXPECT_FALSE(lease.Alive(kExpiry));
  EXPECT_FALSE(lease.Alive(kExpiry + 1ns));
}

// Invariant 1: what takes `now` judges by it alone, long before the reaper has come.
TEST(Lease, RefusesEverythingAtTheVeryInstantOfExpiry) {
  for (const Time now : {kExpiry, kExpiry + 1ns, kExpiry + 1h}) {
    Lease lease = NewLease();
    EXPECT_THAT(lease.TakePermit(now), HasReason("LEASE_EXPIRED"));
    EXPECT_THAT(lease.Renew(now, 1h, kFar), HasReason("LEASE_EXPIRED"));
    EXPECT_EQ(lease.expiry(), kExpiry);
    EXPECT_TRUE(lease.End(now, EndReason::kReleased));
    EXPECT_EQ(lease.end_reason(), EndReason::kExpired);
  }
}

TEST(Lease, GrantsEverythingOneNanosecondBeforeExpiry) {
  const Time now = kExpiry - 1ns;
  Lease lease = NewLease();
  EXPECT_THAT(lease.TakePermit(now), IsOk());
  EXPECT_THAT(lease.Renew(now, std::nullopt, kFar), IsOk());
  EXPECT_TRUE(lease.End(now, EndReason::kReleased));
  EXPECT_EQ(lease.end_reason(), EndReason::kReleased);
}

// S16: at the very instant of expiry exactly one of Renew and expiry wins, in either order.
TEST(Lease, RenewalAndExpiryNeverBothWin) {
  for (const Duration offset : {Duration(-1ns), Duration(0ns), Duration(1ns)}) {
    for (const bool renew_first : {true, false}) {
      const Time now = kExpiry + offset;
      Lease lease = NewLease();
      bool renewed = renew_first && lease.Renew(now, std::nullopt, kFar).ok();
      const bool expired = !lease.Alive(now) && lease.End(now, EndReason::kExpired);
      renewed = renewed || lease.Renew(now, std::nullopt, kFar).ok();
      EXPECT_NE(renewed, expired) << offset.count() << (renew_first ? " renew first" : " expiry first");
    }
  }
}

TEST(Lease, RenewsForItsPresentTtlWhereNoneIsGiven) {
  Lease lease = NewLease();
  ASSERT_THAT(lease.Renew(kStart + 4s, std::nullopt, kFar), IsOk());
  EXPECT_EQ(lease.expiry(), kStart + 4s + kTtl);
  ASSERT_THAT(lease.Renew(kStart + 5s, 3s, kFar), IsOk());
  ASSERT_THAT(lease.Renew(kStart + 6s, std::nullopt, kFar), IsOk());
  EXPECT_EQ(lease.expiry(), kStart + 9s);
  EXPECT_EQ(lease.ttl(), 3s);
}

TEST(Lease, RenewalMayShortenIt) {
  Lease lease = NewLease();
  ASSERT_THAT(lease.Renew(kStart + 1s, 1s, kFar), IsOk());
  EXPECT_EQ(lease.expiry(), kStart + 2s);
  EXPECT_FALSE(lease.Alive(kStart + 2s));
}

TEST(Lease, IsNeverRenewedPastTheLatestEnd) {
  Lease lease = NewLease();
  const Time latest = kStart + 15s;
  ASSERT_THAT(lease.Renew(kStart + 9s, std::nullopt, latest), IsOk());
  EXPECT_EQ(lease.expiry(), latest);
  ASSERT_THAT(lease.Renew(latest - 1ns, 1h, latest), IsOk());
  EXPECT_EQ(lease.expiry(), latest);
  EXPECT_THAT(lease.Renew(latest, 1h, latest), HasReason("LEASE_DRAINED"));
  EXPECT_TRUE(lease.End(latest, EndReason::kExpired));
  EXPECT_EQ(lease.end_reason(), EndReason::kDrained);
}

// A drain is on, and is not why it was too short.
TEST(Lease, ExpiresBeforeALaterDrainAsEver) {
  Lease lease = NewLease();
  ASSERT_THAT(lease.Renew(kStart, 2s, kStart + 15s), IsOk());
  EXPECT_THAT(lease.TakePermit(kStart + 2s).status(), HasReason("LEASE_EXPIRED"));
  EXPECT_TRUE(lease.End(kStart + 15s, EndReason::kDrained));
  EXPECT_EQ(lease.end_reason(), EndReason::kExpired);
}

// Its end was later than the drain's, which has come: whoever ends it then is on the way.
TEST(Lease, IsRenewedNoMoreOnceTheDrainIsOver) {
  Lease lease = NewLease();
  EXPECT_THAT(lease.Renew(kStart + 5s, 1h, kStart + 5s), HasReason("LEASE_DRAINED"));
  EXPECT_EQ(lease.expiry(), kExpiry);
}

TEST(Lease, TakesTheLongestTtlWithoutOverflow) {
  Lease lease = NewLease();
  ASSERT_THAT(lease.Renew(kStart, Duration::max(), Time::max()), IsOk());
  EXPECT_EQ(lease.expiry(), Time::max());
}

// Invariant 2.
TEST(Lease, KeepsTheReasonOfWhoeverEndedItFirst) {
  for (const EndReason first : kAllReasons) {
    for (const EndReason second : kAllReasons) {
      Lease lease = NewLease();
      EXPECT_TRUE(lease.End(kStart, first));
      EXPECT_EQ(lease.state(), LeaseState::kEnding);
      EXPECT_FALSE(lease.End(kStart, second));
      EXPECT_FALSE(lease.End(kExpiry, second)) << "nor does time change it";
      lease.Fenced();
      EXPECT_EQ(lease.state(), LeaseState::kEnded);
      EXPECT_FALSE(lease.End(kExpiry, second));
      EXPECT_EQ(lease.end_reason(), first);
    }
  }
}

TEST(Lease, EndsExpiredOnceItsTimeIsOverWhateverTheReason) {
  for (const EndReason reason : kAllReasons) {
    Lease lease = NewLease();
    EXPECT_TRUE(lease.End(kExpiry, reason));
    EXPECT_EQ(lease.end_reason(), EndReason::kExpired);
  }
}

TEST(Lease, TellsItsEndToWhoeverComesLater) {
  for (const EndReason reason : kAllReasons) {
    Lease lease = NewLease();
    lease.End(kStart, reason);
    for (const bool fenced : {false, true}) {
      if (fenced) lease.Fenced();
      for (const Time now : {kStart, kExpiry}) {
        EXPECT_THAT(lease.TakePermit(now), HasReason(EndReasonCode(reason)));
        EXPECT_THAT(lease.Renew(now, std::nullopt, kFar), HasReason(EndReasonCode(reason)));
      }
    }
  }
}

// Invariant 3.
TEST(Lease, HasOnePermit) {
  Lease lease = NewLease();
  const auto first = lease.TakePermit(kStart);
  ASSERT_THAT(first, IsOk());
  const auto second = lease.TakePermit(kStart);
  EXPECT_THAT(second, StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(second, HasReason("LEASE_BUSY"));
  lease.ReturnPermit(kStart, *first, TransactionState::kNone);
  const auto third = lease.TakePermit(kStart);
  ASSERT_THAT(third, IsOk());
  EXPECT_GT(*third, *first);
}

TEST(Lease, TakesThePermitBackOnlyFromItsOwnStatement) {
  Lease lease = NewLease();
  const StatementId first = *lease.TakePermit(kStart);
  lease.ReturnPermit(kStart, first, TransactionState::kNone);
  const StatementId second = *lease.TakePermit(kStart);
  lease.ReturnPermit(kStart, first, TransactionState::kNone);  // late, and twice
  EXPECT_THAT(lease.TakePermit(kStart), HasReason("LEASE_BUSY"));
  lease.ReturnPermit(kStart, {second.value + 1}, TransactionState::kNone);
  EXPECT_THAT(lease.TakePermit(kStart), HasReason("LEASE_BUSY"));
}

TEST(Lease, GivesNoPermitOnceItHasEnded) {
  Lease lease = NewLease();
  const StatementId statement = *lease.TakePermit(kStart);
  lease.End(kStart, EndReason::kReleased);
  lease.ReturnPermit(kStart, statement, TransactionState::kNone);
  EXPECT_THAT(lease.TakePermit(kStart), HasReason("LEASE_RELEASED"));
}

TEST(Lease, RemembersThatAStatementHasRun) {
  Lease lease = NewLease();
  lease.ReturnPermit(kStart, *lease.TakePermit(kStart), TransactionState::kNone);
  EXPECT_TRUE(lease.has_run_a_statement());
}

TEST(Lease, RenewsWhileAStatementRuns) {
  Lease lease = NewLease();
  ASSERT_THAT(lease.TakePermit(kStart), IsOk());
  EXPECT_THAT(lease.Renew(kStart + 1s, std::nullopt, kFar), IsOk());
}

TEST(LeaseDeathTest, IsFencedOnceAndOnlyAfterItsEnd) {
  Lease lease = NewLease();
  EXPECT_DEATH(lease.Fenced(), "fenced once");
  lease.End(kStart, EndReason::kReleased);
  lease.Fenced();
  EXPECT_DEATH(lease.Fenced(), "fenced once");
}

TEST(EndedError, HasEachReasonsOwnWord) {
  const std::vector<std::pair<EndReason, std::string>> words = {
      {EndReason::kReleased, "LEASE_RELEASED"},        {EndReason::kExpired, "LEASE_EXPIRED"},
      {EndReason::kRevoked, "LEASE_REVOKED"},          {EndReason::kPoolReset, "POOL_RESET"},
      {EndReason::kConnectionLost, "CONNECTION_LOST"}, {EndReason::kDrained, "LEASE_DRAINED"},
      {EndReason::kUnclaimed, "LEASE_UNCLAIMED"}};
  for (const auto& [reason, word] : words) {
    const absl::Status status = EndedError(reason);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(status, HasReason(word));
    EXPECT_NE(status.message(), "");
  }
}

}  // namespace
}  // namespace pglessor::core

// How leases end, and what becomes of their connections.
#include <chrono>
#include <memory>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/lessor.h"
#include "tests/core/lessor_fixture.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;
using test::StatusIs;
using testing::ElementsAre;
using testing::IsEmpty;

class LessorEndTest : public LessorTest {
 protected:
  LessorEndTest() { StartPool({.min_connections = 1, .max_connections = 1}); }

  LeaseView GrantUsed() {
    LeaseView lease = Granted(Acquire(WithTtl(10s)));
    Execute(lease.grant.counter, "SELECT 1");
    return lease;
  }
};

TEST_F(LessorEndTest, HandsAnUntouchedLeasesConnectionOnWithoutCleaning) {
  const LeaseView first = Granted(Acquire());
  const auto waiting = Acquire();
  const auto released = Release(first.grant.counter);
  ASSERT_THAT(*released, IsOk());
  EXPECT_FALSE((*released)->already_released);
  EXPECT_FALSE((*released)->rolled_back);
  EXPECT_EQ((*released)->lease.state, LeaseState::kEnded);
  EXPECT_EQ((*released)->lease.end_reason, EndReason::kReleased);
  EXPECT_EQ(Granted(waiting).grant.backend_pid, first.grant.backend_pid);
  EXPECT_EQ(ConnectionOf(first)->fences(), 0);
  EXPECT_EQ(ConnectionOf(first)->cleanings(), 0);
}

TEST_F(LessorEndTest, CleansAUsedLeasesConnectionBeforeTheNextHasIt) {
  const LeaseView first = GrantUsed();
  ConnectionOf(first)->HoldCleanings();
  const auto waiting = Acquire();
  const auto released = Release(first.grant.counter);
  EXPECT_THAT(*released, IsOk()) << "cleaning goes on behind the answer";
  EXPECT_FALSE(waiting.here());
  EXPECT_EQ(In(SlotState::kCleaning), 1);
  ConnectionOf(first)->ReleaseCleanings();
  executor_.RunDue();
  const LeaseView second = Granted(waiting);
  EXPECT_EQ(second.grant.backend_pid, first.grant.backend_pid);
  EXPECT_THAT(Execute(second.grant.counter, "SELECT 2")->end().error, IsOk());
}

TEST_F(LessorEndTest, AnswersOnlyWhenTheFenceStands) {
  const LeaseView lease = GrantUsed();
  ConnectionOf(lease)->HoldFences();
  const auto released = Release(lease.grant.counter);
  const auto expired = Expire(lease.grant.counter);
  EXPECT_FALSE(released.here());
  EXPECT_FALSE(expired.here());
  EXPECT_EQ(InUse(), 1) << "the holder's bytes may still be on their way";
  ConnectionOf(lease)->ReleaseFences();
  executor_.RunDue();
  EXPECT_THAT(*released, IsOk());
  EXPECT_THAT(*expired, IsOk());
  EXPECT_THAT((*expired)->leases, IsEmpty());
}

TEST_F(LessorEndTest, TellsThatATransactionWasRolledBack) {
  const LeaseView lease = Granted(Acquire());
  Execute(lease.grant.counter, "BEGIN");
  const auto released = Release(lease.grant.counter);
  ASSERT_THAT(*released, IsOk());
  EXPECT_TRUE((*released)->rolled_back);
  const auto again = Release(lease.grant.counter);
  EXPECT_TRUE((*again)->rolled_back) << "told again";
}

TEST_F(LessorEndTest, ReplacesWhatDoesNotComeClean) {
  const LeaseView first = GrantUsed();
  ConnectionOf(first)->RefuseToComeClean();
  const auto waiting = Acquire();
  ASSERT_THAT(*Release(first.grant.counter), IsOk());
  EXPECT_TRUE(ConnectionOf(first)->gone());
  EXPECT_NE(Granted(waiting).grant.backend_pid, first.grant.backend_pid);
  EXPECT_EQ(connector_.peak(), 1);
}

TEST_F(LessorEndTest, ClosesWhatIsToBeDiscarded) {
  const LeaseView untouched = Granted(Acquire());
  ASSERT_THAT(*Release(untouched.grant.counter, Disposition::kDiscard), IsOk());
  EXPECT_TRUE(ConnectionOf(untouched)->gone());
  EXPECT_EQ(ConnectionOf(untouched)->cleanings(), 0);
  EXPECT_EQ(In(SlotState::kAvailable), 1) << "and is replaced";
}

// S9.
TEST_F(LessorEndTest, ReleasingTwiceIsNoFailureAndCountsOnce) {
  for (const bool used : {false, true}) {
    const LeaseView lease = used ? GrantUsed() : Granted(Acquire());
    const int64_t before = Ended(EndReason::kReleased);
    EXPECT_FALSE((*Release(lease.grant.counter))->already_released);
    const auto second = Release(lease.grant.counter, Disposition::kDiscard);
    ASSERT_THAT(*second, IsOk());
    EXPECT_TRUE((*second)->already_released);
    EXPECT_EQ(Ended(EndReason::kReleased), before + 1);
    EXPECT_EQ(In(SlotState::kAvailable), 1);
  }
}

TEST_F(LessorEndTest, ReleasingAnExpiredLeaseSaysSoWhetherItWasCollectedOrNot) {
  for (const bool collected : {false, true}) {
    const LeaseView lease = GrantUsed();
    clock_.Advance(10s);
    if (collected) lessor_->Tick();
    executor_.RunDue();
    const auto released = Release(lease.grant.counter);
    EXPECT_THAT(*released, StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(*released, HasReason("LEASE_EXPIRED"));
    EXPECT_EQ(In(SlotState::kAvailable), 1);
  }
  EXPECT_EQ(Ended(EndReason::kExpired), 2);
}

TEST_F(LessorEndTest, ReleasingARevokedLeaseSaysSo) {
  const LeaseView lease = GrantUsed();
  Expire(lease.grant.counter, EndReason::kRevoked);
  EXPECT_THAT(*Release(lease.grant.counter), HasReason("LEASE_REVOKED"));
}

TEST_F(LessorEndTest, ExpiresByTimeAndCleans) {
  const LeaseView lease = GrantUsed();
  const auto waiting = Acquire();
  clock_.Advance(10s - 1ns);
  lessor_->Tick();
  EXPECT_FALSE(waiting.here());
  clock_.Advance(1ns);
  lessor_->Tick();
  executor_.RunDue();
  EXPECT_TRUE(waiting.here());
  EXPECT_EQ(ConnectionOf(lease)->cleanings(), 1);
  EXPECT_EQ(Ended(EndReason::kExpired), 1);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason("LEASE_EXPIRED"));
}

TEST_F(LessorEndTest, ExpiringEndsWithTheReasonGiven) {
  for (const EndReason reason : {EndReason::kExpired, EndReason::kRevoked}) {
    const LeaseView lease = GrantUsed();
    const auto expired = Expire(lease.grant.counter, reason);
    ASSERT_THAT(*expired, IsOk());
    EXPECT_THAT((*expired)->leases, ElementsAre(lease.grant.counter));
    EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason(EndReasonCode(reason)));
    EXPECT_EQ(Ended(reason), 1);
  }
}

TEST_F(LessorEndTest, ExpiringAnEndedLeaseIsNoFailureAndEndsNothing) {
  const LeaseView lease = GrantUsed();
  Release(lease.grant.counter);
  const auto expired = Expire(lease.grant.counter);
  ASSERT_THAT(*expired, IsOk());
  EXPECT_THAT((*expired)->leases, IsEmpty());
  EXPECT_EQ(Ended(EndReason::kRevoked), 0);
}

// S16.
TEST_F(LessorEndTest, RenewedLeasesLiveOnAndExpiredOnesDoNot) {
  const LeaseView lease = GrantUsed();
  clock_.Advance(10s - 1ns);
  const auto renewed = lessor_->Renew(lease.grant.counter, std::nullopt);
  ASSERT_THAT(renewed, IsOk());
  EXPECT_EQ(renewed->expire_wall, clock_.WallNow() + 10s);
  clock_.Advance(10s);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason("LEASE_EXPIRED"));
  lessor_->Tick();
  executor_.RunDue();
  EXPECT_EQ(Ended(EndReason::kExpired), 1);
}

TEST_F(LessorEndTest, RenewalBringsTheTtlIntoItsBounds) {
  const LeaseView lease = GrantUsed();
  EXPECT_EQ(lessor_->Renew(lease.grant.counter, 1ns)->ttl, 100ms);
  EXPECT_EQ(lessor_->Renew(lease.grant.counter, Duration::max())->ttl, 1h);
}

TEST_F(LessorEndTest, AnEndedLeaseIsForgottenInTheEnd) {
  const LeaseView lease = GrantUsed();
  Release(lease.grant.counter);
  clock_.Advance(10min - 1ns);
  lessor_->Tick();
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason("LEASE_RELEASED"));
  clock_.Advance(1ns);
  lessor_->Tick();
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason("LEASE_NOT_FOUND"));
}

// S1: {ACTIVE, ENDING} on one connection is one lease at any instant.
TEST_F(LessorEndTest, NobodyHasTheConnectionWhileTheLastHolderIsEnding) {
  for (const bool used : {false, true}) {
    const LeaseView first = used ? GrantUsed() : Granted(Acquire());
    std::optional<LeaseState> seen;
    lessor_->Acquire({}, [&](const absl::StatusOr<LeaseView>& second) {
      ASSERT_THAT(second, IsOk());
      // Expire of an ended lease answers at once with it; of an ending one, later.
      lessor_->Expire(first.grant.counter, {EndReason::kRevoked}, /*validate_only=*/false,
                      [&](const absl::StatusOr<Lessor::Expired>&) {
                        if (!seen) seen = LeaseState::kEnded;
                      });
      if (!seen) seen = LeaseState::kEnding;
      Release(second->grant.counter);
    });
    Release(first.grant.counter);
    EXPECT_EQ(seen, LeaseState::kEnded) << (used ? "used" : "untouched");
  }
}

// Who is told that his lease is over may at once acquire the connection that he gave back.
TEST_F(LessorEndTest, WhatIsReleasedIsAvailableBeforeTheAnswer) {
  const LeaseView lease = Granted(Acquire());
  AcquireAnswer next;
  lessor_->Release(lease.grant.counter, Disposition::kReturn, [&](const absl::StatusOr<Lessor::Released>&) {
    EXPECT_EQ(InUse(), 0);
    EXPECT_EQ(Ended(EndReason::kReleased), 1);
    lessor_->Acquire(WithWait(0s), next.Callback());
  });
  EXPECT_THAT(*next, IsOk());
}

TEST_F(LessorEndTest, ClosingAllEndsWhatIsLeftAndLeavesNoBackend) {
  const LeaseView lease = GrantUsed();
  Execute(lease.grant.counter, "BEGIN");
  lessor_->Drain();
  EXPECT_FALSE(lessor_->Empty());
  lessor_->CloseAll();
  executor_.RunDue();
  EXPECT_TRUE(lessor_->Empty());
  EXPECT_EQ(connector_.backends(), 0);
  EXPECT_EQ(Ended(EndReason::kDrained), 1);
  EXPECT_THAT(*Release(lease.grant.counter), HasReason("LEASE_DRAINED"));
}

TEST_F(LessorEndTest, ClosingAllWaitsForWhatIsBeingCleaned) {
  const LeaseView lease = GrantUsed();
  ConnectionOf(lease)->HoldCleanings();
  Release(lease.grant.counter);
  lessor_->Drain();
  lessor_->CloseAll();
  executor_.RunDue();
  EXPECT_FALSE(lessor_->Empty());
  ConnectionOf(lease)->ReleaseCleanings();
  executor_.RunDue();
  EXPECT_TRUE(lessor_->Empty());
}

}  // namespace
}  // namespace pglessor::core

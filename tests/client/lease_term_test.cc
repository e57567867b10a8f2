#include "client/internal/lease_term.h"

#include "gtest/gtest.h"

namespace pglessor::internal {
namespace {

using namespace std::chrono_literals;

constexpr Time kStart = Time(1h);

// Of 30 s, to be renewed after 10 s, sent at kStart.
LeaseTerm Granted() { return LeaseTerm({.from = kStart, .ttl = 30s, .renew_after = 10s}); }

LeaseTerm Renewing(Time now) {
  LeaseTerm term = Granted();
  EXPECT_TRUE(term.StartRenewal(now));
  return term;
}

TEST(LeaseTerm, IsTrustedForItsTtlFromTheSend) {
  const LeaseTerm term = Granted();
  EXPECT_FALSE(term.Lost(kStart));
  EXPECT_FALSE(term.Lost(kStart + 30s - 1ns));
}

TEST(LeaseTerm, IsLostAtItsEndNotAfterIt) {
  EXPECT_TRUE(Granted().Lost(kStart + 30s));
  EXPECT_TRUE(Granted().Lost(Time::max()));
}

TEST(LeaseTerm, IsToBeRenewedOnceItIsTimeAndNotBefore) {
  LeaseTerm term = Granted();
  EXPECT_EQ(term.NextWake(), kStart + 10s);
  EXPECT_FALSE(term.StartRenewal(kStart + 10s - 1ns));
  EXPECT_TRUE(term.StartRenewal(kStart + 10s));
}

TEST(LeaseTerm, HasOneRenewalUnderWay) {
  LeaseTerm term = Renewing(kStart + 10s);
  EXPECT_FALSE(term.StartRenewal(kStart + 11s));
  EXPECT_EQ(term.NextWake(), kStart + 30s) << "and then only the loss is waited for";
}

TEST(LeaseTerm, RenewedCountsFromTheRenewalsSend) {
  LeaseTerm term = Renewing(kStart + 10s);
  term.Renewed(kStart + 12s, {.from = kStart + 10s, .ttl = 30s, .renew_after = 10s});
  EXPECT_EQ(term.NextWake(), kStart + 20s);
  EXPECT_FALSE(term.Lost(kStart + 40s - 1ns));
  EXPECT_TRUE(term.Lost(kStart + 40s));
}

TEST(LeaseTerm, TakesTheTtlThatTheServerGave) {
  LeaseTerm term = Renewing(kStart + 10s);
  term.Renewed(kStart + 10s, {.from = kStart + 10s, .ttl = 3s, .renew_after = 1s});
  EXPECT_EQ(term.ttl(), 3s);
  EXPECT_TRUE(term.Lost(kStart + 13s)) << "shorter than before, if it says so";
}

TEST(LeaseTerm, ARenewalThatComesTooLateRevivesNothing) {
  LeaseTerm term = Renewing(kStart + 29s);
  term.Renewed(kStart + 30s, {.from = kStart + 29s, .ttl = 30s, .renew_after = 10s});
  EXPECT_TRUE(term.Lost(kStart + 30s));
  EXPECT_FALSE(term.StartRenewal(kStart + 31s));
}

TEST(LeaseTerm, AnEndedLeaseIsLostAtOnce) {
  for (const absl::Status& why : {absl::FailedPreconditionError("ended"), absl::NotFoundError("forgotten")}) {
    LeaseTerm term = Renewing(kStart + 10s);
    EXPECT_TRUE(term.RenewalFailed(kStart + 10s, why));
    EXPECT_TRUE(term.Lost(kStart + 10s)) << why;
  }
}

TEST(LeaseTerm, AFailureThatMayPassIsTriedAgainSoonerUntilTheEnd) {
  for (const absl::Status& why :
       {absl::UnavailableError("gone"), absl::DeadlineExceededError("slow"), absl::InternalError("bug")}) {
    LeaseTerm term = Renewing(kStart + 10s);
    EXPECT_FALSE(term.RenewalFailed(kStart + 11s, why));
    EXPECT_FALSE(term.Lost(kStart + 11s)) << why;
    EXPECT_GT(term.NextWake(), kStart + 11s) << "not in a tight loop";
    EXPECT_LE(term.NextWake(), kStart + 12s);
    EXPECT_TRUE(term.StartRenewal(term.NextWake()));
    EXPECT_TRUE(term.Lost(kStart + 30s)) << "trying moves nothing";
  }
}

TEST(LeaseTerm, AnAttemptLeavesTimeForAnother) {
  LeaseTerm term = Renewing(kStart + 10s);
  EXPECT_EQ(term.AttemptEnd(kStart + 10s), kStart + 20s);
  EXPECT_EQ(term.AttemptEnd(kStart + 25s), kStart + 30s) << "but never lasts beyond the loss";
}

TEST(LeaseTerm, NeverWakesAfterItsLoss) {
  LeaseTerm term({.from = kStart, .ttl = 1s, .renew_after = 5s});
  EXPECT_EQ(term.NextWake(), kStart + 1s);
}

TEST(LeaseTerm, ATinyRemainderIsNotRenewedWithoutPause) {
  LeaseTerm term({.from = kStart, .ttl = 30ns, .renew_after = 10ns});
  EXPECT_FALSE(term.StartRenewal(kStart + 29ns));
}

TEST(LeaseTerm, IsLostOnceItWasGivenBack) {
  LeaseTerm term = Granted();
  term.End();
  EXPECT_TRUE(term.Lost(kStart));
  EXPECT_FALSE(term.StartRenewal(kStart + 10s));
}

TEST(LeaseTerm, AnEndlessTtlDoesNotOverflow) {
  LeaseTerm term({.from = kStart, .ttl = Duration::max(), .renew_after = Duration::max() / 3});
  EXPECT_FALSE(term.Lost(kStart + 24h * 365));
}

}  // namespace
}  // namespace pglessor::internal

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
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

using LessorAcquireTest = LessorTest;

TEST_F(LessorAcquireTest, GrantsALeaseOnOneConnection) {
  StartPool({.min_connections = 2, .max_connections = 2});
  AcquireRequest request;
  request.tenant = "billing";
  request.holder = "billing-7f9c/charge";
  request.priority = Priority::kHigh;
  request.tags = {{"team", "a"}};
  request.ttl = 20s;
  const LeaseView lease = Granted(Acquire(request));
  EXPECT_EQ(lease.state, LeaseState::kActive);
  EXPECT_EQ(lease.grant.counter.value, 1U);
  EXPECT_EQ(lease.grant.pool, "default");
  EXPECT_EQ(lease.grant.terms.tenant, "billing");
  EXPECT_EQ(lease.grant.terms.holder, "billing-7f9c/charge");
  EXPECT_EQ(lease.grant.terms.priority, Priority::kHigh);
  EXPECT_EQ(lease.grant.terms.tags, request.tags);
  EXPECT_EQ(lease.ttl, 20s);
  EXPECT_EQ(lease.grant.waited, 0s);
  EXPECT_EQ(lease.expire_wall, clock_.WallNow() + 20s);
  EXPECT_EQ(lease.grant.acquired_wall, clock_.WallNow());
  const PoolView::Row row = View().connections.at(lease.grant.connection.value - 1);
  EXPECT_EQ(row.id, FormatConnectionId(lease.grant.connection, lease.grant.connection_opened));
  EXPECT_EQ(row.backend_pid, lease.grant.backend_pid);
  EXPECT_EQ(row.lease, lease.grant.counter);
}

TEST_F(LessorAcquireTest, BringsTheTtlIntoItsBounds) {
  StartPool({.min_connections = 5, .max_connections = 5});
  EXPECT_EQ(Granted(Acquire(WithTtl(std::nullopt))).ttl, 30s);
  EXPECT_EQ(Granted(Acquire(WithTtl(1ns))).ttl, 100ms);
  EXPECT_EQ(Granted(Acquire(WithTtl(100ms))).ttl, 100ms);
  EXPECT_EQ(Granted(Acquire(WithTtl(1h + 1ns))).ttl, 1h);
  EXPECT_EQ(Granted(Acquire(WithTtl(Duration::max()))).ttl, 1h);
}

TEST_F(LessorAcquireTest, KnowsNoOtherPool) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const auto answer = Acquire(OfPool("other"));
  ASSERT_TRUE(answer.here());
  EXPECT_THAT(*answer, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(*answer, HasReason("POOL_NOT_FOUND"));
  lessor_->Over(last_attempt_, false);  // of an acquire that never waited
  EXPECT_THAT(lessor_->Stats("other"), HasReason("POOL_NOT_FOUND"));
}

TEST_F(LessorAcquireTest, CountsLeasesAndFencingTokensUp) {
  StartPool({.min_connections = 1, .max_connections = 3});
  LeaseView last;
  for (int i = 0; i < 20; ++i) {
    const LeaseView lease = Granted(Acquire());
    EXPECT_GT(lease.grant.counter, last.grant.counter);
    EXPECT_GT(lease.grant.fencing_token, last.grant.fencing_token);
    if (i % 2 == 0) Execute(lease.grant.counter, "SELECT 1");
    if (i % 3 != 0) Release(lease.grant.counter);
    if (i % 3 == 0) Release(lease.grant.counter, Disposition::kDiscard);
    last = lease;
  }
}

TEST_F(LessorAcquireTest, OpensExactlyTenForFiftyCallersOfTenToTwenty) {
  StartPool({.min_connections = 10, .max_connections = 20});
  std::vector<AcquireAnswer> answers(50);
  for (auto& answer : answers) lessor_->Acquire({}, answer.Callback());
  executor_.RunDue();
  std::set<int32_t> backends;
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSERT_EQ(answers[i].here(), i < 20) << i;
    if (i < 20) backends.insert(Granted(answers[i]).grant.backend_pid);
  }
  EXPECT_EQ(backends.size(), 20U) << "S1";
  EXPECT_EQ(connector_.opens_asked(), 20);
  EXPECT_EQ(connector_.peak(), 20);
  for (size_t i = 0; i < answers.size(); ++i) Release(Granted(answers[i]).grant.counter);
  EXPECT_EQ(connector_.opens_asked(), 20);
  EXPECT_EQ(In(SlotState::kAvailable), 20);
}

TEST_F(LessorAcquireTest, ServesTheQueueFirstComeFirst) {
  StartPool({.min_connections = 1, .max_connections = 1});
  LeaseView holder = Granted(Acquire());
  std::vector<AcquireAnswer> answers(5);
  for (auto& answer : answers) lessor_->Acquire({}, answer.Callback());
  for (size_t next = 0; next < answers.size(); ++next) {
    clock_.Advance(1s);
    Release(holder.grant.counter);
    for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i].here(), i <= next);
    holder = Granted(answers[next]);
    EXPECT_EQ(holder.grant.waited, (next + 1) * 1s);
  }
}

TEST_F(LessorAcquireTest, LeavesTheQueueWhenItsCallerHasGone) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView holder = Granted(Acquire());
  const auto gone = Acquire();
  const Lessor::AttemptRef attempt = last_attempt_;
  const auto next = Acquire();
  lessor_->Over(attempt, /*delivered=*/false);
  ASSERT_TRUE(gone.here());
  EXPECT_THAT(*gone, StatusIs(absl::StatusCode::kCancelled));
  Release(holder.grant.counter);
  EXPECT_TRUE(next.here());
  EXPECT_EQ(Snapshot().counters.cancelled, 1);
}

TEST_F(LessorAcquireTest, KeepsALeaseWhoseHolderUsesItWhateverBecameOfTheAnswer) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView lease = Granted(Acquire());
  Execute(lease.grant.counter, "SELECT 1");
  lessor_->Over(last_attempt_, /*delivered=*/false);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), IsOk());
}

TEST_F(LessorAcquireTest, EndsALeaseWhoseAnswerReachedNobody) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView lease = Granted(Acquire());
  lessor_->Over(last_attempt_, /*delivered=*/false);
  EXPECT_EQ(Ended(EndReason::kUnclaimed), 1);
  EXPECT_EQ(In(SlotState::kAvailable), 1);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason("LEASE_UNCLAIMED"));
}

TEST_F(LessorAcquireTest, WaitsNoLongerThanThePoolsOwnTimeout) {
  StartPool({.min_connections = 1, .max_connections = 1, .acquire_timeout = 7s});
  Granted(Acquire(WithTtl(1h)));
  const auto waiting = Acquire();
  clock_.Advance(7s - 1ns);
  lessor_->Tick();
  EXPECT_FALSE(waiting.here());
  clock_.Advance(1ns);
  lessor_->Tick();
  ASSERT_TRUE(waiting.here());
  EXPECT_THAT(*waiting, HasReason("POOL_EXHAUSTED"));
}

TEST_F(LessorAcquireTest, DoesNotQueueWithoutAWait) {
  StartPool({.min_connections = 1, .max_connections = 1});
  Granted(Acquire(WithWait(0s)));
  const auto second = Acquire(WithWait(0s));
  ASSERT_TRUE(second.here());
  EXPECT_THAT(*second, HasReason("NO_IDLE_CONNECTION"));
}

TEST_F(LessorAcquireTest, IsRefusedWhileDraining) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView holder = Granted(Acquire());
  const auto waiting = Acquire();
  lessor_->Drain();
  ASSERT_TRUE(waiting.here());
  EXPECT_THAT(*waiting, HasReason("DRAINING"));
  EXPECT_THAT(*Acquire(), HasReason("DRAINING"));
  EXPECT_THAT(lessor_->Renew(holder.grant.counter, std::nullopt), IsOk()) << "leases go on";
  EXPECT_THAT(Execute(holder.grant.counter, "SELECT 1")->end().error, IsOk());
  EXPECT_THAT(*Release(holder.grant.counter), IsOk());
}

TEST_F(LessorAcquireTest, ShowsAllPoolsOrOne) {
  StartPool({.min_connections = 1, .max_connections = 1});
  EXPECT_EQ(lessor_->Stats("")->size(), 1U);
  EXPECT_EQ(lessor_->Stats("default")->size(), 1U);
}

TEST_F(LessorAcquireTest, IsWarmOnceItsMinimumIsOpen) {
  connector_.HoldOpens();
  StartPool({.min_connections = 2, .max_connections = 3});
  EXPECT_FALSE(lessor_->Warm());
  connector_.CompleteOpen();
  executor_.RunDue();
  EXPECT_FALSE(lessor_->Warm());
  connector_.CompleteOpen();
  executor_.RunDue();
  EXPECT_TRUE(lessor_->Warm());
  Granted(Acquire());
  EXPECT_TRUE(lessor_->Warm()) << "what is lent is open";
}

TEST_F(LessorAcquireTest, CountsTheLeasesThatHaveNotEnded) {
  StartPool({.min_connections = 2, .max_connections = 2});
  const LeaseView one = Granted(Acquire());
  Granted(Acquire());
  EXPECT_EQ(lessor_->InUse(), 2);
  Release(one.grant.counter);
  EXPECT_EQ(lessor_->InUse(), 1);
}

// --- names and tokens ---

TEST_F(LessorAcquireTest, ProvesALeaseByItsTokenAndFindsItByItsName) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView lease = Granted(Acquire());
  const std::string token = lessor_->TokenOf(lease.grant);
  ASSERT_THAT(lessor_->Prove(token), IsOk());
  EXPECT_EQ(lessor_->Prove(token)->lease, lease.grant.counter);
  EXPECT_EQ(lessor_->Prove(token)->tenant, lease.grant.terms.tenant);
  EXPECT_EQ(*lessor_->Find(FormatLeaseId(lessor_->IdOf(lease.grant))), lease.grant.counter);
  EXPECT_EQ(lessor_->TokenOf(lease.grant), token) << "the same for a retry";
}

TEST_F(LessorAcquireTest, KnowsTheTenantOfALeaseUntilItIsForgotten) {
  StartPool({.min_connections = 1, .max_connections = 1});
  AcquireRequest request;
  request.tenant = "billing";
  const LeaseView lease = Granted(Acquire(std::move(request)));
  EXPECT_EQ(lessor_->TenantOf(lease.grant.counter), "billing");
  Release(lease.grant.counter);
  EXPECT_EQ(lessor_->TenantOf(lease.grant.counter), "billing");
  EXPECT_EQ(lessor_->TenantOf(LeaseCounter{77}), std::nullopt);
}

TEST_F(LessorAcquireTest, CallsEveryOtherTokenUnknownInOneText) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView lease = Granted(Acquire());
  const std::string token = lessor_->TokenOf(lease.grant);
  LessorOptions other_boot = options_;
  other_boot.replica.boot++;
  LessorOptions other_replica = options_;
  other_replica.replica.name = "another";
  const Lessor restarted(other_boot, clock_, key_, events_);
  const Lessor neighbour(other_replica, clock_, key_, events_);
  const test::ToyTokenKey foreign(99);
  const Lessor forger(options_, clock_, foreign, events_);

  const absl::Status unknown = LeaseNotFound();
  for (const absl::Status& status :
       {lessor_->Prove("").status(), lessor_->Prove("x").status(),
        lessor_->Prove(absl::StrCat(token, "A")).status(), lessor_->Prove(token.substr(1)).status(),
        restarted.Prove(token).status(), neighbour.Prove(token).status(),
        lessor_->Prove(forger.TokenOf(lease.grant)).status(), lessor_->Find("").status(),
        lessor_->Find(token).status(), lessor_->Find(FormatLeaseId(restarted.IdOf(lease.grant))).status()}) {
    EXPECT_EQ(status, unknown);
    EXPECT_THAT(status, HasReason("LEASE_NOT_FOUND"));
  }
}

TEST_F(LessorAcquireTest, KnowsNoLeaseThatWasNeverGranted) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseCounter never{77};
  EXPECT_THAT(*Release(never), HasReason("LEASE_NOT_FOUND"));
  EXPECT_THAT(*Expire(never), HasReason("LEASE_NOT_FOUND"));
  EXPECT_THAT(lessor_->Renew(never, std::nullopt), HasReason("LEASE_NOT_FOUND"));
  EXPECT_THAT(lessor_->Renew(never, 10s), HasReason("LEASE_NOT_FOUND"));
  EXPECT_THAT(lessor_->Execute(never, {}, std::make_shared<test::RecordingSink>()).status(),
              HasReason("LEASE_NOT_FOUND"));
}

}  // namespace
}  // namespace pglessor::core

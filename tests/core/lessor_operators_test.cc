// Expire, Reset and Renew of a pool as operators see them, and what they do to leases.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

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
using testing::ElementsAre;
using testing::IsEmpty;

class LessorOperatorsTest : public LessorTest {
 protected:
  using ReportAnswer = test::Answer<absl::StatusOr<PoolReport>>;

  LeaseView GrantTo(const std::string& tenant, const std::string& job = "") {
    AcquireRequest request;
    request.tenant = tenant;
    request.ttl = 1h;
    if (!job.empty()) request.tags["job"] = job;
    return Granted(Acquire(request));
  }
  ExpireAnswer ExpireLeases(const LeaseFilter& filter, bool validate_only = false) {
    ExpireAnswer answer;
    lessor_->ExpireLeases(filter, "a reason", validate_only, answer.Callback());
    executor_.RunDue();
    return answer;
  }
  ExpireAnswer ExpireConnections(const Lessor::OldConnections& which, bool validate_only = false) {
    ExpireAnswer answer;
    lessor_->ExpireConnections(which, "a reason", validate_only, answer.Callback());
    executor_.RunDue();
    return answer;
  }
  ReportAnswer Reset(bool force) {
    ReportAnswer answer;
    lessor_->Reset("default", force, "a reason", answer.Callback());
    executor_.RunDue();
    return answer;
  }
};

TEST_F(LessorOperatorsTest, EndsTheLeasesThatMatchEveryFilter) {
  StartPool({.min_connections = 5, .max_connections = 5});
  const LeaseView a = GrantTo("a", "x");
  const LeaseView b = GrantTo("b", "x");
  const LeaseView other_job = GrantTo("a", "y");
  const LeaseView no_job = GrantTo("a");
  LeaseFilter filter;
  filter.tenant = "a";
  filter.tags["job"] = "x";
  EXPECT_THAT((*ExpireLeases(filter, /*validate_only=*/true))->leases, ElementsAre(a.grant.counter));
  EXPECT_EQ(InUse(), 4) << "nothing was changed";
  EXPECT_THAT((*ExpireLeases(filter))->leases, ElementsAre(a.grant.counter));
  EXPECT_THAT(lessor_->Renew(a.grant.counter, std::nullopt), HasReason("LEASE_REVOKED"));
  for (const LeaseView& lease : {b, other_job, no_job}) {
    EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), IsOk());
  }
}

TEST_F(LessorOperatorsTest, EndsLeasesThatAreHeldForLonger) {
  StartPool({.min_connections = 2, .max_connections = 2});
  const LeaseView old = GrantTo("a");
  clock_.Advance(1min);
  GrantTo("a");
  clock_.Advance(1s);
  LeaseFilter filter;
  filter.held_longer_than = 1min;
  EXPECT_THAT((*ExpireLeases(filter))->leases, ElementsAre(old.grant.counter));
}

TEST_F(LessorOperatorsTest, AnswersAnExpireOfNothing) {
  StartPool({.min_connections = 1, .max_connections = 1});
  LeaseFilter filter;
  filter.tenant = "nobody";
  EXPECT_THAT((*ExpireLeases(filter))->leases, IsEmpty());
  filter.pool = "other";
  EXPECT_THAT(*ExpireLeases(filter), HasReason("POOL_NOT_FOUND"));
}

TEST_F(LessorOperatorsTest, AnswersAnExpireOnlyWhenEveryFenceStands) {
  StartPool({.min_connections = 2, .max_connections = 2});
  const LeaseView a = GrantTo("a");
  const LeaseView b = GrantTo("a");
  Execute(a.grant.counter, "SELECT 1");
  Execute(b.grant.counter, "SELECT 1");
  ConnectionOf(a)->HoldFences();
  LeaseFilter filter;
  filter.tenant = "a";
  const ExpireAnswer answer = ExpireLeases(filter);
  EXPECT_FALSE(answer.here());
  ConnectionOf(a)->ReleaseFences();
  executor_.RunDue();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->leases.size(), 2U);
}

TEST_F(LessorOperatorsTest, SaysOfOneLeaseBeforehandWhetherItWouldEnd) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView lease = GrantTo("a");
  ExpireAnswer before;
  lessor_->Expire(lease.grant.counter, {EndReason::kRevoked}, /*validate_only=*/true, before.Callback());
  EXPECT_THAT((*before)->leases, ElementsAre(lease.grant.counter));
  EXPECT_EQ(InUse(), 1);
  Expire(lease.grant.counter);
  ExpireAnswer after;
  lessor_->Expire(lease.grant.counter, {EndReason::kRevoked}, /*validate_only=*/true, after.Callback());
  EXPECT_THAT((*after)->leases, IsEmpty());
}

TEST_F(LessorOperatorsTest, ExpiresConnectionsByAgeAndLeavesLeasesAlone) {
  StartPool({.min_connections = 2, .max_connections = 4});
  const LeaseView lease = GrantTo("a");
  clock_.Advance(1min);
  const ExpireAnswer answer = ExpireConnections({"default", 1min, /*include_leased=*/false});
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->connections.retired, 1);
  EXPECT_EQ((*answer)->connections.retiring, 1);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), IsOk());
  Release(lease.grant.counter);
  EXPECT_TRUE(ConnectionOf(lease)->gone());
  EXPECT_GE(Snapshot().total, 2);
}

TEST_F(LessorOperatorsTest, NoConnectionIsTooOldWhereThereIsNoLifetime) {
  StartPool({.min_connections = 2, .max_connections = 4, .max_lifetime = 0s});
  clock_.Advance(1h);
  const ExpireAnswer answer = ExpireConnections({"default", std::nullopt, /*include_leased=*/false});
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->connections.retired, 0);
}

TEST_F(LessorOperatorsTest, ExpiresLeasedConnectionsWithTheirLeases) {
  StartPool({.min_connections = 1, .max_connections = 2});
  const LeaseView lease = GrantTo("a");
  Execute(lease.grant.counter, "BEGIN");
  EXPECT_EQ((*ExpireConnections({"default", 0s, true}, /*validate_only=*/true))->connections.leases_ended, 1);
  const ExpireAnswer answer = ExpireConnections({"default", 0s, /*include_leased=*/true});
  ASSERT_TRUE(answer.here());
  EXPECT_THAT((*answer)->leases, ElementsAre(lease.grant.counter));
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason("LEASE_REVOKED"));
  EXPECT_TRUE(ConnectionOf(lease)->gone());
}

TEST_F(LessorOperatorsTest, ResetLetsLeasesEndByThemselves) {
  StartPool({.min_connections = 2, .max_connections = 4});
  const LeaseView lease = GrantTo("a");
  const ReportAnswer answer = Reset(/*force=*/false);
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->generation, 2U);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), IsOk());
  Release(lease.grant.counter);
  EXPECT_TRUE(ConnectionOf(lease)->gone());
}

TEST_F(LessorOperatorsTest, ForcedResetEndsEveryLease) {
  StartPool({.min_connections = 2, .max_connections = 4});
  const LeaseView idle = GrantTo("a");
  const LeaseView busy = GrantTo("b");
  ConnectionOf(busy)->HoldStatements();
  auto sink = std::make_shared<test::RecordingSink>();
  ASSERT_THAT(lessor_->Execute(busy.grant.counter, Sql("SELECT pg_sleep(9)"), sink), IsOk());
  const ReportAnswer answer = Reset(/*force=*/true);
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->leases_ended, 2);
  EXPECT_TRUE(sink->ended());
  EXPECT_THAT(*Release(idle.grant.counter), HasReason("POOL_RESET"));
  EXPECT_THAT(*Release(busy.grant.counter), HasReason("POOL_RESET"));
  EXPECT_EQ(Ended(EndReason::kPoolReset), 2);
  const LeaseView next = GrantTo("a");
  EXPECT_GT(next.grant.connection, busy.grant.connection) << "of the new generation";
  EXPECT_EQ(In(SlotState::kAvailable) + InUse(), 2);
}

TEST_F(LessorOperatorsTest, KeepTheMinimumThoughTheyEndEveryLease) {
  class LeastTotal : public EventSink {
   public:
    void OnEvent(const Event& event) override { least = std::min(least, event.total.value_or(least)); }
    int32_t least = 20;
  };
  LeastTotal total;
  events_.AddSink(total, {EventType::kConnectionClosed, EventType::kConnectionRetired});
  StartPool({.min_connections = 20, .max_connections = 20});
  for (const bool reset : {true, false}) {
    for (int i = 0; i < 20; ++i) Execute(GrantTo("a").grant.counter, "BEGIN");
    if (reset) {
      EXPECT_THAT(*Reset(/*force=*/true), IsOk());
    } else {
      EXPECT_THAT(*ExpireConnections({"default", 0s, /*include_leased=*/true}), IsOk());
    }
    EXPECT_EQ(total.least, 20) << (reset ? "Reset" : "Expire");
    EXPECT_EQ(In(SlotState::kAvailable), 20);
  }
}

TEST_F(LessorOperatorsTest, ResetFailsNoAcquire) {
  StartPool({.min_connections = 2, .max_connections = 2});
  GrantTo("a");
  GrantTo("a");
  std::vector<AcquireAnswer> waiting(5);
  for (auto& answer : waiting) lessor_->Acquire({}, answer.Callback());
  executor_.RunDue();
  Reset(/*force=*/true);
  for (auto& answer : waiting) {
    ASSERT_TRUE(answer.here());
    Release(Granted(answer).grant.counter);
  }
}

TEST_F(LessorOperatorsTest, RenewPoolGrowsToTheMaximumUnlessToldOtherwise) {
  StartPool({.min_connections = 1, .max_connections = 4});
  ReportAnswer to_three;
  lessor_->RenewPool("default", 3, to_three.Callback());
  executor_.RunDue();
  EXPECT_EQ((*to_three)->total, 3);
  EXPECT_EQ((*to_three)->validated, 1);
  ReportAnswer to_max;
  lessor_->RenewPool("default", 0, to_max.Callback());
  executor_.RunDue();
  EXPECT_EQ((*to_max)->total, 4);
  ReportAnswer unknown;
  lessor_->RenewPool("other", 0, unknown.Callback());
  EXPECT_THAT(*unknown, HasReason("POOL_NOT_FOUND"));
}

TEST_F(LessorOperatorsTest, ADrainBoundsRenewals) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView lease = GrantTo("a");
  lessor_->Drain(clock_.Now() + 10s);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, 1h), IsOk());
  clock_.Advance(10s);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, 1h), HasReason("LEASE_DRAINED"));
}

}  // namespace
}  // namespace pglessor::core

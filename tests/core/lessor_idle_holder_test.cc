// What becomes of leases whose holders do nothing with them.
#include <chrono>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/core/lessor_fixture.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;

class Watcher : public EventSink {
 public:
  void OnEvent(const Event& event) override { seen.push_back(event); }
  std::vector<Event> seen;
};

class LessorIdleHolderTest : public LessorTest {
 protected:
  void Start(void (*set)(PoolOptions&)) {
    PoolOptions options;
    options.min_connections = options.max_connections = 1;
    options.default_ttl = options.max_ttl = 1h;
    options.max_lifetime = 0s;
    set(options);
    events_.AddSink(watcher_, {EventType::kLeaseLeakSuspected, EventType::kLeaseEnded});
    StartPool(options);
  }

  void Pass(Duration time) {
    clock_.Advance(time);
    lessor_->Tick();
    executor_.RunDue();
  }
  std::optional<EndReason> EndOf(const LeaseView& lease) {
    for (const Event& event : watcher_.seen) {
      if (event.type == EventType::kLeaseEnded && event.lease == lease.grant.counter) return event.end_reason;
    }
    return std::nullopt;
  }

  Watcher watcher_;
};

TEST_F(LessorIdleHolderTest, IsRevokedAfterItsThinkTime) {
  Start([](PoolOptions& options) { options.max_think_time = 10s; });
  const LeaseView lease = Granted(Acquire());
  Pass(6s);
  Execute(lease.grant.counter, "SELECT 1");
  Pass(10s - 1ns);
  EXPECT_FALSE(EndOf(lease).has_value()) << "the statement began its time anew";
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), IsOk()) << "a renewal does not";
  Pass(1ns);
  EXPECT_EQ(EndOf(lease), EndReason::kRevoked);
  EXPECT_EQ(watcher_.seen.back().reason, "its holder ran no statement for max_think_time");
  EXPECT_THAT(*Release(lease.grant.counter), HasReason("LEASE_REVOKED"));
}

TEST_F(LessorIdleHolderTest, DoesNotThinkWhileAStatementRuns) {
  Start([](PoolOptions& options) { options.max_think_time = 10s; });
  const LeaseView lease = Granted(Acquire());
  ConnectionOf(lease)->HoldStatements();
  Execute(lease.grant.counter, "SELECT pg_sleep(3600)");
  for (int i = 0; i < 5; ++i) Pass(9s);
  EXPECT_FALSE(EndOf(lease).has_value());
  ConnectionOf(lease)->FinishStatement();
  executor_.RunDue();
  Pass(9s);
  EXPECT_FALSE(EndOf(lease).has_value());
  Pass(9s);
  EXPECT_EQ(EndOf(lease), EndReason::kRevoked);
}

TEST_F(LessorIdleHolderTest, IsRevokedWhereItLeavesATransactionIdle) {
  Start([](PoolOptions& options) { options.max_idle_in_transaction = 10s; });
  const LeaseView lease = Granted(Acquire());
  Pass(1h - 30s);
  EXPECT_FALSE(EndOf(lease).has_value()) << "outside a transaction it may idle";
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, 1h), IsOk());
  Execute(lease.grant.counter, "BEGIN");
  Pass(10s - 1ns);
  EXPECT_FALSE(EndOf(lease).has_value());
  Pass(10s);
  EXPECT_EQ(EndOf(lease), EndReason::kRevoked);
}

TEST_F(LessorIdleHolderTest, IsReportedOnceWhereItHoldsForLong) {
  Start([](PoolOptions& options) { options.leak_warning = 10s; });
  AcquireRequest request;
  request.holder = "cron/forgetful";
  request.tags["job"] = "nightly";
  const LeaseView lease = Granted(Acquire(request));
  Pass(10s - 1ns);
  EXPECT_TRUE(watcher_.seen.empty());
  Pass(1ns);
  ASSERT_EQ(watcher_.seen.size(), 1U);
  EXPECT_EQ(watcher_.seen[0].type, EventType::kLeaseLeakSuspected);
  EXPECT_EQ(watcher_.seen[0].holder, "cron/forgetful");
  EXPECT_EQ(watcher_.seen[0].tags.at("job"), "nightly");
  EXPECT_EQ(watcher_.seen[0].held, Duration(10s));
  Pass(1h - 20s);
  EXPECT_EQ(watcher_.seen.size(), 1U) << "once";
  EXPECT_THAT(*Release(lease.grant.counter), IsOk());
}

TEST_F(LessorIdleHolderTest, IsLeftAloneWhereNothingIsSet) {
  Start([](PoolOptions&) {});
  const LeaseView lease = Granted(Acquire());
  Execute(lease.grant.counter, "BEGIN");
  Pass(59min);
  EXPECT_TRUE(watcher_.seen.empty());
}

}  // namespace
}  // namespace pglessor::core

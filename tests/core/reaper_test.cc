#include "server/core/reaper.h"

#include <chrono>

#include "gtest/gtest.h"

#include "tests/core/lessor_fixture.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;

class ReaperTest : public LessorTest {
 protected:
  Reaper reaper_{*lessor_, clock_, executor_};
};

TEST_F(ReaperTest, EndsALeaseAtMostOneTickAfterItsExpiry) {
  StartPool({.min_connections = 1, .max_connections = 1});
  reaper_.Start();
  const LeaseView lease = Granted(Acquire(WithTtl(1s)));
  executor_.AdvanceBy(1s - 1ns);
  EXPECT_EQ(InUse(), 1);
  executor_.AdvanceBy(kReaperTick);
  EXPECT_EQ(InUse(), 0);
  EXPECT_EQ(Ended(EndReason::kExpired), 1);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason("LEASE_EXPIRED"));
}

TEST_F(ReaperTest, AnswersAWaiterAtMostOneTickAfterItsDeadline) {
  StartPool({.min_connections = 1, .max_connections = 1});
  reaper_.Start();
  const LeaseView holder = Granted(Acquire(WithTtl(1h)));
  const auto waiting = Acquire(WithWait(1s));
  executor_.AdvanceBy(1s - 1ns);
  EXPECT_FALSE(waiting.here());
  executor_.AdvanceBy(kReaperTick);
  ASSERT_TRUE(waiting.here());
  EXPECT_THAT(*waiting, HasReason("POOL_EXHAUSTED"));
}

TEST_F(ReaperTest, ServesTheNextWaiterFromAnExpiredLease) {
  StartPool({.min_connections = 1, .max_connections = 1});
  reaper_.Start();
  const LeaseView holder = Granted(Acquire(WithTtl(1s)));
  const auto waiting = Acquire(WithWait(10s));
  executor_.AdvanceBy(1s + kReaperTick);
  EXPECT_EQ(Granted(waiting).grant.backend_pid, holder.grant.backend_pid);
}

TEST_F(ReaperTest, GoesOnAsLongAsTheExecutorRuns) {
  StartPool({.min_connections = 1, .max_connections = 1});
  reaper_.Start();
  for (int i = 0; i < 3; ++i) {
    Granted(Acquire(WithTtl(1s)));
    executor_.AdvanceBy(1h);
  }
  EXPECT_EQ(Ended(EndReason::kExpired), 3);
}

}  // namespace
}  // namespace pglessor::core

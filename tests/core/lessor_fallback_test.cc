// What an acquire finds in its pool's fallback, where the pool itself cannot serve it.
#include <chrono>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/core/lessor_fixture.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;

class LessorFallbackTest : public LessorTest {
 protected:
  void SetUp() override {
    PoolOptions primary;
    primary.name = "primary";
    primary.min_connections = primary.max_connections = 1;
    primary.fallback_pool = "replica";
    PoolOptions replica;
    replica.name = "replica";
    replica.min_connections = replica.max_connections = 1;
    replica.fallback_pool = "primary";
    lessor_->AddPool(primary, connector_, fencing_);
    lessor_->AddPool(replica, replica_connector_, replica_fencing_);
    executor_.RunDue();
  }

  static AcquireRequest Asking(Duration wait, bool allow_fallback) {
    AcquireRequest request;
    request.pool = "primary";
    request.tenant = "a";
    request.wait = wait;
    request.allow_fallback = allow_fallback;
    return request;
  }

  PoolCounters CountersOf(const char* pool) { return lessor_->Stats(pool)->front().snapshot.counters; }

  test::FakeConnector replica_connector_{executor_};
  test::FakeFencingSource replica_fencing_{executor_};
};

TEST_F(LessorFallbackTest, ServesAtOnceOneThatAllowsItAndSaysSo) {
  EXPECT_EQ(Granted(Acquire(Asking(1s, true))).grant.fallback_for, "");
  const LeaseView lease = Granted(Acquire(Asking(0s, true)));
  EXPECT_EQ(lease.grant.pool, "replica");
  EXPECT_EQ(lease.grant.fallback_for, "primary");
  EXPECT_EQ(CountersOf("primary").rejected, 1);
  EXPECT_EQ(CountersOf("replica").granted, 1);
  EXPECT_THAT(*Release(lease.grant.counter), IsOk());
}

TEST_F(LessorFallbackTest, IsNotForThoseThatDoNotAllowIt) {
  Acquire(Asking(1s, true));
  const AcquireAnswer answer = Acquire(Asking(0s, false));
  ASSERT_TRUE(answer.here());
  EXPECT_THAT(*answer, HasReason("NO_IDLE_CONNECTION"));
}

TEST_F(LessorFallbackTest, ServesOneThatHasWaitedInVain) {
  Acquire(Asking(1s, true));
  const AcquireAnswer answer = Acquire(Asking(1s, true));
  EXPECT_FALSE(answer.here());
  clock_.Advance(1s);
  lessor_->Tick();
  executor_.RunDue();
  EXPECT_EQ(Granted(answer).grant.pool, "replica");
}

TEST_F(LessorFallbackTest, TellsOfTheFallbackWhereThatCannotServeItEither) {
  Acquire(Asking(1s, true));
  Acquire(Asking(0s, true));
  const AcquireAnswer answer = Acquire(Asking(0s, true));
  ASSERT_TRUE(answer.here());
  EXPECT_THAT(*answer, HasReason("NO_IDLE_CONNECTION"));
  EXPECT_EQ(CountersOf("replica").rejected, 1) << "and it does not go round in circles";
}

// Its pool refuses it at once, since nobody may queue there, and it waits in the fallback's queue.
TEST_F(LessorFallbackTest, LeavesTheFallbacksQueueWithItsCaller) {
  const auto nobody_waits = [](PoolOptions options) {
    options.max_waiters = 0;
    return options;
  };
  ASSERT_THAT(lessor_->Reconfigure("primary", nobody_waits), IsOk());
  Granted(Acquire(Asking(1s, true)));
  Granted(Acquire(Asking(1s, true)));
  const AcquireAnswer answer = Acquire(Asking(2s, true));
  EXPECT_FALSE(answer.here());
  EXPECT_EQ(lessor_->Stats("replica")->front().snapshot.waiting, 1);
  lessor_->Over(last_attempt_, /*delivered=*/false);
  executor_.RunDue();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ(answer->status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(CountersOf("replica").cancelled, 1);
}

TEST_F(LessorFallbackTest, KeepsARequestIdsRetriesTogether) {
  Acquire(Asking(1s, true));
  AcquireRequest request = Asking(0s, true);
  request.request_id = "7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001";
  const LeaseView first = Granted(Acquire(request));
  EXPECT_EQ(first.grant.pool, "replica");
  const LeaseView retried = Granted(Acquire(request));
  EXPECT_EQ(retried.grant.counter, first.grant.counter);
}

}  // namespace
}  // namespace pglessor::core

// When there is too little to go round, or nothing: who is turned away first, what is said while the database
// is away, and the fallback.
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/configured_test.h"
#include "tests/system/support/own_postgres.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;

v1::AcquireRequest AtOnce(const std::string& pool, v1::Priority priority = v1::PRIORITY_NORMAL) {
  v1::AcquireRequest request;
  request.set_pool(pool);
  request.set_priority(priority);
  *request.mutable_wait_timeout() = Span(milliseconds(0));
  return request;
}

// --- shedding ------------------------------------------------------------------------------------

using ShedTest = ConfiguredTest;

// In each round low is asked after high: where high is refused already, so must be the others.
TEST_F(ShedTest, LowIsTurnedAwayBeforeNormalAndNormalBeforeHigh) {
  ServeFile(Pool("default", Sizes(1, 1), "degrade_after = \"300ms\""));
  const Held held = AcquireFrom("default");
  const auto waiter = StartAcquire(client());
  ASSERT_TRUE(Eventually([&] { return StatsOf("default").waiting() == 1; }));
  const auto shed = [&](v1::Priority priority) {
    const Outcome outcome = client().Acquire(AtOnce("default", priority));
    EXPECT_EQ(outcome.status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
    return outcome.reason == "WAIT_QUEUE_FULL";
  };
  std::map<std::string, int> rounds;  // in which each kind of "only these are turned away" was seen
  ASSERT_TRUE(Eventually([&] {
    const bool high = shed(v1::PRIORITY_HIGH), normal = shed(v1::PRIORITY_NORMAL),
               low = shed(v1::PRIORITY_LOW);
    EXPECT_TRUE(!high || normal) << "high was turned away before normal";
    EXPECT_TRUE(!normal || low) << "normal was turned away before low";
    ++rounds[absl::StrCat(low, normal, high)];
    return high;
  }));
  EXPECT_GT(rounds["000"], 0) << "nobody, at first";
  EXPECT_GT(rounds["100"], 0) << "low alone";
  EXPECT_GT(rounds["110"], 0) << "low and normal";

  EXPECT_THAT(client().Release(held.token), IsOk());
  const Answer<v1::AcquireResponse> served = waiter->Get();
  ASSERT_THAT(served, IsOk()) << "who waits already goes on waiting";
  EXPECT_THAT(client().Release(served.response.lease_token()), IsOk());
  EXPECT_TRUE(Eventually([&] { return client().Acquire(AtOnce("default", v1::PRIORITY_LOW)).ok(); }));
}

// --- the database goes away ----------------------------------------------------------------------

// Of two pools "default" is on a PostgreSQL that the test takes away.
class BreakerTest : public ConfiguredTest {
 protected:
  void ServeBoth(const std::string& more = "", int breaker_failures = 2) {
    ServeFile(absl::StrCat(
        Pool("default", postgres_.dsn(), postgres_.control_dsn(),
             absl::StrCat(Sizes(1, 3), "\nbreaker_failures = ", breaker_failures,
                          "\nbreaker_probe_interval = \"200ms\"\nmax_open_backoff = \"100ms\"\n", more)),
        Pool("replica", Sizes(1, 3))));
  }
  Outcome AcquireSoon() {
    v1::AcquireRequest request;
    *request.mutable_wait_timeout() = Span(milliseconds(300));
    return client().Acquire(request);
  }

  OwnPostgres postgres_;
};

TEST_F(BreakerTest, OpensWhileTheDatabaseIsAwayAndClosesWhenItIsBack) {
  ServeBoth();
  postgres_.Stop(OwnPostgres::Shutdown::kFast);
  Outcome refused;
  ASSERT_TRUE(Eventually([&] {
    refused = AcquireSoon();
    return refused.reason == "BREAKER_OPEN";
  })) << refused;
  EXPECT_EQ(refused.status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_TRUE(refused.retry_after.has_value());
  EXPECT_NE(StatsOf("default").breaker(), v1::BREAKER_STATE_CLOSED);
  EXPECT_THAT(client().Execute(AcquireFrom("replica").token, "SELECT 1"), IsOk()) << "another pool's matter";
  postgres_.Start();
  ASSERT_TRUE(Eventually([&] { return AcquireSoon().ok(); }));
  EXPECT_EQ(StatsOf("default").breaker(), v1::BREAKER_STATE_CLOSED);
}

TEST_F(BreakerTest, TheFallbackServesThoseThatAllowIt) {
  ServeBoth("fallback_pool = \"replica\"");
  v1::AcquireRequest allows = AtOnce("default");
  allows.set_allow_fallback(true);
  const Held own = Acquire(allows);
  EXPECT_EQ(own.lease.pool(), "default");
  EXPECT_EQ(own.lease.fallback_for(), "");
  postgres_.Stop(OwnPostgres::Shutdown::kFast);
  Answer<v1::AcquireResponse> answer;
  ASSERT_TRUE(Eventually([&] {
    answer = client().Acquire(allows);
    return answer.ok() && answer.response.lease().pool() == "replica";
  })) << answer;
  EXPECT_EQ(answer.response.lease().fallback_for(), "default");
  EXPECT_EQ(client().Execute(answer.response.lease_token(), "SELECT 1").Value(), "int_value: 1");
  EXPECT_THAT(client().Release(answer.response.lease_token()), IsOk());
  EXPECT_FALSE(client().Acquire(AtOnce("default")).ok()) << "one that does not allow it is not served";

  postgres_.Start();
  ASSERT_TRUE(Eventually([&] {
    answer = client().Acquire(allows);
    EXPECT_TRUE(answer.ok()) << answer;
    EXPECT_THAT(client().Release(answer.response.lease_token()), IsOk());
    return answer.response.lease().pool() == "default";
  }));
  EXPECT_EQ(answer.response.lease().fallback_for(), "");
}

TEST_F(BreakerTest, RefusedCredentialsOpenItAtOnceAndAreNotTriedInAStorm) {
  postgres_.observer().Run("ALTER ROLE app NOLOGIN");
  ServeBoth("warmup = \"lazy\"", /*breaker_failures=*/1000);
  const Outcome refused = AcquireSoon();
  EXPECT_THAT(refused, FailsWith(StatusCode::FAILED_PRECONDITION, "DATABASE_AUTH_FAILED"));
  EXPECT_NE(StatsOf("default").breaker(), v1::BREAKER_STATE_CLOSED) << "after far fewer than 1000 failures";
  EXPECT_THAT(AcquireSoon(), FailsWith(StatusCode::FAILED_PRECONDITION, "DATABASE_AUTH_FAILED"));
  postgres_.observer().Run("ALTER ROLE app LOGIN");
  EXPECT_TRUE(Eventually([&] { return AcquireSoon().ok(); }));
}

TEST_F(BreakerTest, TooManyConnectionsIsNoFailureAndWaitersAreServedInTheEnd) {
  postgres_.observer().Run("ALTER ROLE app CONNECTION LIMIT 1");
  ServeBoth();
  const Held held = AcquireFrom("default");
  const auto waiter = StartAcquire(client());
  ASSERT_TRUE(Eventually([&] { return server().Log().find("too many connections") != std::string::npos; }));
  EXPECT_EQ(StatsOf("default").breaker(), v1::BREAKER_STATE_CLOSED);
  EXPECT_FALSE(waiter->Done());
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_THAT(waiter->Get(), IsOk());
  EXPECT_THAT(client().Execute(AcquireFrom("replica").token, "SELECT 1"), IsOk());
}

}  // namespace
}  // namespace pglessor::system

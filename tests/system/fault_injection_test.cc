// InjectFault over gRPC: each kind of fault as a caller sees it, on real connections.
#include <chrono>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/operators.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;

v1::InjectFaultRequest Fault(v1::FaultKind kind, int count = 0) {
  v1::InjectFaultRequest request;
  request.set_pool("default");
  request.set_kind(kind);
  request.set_count(count);
  return request;
}

v1::InjectFaultRequest Delay(std::chrono::nanoseconds delay, int count) {
  v1::InjectFaultRequest request = Fault(v1::FAULT_KIND_STATEMENT_DELAYED, count);
  *request.mutable_delay() = Span(delay);
  return request;
}

class FaultInjectionTest : public SystemTest {
 protected:
  void ServeWithFaults(int min_connections, int max_connections) {
    Serve(min_connections, max_connections, {"--drain-timeout=0s", "--enable-fault-injection"});
  }
  Answer<v1::InjectFaultResponse> Inject(const v1::InjectFaultRequest& request) {
    return Operators(client()).InjectFault(request);
  }
};

TEST_F(FaultInjectionTest, IsRefusedWhereItIsOff) {
  Serve(1, 1);
  EXPECT_THAT(Inject(Fault(v1::FAULT_KIND_OPEN_FAILS)),
              FailsWith(StatusCode::UNIMPLEMENTED, "FAULT_INJECTION_OFF"));
  EXPECT_THAT(Inject({}), FailsWith(StatusCode::UNIMPLEMENTED, "FAULT_INJECTION_OFF"));
}

TEST_F(FaultInjectionTest, AFaultThatCannotBeIsRefused) {
  ServeWithFaults(1, 1);
  v1::InjectFaultRequest no_pool = Fault(v1::FAULT_KIND_OPEN_FAILS);
  no_pool.set_pool("");
  const auto unnamed = Inject(no_pool);
  EXPECT_THAT(unnamed, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(unnamed.fields, ElementsAre("pool"));
  no_pool.set_pool("nowhere");
  EXPECT_THAT(Inject(no_pool), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
  const auto no_delay = Inject(Fault(v1::FAULT_KIND_STATEMENT_DELAYED));
  EXPECT_THAT(no_delay, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(no_delay.fields, ElementsAre("delay"));
}

TEST_F(FaultInjectionTest, TheSeedInUseIsTold) {
  ServeWithFaults(1, 1);
  v1::InjectFaultRequest request = Fault(v1::FAULT_KIND_OPEN_FAILS);
  EXPECT_NE(Inject(request).response.seed(), 0U);
  request.set_seed(42);
  EXPECT_EQ(Inject(request).response.seed(), 42U);
  EXPECT_EQ(Inject(Fault(v1::FAULT_KIND_NONE)).response.seed(), 0U);
}

TEST_F(FaultInjectionTest, OpeningsFailUntilTheFaultIsRemoved) {
  ServeWithFaults(0, 1);
  ASSERT_THAT(Inject(Fault(v1::FAULT_KIND_OPEN_FAILS)), IsOk());
  v1::AcquireRequest at_once;
  *at_once.mutable_wait_timeout() = Span(milliseconds(300));
  EXPECT_THAT(client().Acquire(at_once), FailsWith(StatusCode::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
  EXPECT_GT(client().Stats().counters().opens_failed(), 0);
  ASSERT_THAT(Inject(Fault(v1::FAULT_KIND_NONE)), IsOk());
  EXPECT_THAT(client().Release(Acquire().token), IsOk());
}

TEST_F(FaultInjectionTest, AnOpeningHangs) {
  ServeWithFaults(0, 1);
  v1::InjectFaultRequest hangs = Fault(v1::FAULT_KIND_OPEN_HANGS, 1);
  *hangs.mutable_delay() = Span(milliseconds(400));
  ASSERT_THAT(Inject(hangs), IsOk());
  const Held held = Acquire();
  EXPECT_GE(Nanoseconds(held.lease.waited()), milliseconds(400));
}

TEST_F(FaultInjectionTest, AProbeThatFailsCostsTheConnectionAndNotTheCaller) {
  ServeWithFaults(1, 1);
  ASSERT_THAT(Inject(Fault(v1::FAULT_KIND_VALIDATION_FAILS, 1)), IsOk());
  v1::RenewRequest renew;
  renew.mutable_pool()->set_pool("default");
  const auto renewed = client().Renew(renew);
  ASSERT_THAT(renewed, IsOk());
  EXPECT_EQ(renewed.response.pool().validated(), 1);
  EXPECT_EQ(renewed.response.pool().replaced(), 1);
  EXPECT_EQ(client().Stats().counters().validation_failures(), 1);
  EXPECT_THAT(client().Execute(Acquire().token, "SELECT 1"), IsOk());
}

TEST_F(FaultInjectionTest, AStatementIsHeldBack) {
  ServeWithFaults(1, 1);
  const Held held = Acquire();
  ASSERT_THAT(Inject(Delay(milliseconds(300), 1)), IsOk());
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
  EXPECT_GE(std::chrono::steady_clock::now() - begun, milliseconds(300));
  EXPECT_EQ(client().Stats().in_use(), 1);
}

TEST_F(FaultInjectionTest, AHeldStatementEndsWithItsLeaseAndNeverRuns) {
  ServeWithFaults(1, 1);
  database().MakeTable("held_back", "deed text");
  const Held held = Acquire();
  ASSERT_THAT(Inject(Delay(hours(1), 1)), IsOk());
  const auto statement = StartExecute(client(), Statement(held.token, "INSERT INTO held_back VALUES ('x')"));
  // It and the call that asks.
  ASSERT_TRUE(Eventually([&] { return client().StatsOf({}).response.server().open_calls() == 2; }));
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), FailsWith(StatusCode::ABORTED, "LEASE_BUSY"))
      << "it holds the permit while it is held back";
  v1::ExpireRequest expire;
  expire.set_lease_id(held.lease.lease_id());
  EXPECT_THAT(client().Expire(expire), IsOk());
  EXPECT_THAT(statement->Get(), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_REVOKED"));
  EXPECT_TRUE(AwaitRest());
  EXPECT_EQ(observer().Count("SELECT count(*) FROM held_back"), 0);
}

TEST_F(FaultInjectionTest, AHeldStatementIsCancelledWithItsCall) {
  ServeWithFaults(1, 1);
  const Held held = Acquire();
  ASSERT_THAT(Inject(Delay(hours(1), 1)), IsOk());
  const auto statement = StartExecute(client(), Statement(held.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(Eventually([&] { return client().StatsOf({}).response.server().open_calls() == 2; }));
  statement->Cancel();
  EXPECT_FALSE(statement->Get().ok());
  EXPECT_TRUE(Eventually([&] { return client().Execute(held.token, "SELECT 1").ok(); }));
}

TEST_F(FaultInjectionTest, AConnectionIsCutUnderAStatement) {
  ServeWithFaults(1, 1);
  const Held held = Acquire();
  ASSERT_THAT(Inject(Fault(v1::FAULT_KIND_CONNECTION_CUT, 1)), IsOk());
  const Result cut = client().Execute(held.token, "SELECT pg_sleep(0.2)");
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"),
              FailsWith(StatusCode::FAILED_PRECONDITION, "CONNECTION_LOST"));
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
  EXPECT_TRUE(AwaitRest());
  EXPECT_EQ(client().Stats().counters().lost(), 1);
  EXPECT_THAT(client().Execute(Acquire().token, "SELECT 1"), IsOk());
}

TEST_F(FaultInjectionTest, ACutInsideATransactionIsKnownNotToHaveCommitted) {
  ServeWithFaults(1, 1);
  const Held held = Acquire();
  EXPECT_THAT(client().Execute(held.token, "BEGIN"), IsOk());
  ASSERT_THAT(Inject(Fault(v1::FAULT_KIND_CONNECTION_CUT, 1)), IsOk());
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), FailsWith(StatusCode::ABORTED, "CONNECTION_LOST"));
}

// The same seed, the same faults: by the statements that fail.
TEST_F(FaultInjectionTest, ASeedRepeatsARun) {
  ServeWithFaults(1, 1);
  const auto run = [&](uint64_t seed) {
    v1::InjectFaultRequest sometimes = Fault(v1::FAULT_KIND_CONNECTION_CUT);
    sometimes.set_probability(0.3);
    sometimes.set_seed(seed);
    EXPECT_THAT(Inject(sometimes), IsOk());
    std::string failures;
    for (int i = 0; i < 30; ++i) {
      const Held held = Acquire();
      failures += client().Execute(held.token, "SELECT 1").ok() ? '.' : 'x';
      client().Release(held.token);
    }
    return failures;
  };
  const std::string first = run(7);
  EXPECT_NE(first.find('x'), std::string::npos);
  EXPECT_NE(first.find('.'), std::string::npos);
  EXPECT_EQ(run(7), first);
  EXPECT_NE(run(8), first);
}

}  // namespace
}  // namespace pglessor::system

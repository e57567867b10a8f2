// Acquires that carry a request_id: all attempts with one id are one acquire.
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/process.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::system_clock;

constexpr char kId[] = "7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001";
constexpr char kOtherId[] = "7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de002";
constexpr char kThirdId[] = "7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de003";
constexpr seconds kUnclaimed(5);  // the contract's
constexpr seconds kLate(3);       // of a busy machine

v1::AcquireRequest WithId(const std::string& id = kId) {
  v1::AcquireRequest request = AcquireFor(seconds(60));
  request.set_request_id(id);
  return request;
}

nanoseconds Now() { return system_clock::now().time_since_epoch(); }

class RequestIdTest : public SystemTest {
 protected:
  bool AwaitWaiting(int waiting) {
    return Eventually([&] { return client().Stats().waiting() == waiting; });
  }
  // So many calls are under way, beside the one that asks.
  bool AwaitCalls(int calls) {
    return Eventually([&] { return client().StatsOf({}).response.server().open_calls() == calls + 1; });
  }
};

TEST_F(RequestIdTest, ARetryGetsTheSameLease) {
  Serve(1, 2);
  const Held first = Acquire(WithId());
  for (int retry = 0; retry < 3; ++retry) {
    v1::AcquireRequest again = WithId();
    *again.mutable_wait_timeout() = Span(milliseconds(retry));  // the one thing that may differ
    const Held same = Acquire(again);
    EXPECT_EQ(same.token, first.token);
    EXPECT_EQ(same.lease.lease_id(), first.lease.lease_id());
    EXPECT_EQ(same.lease.fencing_token(), first.lease.fencing_token());
    EXPECT_EQ(same.lease.connection_id(), first.lease.connection_id());
  }
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.in_use(), 1);
  EXPECT_EQ(stats.counters().acquires_requested(), 1);
  EXPECT_EQ(stats.counters().granted(), 1);
  EXPECT_NE(Acquire(WithId(kOtherId)).token, first.token);
}

TEST_F(RequestIdTest, AttemptsAtOnceGetTheSameLease) {
  Serve(1, 1);
  constexpr int kAttempts = 20;
  const Held held = Acquire();
  std::vector<std::unique_ptr<BackgroundAcquire>> attempts;
  for (int i = 0; i < kAttempts; ++i) attempts.push_back(StartAcquire(client(), WithId()));
  ASSERT_TRUE(AwaitCalls(kAttempts));
  EXPECT_EQ(client().Stats().waiting(), 1) << "they have one place";
  EXPECT_THAT(client().Release(held.token), IsOk());
  const auto first = attempts.front()->Get();
  ASSERT_THAT(first, IsOk());
  for (int i = 1; i < kAttempts; ++i) {
    const auto other = attempts[i]->Get();
    ASSERT_THAT(other, IsOk());
    EXPECT_EQ(other.response.lease_token(), first.response.lease_token());
    EXPECT_EQ(other.response.lease().lease_id(), first.response.lease().lease_id());
  }
  EXPECT_EQ(client().Stats().counters().granted(), 2);
  EXPECT_THAT(client().Release(first.response.lease_token()), IsOk());
  EXPECT_TRUE(AwaitRest());
}

TEST_F(RequestIdTest, AttemptsAtOnceOnAnIdlePoolGetTheSameLease) {
  Serve(4, 4);
  for (int round = 0; round < 20; ++round) {
    const std::string id = "7f1c0e52-9f0a-4b1e-8b53-0000000000" + std::to_string(10 + round);
    std::vector<std::unique_ptr<BackgroundAcquire>> attempts;
    for (int i = 0; i < 4; ++i) attempts.push_back(StartAcquire(client(), WithId(id)));
    const auto first = attempts.front()->Get();
    ASSERT_THAT(first, IsOk());
    for (int i = 1; i < 4; ++i) {
      EXPECT_EQ(attempts[i]->Get().response.lease_token(), first.response.lease_token());
    }
    EXPECT_THAT(client().Release(first.response.lease_token()), IsOk());
  }
  EXPECT_EQ(client().Stats().counters().granted(), 20);
}

TEST_F(RequestIdTest, WithAnotherBodyItIsReused) {
  Serve(1, 3);
  const Held held = Acquire(WithId());
  using Request = v1::AcquireRequest;
  const std::pair<const char*, std::function<void(Request&)>> others[] = {
      {"holder", [](Request& request) { request.set_holder("somebody else"); }},
      {"ttl", [](Request& request) { *request.mutable_ttl() = Span(seconds(61)); }},
      {"no ttl", [](Request& request) { request.clear_ttl(); }},
      {"priority", [](Request& request) { request.set_priority(v1::PRIORITY_HIGH); }},
      {"tags", [](Request& request) { (*request.mutable_tags())["job"] = "nightly"; }},
  };
  for (const auto& [what, change] : others) {
    Request request = WithId();
    change(request);
    EXPECT_THAT(client().Acquire(request), FailsWith(StatusCode::INVALID_ARGUMENT, "REQUEST_ID_REUSED"))
        << what;
  }
  EXPECT_EQ(client().Stats().counters().granted(), 1);
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());

  Request other_tenant = WithId();
  other_tenant.set_tenant("billing");
  EXPECT_NE(Acquire(other_tenant).token, held.token) << "an id is a tenant's own";
}

TEST_F(RequestIdTest, AfterItsLeaseHasEndedARetryIsToldHow) {
  Serve(2, 2);
  const Held released = Acquire(WithId());
  EXPECT_THAT(client().Release(released.token), IsOk());
  EXPECT_THAT(client().Acquire(WithId()), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_RELEASED"));
  const Held expired = Acquire(WithId(kOtherId));
  EXPECT_THAT(client().Expire(expired.token), IsOk());
  EXPECT_THAT(client().Acquire(WithId(kOtherId)),
              FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_EXPIRED"));
  const Held lost = Acquire(WithId(kThirdId));
  observer().Terminate(lost.lease.backend_pid());
  ASSERT_TRUE(Eventually([&] { return client().Stats().counters().lost() == 1; }));
  EXPECT_THAT(client().Acquire(WithId(kThirdId)),
              FailsWith(StatusCode::FAILED_PRECONDITION, "CONNECTION_LOST"));
  EXPECT_EQ(client().Stats().counters().granted(), 3);
  EXPECT_TRUE(AwaitRest());
}

TEST_F(RequestIdTest, ARetryIsAnsweredWhileTheServiceDrains) {
  Serve(1, 2, {"--drain-timeout=1h"});
  const Held held = Acquire(WithId());
  server().process().Signal(SIGTERM);
  ASSERT_TRUE(Eventually([&] { return client().Acquire(WithId(kOtherId)).reason == "DRAINING"; }));
  EXPECT_EQ(Acquire(WithId()).token, held.token);
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST_F(RequestIdTest, AFailedAcquireIsNotRemembered) {
  Serve(1, 1);
  const Held held = Acquire();
  v1::AcquireRequest at_once = WithId();
  *at_once.mutable_wait_timeout() = Span(seconds(0));
  EXPECT_THAT(client().Acquire(at_once), FailsWith(StatusCode::RESOURCE_EXHAUSTED, "NO_IDLE_CONNECTION"));
  v1::AcquireRequest in_vain = WithId();
  *in_vain.mutable_wait_timeout() = Span(milliseconds(100));
  EXPECT_THAT(client().Acquire(in_vain), FailsWith(StatusCode::RESOURCE_EXHAUSTED, "POOL_EXHAUSTED"));
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_THAT(client().Acquire(WithId()), IsOk());
}

TEST_F(RequestIdTest, ACancelledAttemptKeepsItsPlaceForARetry) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto first = StartAcquire(client(), WithId());
  ASSERT_TRUE(AwaitWaiting(1));
  const auto behind = StartAcquire(client());
  ASSERT_TRUE(AwaitWaiting(2));
  first->Cancel();
  EXPECT_THAT(first->Get(), FailsWith(StatusCode::CANCELLED));
  ASSERT_TRUE(AwaitCalls(1));
  EXPECT_EQ(client().Stats().waiting(), 2) << "the place is kept";
  const auto retry = StartAcquire(client(), WithId());
  ASSERT_TRUE(AwaitCalls(2));
  EXPECT_THAT(client().Release(held.token), IsOk());
  const auto served = retry->Get();
  ASSERT_THAT(served, IsOk());
  EXPECT_FALSE(behind->Done()) << "it was behind the first attempt";
  EXPECT_GT(served.response.lease().waited().seconds() + served.response.lease().waited().nanos(), 0);
  EXPECT_THAT(client().Release(served.response.lease_token()), IsOk());
  EXPECT_THAT(behind->Get(), IsOk());
  EXPECT_EQ(client().Stats().counters().cancelled(), 0);
}

TEST_F(RequestIdTest, WithoutARetryThePlaceIsGivenUp) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto attempt = StartAcquire(client(), WithId());
  ASSERT_TRUE(AwaitWaiting(1));
  const nanoseconds left = Now();
  attempt->Cancel();
  EXPECT_THAT(attempt->Get(), FailsWith(StatusCode::CANCELLED));
  EXPECT_TRUE(AwaitWaiting(0));
  EXPECT_GE(Now() - left, kUnclaimed);
  EXPECT_LE(Now() - left, kUnclaimed + kLate);
  EXPECT_EQ(client().Stats().counters().cancelled(), 1);
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_THAT(client().Acquire(WithId()), IsOk()) << "from then on the id is a new acquire's";
}

// The grant finds nobody.
TEST_F(RequestIdTest, WithoutARetryTheLeaseEndsUnclaimed) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto attempt = StartAcquire(client(), WithId());
  ASSERT_TRUE(AwaitWaiting(1));
  const nanoseconds left = Now();
  attempt->Cancel();
  EXPECT_THAT(attempt->Get(), FailsWith(StatusCode::CANCELLED));
  ASSERT_TRUE(AwaitCalls(0));
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_TRUE(Eventually([&] { return client().Stats().counters().granted() == 2; }));
  const Held next = Acquire();
  const nanoseconds until = Nanoseconds(next.lease.acquire_time()) - left;
  EXPECT_GE(until, kUnclaimed);
  EXPECT_LE(until, kUnclaimed + kLate);
  EXPECT_EQ(client().Stats().counters().unclaimed(), 1);
  EXPECT_THAT(client().Acquire(WithId()), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_UNCLAIMED"));
}

TEST_F(RequestIdTest, ARetryClaimsTheLeaseThatNobodyTook) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto attempt = StartAcquire(client(), WithId());
  ASSERT_TRUE(AwaitWaiting(1));
  const nanoseconds left = Now();
  attempt->Cancel();
  EXPECT_THAT(attempt->Get(), FailsWith(StatusCode::CANCELLED));
  ASSERT_TRUE(AwaitCalls(0));
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_TRUE(Eventually([&] { return client().Stats().counters().granted() == 2; }));
  const Held claimed = Acquire(WithId());
  // It outlives the time at which it would have been given up.
  EXPECT_TRUE(Eventually([&] {
    return Now() - left > kUnclaimed + seconds(1) || !client().Execute(claimed.token, "SELECT 1").ok();
  }));
  EXPECT_THAT(client().Execute(claimed.token, "SELECT 1"), IsOk());
  EXPECT_EQ(client().Stats().counters().unclaimed(), 0);
}

TEST_F(RequestIdTest, AKilledWaitersLeaseEndsUnclaimed) {
  Serve(1, 1);
  const Held held = Acquire();
  Process waiter({PGLESSOR_HOLDER, {server().address(), "60000", "waiter", kId}});
  ASSERT_TRUE(AwaitWaiting(1));
  const nanoseconds left = Now();
  waiter.Signal(SIGKILL);
  EXPECT_EQ(waiter.AwaitEnd(), -SIGKILL);
  ASSERT_TRUE(AwaitCalls(0));
  EXPECT_THAT(client().Release(held.token), IsOk());
  const Held next = Acquire();
  EXPECT_LE(Nanoseconds(next.lease.acquire_time()) - left, kUnclaimed + kLate);
  EXPECT_EQ(client().Stats().counters().unclaimed(), 1);
}

}  // namespace
}  // namespace pglessor::system

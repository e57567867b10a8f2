// Acquires with a request_id: retries, and callers that have gone.
#include <chrono>
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
using test::StatusIs;

constexpr char kId[] = "7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001";
constexpr char kOtherId[] = "7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de002";

class LessorRetryTest : public LessorTest {
 protected:
  static AcquireRequest WithId(const std::string& id = kId) {
    AcquireRequest request;
    request.tenant = "default";
    request.request_id = id;
    request.ttl = 1h;
    return request;
  }
  // One call, with what names it.
  struct Call {
    AcquireAnswer answer;
    Lessor::AttemptRef attempt;
  };
  Call Try(const AcquireRequest& request) {
    Call call;
    call.answer = Acquire(request);
    call.attempt = last_attempt_;
    return call;
  }
  void Gone(const Call& call) { lessor_->Over(call.attempt, /*delivered=*/false); }
  void Delivered(const Call& call) { lessor_->Over(call.attempt, /*delivered=*/true); }
  void Pass(Duration time) {
    clock_.Advance(time);
    lessor_->Tick();
    executor_.RunDue();
  }
  // Keeps the pool's one connection busy.
  LeaseView Occupy() {
    AcquireRequest request;
    request.ttl = 1h;
    return Granted(Acquire(request));
  }
};

TEST_F(LessorRetryTest, GivesARetryTheSameLease) {
  StartPool({.min_connections = 2, .max_connections = 2});
  const Call first = Try(WithId());
  const Call retry = Try(WithId());
  EXPECT_EQ(Granted(first.answer).grant.counter, Granted(retry.answer).grant.counter);
  EXPECT_EQ(InUse(), 1);
  EXPECT_EQ(Snapshot().counters.acquires_requested, 1) << "a joined retry is not counted again";
  EXPECT_EQ(Snapshot().counters.granted, 1);
}

TEST_F(LessorRetryTest, TellsIdsTenantsAndIdentitiesApart) {
  StartPool({.min_connections = 4, .max_connections = 4});
  Try(WithId());
  Try(WithId(kOtherId));
  AcquireRequest tenant = WithId();
  tenant.tenant = "other";
  Try(tenant);
  AcquireRequest identity = WithId();
  identity.identity = "somebody";
  Try(identity);
  EXPECT_EQ(InUse(), 4);
}

TEST_F(LessorRetryTest, RefusesAnotherBodyUnderTheSameId) {
  StartPool({.min_connections = 2, .max_connections = 2});
  Try(WithId());
  const auto changed = [](auto change) {
    AcquireRequest request = WithId();
    change(request);
    return request;
  };
  EXPECT_THAT(*Try(changed([](auto& r) { r.holder = "x"; })).answer, HasReason("REQUEST_ID_REUSED"));
  EXPECT_THAT(*Try(changed([](auto& r) { r.ttl = 1s; })).answer, HasReason("REQUEST_ID_REUSED"));
  EXPECT_THAT(*Try(changed([](auto& r) { r.renewal = Renewal::kByItself; })).answer,
              HasReason("REQUEST_ID_REUSED"))
      << "by a stream, whose lease renews itself";
  EXPECT_THAT(*Try(changed([](auto& r) { r.tags["a"] = "b"; })).answer, HasReason("REQUEST_ID_REUSED"));
  EXPECT_THAT(*Try(changed([](auto& r) { r.priority = Priority::kHigh; })).answer,
              HasReason("REQUEST_ID_REUSED"));
  EXPECT_THAT(*Try(changed([](auto& r) { r.wait = 3s; })).answer, IsOk()) << "the wait may differ";
  EXPECT_EQ(InUse(), 1);
}

TEST_F(LessorRetryTest, AttemptsThatWaitJoinOnePlaceAndGetOneAnswer) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView holder = Occupy();
  const Call first = Try(WithId());
  const Call second = Try(WithId());
  EXPECT_EQ(Snapshot().waiting, 1);
  Release(holder.grant.counter);
  EXPECT_EQ(Granted(first.answer).grant.counter, Granted(second.answer).grant.counter);
}

TEST_F(LessorRetryTest, ACancelledAttemptOnlyLeaves) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView holder = Occupy();
  const Call first = Try(WithId());
  const Call second = Try(WithId());
  Gone(first);
  ASSERT_TRUE(first.answer.here());
  EXPECT_THAT(*first.answer, StatusIs(absl::StatusCode::kCancelled));
  Pass(10s);
  EXPECT_EQ(Snapshot().waiting, 1);
  Release(holder.grant.counter);
  EXPECT_THAT(*second.answer, IsOk());
}

TEST_F(LessorRetryTest, KeepsThePlaceOfOneThatHasGoneForAWhile) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView holder = Occupy();
  const Call first = Try(WithId());
  const Call behind = Try(WithId(kOtherId));
  Gone(first);
  Pass(5s - 1ns);
  EXPECT_EQ(Snapshot().waiting, 2);
  const Call retry = Try(WithId());
  Pass(5s);
  Release(holder.grant.counter);
  EXPECT_TRUE(retry.answer.here()) << "it kept its place before the other";
  EXPECT_FALSE(behind.answer.here());
}

TEST_F(LessorRetryTest, GivesUpThePlaceWhenNobodyRetries) {
  StartPool({.min_connections = 1, .max_connections = 1});
  Occupy();
  Gone(Try(WithId()));
  Pass(5s);
  EXPECT_EQ(Snapshot().waiting, 0);
  EXPECT_EQ(Snapshot().counters.cancelled, 1);
  // A failed acquire is not remembered.
  const Call anew = Try(WithId());
  EXPECT_FALSE(anew.answer.here());
  EXPECT_EQ(Snapshot().counters.acquires_requested, 3);
}

// The patient one has gone, and the one that stayed is told that it waited in vain: nobody is left.
TEST_F(LessorRetryTest, GivesUpAPlaceBeforeALeaseThatWouldBeGrantedToIt) {
  StartPool({.min_connections = 1, .max_connections = 1});
  Gone(Try(WithId()));
  Gone(Try(WithId(kOtherId)));
  Pass(5s);
  EXPECT_EQ(Ended(EndReason::kUnclaimed), 1);
  EXPECT_EQ(Snapshot().counters.cancelled, 1);
  EXPECT_THAT(*Try(WithId(kOtherId)).answer, IsOk()) << "what was given up before a grant is not remembered";
}

TEST_F(LessorRetryTest, GivesUpThePlaceWhenTheLastThatStayedIsLate) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView holder = Occupy();
  AcquireRequest patient = WithId();
  patient.wait = 1min;
  AcquireRequest impatient = WithId();
  impatient.wait = 1s;
  const Call first = Try(patient);
  const Call second = Try(impatient);
  Gone(first);
  Pass(1s);
  ASSERT_TRUE(second.answer.here());
  Delivered(second);
  Pass(5s - 1ns);
  EXPECT_EQ(Snapshot().waiting, 1) << "kept for a retry";
  Pass(1ns);
  EXPECT_EQ(Snapshot().waiting, 0);
  Release(holder.grant.counter);
  EXPECT_EQ(InUse(), 0) << "a lease for nobody";
}

TEST_F(LessorRetryTest, KeepsAGrantThatReachedNobodyForARetry) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const Call first = Try(WithId());
  Gone(first);
  Pass(5s - 1ns);
  const Call retry = Try(WithId());
  EXPECT_EQ(Granted(retry.answer).grant.counter, Granted(first.answer).grant.counter);
  Delivered(retry);
  Pass(1min);
  EXPECT_EQ(InUse(), 1) << "the retry claimed it";
}

TEST_F(LessorRetryTest, EndsAGrantThatNobodyClaims) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const Call first = Try(WithId());
  Gone(first);
  Pass(5s);
  EXPECT_EQ(Ended(EndReason::kUnclaimed), 1);
  EXPECT_EQ(In(SlotState::kAvailable), 1);
  EXPECT_THAT(*Try(WithId()).answer, HasReason("LEASE_UNCLAIMED")) << "never a second lease";
}

// F20: the caller goes while it waits; the grant comes after.
TEST_F(LessorRetryTest, EndsAGrantToOneThatHadGoneBefore) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView holder = Occupy();
  Gone(Try(WithId()));
  Pass(2s);
  Release(holder.grant.counter);
  EXPECT_EQ(InUse(), 1) << "kept for a retry";
  Pass(3s);
  EXPECT_EQ(InUse(), 0);
  EXPECT_EQ(Ended(EndReason::kUnclaimed), 1);
}

TEST_F(LessorRetryTest, ARetryThatGoesTooBeginsTheWaitAnew) {
  StartPool({.min_connections = 1, .max_connections = 1});
  Gone(Try(WithId()));
  Pass(4s);
  Gone(Try(WithId()));
  Pass(4s);
  EXPECT_EQ(InUse(), 1);
  Pass(1s);
  EXPECT_EQ(InUse(), 0);
}

TEST_F(LessorRetryTest, AStatementOrARenewalClaimsIt) {
  StartPool({.min_connections = 2, .max_connections = 2});
  const Call ran = Try(WithId());
  const Call renewed = Try(WithId(kOtherId));
  Gone(ran);
  Gone(renewed);
  Execute(Granted(ran.answer).grant.counter, "SELECT 1");
  EXPECT_THAT(lessor_->Renew(Granted(renewed.answer).grant.counter, std::nullopt), IsOk());
  Pass(1min);
  EXPECT_EQ(InUse(), 2);
  EXPECT_THAT(*Try(WithId()).answer, IsOk());
}

TEST_F(LessorRetryTest, TellsARetryHowItsLeaseEnded) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const Call first = Try(WithId());
  Delivered(first);
  Release(Granted(first.answer).grant.counter);
  EXPECT_THAT(*Try(WithId()).answer, HasReason("LEASE_RELEASED"));
  EXPECT_THAT(*Try(WithId()).answer, StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(LessorRetryTest, ForgetsTheIdWithItsLease) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const Call first = Try(WithId());
  Delivered(first);
  Release(Granted(first.answer).grant.counter);
  Pass(10min);
  const Call anew = Try(WithId());
  EXPECT_GT(Granted(anew.answer).grant.counter, Granted(first.answer).grant.counter);
}

// A retry must be told its lease's end even where many other leases ended meanwhile.
TEST_F(LessorRetryTest, ForgetsLeasesWithAnIdLast) {
  options_.leases.max_ended = 3;
  lessor_ = std::make_unique<Lessor>(options_, clock_, key_, events_);
  StartPool({.min_connections = 1, .max_connections = 1});
  const Call first = Try(WithId());
  Delivered(first);
  Release(Granted(first.answer).grant.counter);
  for (int i = 0; i < 10; ++i) Release(Occupy().grant.counter);
  lessor_->Tick();
  EXPECT_THAT(*Try(WithId()).answer, HasReason("LEASE_RELEASED"));
}

TEST_F(LessorRetryTest, TellsEveryAttemptOfAFailureAndForgetsIt) {
  StartPool({.min_connections = 1, .max_connections = 1});
  Occupy();
  AcquireRequest request = WithId();
  request.wait = 1s;
  const Call first = Try(request);
  const Call second = Try(request);
  Pass(1s);
  ASSERT_TRUE(first.answer.here() && second.answer.here());
  EXPECT_THAT(*first.answer, HasReason("POOL_EXHAUSTED"));
  EXPECT_THAT(*second.answer, HasReason("POOL_EXHAUSTED"));
  EXPECT_EQ(Snapshot().counters.timed_out, 1);
  EXPECT_FALSE(Try(request).answer.here()) << "a new acquire";
}

TEST_F(LessorRetryTest, EachAttemptWaitsAsLongAsItSaid) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView holder = Occupy();
  AcquireRequest impatient = WithId();
  impatient.wait = 1s;
  AcquireRequest patient = WithId();
  patient.wait = 20s;
  const Call first = Try(impatient);
  const Call second = Try(patient);
  Pass(1s);
  ASSERT_TRUE(first.answer.here());
  EXPECT_THAT(*first.answer, HasReason("POOL_EXHAUSTED"));
  Pass(18s);
  EXPECT_FALSE(second.answer.here());
  Release(holder.grant.counter);
  ASSERT_TRUE(second.answer.here());
  EXPECT_THAT(*second.answer, IsOk());
}

// The first does not queue, and waits for what is opened for it.
TEST_F(LessorRetryTest, ARetryOfOneThatDoesNotQueueWaitsAsLongAsItSaid) {
  StartPool({.min_connections = 0, .max_connections = 1});
  connector_.HoldOpens();
  AcquireRequest at_once = WithId();
  at_once.wait = 0s;
  AcquireRequest patient = WithId();
  patient.wait = 1s;
  const Call first = Try(at_once);
  const Call second = Try(patient);
  Pass(1s - 1ns);
  EXPECT_FALSE(first.answer.here()) << "its opening is under way";
  EXPECT_FALSE(second.answer.here());
  Pass(1ns);
  EXPECT_TRUE(second.answer.here());
  connector_.CompleteOpen();
  executor_.RunDue();
  ASSERT_TRUE(first.answer.here());
  EXPECT_THAT(*first.answer, IsOk());
}

TEST_F(LessorRetryTest, AnswersARetryThoughItDrains) {
  StartPool({.min_connections = 2, .max_connections = 2});
  const Call first = Try(WithId());
  lessor_->Drain();
  EXPECT_EQ(Granted(Try(WithId()).answer).grant.counter, Granted(first.answer).grant.counter);
  EXPECT_THAT(*Try(WithId(kOtherId)).answer, HasReason("DRAINING"));
}

}  // namespace
}  // namespace pglessor::core

// A lease whose time is over while its statement runs.
#include <chrono>
#include <functional>
#include <future>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kTtl(400);
constexpr milliseconds kGrace(1500);  // the contract's: its place is granted again by then

class ExpiryTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 1); }

  // From the lease's grant to the grant of the next one, which waits for its place: the server's times.
  nanoseconds UntilTheNextIsGranted(const v1::Lease& lease) {
    const Held next = Acquire();
    return Nanoseconds(next.lease.acquire_time()) - Nanoseconds(lease.acquire_time());
  }
};

TEST_F(ExpiryTest, OutsideATransactionTheOutcomeIsUnknown) {
  const Held held = Acquire(AcquireFor(kTtl));
  const Result cut = client().Execute(held.token, "SELECT pg_sleep(600)");
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "LEASE_EXPIRED");
  const nanoseconds until = UntilTheNextIsGranted(held.lease);
  EXPECT_GE(until, kTtl);
  EXPECT_LE(until, kTtl + kGrace);
}

TEST_F(ExpiryTest, InsideATransactionItHasNotHappened) {
  database().MakeTable("deeds", "deed text");
  const Held held = Acquire(AcquireFor(kTtl));
  EXPECT_THAT(client().Execute(held.token, "BEGIN"), IsOk());
  EXPECT_THAT(client().Execute(held.token, "INSERT INTO deeds VALUES ('unfinished')"), IsOk());
  EXPECT_THAT(client().Execute(held.token, "SELECT pg_sleep(600)"),
              FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_EXPIRED"));
  EXPECT_THAT(client().Execute(held.token, "COMMIT"),
              FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_EXPIRED"));
  EXPECT_THAT(client().Release(held.token), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_EXPIRED"));
  EXPECT_LE(UntilTheNextIsGranted(held.lease), kTtl + kGrace);
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
}

TEST_F(ExpiryTest, AnIdleTransactionIsRolledBack) {
  database().MakeTable("deeds", "deed text");
  const Held held = Acquire(AcquireFor(kTtl));
  EXPECT_THAT(client().Execute(held.token, "BEGIN"), IsOk());
  EXPECT_THAT(client().Execute(held.token, "INSERT INTO deeds VALUES ('unfinished')"), IsOk());
  EXPECT_LE(UntilTheNextIsGranted(held.lease), kTtl + kGrace);
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
  EXPECT_EQ(client().Stats().counters().expired(), 1);
}

// The service stands still for longer than the ttl. What comes first then may come before its own look at the
// time.
TEST_F(ExpiryTest, AfterAPauseOfTheServiceNoOperationFindsTheLeaseAlive) {
  using Operation = std::function<Outcome(const std::string& token)>;
  const Operation operations[] = {
      [this](const std::string& token) { return client().Execute(token, "SELECT 1"); },
      [this](const std::string& token) { return client().Renew(token); },
      [this](const std::string& token) { return client().Release(token); },
  };
  for (const Operation& operation : operations) {
    const Held held = Acquire(AcquireFor(kTtl));
    ASSERT_TRUE(server().process().Freeze());
    auto asked = std::async(std::launch::async, [&] { return operation(held.token); });
    std::this_thread::sleep_for(kTtl + milliseconds(200));
    server().process().Thaw();
    EXPECT_THAT(asked.get(), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_EXPIRED"));
  }
}

TEST_F(ExpiryTest, AStatementThatSwallowsCancelLosesItsBackend) {
  const Held held = Acquire(AcquireFor(kTtl));
  const Result cut = client().Execute(held.token,
                                      "DO $$ BEGIN LOOP "
                                      "  BEGIN PERFORM pg_sleep(600); "
                                      "  EXCEPTION WHEN query_canceled THEN NULL; END; "
                                      "END LOOP; END $$");
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "LEASE_EXPIRED");
  EXPECT_LE(UntilTheNextIsGranted(held.lease), kTtl + kGrace);
  EXPECT_EQ(observer().Activity(held.lease.backend_pid(), "pid"), "") << "its backend is gone";
  EXPECT_EQ(client().Stats().counters().connections_closed(), 1);
}

TEST_F(ExpiryTest, AReaderThatStopsLosesItsLease) {
  const Held held = Acquire(AcquireFor(kTtl));
  const Client::Context context = Client::NewContext();
  const auto reader = client().sql().Execute(
      context.get(), Statement(held.token, "SELECT repeat('x', 1000), generate_series(1, 10000000)"));
  v1::ExecuteResponse part;
  ASSERT_TRUE(reader->Read(&part));
  EXPECT_LE(UntilTheNextIsGranted(held.lease), kTtl + kGrace);
  while (reader->Read(&part)) {
  }
  EXPECT_THAT(OutcomeOf(reader->Finish()), FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
}

TEST_F(ExpiryTest, ARenewedLeaseOutlivesItsFirstEnd) {
  const Held held = Acquire(AcquireFor(kTtl));
  const auto began = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - began < 3 * kTtl) {
    v1::RenewRequest renew;
    renew.set_lease_token(held.token);
    *renew.mutable_ttl() = Span(std::chrono::seconds(60));
    ASSERT_THAT(client().Renew(renew), IsOk());
    ASSERT_THAT(client().Execute(held.token, "SELECT pg_sleep(0.05)"), IsOk());
  }
}

}  // namespace
}  // namespace pglessor::system

// Session: a lease bound to a stream, requests one after the other.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/session_stream.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::ElementsAre;

class SessionTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 1); }
};

TEST_F(SessionTest, AcquiresRunsReleasesAndBeginsAgain) {
  SessionStream stream(client());
  stream.Acquire(10);
  const v1::SessionResponse acquired = stream.Read();
  EXPECT_EQ(acquired.id(), 10);
  const v1::Lease first = acquired.acquired().lease();
  EXPECT_EQ(first.state(), v1::LEASE_STATE_ACTIVE);
  EXPECT_EQ(stream.Run("SELECT pg_backend_pid()").Value(), absl::StrCat("int_value: ", first.backend_pid()));
  stream.Release(11);
  const v1::SessionResponse released = stream.Read();
  EXPECT_EQ(released.id(), 11);
  EXPECT_EQ(released.released().lease().end_reason(), v1::END_REASON_RELEASED);
  EXPECT_FALSE(released.released().rolled_back());

  const v1::Lease second = stream.Begin();
  EXPECT_NE(second.lease_id(), first.lease_id());
  EXPECT_GT(second.fencing_token(), first.fencing_token());
  stream.HalfClose();
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(client().Stats().in_use(), 0);
  EXPECT_TRUE(AwaitRest());
}

TEST_F(SessionTest, PipelinedRequestsAreAnsweredInOrder) {
  SessionStream stream(client());
  stream.Acquire(1);
  stream.Execute(2, "CREATE TEMPORARY TABLE counted (n int4)");
  for (int i = 0; i < 100; ++i) stream.Execute(100 + i, "INSERT INTO counted VALUES ($1)", {Int(i)});
  stream.Execute(3, "SELECT count(*) FROM counted");
  stream.Release(4);
  stream.Acquire(5);
  stream.Execute(6, "SELECT to_regclass('counted') IS NULL");
  stream.HalfClose();

  EXPECT_EQ(stream.Read().acquired().lease().state(), v1::LEASE_STATE_ACTIVE);
  EXPECT_THAT(stream.ReadResult(2), IsOk());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(stream.ReadResult(100 + i).summary.command_tag(), "INSERT 0 1");
  EXPECT_EQ(stream.ReadResult(3).Value(), "int_value: 100");
  EXPECT_TRUE(stream.Read().has_released());
  EXPECT_TRUE(stream.Read().has_acquired());
  EXPECT_EQ(stream.ReadResult(6).Value(), "bool_value: true") << "another lease, another session";
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_TRUE(AwaitRest());
}

TEST_F(SessionTest, ThousandsOfPipelinedRequestsWaitTheirTurn) {
  constexpr int kRequests = 5000;
  SessionStream stream(client());
  stream.Begin();
  std::thread sender([&] {
    for (int i = 0; i < kRequests; ++i) {
      stream.Execute(i, "SELECT $1::int4, repeat('x', 2000)", {Int(i)});
    }
    stream.HalfClose();
  });
  for (int i = 0; i < kRequests; ++i) {
    const Result result = stream.ReadResult(i);
    EXPECT_EQ(result.rows.size(), 1U);
    EXPECT_EQ(result.rows.at(0).values(0).int_value(), i);
  }
  sender.join();
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(SessionTest, ManyLeasesInOnePipelineAreNoDeeperThanOne) {
  SessionStream stream(client());
  constexpr int kLeases = 500;
  std::thread sender([&] {
    for (int i = 0; i < kLeases; ++i) {
      stream.Acquire(i);
      stream.Release(i);
    }
    stream.HalfClose();
  });
  uint64_t last = 0;
  for (int i = 0; i < kLeases; ++i) {
    const v1::SessionResponse acquired = stream.Read();
    EXPECT_TRUE(acquired.has_acquired()) << acquired.ShortDebugString();
    EXPECT_GT(acquired.acquired().lease().fencing_token(), last);
    last = acquired.acquired().lease().fencing_token();
    EXPECT_TRUE(stream.Read().has_released());
  }
  sender.join();
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(SessionTest, ATransactionSpansStatementsAndIsRolledBackAtItsEnd) {
  database().MakeTable("deeds", "deed text");
  SessionStream stream(client());
  stream.Begin();
  EXPECT_TRUE(stream.Run("BEGIN").summary.in_transaction());
  EXPECT_THAT(stream.Run("INSERT INTO deeds VALUES ('unfinished')"), IsOk());
  stream.Release(9);
  EXPECT_TRUE(stream.Read().released().rolled_back());
  stream.Begin();
  EXPECT_THAT(stream.Run("BEGIN"), IsOk());
  EXPECT_THAT(stream.Run("INSERT INTO deeds VALUES ('unfinished')"), IsOk());
  stream.HalfClose();
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
}

TEST_F(SessionTest, AFailedStatementIsAMessageAndTheStreamGoesOn) {
  SessionStream stream(client());
  stream.Begin();
  stream.Execute(2, "SELECT 1 / 0");
  stream.Execute(3, "SELECT 3");
  const Outcome failed = stream.ReadResult(2);
  EXPECT_THAT(failed, FailsWith(StatusCode::INVALID_ARGUMENT, "SQL_ERROR"));
  EXPECT_EQ(failed.Metadata("sqlstate"), "22012");
  EXPECT_EQ(stream.ReadResult(3).Value(), "int_value: 3");
  EXPECT_THAT(stream.Run("COPY pg_class TO STDOUT"), FailsWith(StatusCode::UNIMPLEMENTED, "USE_GATEWAY"));
  EXPECT_THAT(stream.Run("SELECT repeat('x', 5000000)"),
              FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"));
  EXPECT_EQ(stream.Run("SELECT length(repeat('x', 5000000))").Value(), "int_value: 5000000");
}

TEST_F(SessionTest, WithoutALeaseThereIsNothingToRunOn) {
  SessionStream stream(client());
  stream.Execute(1, "SELECT 1");
  EXPECT_THAT(stream.ReadError(1), FailsWith(StatusCode::FAILED_PRECONDITION, "NO_LEASE"));
  stream.Release(2);
  EXPECT_THAT(stream.ReadError(2), FailsWith(StatusCode::FAILED_PRECONDITION, "NO_LEASE"));
  stream.Renew(3, std::chrono::seconds(5));
  EXPECT_THAT(stream.ReadError(3), FailsWith(StatusCode::FAILED_PRECONDITION, "NO_LEASE"));
  stream.Cancel(99);  // ignored
  stream.Begin();
  stream.Acquire(4);
  EXPECT_THAT(stream.ReadError(4), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_HELD"));
  EXPECT_THAT(stream.Run("SELECT 1"), IsOk());
}

TEST_F(SessionTest, FaultsNameTheField) {
  SessionStream stream(client());
  const auto fields = [&](v1::SessionRequest request) {
    stream.Send(5, std::move(request));
    const Outcome error = stream.ReadError(5);
    EXPECT_THAT(error, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
    return error.fields;
  };
  EXPECT_THAT(fields({}), ElementsAre("message"));
  v1::SessionRequest request;
  *request.mutable_acquire()->mutable_ttl() = Span(milliseconds(0));
  EXPECT_THAT(fields(request), ElementsAre("acquire.ttl"));
  request.mutable_execute()->set_lease_token("token");
  EXPECT_THAT(fields(request), ElementsAre("execute.on"));
  request.mutable_execute()->mutable_once();
  EXPECT_THAT(fields(request), ElementsAre("execute.on"));
  request.mutable_execute()->clear_on();
  request.mutable_execute()->set_max_rows(-1);
  EXPECT_THAT(fields(request), ElementsAre("execute.max_rows"));
  request.mutable_release()->set_lease_token("token");
  EXPECT_THAT(fields(request), ElementsAre("release.lease_token"));
  request.mutable_renew()->set_lease_token("token");
  EXPECT_THAT(fields(request), ElementsAre("renew.subject"));
  request.mutable_renew()->clear_subject();
  *request.mutable_renew()->mutable_ttl() = Span(milliseconds(0));
  EXPECT_THAT(fields(request), ElementsAre("renew.ttl"));
  EXPECT_EQ(client().Stats().counters().acquires_requested(), 0);
}

// A row that is too large is found out when the statement may have run to its end.
TEST_F(SessionTest, ARowThatIsTooLargeSaysWhetherItsStatementWasExecuted) {
  database().MakeTable("deeds", "deed text");
  SessionStream stream(client());
  stream.Begin();
  for (const char* rows : {"1", "4"}) {
    observer().Run("TRUNCATE deeds");
    const Result large = stream.Run(absl::StrCat(
        "INSERT INTO deeds SELECT repeat('x', 5000000) FROM generate_series(1, ", rows, ") RETURNING deed"));
    EXPECT_THAT(large, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"));
    const int64_t stand = observer().Count("SELECT count(*) FROM deeds");
    EXPECT_EQ(large.Metadata("executed"), stand > 0 ? "true" : "false") << rows;
  }
}

TEST_F(SessionTest, RenewIsAnsweredWhileAStatementRuns) {
  SessionStream stream(client());
  const v1::Lease lease = stream.Begin(AcquireFor(std::chrono::seconds(50)));
  stream.Execute(2, "SELECT pg_sleep(600)");
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  stream.Renew(3, std::chrono::seconds(40));
  const v1::SessionResponse renewed = stream.Read();
  EXPECT_EQ(renewed.id(), 3);
  EXPECT_EQ(Nanoseconds(renewed.renewed().lease().ttl()), std::chrono::seconds(40));
}

TEST_F(SessionTest, CancelEndsTheRunningStatementAndLeavesTheRest) {
  SessionStream stream(client());
  const v1::Lease lease = stream.Begin();
  stream.Execute(2, "SELECT pg_sleep(600)");
  stream.Execute(3, "SELECT 3");
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  stream.Cancel(2);
  EXPECT_THAT(stream.ReadResult(2), FailsWith(StatusCode::CANCELLED, "SQL_ERROR"));
  EXPECT_EQ(stream.ReadResult(3).Value(), "int_value: 3");
}

TEST_F(SessionTest, CancelOfAQueuedStatementKeepsItFromRunning) {
  database().MakeTable("deeds", "deed text");
  SessionStream stream(client());
  const v1::Lease lease = stream.Begin();
  stream.Execute(2, "SELECT pg_sleep(600)");
  stream.Execute(3, "INSERT INTO deeds VALUES ('cancelled')");
  stream.Execute(4, "SELECT 4");
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  stream.Cancel(3);
  stream.Cancel(2);
  EXPECT_THAT(stream.ReadResult(2), FailsWith(StatusCode::CANCELLED));
  EXPECT_THAT(stream.ReadResult(3), FailsWith(StatusCode::CANCELLED, "CANCELLED")) << "in its turn";
  EXPECT_EQ(stream.ReadResult(4).Value(), "int_value: 4");
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
}

TEST_F(SessionTest, CancelOfAStatementWhoseRowsNobodyReads) {
  SessionStream stream(client());
  const v1::Lease lease = stream.Begin();
  stream.Execute(2, "SELECT repeat('x', 1000), generate_series(1, 100000000)");
  EXPECT_TRUE(
      Eventually([&] { return observer().Activity(lease.backend_pid(), "wait_event") == "ClientWrite"; }));
  stream.Cancel(2);
  EXPECT_TRUE(observer().AwaitIdle(lease.backend_pid()));
  EXPECT_THAT(stream.ReadResult(2), FailsWith(StatusCode::CANCELLED));
  EXPECT_THAT(stream.Run("SELECT 1"), IsOk());
}

TEST_F(SessionTest, CancelOfAWaitingAcquireLeavesTheQueue) {
  const Held held = Acquire();
  SessionStream stream(client());
  stream.Acquire(1);
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  stream.Cancel(1);
  const Outcome cancelled = stream.ReadError(1);
  EXPECT_THAT(cancelled, FailsWith(StatusCode::CANCELLED, "CANCELLED"));
  EXPECT_THAT(cancelled.status.error_message(), testing::Not(testing::HasSubstr("gone"))) << "we are here";
  EXPECT_EQ(client().Stats().waiting(), 0);
  EXPECT_THAT(client().Release(held.token), IsOk());
  stream.Begin();
}

}  // namespace
}  // namespace pglessor::system

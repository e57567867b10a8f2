// Execute.once: a lease of its own for one statement, in one round trip.
#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::ElementsAre;

v1::ExecuteRequest Once(const std::string& sql, const std::vector<v1::Value>& params = {}) {
  v1::ExecuteRequest request = Statement("", sql, params);
  request.mutable_once();
  return request;
}

class OnceTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 1); }

  // Who its lease belongs to: the only connection's backend.
  int backend() { return client().Stats().connections(0).backend_pid(); }
  Result Execute(const std::string& sql, const std::vector<v1::Value>& params = {}) {
    return client().Execute(Once(sql, params));
  }
};

TEST_F(OnceTest, RunsAStatementAndKeepsNothing) {
  EXPECT_EQ(Execute("SELECT $1::int4 + 1", {Int(41)}).Value(), "int_value: 42");
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.in_use(), 0) << "who has the answer finds the lease ended";
  EXPECT_EQ(stats.counters().granted(), 1);
  EXPECT_EQ(stats.counters().released(), 1);
  EXPECT_TRUE(AwaitRest());
}

TEST_F(OnceTest, CommitsByItselfAndLeavesACleanSession) {
  database().MakeTable("deeds", "deed text");
  EXPECT_THAT(Execute("INSERT INTO deeds VALUES ('done')"), IsOk());
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 1);
  EXPECT_THAT(Execute("SET work_mem = '77MB'"), IsOk());
  const Result begun = Execute("BEGIN");
  EXPECT_THAT(begun, IsOk());
  EXPECT_TRUE(begun.summary.in_transaction());
  EXPECT_NE(Execute("SELECT current_setting('work_mem')").Value(), "text_value: \"77MB\"");
  EXPECT_FALSE(Execute("SELECT 1").summary.in_transaction());
}

TEST_F(OnceTest, ManyRowsComeInBatches) {
  const Result rows = Execute("SELECT generate_series(1, 1000)");
  ASSERT_THAT(rows, IsOk());
  EXPECT_THAT(rows.batches, ElementsAre(256, 256, 256, 232));
  EXPECT_EQ(rows.rows.back().values(0).int_value(), 1000);
}

TEST_F(OnceTest, TheStatementsErrorIsTheAnswerAndTheLeaseIsReleased) {
  const Result failed = Execute("SELECT 1 / 0");
  EXPECT_THAT(failed, FailsWith(StatusCode::INVALID_ARGUMENT, "SQL_ERROR"));
  EXPECT_EQ(failed.Metadata("sqlstate"), "22012");
  EXPECT_EQ(client().Stats().counters().released(), 1);
  EXPECT_THAT(Execute("SELECT repeat('x', 5000000)"), FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"));
  EXPECT_TRUE(AwaitRest());
}

TEST_F(OnceTest, ShowsInStatsWhileItRuns) {
  const auto sleep = StartExecute(client(), Once("SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(backend()));
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.in_use(), 1);
  EXPECT_NE(stats.connections(0).lease_id(), "");
  sleep->Cancel();
  EXPECT_THAT(sleep->Get(), FailsWith(StatusCode::CANCELLED));
  EXPECT_TRUE(AwaitRest());
}

TEST_F(OnceTest, ItsFaultsNameTheFieldAndAcquireNothing) {
  v1::ExecuteRequest request = Once("SELECT 1");
  request.mutable_once()->set_request_id("7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001");
  const Result repeatable = client().Execute(request);
  EXPECT_THAT(repeatable, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(repeatable.fields, ElementsAre("once.request_id"));

  request = Once("SELECT 1");
  *request.mutable_once()->mutable_ttl() = Span(milliseconds(0));
  EXPECT_THAT(client().Execute(request).fields, ElementsAre("once.ttl"));

  request = Once("SELECT $1");
  request.add_params();
  EXPECT_THAT(client().Execute(request).fields, ElementsAre("params[0]"));
  EXPECT_EQ(client().Stats().counters().acquires_requested(), 0);

  request = Once("SELECT 1");
  request.mutable_once()->set_pool("elsewhere");
  EXPECT_THAT(client().Execute(request), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
}

TEST_F(OnceTest, WaitsItsTurnAndFailsAsAnAcquireDoes) {
  const Held held = Acquire();
  v1::ExecuteRequest impatient = Once("SELECT 1");
  *impatient.mutable_once()->mutable_wait_timeout() = Span(milliseconds(50));
  EXPECT_THAT(client().Execute(impatient), FailsWith(StatusCode::RESOURCE_EXHAUSTED, "POOL_EXHAUSTED"));
  *impatient.mutable_once()->mutable_wait_timeout() = Span(milliseconds(0));
  EXPECT_THAT(client().Execute(impatient), FailsWith(StatusCode::RESOURCE_EXHAUSTED, "NO_IDLE_CONNECTION"));

  const auto waits = StartExecute(client(), Once("SELECT 7"));
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_EQ(waits->Get().Value(), "int_value: 7");
}

TEST_F(OnceTest, ACallerThatGoesWhileItWaitsLeavesTheQueue) {
  const Held held = Acquire();
  const auto waits = StartExecute(client(), Once("SELECT 1"));
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  waits->Cancel();
  EXPECT_THAT(waits->Get(), FailsWith(StatusCode::CANCELLED));
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 0; }));
  EXPECT_EQ(client().Stats().counters().cancelled(), 1);
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
}

// However many callers wait: 64 MB of statements, and no more.
TEST_F(OnceTest, TheStatementsThatWaitAreBoundedInMemory) {
  const Held held = SystemTest::Acquire();
  const std::string large(4'000'000, 'x');
  std::vector<decltype(StartExecute(client(), Once("")))> waiting;
  for (int i = 1; i <= 16; ++i) {
    waiting.push_back(StartExecute(client(), Once("SELECT length($1)", {Text(large)})));
    ASSERT_TRUE(Eventually([&] { return client().Stats().waiting() == i; }));
  }
  const Result refused = Execute("SELECT length($1)", {Text(std::string(4'000'000, 'y'))});
  EXPECT_THAT(refused, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "WAIT_QUEUE_FULL"));
  EXPECT_TRUE(refused.retry_after.has_value());
  EXPECT_THAT(refused.quotas, testing::ElementsAre("server"));
  EXPECT_THAT(client().Release(held.token), IsOk());
  for (const auto& each : waiting) EXPECT_EQ(each->Get().Value(), "int_value: 4000000");
  EXPECT_EQ(Execute("SELECT length($1)", {Text(large)}).Value(), "int_value: 4000000") << "its place is free";
}

TEST_F(OnceTest, ItsDeadlineCancelsTheStatementAndReleasesTheLease) {
  const Client::Context context = Client::NewContext();
  context->set_deadline(std::chrono::system_clock::now() + milliseconds(300));
  EXPECT_THAT(client().Execute(Once("SELECT pg_sleep(600)"), context.get()),
              FailsWith(StatusCode::DEADLINE_EXCEEDED));
  EXPECT_TRUE(AwaitRest());
  EXPECT_EQ(client().Stats().counters().released(), 1);
  EXPECT_EQ(Execute("SELECT 1").Value(), "int_value: 1");
}

TEST_F(OnceTest, AGoneCallersStatementThatSwallowsCancelLosesItsBackend) {
  const int backend_pid = backend();
  const auto deaf = StartExecute(client(), Once("DO $$ BEGIN LOOP "
                                                "  BEGIN PERFORM pg_sleep(600); "
                                                "  EXCEPTION WHEN query_canceled THEN NULL; END; "
                                                "END LOOP; END $$"));
  ASSERT_TRUE(observer().AwaitAsleep(backend_pid)) << "before that it does not swallow";
  deaf->Cancel();
  EXPECT_TRUE(observer().AwaitGone(backend_pid));
  EXPECT_EQ(Execute("SELECT 1").Value(), "int_value: 1");
}

TEST_F(OnceTest, AReaderThatGoesMidwayReleasesTheLease) {
  const Client::Context context = Client::NewContext();
  const auto reader =
      client().sql().Execute(context.get(), Once("SELECT repeat('x', 500), generate_series(1, 10000000)"));
  v1::ExecuteResponse part;
  ASSERT_TRUE(reader->Read(&part));
  context->TryCancel();
  EXPECT_TRUE(AwaitRest());
}

TEST_F(OnceTest, ATtlIsAHardEnd) {
  v1::ExecuteRequest short_lived = Once("SELECT pg_sleep(600)");
  *short_lived.mutable_once()->mutable_ttl() = Span(milliseconds(300));
  const Result cut = client().Execute(short_lived);
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "LEASE_EXPIRED");
  EXPECT_EQ(client().Stats().counters().expired(), 1);
}

TEST_F(OnceTest, AConnectionThatDiesLeavesTheOutcomeUnknown) {
  const auto sleep = StartExecute(client(), Once("SELECT pg_sleep(600)"));
  const int backend_pid = backend();
  ASSERT_TRUE(observer().AwaitAsleep(backend_pid));
  observer().Terminate(backend_pid);
  const Result cut = sleep->Get();
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "CONNECTION_LOST");
  EXPECT_TRUE(AwaitRest());
}

TEST_F(OnceTest, ARevokedOneHasAnUnknownOutcome) {
  const auto sleep = StartExecute(client(), Once("SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(backend()));
  v1::ExpireRequest expire;
  expire.set_lease_id(client().Stats().connections(0).lease_id());
  EXPECT_THAT(client().Expire(expire), IsOk());
  const Result cut = sleep->Get();
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "LEASE_REVOKED");
  EXPECT_TRUE(AwaitRest());
}

TEST_F(OnceTest, ManyAtOnceShareOneConnection) {
  std::vector<std::unique_ptr<BackgroundStatement>> calls;
  for (int i = 0; i < 50; ++i) calls.push_back(StartExecute(client(), Once("SELECT $1::int4", {Int(i)})));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(calls[i]->Get().Value(), absl::StrCat("int_value: ", i));
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.counters().released(), 50);
  EXPECT_EQ(stats.counters().connections_opened(), 1);
}

TEST_F(OnceTest, IsRefusedWhileTheServiceDrains) {
  server_.reset();
  Serve(1, 1, {"--drain-timeout=60s"});
  const Held held = Acquire();
  const auto waits = StartExecute(client(), Once("SELECT 1"));
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  server().process().Signal(SIGTERM);
  EXPECT_THAT(waits->Get(), FailsWith(StatusCode::UNAVAILABLE, "DRAINING")) << "one that waits";
  EXPECT_THAT(Execute("SELECT 1"), FailsWith(StatusCode::UNAVAILABLE, "DRAINING")) << "a new one";
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

}  // namespace
}  // namespace pglessor::system

// Statements that fail, are cut short, or are none of Execute's: the lease outlives them all.
#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Not;

class StatementErrorsTest : public SystemTest {
 protected:
  void SetUp() override {
    Serve(1, 1);
    held_ = SystemTest::Acquire();
  }
  // The lease has outlived all of it, on its own backend, and comes clean.
  void TearDown() override {
    EXPECT_TRUE(Eventually([&] { return Execute("SELECT 1").reason != "LEASE_BUSY"; }));
    EXPECT_EQ(Execute("SELECT pg_backend_pid()").Value(),
              absl::StrCat("int_value: ", held_.lease.backend_pid()));
    EXPECT_THAT(client().Release(held_.token), IsOk());
    EXPECT_TRUE(AwaitRest());
    EXPECT_EQ(client().Stats().counters().connections_closed(), 0);
    SystemTest::TearDown();
  }

  Result Execute(const std::string& sql, const std::vector<v1::Value>& params = {}) {
    return client().Execute(held_.token, sql, params);
  }
  int backend() const { return held_.lease.backend_pid(); }

  Held held_;
};

TEST_F(StatementErrorsTest, EachSqlstateHasItsCode) {
  const std::pair<const char*, StatusCode> table[] = {
      {"22012", StatusCode::INVALID_ARGUMENT},
      {"22P02", StatusCode::INVALID_ARGUMENT},
      {"42601", StatusCode::INVALID_ARGUMENT},
      {"42P01", StatusCode::INVALID_ARGUMENT},
      {"42501", StatusCode::PERMISSION_DENIED},
      {"28000", StatusCode::PERMISSION_DENIED},
      {"28P01", StatusCode::PERMISSION_DENIED},
      {"23505", StatusCode::ALREADY_EXISTS},
      {"23502", StatusCode::FAILED_PRECONDITION},
      {"23503", StatusCode::FAILED_PRECONDITION},
      {"25001", StatusCode::FAILED_PRECONDITION},
      {"25006", StatusCode::FAILED_PRECONDITION},
      {"55000", StatusCode::FAILED_PRECONDITION},
      {"55P03", StatusCode::ABORTED},
      {"40001", StatusCode::ABORTED},
      {"40P01", StatusCode::ABORTED},
      {"53100", StatusCode::RESOURCE_EXHAUSTED},
      {"53200", StatusCode::RESOURCE_EXHAUSTED},
      {"53300", StatusCode::RESOURCE_EXHAUSTED},
      {"57014", StatusCode::CANCELLED},
      {"0A000", StatusCode::UNIMPLEMENTED},
      {"P0001", StatusCode::INTERNAL},
      {"XX000", StatusCode::INTERNAL},
      {"08006", StatusCode::INTERNAL},
      {"57P01", StatusCode::INTERNAL},
      {"57P03", StatusCode::INTERNAL},
      {"ZZZZZ", StatusCode::INTERNAL},
  };
  for (const auto& [sqlstate, code] : table) {
    const Result failed = Execute(absl::StrCat("DO $$ BEGIN RAISE EXCEPTION 'for the test' USING ",
                                               "ERRCODE = '", sqlstate, "', HINT = 'none'; END $$"));
    EXPECT_THAT(failed, FailsWith(code, "SQL_ERROR")) << sqlstate;
    EXPECT_EQ(failed.Metadata("sqlstate"), sqlstate);
    EXPECT_EQ(failed.Metadata("severity"), "ERROR") << sqlstate;
    EXPECT_EQ(failed.Metadata("hint"), "none") << sqlstate;
  }
}

TEST_F(StatementErrorsTest, PostgresqlsOwnErrorsAreNamed) {
  database().MakeTable("only_one", "n int PRIMARY KEY");
  EXPECT_THAT(Execute("INSERT INTO only_one VALUES (1)"), IsOk());
  struct Case {
    const char* sql;
    StatusCode code;
    const char* sqlstate;
    const char* key;
    const char* value;
  };
  const Case cases[] = {
      {"SELECT 1/0", StatusCode::INVALID_ARGUMENT, "22012", "position", ""},
      {"SELECT * FROM nowhere", StatusCode::INVALID_ARGUMENT, "42P01", "position", "15"},
      {"SELEC 1", StatusCode::INVALID_ARGUMENT, "42601", "position", "1"},
      {"SELECT 1; SELECT 2", StatusCode::INVALID_ARGUMENT, "42601", "position", ""},
      {"INSERT INTO only_one VALUES (1)", StatusCode::ALREADY_EXISTS, "23505", "constraint", "only_one_pkey"},
      {"SELECT * FROM pg_authid", StatusCode::PERMISSION_DENIED, "42501", "position", ""},
      {"SET ROLE postgres", StatusCode::PERMISSION_DENIED, "42501", "position", ""},
      {"SELECT $1::int + $2::int", StatusCode::INTERNAL, "08P01", "position", ""},
  };
  for (const Case& each : cases) {
    const Result failed = Execute(each.sql);
    EXPECT_THAT(failed, FailsWith(each.code, "SQL_ERROR")) << each.sql;
    EXPECT_EQ(failed.Metadata("sqlstate"), each.sqlstate);
    EXPECT_EQ(failed.Metadata(each.key), each.value) << each.sql;
  }
}

TEST_F(StatementErrorsTest, AnErrorAfterRowsComesAfterThem) {
  const Result result = Execute("SELECT 1 / (1000 - i) FROM generate_series(1, 2000) AS i");
  EXPECT_THAT(result, FailsWith(StatusCode::INVALID_ARGUMENT, "SQL_ERROR"));
  EXPECT_GT(result.rows.size(), 0U);
  EXPECT_LT(result.rows.size(), 1000U);
}

TEST_F(StatementErrorsTest, AFailedTransactionIsTheHoldersToRollBack) {
  EXPECT_THAT(Execute("BEGIN"), IsOk());
  EXPECT_THAT(Execute("SELECT 1/0"), FailsWith(StatusCode::INVALID_ARGUMENT, "SQL_ERROR"));
  const Result refused = Execute("SELECT 1");
  EXPECT_THAT(refused, FailsWith(StatusCode::FAILED_PRECONDITION, "SQL_ERROR"));
  EXPECT_EQ(refused.Metadata("sqlstate"), "25P02");
  const Result rolled_back = Execute("ROLLBACK");
  ASSERT_THAT(rolled_back, IsOk());
  EXPECT_FALSE(rolled_back.summary.in_transaction());
}

TEST_F(StatementErrorsTest, OneStatementAtATime) {
  const auto sleep = StartExecute(client(), Statement(held_.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(backend()));
  EXPECT_THAT(Execute("SELECT 1"), FailsWith(StatusCode::ABORTED, "LEASE_BUSY"));
  EXPECT_FALSE(sleep->Done()) << "the one that runs is not disturbed";
  sleep->Cancel();
}

TEST_F(StatementErrorsTest, CancellingTheCallCancelsTheStatement) {
  const auto sleep = StartExecute(client(), Statement(held_.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(backend()));
  sleep->Cancel();
  EXPECT_THAT(sleep->Get(), FailsWith(StatusCode::CANCELLED));
  EXPECT_TRUE(observer().AwaitIdle(backend()));
}

TEST_F(StatementErrorsTest, TheCallsDeadlineCancelsTheStatement) {
  const Client::Context context = Client::NewContext();
  context->set_deadline(std::chrono::system_clock::now() + milliseconds(200));
  EXPECT_THAT(client().Execute(Statement(held_.token, "SELECT pg_sleep(600)"), context.get()),
              FailsWith(StatusCode::DEADLINE_EXCEEDED));
  EXPECT_TRUE(observer().AwaitIdle(backend()));
}

TEST_F(StatementErrorsTest, ACancelInATransactionLeavesItsFateToTheHolder) {
  EXPECT_THAT(Execute("BEGIN"), IsOk());
  const auto sleep = StartExecute(client(), Statement(held_.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(backend()));
  sleep->Cancel();
  EXPECT_THAT(sleep->Get(), FailsWith(StatusCode::CANCELLED));
  EXPECT_TRUE(Eventually([&] { return Execute("ROLLBACK").ok(); }));
}

TEST_F(StatementErrorsTest, StatementTimeoutRunsOut) {
  v1::ExecuteRequest request = Statement(held_.token, "SELECT pg_sleep(600)");
  *request.mutable_statement_timeout() = Span(milliseconds(200));
  const Result late = client().Execute(request);
  EXPECT_THAT(late, FailsWith(StatusCode::DEADLINE_EXCEEDED, "SQL_ERROR"));
  EXPECT_EQ(late.Metadata("sqlstate"), "57014");

  request.set_sql("SELECT 1");
  *request.mutable_statement_timeout() = Span(seconds(60));
  EXPECT_EQ(client().Execute(request).Value(), "int_value: 1");
}

TEST_F(StatementErrorsTest, SomebodyElsesCancelIsAnSqlError) {
  const auto sleep = StartExecute(client(), Statement(held_.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(backend()));
  observer().Run(absl::StrCat("SELECT pg_cancel_backend(", backend(), ")"));
  const Result cancelled = sleep->Get();
  EXPECT_THAT(cancelled, FailsWith(StatusCode::CANCELLED, "SQL_ERROR"));
  EXPECT_EQ(cancelled.Metadata("sqlstate"), "57014");
}

TEST_F(StatementErrorsTest, CopyAndListenNeedTheGateway) {
  database().MakeTable("copied", "n int");
  for (const char* sql :
       {"COPY copied FROM STDIN", "COPY copied TO STDOUT",
        "COPY (SELECT generate_series(1, 1000000)) TO STDOUT", "LISTEN news", "/* hidden */ listen news"}) {
    EXPECT_THAT(Execute(sql), FailsWith(StatusCode::UNIMPLEMENTED, "USE_GATEWAY")) << sql;
    EXPECT_EQ(Execute("SELECT count(*) FROM pg_listening_channels()").Value(), "int_value: 0") << sql;
  }
  EXPECT_EQ(Execute("SELECT count(*) FROM copied").Value(), "int_value: 0");
  EXPECT_THAT(Execute("NOTIFY news"), IsOk());
}

// It may have run to its end before it could be cancelled.
TEST_F(StatementErrorsTest, ACopyThatChangesSomethingSaysWhetherItWasExecuted) {
  database().MakeTable("deeds", "n int");
  const auto copy = [&](int rows) {
    observer().Run("TRUNCATE deeds");
    const Result refused = Execute(
        absl::StrCat("COPY (INSERT INTO deeds SELECT generate_series(1, ", rows, ") RETURNING n) TO STDOUT"));
    EXPECT_THAT(refused, FailsWith(StatusCode::UNIMPLEMENTED, "USE_GATEWAY"));
    const bool executed = observer().Count("SELECT count(*) FROM deeds") > 0;
    EXPECT_EQ(refused.Metadata("executed"), executed ? "true" : "false") << rows;
    EXPECT_EQ(absl::StrContains(refused.status.error_message(), "do not repeat it blindly"), executed);
    return executed;
  };
  EXPECT_TRUE(Eventually([&] { return copy(1); })) << "which ends as it begins";
  EXPECT_TRUE(Eventually([&] { return !copy(300'000); }));
  EXPECT_EQ(Execute("LISTEN news").Metadata("executed"), "false") << "undone";
  EXPECT_EQ(Execute("COPY deeds FROM STDIN").Metadata("executed"), "false");
}

TEST_F(StatementErrorsTest, ListenInATransactionIsUndoneToo) {
  EXPECT_THAT(Execute("BEGIN"), IsOk());
  EXPECT_THAT(Execute("LISTEN news"), FailsWith(StatusCode::UNIMPLEMENTED, "USE_GATEWAY"));
  Execute("COMMIT");
  EXPECT_EQ(Execute("SELECT count(*) FROM pg_listening_channels()").Value(), "int_value: 0");
}

TEST_F(StatementErrorsTest, AWrongNumberOfParameters) {
  EXPECT_THAT(Execute("SELECT $1::int4"), FailsWith(StatusCode::INTERNAL, "SQL_ERROR"));
  EXPECT_EQ(Execute("SELECT $1::int4").Metadata("sqlstate"), "08P01");
  EXPECT_THAT(client().Execute(held_.token, "SELECT 1", {Int(1)}), Not(IsOk()));
  EXPECT_EQ(Execute("SELECT 1").Value(), "int_value: 1");
}

// By gRPC itself, as what follows.
TEST_F(StatementErrorsTest, AMessageOverTheLimitIsRefusedAndTheLeaseLives) {
  for (const size_t bytes : {size_t{4} << 20, size_t{100} << 20}) {
    const Result large = Execute("SELECT length($1)", {Text(std::string(bytes, 'x'))});
    EXPECT_THAT(large, FailsWith(StatusCode::RESOURCE_EXHAUSTED)) << bytes;
    EXPECT_EQ(large.reason, "") << "pglessor never saw it";
  }
  EXPECT_EQ(Execute("SELECT length($1)", {Text(std::string(4'000'000, 'x'))}).Value(), "int_value: 4000000");
}

TEST_F(StatementErrorsTest, TextThatIsNotUtf8IsRefusedByGrpc) {
  for (const Result& refused :
       {client().Execute(held_.token, "SELECT $1::text", {Text("\xff\xfe")}), Execute("SELECT '\xc3'")}) {
    EXPECT_THAT(refused, FailsWith(StatusCode::INTERNAL));
    EXPECT_EQ(refused.reason, "") << "pglessor never saw it";
  }
  EXPECT_EQ(Execute("SELECT 1").Value(), "int_value: 1");
}

// What a holder does to its own session is gone with its lease, and reaches nobody else's.
class HolderTest : public SystemTest {};

TEST_F(HolderTest, HarmsItselfOnly) {
  Serve(2, 2);
  const Held neighbour = Acquire();
  EXPECT_THAT(client().Execute(neighbour.token, "SELECT pg_advisory_lock(4711)"), IsOk());
  for (const char* sql :
       {"SET ROLE app", "SET SESSION AUTHORIZATION app", "SET SESSION AUTHORIZATION postgres", "DISCARD ALL",
        "DEALLOCATE ALL", "SELECT pg_advisory_unlock_all()", "SET statement_timeout = 1",
        "SET default_transaction_read_only = on", "SET application_name = 'pglessor-control'",
        "SELECT pg_terminate_backend(pg_backend_pid())"}) {
    const Held held = Acquire();
    client().Execute(held.token, sql);
    client().Release(held.token);
    const Held next = Acquire();
    EXPECT_EQ(client()
                  .Execute(next.token,
                           "SELECT current_setting('statement_timeout') || ' ' || "
                           "current_setting('transaction_read_only') || ' ' || session_user")
                  .Value(),
              "text_value: \"0 off app\"")
        << sql;
    EXPECT_THAT(client().Release(next.token), IsOk());
    EXPECT_EQ(
        client()
            .Execute(neighbour.token,
                     "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
            .Value(),
        "int_value: 1")
        << sql;
  }
}

}  // namespace
}  // namespace pglessor::system

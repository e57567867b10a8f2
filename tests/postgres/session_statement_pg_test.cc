// One statement on a session: its rows, its end, its error.
#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/postgres/type_names.h"
#include "tests/postgres/session_support.h"
#include "tests/support/status_matchers.h"

namespace pglessor::postgres {
namespace {

using namespace std::chrono_literals;
using core::StatementEnd;
using embedded::Eventually;
using test::HasReason;
using test::MetadataOf;
using test::StatusIs;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

using SessionStatementTest = SessionTest;

TEST_F(SessionStatementTest, BringsColumnsRowsAndASummary) {
  LeasedSession session(edge_);
  const auto sink = session.Run("SELECT n::int8 AS n, 'row ' || n AS t FROM generate_series(1, 3) n");
  ASSERT_THAT(sink->columns(), SizeIs(2));
  EXPECT_EQ(sink->columns()[0].name, "n");
  EXPECT_EQ(sink->columns()[0].type_oid, 20U);
  EXPECT_EQ(sink->columns()[0].type_name, "int8");
  EXPECT_EQ(sink->columns()[1].type_name, "text");
  EXPECT_THAT(sink->rows(),
              ElementsAre(ElementsAre("1", "row 1"), ElementsAre("2", "row 2"), ElementsAre("3", "row 3")));
  EXPECT_EQ(sink->end().how, StatementEnd::How::kDone);
  EXPECT_EQ(sink->end().command_tag, "SELECT 3");
  EXPECT_EQ(sink->end().rows_affected, 3);
  EXPECT_EQ(sink->end().rows_returned, 3);
  EXPECT_FALSE(sink->end().in_transaction);
}

TEST_F(SessionStatementTest, BringsColumnsEvenWithoutRows) {
  LeasedSession session(edge_);
  EXPECT_THAT(session.Run("SELECT 1 AS one WHERE false")->columns(), SizeIs(1));
}

TEST_F(SessionStatementTest, PassesParametersAndInfersTheirTypes) {
  LeasedSession session(edge_);
  core::Statement statement = Sql("SELECT $1::int8 + 1, $2, $3::bytea, $4::text IS NULL, $5::float8",
                                  {"41", "it's", "", "", "-Infinity"});
  statement.parameters[2] = {std::string("\0\xff", 2), /*binary=*/true};
  statement.parameters[3] = {std::nullopt};
  const auto sink = session.Run(std::move(statement));
  EXPECT_THAT(sink->rows(),
              ElementsAre(ElementsAre("42", "it's", std::string("\0\xff", 2), "t", "-Infinity")));
}

TEST_F(SessionStatementTest, BringsByteaAsItsBytesInEitherOutputFormat) {
  LeasedSession session(edge_);
  for (const char* format : {"hex", "escape"}) {
    session.MustRun({absl::StrCat("SET bytea_output = ", format)});
    EXPECT_EQ(session.Value(R"(SELECT '\x00ff5c41'::bytea)"), std::string("\0\xff\\A", 4)) << format;
  }
}

TEST_F(SessionStatementTest, RunsAnEmptyOne) {
  LeasedSession session(edge_);
  for (const char* sql : {"", " ", "-- nothing", ";"}) {
    const auto sink = session.Run(sql);
    EXPECT_EQ(sink->end().how, StatementEnd::How::kDone) << sql;
    EXPECT_THAT(sink->rows(), IsEmpty());
  }
}

TEST_F(SessionStatementTest, SaysWhetherATransactionIsOpen) {
  LeasedSession session(edge_);
  EXPECT_TRUE(session.Run("BEGIN")->end().in_transaction);
  EXPECT_TRUE(session.Run("SELECT 1")->end().in_transaction);
  EXPECT_TRUE(session.Run("SELECT 1/0")->end().in_transaction);  // failed, but open
  EXPECT_FALSE(session.Run("ROLLBACK")->end().in_transaction);
}

TEST_F(SessionStatementTest, CutsTheRowsButRunsToTheEnd) {
  LeasedSession session(edge_);
  core::Statement statement = Sql("SELECT generate_series(1, 1000)");
  statement.max_rows = 2;
  const auto sink = session.Run(std::move(statement));
  EXPECT_THAT(sink->rows(), SizeIs(2));
  EXPECT_EQ(sink->end().rows_returned, 2);
  EXPECT_EQ(sink->end().command_tag, "SELECT 1000");
}

TEST_F(SessionStatementTest, KeepsAHundredNotices) {
  LeasedSession session(edge_);
  const auto sink = session.Run("DO $$ BEGIN FOR i IN 1..150 LOOP RAISE NOTICE 'n %', i; END LOOP; END $$");
  ASSERT_THAT(sink->end().notices, SizeIs(100));
  EXPECT_EQ(sink->end().notices.front(), "n 1");
}

// --- errors --------------------------------------------------------------------------------------

TEST_F(SessionStatementTest, SaysWhatPostgresSaysWentWrong) {
  LeasedSession session(edge_);
  const auto sink = session.Run("SELECT nothing FROM nowhere");
  EXPECT_EQ(sink->end().how, StatementEnd::How::kFailed);
  const absl::Status& error = sink->end().error;
  EXPECT_THAT(error, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(error, HasReason("SQL_ERROR"));
  EXPECT_EQ(MetadataOf(error, "sqlstate"), "42P01");
  EXPECT_EQ(MetadataOf(error, "severity"), "ERROR");
  EXPECT_EQ(MetadataOf(error, "position"), "21");
  EXPECT_THAT(std::string(error.message()), HasSubstr("relation \"nowhere\" does not exist"));
}

TEST_F(SessionStatementTest, NamesTheConstraintAndTheHint) {
  LeasedSession session(edge_);
  session.MustRun({"CREATE TEMP TABLE t (n int CONSTRAINT positive CHECK (n > 0))"});
  EXPECT_EQ(MetadataOf(session.Run("INSERT INTO t VALUES (-1)")->end().error, "constraint"), "positive");
  const auto raised = session.Run("DO $$ BEGIN RAISE 'no' USING HINT = 'look there'; END $$");
  EXPECT_EQ(MetadataOf(raised->end().error, "hint"), "look there");
}

TEST_F(SessionStatementTest, RefusesTwoStatementsInOneText) {
  LeasedSession session(edge_);
  EXPECT_EQ(session.Value("SELECT 1; SELECT 2"), "ERROR 42601");
  EXPECT_EQ(session.Value("SELECT 3"), "3");
}

TEST_F(SessionStatementTest, SurvivesAnErrorThatPretendsToBeALostConnection) {
  LeasedSession session(edge_);
  for (const char* sqlstate : {"08006", "57P01", "57P03"}) {
    EXPECT_EQ(session.Value(absl::StrCat("DO $$ BEGIN RAISE 'no' USING ERRCODE = '", sqlstate, "'; END $$")),
              absl::StrCat("ERROR ", sqlstate));
  }
  EXPECT_FALSE(session.connection().lost());
  EXPECT_EQ(session.Value("SELECT 1"), "1");
}

// libpq then closes the socket in the middle of its own sending, and nothing ever shows on that again.
TEST_F(SessionStatementTest, TellsALossThatSendingComesUpon) {
  for (const bool labelled : {false, true}) {
    SCOPED_TRACE(labelled);
    LeasedSession session(edge_);
    std::promise<void> sent;
    edge_.loop().Post([until = sent.get_future().share()] { until.wait(); });
    const std::string identity = observer_.Identity(session.pid());
    observer_.Query(absl::StrCat("SELECT pg_terminate_backend(", session.pid(), ")"));
    EXPECT_TRUE(Eventually([&] { return !observer_.Sees(identity); }, kPatience));
    core::Statement statement = Sql(absl::StrCat("SELECT '", std::string(1'000'000, 'x'), "'"));
    if (labelled) statement.label = core::LeaseLabel{"lease", 1, "pool", "tenant"};
    const auto sink = session.Start(session.NextKey(), std::move(statement));
    sent.set_value();
    ASSERT_TRUE(Ended(sink));
    EXPECT_EQ(sink->end().how, StatementEnd::How::kConnectionLost);
    EXPECT_EQ(session.losses(), 1);
  }
}

TEST_F(SessionStatementTest, SendsThoseToTheGatewayThatNeedASessionOfTheirOwn) {
  LeasedSession session(edge_);
  session.MustRun({"CREATE TEMP TABLE t AS SELECT generate_series(1, 100000) AS n"});
  for (const char* sql : {"COPY t FROM STDIN", "COPY t TO STDOUT", "LISTEN news"}) {
    const auto sink = session.Run(sql);
    EXPECT_EQ(sink->end().how, StatementEnd::How::kFailed) << sql;
    EXPECT_THAT(sink->end().error, HasReason("USE_GATEWAY")) << sql;
    EXPECT_EQ(session.Value("SELECT count(*) FROM t"), "100000") << "after " << sql;
  }
  EXPECT_EQ(session.Value("SELECT count(*) FROM pg_listening_channels()"), "0");
}

TEST_F(SessionStatementTest, RefusesWhatLibpqDoesNotSend) {
  LeasedSession session(edge_);
  core::Statement statement = Sql("SELECT 1");
  statement.parameters.resize(65'536);
  const auto sink = session.Run(std::move(statement));
  EXPECT_EQ(sink->end().how, StatementEnd::How::kFailed);
  EXPECT_THAT(sink->end().error, HasReason("FIELD_INVALID"));
  EXPECT_EQ(session.Value("SELECT 1"), "1");
}

// --- its timeout ---------------------------------------------------------------------------------

core::Statement WithTimeout(const std::string& sql, core::Duration timeout) {
  core::Statement statement = Sql(sql);
  statement.timeout = timeout;
  return statement;
}

TEST_F(SessionStatementTest, IsCancelledAfterItsTimeout) {
  LeasedSession session(edge_);
  const auto sink = session.Run(WithTimeout("SELECT pg_sleep(600)", 20ms));
  EXPECT_THAT(sink->end().error, StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(MetadataOf(sink->end().error, "sqlstate"), "57014");
  EXPECT_THAT(std::string(sink->end().error.message()), StartsWith("statement_timeout ran out: "));
  EXPECT_EQ(session.Value("SELECT 1"), "1");
}

TEST_F(SessionStatementTest, IsNotCancelledByTheTimeoutOfTheOneBefore) {
  LeasedSession session(edge_);
  for (int i = 0; i < 20; ++i) {
    session.Run(WithTimeout(absl::StrCat("SELECT pg_sleep(", i, " * 0.0002)"), 2ms));
    EXPECT_EQ(session.Run("SELECT pg_sleep(0.003)")->end().how, StatementEnd::How::kDone);
  }
}

TEST_F(SessionStatementTest, BlamesItsTimeoutForNothingElse) {
  LeasedSession session(edge_);
  const auto sink = session.Run(WithTimeout(
      "DO $$ BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN RAISE unique_violation; END $$",
      1s));  // time enough for a busy machine to enter the block
  EXPECT_THAT(sink->end().error, StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(std::string(sink->end().error.message()), Not(StartsWith("statement_timeout")));
}

// --- a slow reader -------------------------------------------------------------------------------

// Stops at its first row until it is told to go on.
class PausingSink : public test::RecordingSink {
 public:
  Flow OnRow(core::Row row) override {
    RecordingSink::OnRow(row);
    if (paused_.exchange(true)) return Flow::kContinue;
    return Flow::kPause;
  }
  bool paused() const { return paused_; }

 private:
  std::atomic<bool> paused_{false};
};

constexpr char kManyRows[] = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)";

class SlowReaderTest : public SessionTest {
 protected:
  void SetUp() override {
    session_.connection().Execute(key_, Sql(kManyRows), sink_);
    const auto slowed = [&] {
      return sink_->paused() &&
             observer_.Query(absl::StrCat("SELECT wait_event FROM pg_stat_activity WHERE pid = ",
                                          session_.pid())) == "ClientWrite";
    };
    ASSERT_TRUE(Eventually(slowed, kPatience)) << "PostgreSQL was not slowed down";
    EXPECT_FALSE(sink_->ended());
  }

  LeasedSession session_{edge_};
  const core::StatementKey key_ = session_.NextKey();
  const std::shared_ptr<PausingSink> sink_ = std::make_shared<PausingSink>();
};

TEST_F(SlowReaderTest, GetsEveryRowOnceItGoesOn) {
  session_.connection().ResumeRows(key_);
  ASSERT_TRUE(Ended(sink_));
  EXPECT_THAT(sink_->rows(), SizeIs(20'000));
  EXPECT_EQ(sink_->end().how, StatementEnd::How::kDone);
}

TEST_F(SlowReaderTest, CanStillCancel) {
  session_.connection().Cancel(key_);
  session_.connection().ResumeRows(key_);
  ASSERT_TRUE(Ended(sink_));
  EXPECT_EQ(MetadataOf(sink_->end().error, "sqlstate"), "57014");
  EXPECT_EQ(session_.Value("SELECT 1"), "1");
}

TEST_F(SlowReaderTest, LeavesACleanSessionBehind) {
  EXPECT_TRUE(session_.Clean().ok());
  EXPECT_EQ(sink_->end().how, StatementEnd::How::kFenced);
  EXPECT_EQ(session_.Value("SELECT 1"), "1");
}

// --- type names ----------------------------------------------------------------------------------

TEST_F(SessionStatementTest, NamesEveryTypeAsTheCatalogDoes) {
  LeasedSession session(edge_);
  // Arrays by their element; not the row types of catalogs, which are no columns' types.
  const auto sink = session.Run(
      "SELECT t.oid, coalesce(e.typname || '[]', t.typname) FROM pg_type t "
      "LEFT JOIN pg_type e ON e.typarray = t.oid "
      "WHERE t.oid < 10000 AND t.typtype <> 'c' AND coalesce(e.typtype, 'b') <> 'c' ORDER BY t.oid");
  ASSERT_GT(sink->rows().size(), 150U);
  for (const auto& row : sink->rows()) {
    uint32_t oid = 0;
    ASSERT_TRUE(absl::SimpleAtoi(row[0], &oid));
    EXPECT_EQ(TypeName(oid), row[1]) << oid;
  }
}

}  // namespace
}  // namespace pglessor::postgres

// Statements that a lease repeats go by a name: it saves their parsing, and nobody can tell otherwise.
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/postgres/session_support.h"
#include "tests/support/status_matchers.h"

namespace pglessor::postgres {
namespace {

using namespace std::chrono_literals;
using core::StatementEnd;
using embedded::Eventually;
using test::MetadataOf;
using test::StatusIs;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Ne;
using testing::SizeIs;

// The first run is unnamed, the second prepares, and so on.
constexpr int kRuns = 4;

class SessionNamesTest : public SessionTest {
 protected:
  static void SetUpTestSuite() {
    Observer observer(TheServer());
    observer.Query("CREATE TABLE named (n int PRIMARY KEY)");
    observer.Query("ALTER TABLE named OWNER TO app");
    observer.Query("CREATE SEQUENCE named_calls");
    observer.Query("GRANT ALL ON named_calls TO app");
    observer.Query(
        "CREATE FUNCTION run_once(sql text) RETURNS void LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM nextval('named_calls'); EXECUTE sql; END $$");
  }
  void SetUp() override {
    observer_.Query("TRUNCATE named");
    observer_.Query("ALTER SEQUENCE named_calls RESTART");
  }

  // "name: plans made for it" of each, and nothing of its own: a text with such a word gets no name.
  static std::string Names(LeasedSession& session) {
    return session.Value(
        "SELECT coalesce(string_agg(name || ': ' || generic_plans + custom_plans, ', ' ORDER BY name), '') "
        "FROM pg_prepared_statements -- today");
  }
  static void RunTwice(LeasedSession& session, const std::string& sql) { session.MustRun({sql, sql}); }
};

TEST_F(SessionNamesTest, PreparesTheSecondTimeAndParsesNoMore) {
  LeasedSession session(edge_);
  const std::string sql = "SELECT $1::int8 + 1";
  EXPECT_THAT(session.Run(Sql(sql, {"1"}))->rows(), ElementsAre(ElementsAre("2")));
  EXPECT_EQ(Names(session), "");
  EXPECT_THAT(session.Run(Sql(sql, {"2"}))->rows(), ElementsAre(ElementsAre("3")));
  EXPECT_EQ(Names(session), "pglessor_1: 1");
  EXPECT_THAT(session.Run(Sql(sql, {"3"}))->rows(), ElementsAre(ElementsAre("4")));
  EXPECT_EQ(Names(session), "pglessor_1: 2");
}

TEST_F(SessionNamesTest, AnswersTheSameEveryTime) {
  core::Statement statement =
      Sql("SELECT $1::int8, $2, $3::bytea, $4::text, $5::float8, $6::bool, $7::numeric, $8::timestamptz, "
          "$9::jsonb, $10::int4[]",
          {"41", "it's", "", "", "-Infinity", "t", "1.50", "2024-05-06 07:08:09+00", R"({"a": 1})", "{1,2}"});
  statement.parameters[2] = {std::string("\0\xff", 2), /*binary=*/true};
  statement.parameters[3] = {std::nullopt};
  core::Statement nulls = statement;
  for (core::Parameter& parameter : nulls.parameters) parameter.value.reset();
  LeasedSession session(edge_);
  const auto first = session.Run(statement);
  ASSERT_EQ(first->end().how, StatementEnd::How::kDone) << first->end().error;
  for (int i = 1; i < kRuns; ++i) {
    const auto again = session.Run(statement);
    EXPECT_EQ(again->rows(), first->rows()) << i;
    ASSERT_EQ(again->columns().size(), first->columns().size());
    for (size_t c = 0; c < first->columns().size(); ++c) {
      EXPECT_EQ(again->columns()[c].name, first->columns()[c].name) << i;
      EXPECT_EQ(again->columns()[c].type_oid, first->columns()[c].type_oid) << i;
    }
    EXPECT_EQ(again->end().command_tag, first->end().command_tag);
    EXPECT_THAT(session.Run(nulls)->rows(), ElementsAre(testing::Each("NULL"))) << i;
  }
  EXPECT_THAT(Names(session), Ne(""));
}

TEST_F(SessionNamesTest, SaysTheSameOfWhatIsWritten) {
  LeasedSession session(edge_);
  for (int i = 0; i < kRuns; ++i) {
    const auto sink = session.Run(Sql("INSERT INTO named VALUES ($1)", {absl::StrCat(i)}));
    EXPECT_EQ(sink->end().command_tag, "INSERT 0 1");
    EXPECT_EQ(sink->end().rows_affected, 1);
    EXPECT_THAT(sink->columns(), IsEmpty());
  }
  EXPECT_EQ(Names(session), "pglessor_1: 3");
  EXPECT_EQ(observer_.Query("SELECT count(*) FROM named"), absl::StrCat(kRuns));
}

TEST_F(SessionNamesTest, FailsTheSameEveryTimeAndGoesOn) {
  LeasedSession session(edge_);
  session.MustRun({"INSERT INTO named VALUES (1)"});
  const core::Statement cases[] = {
      Sql("SELECT  nothing FROM named"),                 // cannot be parsed
      Sql("SELECT 1 +"),                                 //
      Sql("SELECT 1; SELECT 2"),                         //
      Sql("SELECT $1::int8", {"no number"}),             // nor bound
      Sql("SELECT 1 / $1::int8", {"0"}),                 // nor run
      Sql("INSERT INTO named VALUES ($1)", {"1"}),       //
      Sql("SELECT $1::int4", {}),                        // a parameter too few
      Sql("SELECT run_once('RAISE division_by_zero')"),  // with a context
  };
  for (const core::Statement& statement : cases) {
    const auto first = session.Run(statement);
    EXPECT_EQ(first->end().how, StatementEnd::How::kFailed) << statement.sql;
    for (int i = 1; i < kRuns; ++i) {
      const auto again = session.Run(statement);
      EXPECT_EQ(again->end().how, StatementEnd::How::kFailed) << statement.sql;
      EXPECT_EQ(again->end().error, first->end().error) << statement.sql;
    }
  }
}

TEST_F(SessionNamesTest, FailsAsItWouldWithoutAName) {
  LeasedSession session(edge_);
  LeasedSession other(edge_);
  const std::string sql = "SELECT 1 / $1::int8 AS n, run_once($2)";
  const std::vector<std::string> failing[] = {
      {"no number", ""}, {"0", ""}, {"1", "RAISE division_by_zero"}, {"1", "nonsense"}};
  for (const auto& parameters : failing) {
    const core::Statement good = Sql(sql, {"1", "SELECT 1"});
    const absl::Status expected = other.Run(Sql(sql, parameters))->end().error;
    EXPECT_FALSE(expected.ok());
    for (int i = 0; i < kRuns; ++i) {
      EXPECT_EQ(session.Run(good)->end().how, StatementEnd::How::kDone);
      EXPECT_EQ(session.Run(Sql(sql, parameters))->end().error, expected) << i;
    }
  }
  EXPECT_THAT(Names(session), Ne(""));
}

TEST_F(SessionNamesTest, FailsToBePreparedAsItWouldFailToRun) {
  const std::string sql = "SELECT  n FROM named_later";
  absl::Status expected;
  for (int before = 1; before < kRuns; ++before) {
    observer_.Query("CREATE TABLE named_later AS SELECT 1 AS n");
    observer_.Query("GRANT ALL ON named_later TO app");
    LeasedSession session(edge_);
    for (int i = 0; i < before; ++i) EXPECT_EQ(session.Value(sql), "1");
    observer_.Query("DROP TABLE named_later");
    if (before == 1) expected = LeasedSession(edge_).Run(sql)->end().error;
    EXPECT_EQ(MetadataOf(expected, "position"), "16");
    for (int i = 0; i < kRuns; ++i) EXPECT_EQ(session.Run(sql)->end().error, expected) << before;
    EXPECT_EQ(session.Value("SELECT 2"), "2");
  }
}

TEST_F(SessionNamesTest, StaysInItsTransaction) {
  LeasedSession session(edge_);
  const auto insert = [&](const char* n) {
    return session.Run(Sql("INSERT INTO named VALUES ($1)", {n}))->end();
  };
  session.MustRun({"BEGIN"});
  EXPECT_TRUE(insert("1").in_transaction);
  EXPECT_TRUE(insert("2").in_transaction);  // prepared
  EXPECT_TRUE(insert("3").in_transaction);
  EXPECT_EQ(MetadataOf(insert("3").error, "sqlstate"), "23505");
  EXPECT_EQ(MetadataOf(insert("4").error, "sqlstate"), "25P02");
  session.MustRun({"ROLLBACK"});
  EXPECT_EQ(observer_.Query("SELECT count(*) FROM named"), "0");
  EXPECT_FALSE(insert("5").in_transaction);
  EXPECT_EQ(observer_.Query("SELECT n FROM named"), "5");
}

// --- rows, cancels, ends -------------------------------------------------------------------------

// Stops at its first row until it is told to go on.
class PausingSink : public test::RecordingSink {
 public:
  Flow OnRow(core::Row row) override {
    RecordingSink::OnRow(row);
    return paused_.exchange(true) ? Flow::kContinue : Flow::kPause;
  }
  bool paused() const { return paused_; }

 private:
  std::atomic<bool> paused_{false};
};

TEST_F(SessionNamesTest, BringsRowsOneByOneAndAtTheReadersPace) {
  LeasedSession session(edge_);
  for (int i = 0; i < kRuns; ++i) {
    const auto sink = std::make_shared<PausingSink>();
    const core::StatementKey key = session.NextKey();
    session.connection().Execute(key, Sql("SELECT repeat('x', 1000) FROM generate_series(1, $1)", {"20000"}),
                                 sink);
    const auto slowed = [&] {
      return sink->paused() &&
             observer_.Query(absl::StrCat("SELECT wait_event FROM pg_stat_activity WHERE pid = ",
                                          session.pid())) == "ClientWrite";
    };
    EXPECT_TRUE(Eventually(slowed, kPatience)) << "PostgreSQL was not slowed down";
    EXPECT_FALSE(sink->ended());
    session.connection().ResumeRows(key);
    ASSERT_TRUE(Ended(sink));
    EXPECT_THAT(sink->rows(), SizeIs(20'000)) << i;
    EXPECT_EQ(sink->end().command_tag, "SELECT 20000");
  }
}

TEST_F(SessionNamesTest, CanBeCancelledAndTimedOut) {
  LeasedSession session(edge_);
  for (int i = 0; i < kRuns; ++i) {
    const core::StatementKey key = session.NextKey();
    const auto sink = session.Start(key, Sql("SELECT pg_sleep($1)", {"600"}));
    session.connection().Cancel(key);
    ASSERT_TRUE(Ended(sink));
    EXPECT_THAT(sink->end().error, StatusIs(absl::StatusCode::kCancelled)) << i;
    core::Statement timed = Sql("SELECT pg_sleep($1), 1", {"600"});
    timed.timeout = 20ms;
    EXPECT_THAT(session.Run(timed)->end().error, StatusIs(absl::StatusCode::kDeadlineExceeded)) << i;
    EXPECT_EQ(session.Run(Sql("SELECT pg_sleep($1)", {"0"}))->end().how, StatementEnd::How::kDone) << i;
  }
}

TEST_F(SessionNamesTest, LeavesNoneToTheNextLease) {
  LeasedSession session(edge_);
  for (int lease = 0; lease < 3; ++lease) {
    EXPECT_EQ(Names(session), "");
    session.MustRun({"SELECT 1", "SELECT 1"});
    EXPECT_EQ(Names(session), "pglessor_1: 1");
    session.MustRun({"SELECT 1"});
    ASSERT_TRUE(session.Clean().ok());
  }
}

TEST_F(SessionNamesTest, LeavesNoneToTheNextLeaseWhereTheLastWasCutShort) {
  LeasedSession session(edge_);
  for (int before = 0; before < kRuns; ++before) {
    for (int i = 0; i < before; ++i) session.Run(Sql("SELECT pg_sleep($1)", {"0"}));
    const auto sink = session.Start(session.NextKey(), Sql("SELECT pg_sleep($1)", {"600"}));
    ASSERT_TRUE(observer_.SeesSleep(session.pid()));
    ASSERT_TRUE(session.Clean().ok());
    EXPECT_EQ(sink->end().how, StatementEnd::How::kFenced);
    EXPECT_EQ(Names(session), "");
    EXPECT_EQ(session.Run(Sql("SELECT pg_sleep($1)", {"0"}))->end().how, StatementEnd::How::kDone);
    ASSERT_TRUE(session.Clean().ok());
  }
}

TEST_F(SessionNamesTest, TellsALossThatSendingComesUpon) {
  for (int before = 1; before < kRuns; ++before) {
    LeasedSession session(edge_);
    const core::Statement statement = Sql("SELECT length($1)", {std::string(1'000'000, 'x')});
    for (int i = 0; i < before; ++i) session.Run(statement);
    std::promise<void> sent;
    edge_.loop().Post([until = sent.get_future().share()] { until.wait(); });
    const std::string identity = observer_.Identity(session.pid());
    observer_.Query(absl::StrCat("SELECT pg_terminate_backend(", session.pid(), ")"));
    EXPECT_TRUE(Eventually([&] { return !observer_.Sees(identity); }, kPatience));
    const auto sink = session.Start(session.NextKey(), statement);
    sent.set_value();
    ASSERT_TRUE(Ended(sink));
    EXPECT_EQ(sink->end().how, StatementEnd::How::kConnectionLost);
    EXPECT_EQ(session.losses(), 1);
  }
}

TEST_F(SessionNamesTest, TakesNoNameWithItsLabel) {
  LeasedSession session(edge_);
  core::Statement first = Sql("SELECT current_setting('pglessor.lease_id', true)");
  first.label = core::LeaseLabel{"lease-7", 1, "pool", "tenant"};
  session.Run(first);
  first.label.reset();
  for (int i = 1; i < kRuns; ++i)
    EXPECT_THAT(session.Run(first)->rows(), ElementsAre(ElementsAre("lease-7")));
  EXPECT_EQ(Names(session), "pglessor_1: 3");
}

TEST_F(SessionNamesTest, AreBounded) {
  LeasedSession session(edge_);
  for (int i = 0; i < 70; ++i) RunTwice(session, absl::StrCat("SELECT ", i));
  EXPECT_EQ(session.Value("SELECT count(*) FROM pg_prepared_statements -- today"), "64");
  for (int i = 0; i < 70; ++i) EXPECT_EQ(session.Value(absl::StrCat("SELECT ", i)), absl::StrCat(i));
}

// --- what becomes of a name ----------------------------------------------------------------------

TEST_F(SessionNamesTest, ComeAgainWhereTheHolderHasDroppedThem) {
  for (const char* drop : {"DEALLOCATE ALL", "DISCARD ALL", "DEALLOCATE pglessor_1"}) {
    LeasedSession session(edge_);
    RunTwice(session, "SELECT 7");
    session.MustRun({drop});
    for (int i = 0; i < kRuns; ++i) EXPECT_EQ(session.Value("SELECT 7"), "7") << drop;
    EXPECT_THAT(Names(session), Ne("")) << drop;
  }
}

TEST_F(SessionNamesTest, AreNotMissedWhereAFunctionHasDroppedThem) {
  LeasedSession session(edge_);
  RunTwice(session, "INSERT INTO named SELECT count(*) FROM named RETURNING n");
  session.MustRun({"SELECT run_once('DEALLOCATE ALL')"});
  EXPECT_EQ(session.Value("INSERT INTO named SELECT count(*) FROM named RETURNING n"), "2");
  EXPECT_EQ(session.Value("INSERT INTO named SELECT count(*) FROM named RETURNING n"), "3");
  EXPECT_EQ(Names(session), "") << "somebody else sees to names here";
}

TEST_F(SessionNamesTest, AreMissedOnceWhereAFunctionHasDroppedThemInATransaction) {
  LeasedSession session(edge_);
  RunTwice(session, "SELECT 7");
  session.MustRun({"BEGIN", "SELECT run_once('DEALLOCATE ALL')"});
  EXPECT_EQ(session.Value("SELECT 7"), "ERROR 26000");
  session.MustRun({"ROLLBACK", "BEGIN", "SELECT run_once('DEALLOCATE ALL')"});
  EXPECT_EQ(session.Value("SELECT 7"), "7");
}

TEST_F(SessionNamesTest, YieldToTheHoldersOwn) {
  LeasedSession session(edge_);
  session.MustRun({"PREPARE pglessor_1 AS SELECT 'mine'"});
  for (int i = 0; i < kRuns; ++i) EXPECT_EQ(session.Value("SELECT 7"), "7");
  EXPECT_EQ(session.Value("EXECUTE pglessor_1"), "mine");
}

TEST_F(SessionNamesTest, HideNoChangeOfATable) {
  LeasedSession session(edge_);
  const std::string insert = "INSERT INTO named (n) SELECT count(*) FROM named RETURNING *";
  RunTwice(session, insert);
  observer_.Query("ALTER TABLE named ADD COLUMN by_others text DEFAULT 'x'");
  const auto sink = session.Run(insert);
  EXPECT_EQ(sink->end().how, StatementEnd::How::kDone) << sink->end().error;
  EXPECT_THAT(sink->rows(), ElementsAre(ElementsAre("2", "x")));
  EXPECT_THAT(sink->columns(), SizeIs(2));
  RunTwice(session, insert);
  session.MustRun({"ALTER TABLE named DROP COLUMN by_others"});
  EXPECT_THAT(session.Run(insert)->columns(), SizeIs(1));
  EXPECT_EQ(observer_.Query("SELECT count(*) FROM named"), "6");
}

TEST_F(SessionNamesTest, HideNoChangeOfTheTransactionsOwn) {
  LeasedSession session(edge_);
  RunTwice(session, "SELECT * FROM named");
  session.MustRun({"BEGIN", "ALTER TABLE named ADD COLUMN mine text"});
  for (int i = 0; i < kRuns; ++i) EXPECT_THAT(session.Run("SELECT * FROM named")->columns(), SizeIs(2));
  session.MustRun({"ROLLBACK", "BEGIN"});
  for (int i = 0; i < kRuns; ++i) EXPECT_THAT(session.Run("SELECT * FROM named")->columns(), SizeIs(1));
}

TEST_F(SessionNamesTest, TellOnceOfAChangeThatMeetsATransaction) {
  LeasedSession session(edge_);
  RunTwice(session, "SELECT * FROM named");
  session.MustRun({"BEGIN"});
  observer_.Query("ALTER TABLE named ADD COLUMN by_others text");
  EXPECT_EQ(session.Value("SELECT * FROM named"), "ERROR 0A000");
  session.MustRun({"ROLLBACK", "BEGIN"});
  EXPECT_THAT(session.Run("SELECT * FROM named")->columns(), SizeIs(2));
  session.MustRun({"ROLLBACK"});
  observer_.Query("ALTER TABLE named DROP COLUMN by_others");
}

// PostgreSQL gives the refusal a context then, as it gives one to what fails inside a function.
TEST_F(SessionNamesTest, TellOnceOfAChangeWherePostgresShowsParameters) {
  LeasedSession session(edge_);
  session.MustRun({"SET log_parameter_max_length_on_error = -1"});
  const core::Statement find = Sql("SELECT * FROM named WHERE n = $1", {"5"});
  for (int i = 0; i < 2; ++i) session.Run(find);
  observer_.Query("ALTER TABLE named ADD COLUMN by_others text");
  EXPECT_EQ(MetadataOf(session.Run(find)->end().error, "sqlstate"), "0A000");
  EXPECT_THAT(session.Run(find)->columns(), SizeIs(2));
  observer_.Query("ALTER TABLE named DROP COLUMN by_others");
}

// No text shows what a function does.
TEST_F(SessionNamesTest, MeanWhatAFunctionsSettingsMakeThem) {
  LeasedSession session(edge_);
  const std::string sql = "SELECT ('2024-01-01 00:00'::timestamptz AT TIME ZONE 'UTC')::text";
  session.MustRun({"SET TimeZone = 'UTC'", sql, sql});
  EXPECT_EQ(session.Value(sql), "2024-01-01 00:00:00");
  session.Run(Sql("SELECT run_once($1)", {"SET TimeZone = 'Asia/Kathmandu'"}));
  for (int i = 0; i < kRuns; ++i) EXPECT_EQ(session.Value(sql), "2023-12-31 18:15:00");
}

TEST_F(SessionNamesTest, TellOnceOfAParameterThatHasAnotherType) {
  LeasedSession session(edge_);
  const core::Statement find = Sql("SELECT n FROM named WHERE n = $1", {"5"});
  for (int i = 0; i < 2; ++i) session.Run(find);
  observer_.Query("ALTER TABLE named ALTER COLUMN n TYPE text");
  EXPECT_EQ(MetadataOf(session.Run(find)->end().error, "sqlstate"), "42883");
  EXPECT_EQ(session.Run(find)->end().how, StatementEnd::How::kDone);
  observer_.Query("ALTER TABLE named ALTER COLUMN n TYPE int USING n::int");
}

TEST_F(SessionNamesTest, RepeatNothingThatFailedOnItsOwn) {
  LeasedSession session(edge_);
  const std::string sql = "SELECT run_once($1)";
  const char* const failing[] = {
      "EXECUTE nothing",                                                         // 26000, of PostgreSQL's own
      "DO $$ BEGIN RAISE 'no' USING ERRCODE = 'feature_not_supported'; END $$",  // 0A000
  };
  for (int i = 0; i < 2; ++i) session.Run(Sql(sql, {"SELECT 1"}));
  for (const char* inside : failing) {
    observer_.Query("ALTER SEQUENCE named_calls RESTART");
    for (int i = 0; i < kRuns; ++i) {
      EXPECT_EQ(session.Run(Sql(sql, {inside}))->end().how, StatementEnd::How::kFailed);
    }
    EXPECT_EQ(observer_.Query("SELECT last_value FROM named_calls"), absl::StrCat(kRuns)) << inside;
  }
  EXPECT_EQ(Names(session), absl::StrCat("pglessor_1: ", 1 + 2 * kRuns));
}

TEST_F(SessionNamesTest, MeanWhatTheTextMeansNow) {
  LeasedSession session(edge_);
  const std::string shadowed = "SELECT n FROM named";
  const std::string literal = "SELECT extract(epoch FROM '2024-01-01'::timestamptz)::int8";
  for (const char* table : {"CREATE TEMP TABLE named AS SELECT 7 AS n", "SELECT 7 AS n INTO TEMP named"}) {
    RunTwice(session, shadowed);
    EXPECT_EQ(session.Value(shadowed), "");
    session.MustRun({table});
    EXPECT_EQ(session.Value(shadowed), "7") << table;
    session.MustRun({"DROP TABLE named"});
  }
  for (const char* zone :
       {"SET TimeZone = 'Asia/Kathmandu'", "SELECT set_config('TimeZone', 'UTC', false)"}) {
    RunTwice(session, literal);
    const std::string before = session.Value(literal);
    session.MustRun({zone});
    EXPECT_THAT(session.Value(literal), Ne(before)) << zone;
  }
  RunTwice(session, "SELECT 'now'::timestamptz");
  const std::string then = session.Value("SELECT 'now'::timestamptz");
  EXPECT_THAT(session.Value("SELECT 'now'::timestamptz"), Ne(then));
}

}  // namespace
}  // namespace pglessor::postgres

#include "server/postgres/statement_cache.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace pglessor::postgres {
namespace {

using How = StatementWay::How;

core::Statement Sql(const std::string& sql, std::vector<core::Parameter> parameters = {}) {
  core::Statement statement;
  statement.sql = sql;
  statement.parameters = std::move(parameters);
  return statement;
}

constexpr char kSelect[] = "SELECT $1";

class StatementCacheTest : public testing::Test {
 protected:
  // As a session does where PostgreSQL is content.
  StatementWay Run(const core::Statement& statement) {
    StatementWay way = cache_.Choose(statement);
    if (way.how == How::kPrepare) cache_.Prepared(statement);
    return way;
  }
  How HowRun(const std::string& sql) { return Run(Sql(sql)).how; }
  void RunTwice(const std::string& sql) {
    HowRun(sql);
    EXPECT_EQ(HowRun(sql), How::kPrepare) << sql;
  }

  StatementCache cache_;
};

TEST_F(StatementCacheTest, PreparesATextTheSecondTimeAndRunsItByItsNameFromThen) {
  EXPECT_EQ(HowRun(kSelect), How::kUnnamed);
  const StatementWay second = Run(Sql(kSelect));
  EXPECT_EQ(second.how, How::kPrepare);
  EXPECT_EQ(second.name, "pglessor_1");
  for (int i = 0; i < 3; ++i) {
    const StatementWay later = Run(Sql(kSelect));
    EXPECT_EQ(later.how, How::kPrepared);
    EXPECT_EQ(later.name, "pglessor_1");
  }
}

TEST_F(StatementCacheTest, NamesEachTextDifferently) {
  RunTwice("SELECT 1");
  HowRun("SELECT 2");
  EXPECT_EQ(Run(Sql("SELECT 2")).name, "pglessor_2");
  EXPECT_EQ(Run(Sql("SELECT 1")).name, "pglessor_1");
}

TEST_F(StatementCacheTest, TellsTheSameTextWithOtherParametersApart) {
  const core::Parameter text{"x"};
  const core::Parameter null{std::nullopt};
  const core::Parameter bytes{"x", /*binary=*/true};
  RunTwice(kSelect);
  EXPECT_EQ(Run(Sql(kSelect, {text})).how, How::kUnnamed);
  EXPECT_EQ(Run(Sql(kSelect, {null})).how, How::kPrepare) << "a value is none of its type";
  EXPECT_EQ(Run(Sql(kSelect, {bytes})).how, How::kUnnamed);
  EXPECT_EQ(Run(Sql(kSelect, {text, text})).how, How::kUnnamed);
  EXPECT_EQ(Run(Sql(kSelect, {text})).how, How::kPrepared);
}

TEST_F(StatementCacheTest, PreparesAgainWhatCouldNotBePrepared) {
  cache_.Choose(Sql(kSelect));
  EXPECT_EQ(cache_.Choose(Sql(kSelect)).name, "pglessor_1");
  const StatementWay again = cache_.Choose(Sql(kSelect));
  EXPECT_EQ(again.how, How::kPrepare);
  EXPECT_EQ(again.name, "pglessor_1");
}

TEST_F(StatementCacheTest, GivesNoNameToWhatFails) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(HowRun(kSelect), How::kUnnamed);
    cache_.OnUnnamedFailed();
  }
  RunTwice(kSelect);
  cache_.OnUnnamedFailed();  // of another's, which was sent without its name
  EXPECT_EQ(HowRun(kSelect), How::kPrepared);
}

TEST_F(StatementCacheTest, NamesOnlyWhatIsRunAgainAndAgain) {
  for (const char* sql :
       {"SELECT 1", "/* */ select 1", "(SELECT 1)", "INSERT INTO t VALUES (1)", "UPDATE t SET n = 1",
        "DELETE FROM t", "VALUES (1)", "TABLE t", "MERGE INTO t", "WITH w AS (SELECT 1) SELECT * FROM w"}) {
    RunTwice(sql);
  }
  for (const char* sql : {"BEGIN", "COMMIT", "COPY t FROM STDIN", "SHOW work_mem", "CREATE TABLE t ()", "",
                          "CALL p()", "EXPLAIN SELECT 1", "; SELECT 1", "EXECUTE mine"}) {
    HowRun(sql);
    EXPECT_EQ(HowRun(sql), How::kUnnamed) << sql;
  }
}

TEST_F(StatementCacheTest, GivesNoNameToLiteralsThatAreReadAgainstTheClock) {
  for (const char* sql : {"SELECT 'now'::timestamptz", "SELECT DATE 'Today'", "SELECT 'tomorrow 12:00'",
                          "SELECT '{yesterday}'::date[]"}) {
    HowRun(sql);
    EXPECT_EQ(HowRun(sql), How::kUnnamed) << sql;
  }
  for (const char* sql : {"SELECT now()", "SELECT known, acknowledged, now_at FROM snow"}) RunTwice(sql);
}

TEST_F(StatementCacheTest, GivesNoNameToALongText) {
  RunTwice(absl::StrCat("SELECT '", std::string(StatementCache::kMaxText - 9, 'x'), "'"));
  const std::string longer = absl::StrCat("SELECT '", std::string(StatementCache::kMaxText - 8, 'x'), "'");
  HowRun(longer);
  EXPECT_EQ(HowRun(longer), How::kUnnamed);
}

TEST_F(StatementCacheTest, IsBounded) {
  for (size_t i = 0; i < StatementCache::kMaxPrepared; ++i) RunTwice(absl::StrCat("SELECT ", i));
  HowRun(kSelect);
  EXPECT_EQ(HowRun(kSelect), How::kUnnamed);
  EXPECT_EQ(HowRun("SELECT 0"), How::kPrepared);
  HowRun("SET work_mem = '1MB'");  // PostgreSQL keeps them all the same
  cache_.Settle();
  EXPECT_EQ(HowRun("SELECT 0"), How::kUnnamed);
}

TEST_F(StatementCacheTest, RemembersTheLastTextsThatRanOnce) {
  HowRun(kSelect);
  for (size_t i = 1; i < StatementCache::kMaxMet; ++i) HowRun(absl::StrCat("SELECT ", i));
  RunTwice("SELECT 0");  // and with it one too many
  EXPECT_EQ(HowRun(kSelect), How::kUnnamed);
}

// --- forgetting ----------------------------------------------------------------------------------

TEST_F(StatementCacheTest, ForgetsAllWhenTheSessionChanges) {
  int names = 1;
  for (const char* sql :
       {"SET search_path = other", "CREATE TEMP TABLE t ()", "ALTER TABLE t ADD n int", "DROP TABLE t",
        "DO $$ BEGIN END $$", "CALL p()", "DISCARD PLANS", "RESET ALL", "; SET DateStyle = 'German'",
        "SELECT set_config('TimeZone', 'UTC', false)", "SET LOCAL search_path = a.b",
        "SET /* a.b */ DateStyle = 'German'", "SELECT set_config(name, 'UTC', false) FROM a.b",
        "SELECT Pg_Catalog.Set_Config($1, $2, $3)"}) {
    HowRun(kSelect);
    Run(Sql(kSelect));
    ASSERT_EQ(HowRun(kSelect), How::kPrepared) << sql;
    HowRun(sql);
    EXPECT_EQ(HowRun(kSelect), How::kUnnamed) << sql << ": its transaction may be open";
    cache_.Settle();
    const StatementWay after = Run(Sql(kSelect));
    EXPECT_EQ(after.how, How::kPrepare) << sql;
    EXPECT_EQ(after.name, absl::StrCat("pglessor_", ++names)) << "PostgreSQL has the old one still";
  }
}

TEST_F(StatementCacheTest, KeepsThemThroughATransactionThatChangesNothing) {
  RunTwice(kSelect);
  for (const char* sql :
       {"BEGIN", "SAVEPOINT s", "LOCK TABLE t", "ROLLBACK TO s", "RELEASE s", "COMMIT", "START TRANSACTION",
        "SET app.tenant = 'x'", "set local app.tenant_7 TO 'x'", "SELECT set_config('app.tenant', $1, true)",
        "INSERT INTO t VALUES (1)", "ROLLBACK"}) {
    HowRun(sql);
    EXPECT_EQ(HowRun(kSelect), How::kPrepared) << sql;
  }
}

// Where a text is too long for a name, or begins with a word that changes nothing by itself, too.
TEST_F(StatementCacheTest, FindsAChangeOfSettingsWhereverItStands) {
  const std::string long_text(StatementCache::kMaxText, ' ');
  for (const std::string& changes : {
           absl::StrCat("SELECT set_config('TimeZone', 'UTC', false)", long_text),
           std::string("DECLARE c CURSOR FOR SELECT Set_Config('TimeZone', 'UTC', false)"),
           std::string("COPY (SELECT set_config('TimeZone', 'UTC', false)) TO STDOUT"),
           std::string("UPDATE pg_settings SET setting = 'UTC' WHERE name = 'TimeZone'"),
           std::string("SELECT a_b, set_config ('app.x', 'y', false)"),
       }) {
    RunTwice(kSelect);
    EXPECT_EQ(HowRun(changes), How::kUnnamed) << changes;
    cache_.Settle();
    EXPECT_EQ(HowRun(kSelect), How::kPrepare) << changes;
    cache_.Clear();
  }
  for (const std::string& changes_not : {
           absl::StrCat("SELECT set_config('app.tenant', 'a', true)", long_text),
           std::string("SELECT settings_of_pg, _, set_, _config FROM t"),
           std::string("DECLARE c CURSOR FOR SELECT a_b"),
       }) {
    RunTwice(kSelect);
    HowRun(changes_not);
    EXPECT_EQ(HowRun(kSelect), How::kPrepared) << changes_not;
    cache_.Clear();
  }
}

TEST_F(StatementCacheTest, ForgetsAllAfterASelectInto) {
  RunTwice(kSelect);
  cache_.OnCommand("INSERT 0 1");
  EXPECT_EQ(HowRun(kSelect), How::kPrepared);
  cache_.OnCommand("SELECT 5");
  EXPECT_EQ(HowRun(kSelect), How::kUnnamed);
}

TEST_F(StatementCacheTest, BeginsAnewWhereTheHolderHasDroppedAllNames) {
  for (const char* sql : {"DEALLOCATE ALL", "DISCARD ALL"}) {
    HowRun(kSelect);
    Run(Sql(kSelect));
    HowRun(sql);
    cache_.OnCommand(sql);
    cache_.Settle();
    const StatementWay after = Run(Sql(kSelect));
    EXPECT_EQ(after.how, How::kPrepare) << sql;
    EXPECT_EQ(after.name, "pglessor_1") << sql;
  }
}

TEST_F(StatementCacheTest, DropsOnlyTheOneWhoseTypesMayBeOld) {
  RunTwice(kSelect);
  RunTwice("SELECT 1");
  cache_.OnFault(Sql(kSelect), NameFault::kNone);
  EXPECT_EQ(HowRun(kSelect), How::kPrepared);
  cache_.OnFault(Sql(kSelect), NameFault::kDoubtful);
  EXPECT_EQ(Run(Sql(kSelect)).name, "pglessor_3");
  EXPECT_EQ(HowRun("SELECT 1"), How::kPrepared);
}

TEST_F(StatementCacheTest, ForgetsAllWhereOneIsOutdated) {
  RunTwice(kSelect);
  RunTwice("SELECT 1");
  cache_.OnFault(Sql(kSelect), NameFault::kOutdated);
  EXPECT_EQ(HowRun("SELECT 1"), How::kPrepare);
}

TEST_F(StatementCacheTest, GivesUpWhereSomebodyElseUsesItsNames) {
  RunTwice(kSelect);
  cache_.OnFault(Sql(kSelect), NameFault::kUnknown);
  EXPECT_EQ(HowRun(kSelect), How::kUnnamed);
  EXPECT_EQ(HowRun(kSelect), How::kUnnamed);
  cache_.Clear();
  RunTwice(kSelect);
}

TEST_F(StatementCacheTest, HasNothingOfTheLeaseBefore) {
  RunTwice(kSelect);
  HowRun("SET work_mem = '1MB'");
  cache_.Clear();
  EXPECT_EQ(HowRun(kSelect), How::kUnnamed);
  EXPECT_EQ(Run(Sql(kSelect)).name, "pglessor_1");
}

}  // namespace
}  // namespace pglessor::postgres

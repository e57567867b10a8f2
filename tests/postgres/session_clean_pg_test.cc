// What of one holder's session the next one sees: nothing but what is named here.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/postgres/session_support.h"

namespace pglessor::postgres {
namespace {

using embedded::Eventually;

class SessionCleanTest : public SessionTest {
 protected:
  static void SetUpTestSuite() {
    Observer observer(TheServer());
    observer.Query("CREATE ROLE other");
    observer.Query("GRANT other TO app");
    observer.Query("CREATE SEQUENCE leak_sequence");
    observer.Query("GRANT ALL ON leak_sequence TO app");
  }
};

// What a holder leaves behind, and how the next one could see it.
struct Trace {
  const char* name;
  std::vector<std::string> left_by;
  const char* seen_by;
};

const Trace kTraces[] = {
    {"TempTable", {"CREATE TEMP TABLE leak (n int)"}, "SELECT to_regclass('pg_temp.leak') IS NOT NULL"},
    {"TempView", {"CREATE TEMP VIEW leak AS SELECT 1"}, "SELECT to_regclass('pg_temp.leak') IS NOT NULL"},
    {"TempFunction",
     {"CREATE FUNCTION pg_temp.leak() RETURNS int LANGUAGE sql AS 'SELECT 1'"},
     "SELECT count(*) FROM pg_proc WHERE proname = 'leak'"},
    {"WorkMem", {"SET work_mem = '77MB'"}, "SHOW work_mem"},
    {"SearchPath", {"SET search_path = pg_catalog"}, "SHOW search_path"},
    {"TimeZone", {"SET TimeZone = 'Asia/Kathmandu'"}, "SHOW TimeZone"},
    {"ClientEncoding", {"SET client_encoding = 'LATIN1'"}, "SHOW client_encoding"},
    {"DateStyle", {"SET DateStyle = 'German'"}, "SELECT DATE '2024-05-06'"},
    {"IntervalStyle", {"SET IntervalStyle = 'iso_8601'"}, "SELECT INTERVAL '1 day'"},
    {"ApplicationName", {"SET application_name = 'me'"}, "SHOW application_name"},
    {"StatementTimeout", {"SET statement_timeout = '1h'"}, "SHOW statement_timeout"},
    {"ReadOnly", {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"}, "SHOW transaction_read_only"},
    {"Isolation",
     {"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"},
     "SHOW transaction_isolation"},
    {"Role", {"SET ROLE other"}, "SELECT current_user"},
    {"RoleByGuc", {"SELECT set_config('role', 'other', false)"}, "SELECT current_user"},
    {"PreparedStatement", {"PREPARE leak AS SELECT 1"}, "SELECT count(*) FROM pg_prepared_statements"},
    {"HeldCursor",
     {"DECLARE leak CURSOR WITH HOLD FOR SELECT 1"},
     "SELECT count(*) FROM pg_cursors WHERE name = 'leak'"},
    // LISTEN itself is refused; this is not seen through.
    {"Listen", {"DO $$ BEGIN EXECUTE 'LISTEN leak'; END $$"}, "SELECT count(*) FROM pg_listening_channels()"},
    {"AdvisoryLock",
     {"SELECT pg_advisory_lock(4711)", "SELECT pg_advisory_lock(4711)",
      "SELECT pg_advisory_lock_shared(4712)"},
     "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"},
    {"Currval", {"SELECT nextval('leak_sequence')"}, "SELECT currval('leak_sequence') > 0"},
    {"Lastval", {"SELECT nextval('leak_sequence')"}, "SELECT lastval() > 0"},
    {"OpenTransaction", {"BEGIN", "CREATE TABLE leak (n int)"}, "SELECT to_regclass('leak') IS NOT NULL"},
    {"Savepoint", {"BEGIN", "SAVEPOINT leak"}, "RELEASE SAVEPOINT leak"},
    {"FailedTransaction", {"BEGIN", "SELECT 1/greatest(0, -1)"}, "SELECT 1"},
    {"DeferredConstraint",
     {"BEGIN", "SET CONSTRAINTS ALL DEFERRED", "DECLARE leak CURSOR FOR SELECT 1"},
     "SELECT count(*) FROM pg_cursors WHERE name = 'leak'"},
    {"LocalSetting", {"BEGIN", "SET LOCAL work_mem = '77MB'"}, "SHOW work_mem"},
};

class TraceTest : public SessionCleanTest, public testing::WithParamInterface<Trace> {};

TEST_P(TraceTest, IsNotSeenByTheNextHolder) {
  LeasedSession fresh(edge_);
  const std::string unspoilt = fresh.Value(GetParam().seen_by);
  LeasedSession session(edge_);
  for (const std::string& sql : GetParam().left_by) session.Run(sql);
  ASSERT_NE(session.Value(GetParam().seen_by), unspoilt) << "the probe sees nothing";

  EXPECT_TRUE(session.Clean().ok());

  EXPECT_EQ(session.Value(GetParam().seen_by), unspoilt);
  EXPECT_FALSE(session.Run("SELECT 1")->end().in_transaction);
  EXPECT_EQ(session.losses(), 0);
}

INSTANTIATE_TEST_SUITE_P(Each, TraceTest, testing::ValuesIn(kTraces),
                         [](const auto& trace) { return std::string(trace.param.name); });

TEST_F(SessionCleanTest, TakesAllTracesAtOnce) {
  LeasedSession session(edge_);
  for (const Trace& trace : kTraces) {
    for (const std::string& sql : trace.left_by) {
      if (sql != "BEGIN") session.Run(sql);
    }
  }
  EXPECT_TRUE(session.Clean().ok());
  LeasedSession fresh(edge_);
  for (const Trace& trace : kTraces)
    EXPECT_EQ(session.Value(trace.seen_by), fresh.Value(trace.seen_by)) << trace.name;
}

TEST_F(SessionCleanTest, TellsWhetherATransactionWasOpen) {
  LeasedSession session(edge_);
  const std::pair<std::vector<std::string>, bool> cases[] = {
      {{"SELECT 1"}, false},
      {{"BEGIN"}, true},
      {{"BEGIN", "SELECT 1/0"}, true},
      {{"BEGIN", "COMMIT"}, false},
  };
  for (const auto& [statements, open] : cases) {
    for (const std::string& sql : statements) session.Run(sql);
    bool was_open = !open;
    EXPECT_TRUE(session.Clean(was_open).ok());
    EXPECT_EQ(was_open, open) << testing::PrintToString(statements);
  }
}

TEST_F(SessionCleanTest, RollsBackRatherThanCommits) {
  observer_.Query("CREATE TABLE IF NOT EXISTS written (n int)");
  observer_.Query("GRANT ALL ON written TO app");
  LeasedSession session(edge_);
  session.MustRun({"BEGIN", "INSERT INTO written VALUES (1)"});
  EXPECT_TRUE(session.Clean().ok());
  EXPECT_EQ(observer_.Query("SELECT count(*) FROM written"), "0");
}

TEST_F(SessionCleanTest, RefusesAnotherSessionAuthorizationAndKeepsItsOwn) {
  LeasedSession session(edge_);
  EXPECT_EQ(session.Value("SET SESSION AUTHORIZATION other"), "ERROR 42501");
  EXPECT_EQ(session.Value("SET SESSION AUTHORIZATION postgres"), "ERROR 42501");
  EXPECT_TRUE(session.Clean().ok());
  EXPECT_EQ(session.Value("SELECT session_user || current_user"), "appapp");
}

TEST_F(SessionCleanTest, DropsTheNotificationsThatWereUnderWay) {
  LeasedSession session(edge_);
  for (int i = 0; i < 20; ++i) {
    session.MustRun({"DO $$ BEGIN EXECUTE 'LISTEN leak'; END $$"});
    observer_.Query("NOTIFY leak, 'from outside'");
    session.MustRun({"NOTIFY leak, 'from itself'"});
    EXPECT_TRUE(session.Clean().ok());
    EXPECT_EQ(session.Value("SELECT 7"), "7");
  }
}

// A simple query, which also drops the unnamed statement; through a named one that would stay.
TEST_F(SessionCleanTest, EndsWithASimpleDiscardAll) {
  LeasedSession session(edge_);
  session.MustRun({"SELECT 'a secret'"});
  EXPECT_TRUE(session.Clean().ok());
  EXPECT_TRUE(Eventually([&] { return observer_.Activity(session.pid()) == "idle: DISCARD ALL"; }, kPatience))
      << observer_.Activity(session.pid());
}

TEST_F(SessionCleanTest, CleansWhatRanNothing) {
  LeasedSession session(edge_);
  EXPECT_TRUE(session.Clean().ok());
  EXPECT_TRUE(session.Clean().ok());
  EXPECT_EQ(session.Value("SELECT 1"), "1");
}

TEST_F(SessionCleanTest, DoesNotPassOnASessionThatItCannotGetClean) {
  LeasedSession session(edge_);
  // DISCARD ALL waits for the temp table's lock, which another session has.
  session.MustRun({"CREATE TEMP TABLE locked (n int)"});
  const std::string table = session.Value("SELECT pg_my_temp_schema()::regnamespace || '.locked'");
  Observer locker(TheServer());
  locker.Query("BEGIN");
  EXPECT_EQ(locker.Query("LOCK TABLE " + table + " IN SHARE MODE"), "");
  EXPECT_FALSE(session.Clean().ok());
  locker.Query("ROLLBACK");
}

// --- what DISCARD ALL leaves ---------------------------------------------------------------------

TEST_F(SessionCleanTest, LeavesTheSeedOfRandom) {
  LeasedSession session(edge_);
  session.MustRun({"SELECT setseed(0.5)"});
  EXPECT_TRUE(session.Clean().ok());
  LeasedSession other(edge_);
  other.MustRun({"SELECT setseed(0.5)"});
  EXPECT_EQ(session.Value("SELECT random()"), other.Value("SELECT random()"));
}

TEST_F(SessionCleanTest, LeavesTheNameOfACustomSettingButNotItsValue) {
  LeasedSession session(edge_);
  EXPECT_EQ(session.Value("SELECT current_setting('my.secret', true)"), "NULL");
  session.MustRun({"SET my.secret = 'a secret'"});
  EXPECT_TRUE(session.Clean().ok());
  EXPECT_EQ(session.Value("SELECT current_setting('my.secret', true)"), "");
}

// The holder's own statement_timeout strikes DISCARD ALL, which has a lot to drop: what is not dropped then
// must not reach the next one.
TEST_F(SessionCleanTest, IsUncleanWhereDiscardAllFails) {
  LeasedSession session(edge_);
  session.MustRun(
      {"DO $$ BEGIN FOR i IN 1..800 LOOP EXECUTE 'CREATE TEMP TABLE leak' || i || ' (n int)'; "
       "END LOOP; END $$",
       "SET statement_timeout = '2ms'"});
  EXPECT_FALSE(session.Clean().ok());
}

TEST_F(SessionCleanTest, AnswersAProbe) {
  LeasedSession session(edge_);
  session.MustRun({"SELECT 1"});
  ASSERT_TRUE(session.Clean().ok());
  test::Answer<core::Connection::CleanReport> probed;
  session.connection().Probe(probed.Callback());
  ASSERT_TRUE(Eventually([&] { return probed.here(); }, kPatience));
  EXPECT_TRUE(probed->ok()) << *probed;
  session.MustRun({"SELECT 2"});
}

TEST_F(SessionCleanTest, FailsTheProbeOfWhatHangsOrHasGone) {
  LeasedSession session(edge_);
  test::Answer<core::Connection::CleanReport> hung;
  {
    const StoppedBackend stopped(TheServer(), session.pid());
    session.connection().Probe(hung.Callback());
    ASSERT_TRUE(Eventually([&] { return hung.here(); }, kPatience));
  }
  EXPECT_FALSE(hung->ok());
  observer_.Query("SELECT pg_terminate_backend(" + std::to_string(session.pid()) + ")");
  ASSERT_TRUE(Eventually([&] { return session.connection().lost(); }, kPatience));
  test::Answer<core::Connection::CleanReport> gone;
  session.connection().Probe(gone.Callback());
  ASSERT_TRUE(Eventually([&] { return gone.here(); }, kPatience));
  EXPECT_FALSE(gone->ok());
}

}  // namespace
}  // namespace pglessor::postgres

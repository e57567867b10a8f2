// What the next holder of a connection, of another tenant, finds of the last one: what is on a session that
// nobody has had, less the two things that DISCARD ALL leaves. Those are asserted too, so that nobody takes
// them for cleaned.
//
// Of the kinds that a role without special rights can leave; LOAD, replication slots and prepared
// transactions need rights or settings that a leased role has not got.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using testing::Eq;
using testing::Ne;

struct Trace {
  std::vector<const char*> left;
  const char* seen;
};

const Trace kTraces[] = {
    {{"CREATE TEMP TABLE leak (n int)"}, "SELECT to_regclass('pg_temp.leak') IS NOT NULL"},
    {{"CREATE TEMP VIEW leak_view AS SELECT 1"}, "SELECT to_regclass('pg_temp.leak_view') IS NOT NULL"},
    {{"CREATE TYPE pg_temp.leak_type AS (n int)"},
     "SELECT count(*) FROM pg_type WHERE typname = 'leak_type'"},
    {{"CREATE FUNCTION pg_temp.leak() RETURNS int LANGUAGE sql AS 'SELECT 1'"},
     "SELECT count(*) FROM pg_proc WHERE proname = 'leak'"},
    {{"SET work_mem = '77MB'"}, "SHOW work_mem"},
    {{"SET statement_timeout = '1h'"}, "SHOW statement_timeout"},
    {{"SET lock_timeout = '1h'"}, "SHOW lock_timeout"},
    {{"SET default_transaction_deferrable = on"}, "SHOW default_transaction_deferrable"},
    {{"SET default_transaction_isolation = 'serializable'"}, "SHOW transaction_isolation"},
    {{"SET DateStyle = 'German'"}, "SELECT DATE '2024-05-06'"},
    {{"SET TimeZone = 'Asia/Kathmandu'"}, "SHOW TimeZone"},
    {{"SET IntervalStyle = 'iso_8601'"}, "SELECT INTERVAL '1 day'"},
    {{"SET client_encoding = 'LATIN1'"}, "SHOW client_encoding"},
    {{"SET bytea_output = 'escape'"}, "SHOW bytea_output"},
    {{"SET application_name = 'me'"}, "SHOW application_name"},
    {{"PREPARE leak AS SELECT 1"}, "SELECT count(*) FROM pg_prepared_statements WHERE name = 'leak'"},
    {{"DECLARE leak CURSOR WITH HOLD FOR SELECT 1"}, "SELECT count(*) FROM pg_cursors WHERE name = 'leak'"},
    // LISTEN itself is refused; this is not seen through.
    {{"DO $$ BEGIN EXECUTE 'LISTEN leak'; END $$", "NOTIFY leak"},
     "SELECT count(*) FROM pg_listening_channels()"},
    {{"SELECT pg_advisory_lock(4711)", "SELECT pg_advisory_lock(4711)",
      "SELECT pg_advisory_lock_shared(4712)"},
     "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"},
    {{"SELECT nextval('leak_sequence')"}, "SELECT currval('leak_sequence') > 0"},
    {{}, "SELECT lastval() > 0"},
    {{"SET search_path = pg_catalog"}, "SHOW search_path"},
    {{"SET ROLE leak_other"}, "SELECT current_user"},
    {{"SET default_transaction_read_only = on"}, "SHOW transaction_read_only"},
};

// Seen only from inside, or once it has ended.
const Trace kTracesOfATransaction[] = {
    {{"BEGIN READ WRITE", "SET LOCAL work_mem = '78MB'"}, "SHOW work_mem"},
    {{"DECLARE leak_portal CURSOR FOR SELECT 1"},
     "SELECT count(*) FROM pg_cursors WHERE name = 'leak_portal'"},
    {{"SELECT lo_open(lo_create(4711), 131072)"}, "SELECT lo_tell(0)"},
    {{"SAVEPOINT leak"}, "RELEASE SAVEPOINT leak"},
};

class LeakTest : public SystemTest {
 protected:
  void SetUp() override {
    observer().Run(
        "SET client_min_messages = warning; DROP SEQUENCE IF EXISTS leak_sequence; "
        "DROP ROLE IF EXISTS leak_other; CREATE ROLE leak_other; GRANT leak_other TO app; "
        "CREATE SEQUENCE leak_sequence CACHE 10; ALTER SEQUENCE leak_sequence OWNER TO app");
    Serve(2, 2);
  }

  Held AcquireAs(const std::string& tenant) {
    v1::AcquireRequest request;
    request.set_tenant(tenant);
    return Acquire(request);
  }
  void Leave(const Held& held, const Trace& trace) {
    for (const char* sql : trace.left) EXPECT_THAT(client().Execute(held.token, sql), IsOk()) << sql;
  }
  // What each session is told of its own lease counts as the same.
  std::string See(const Held& held, const char* sql) {
    const std::string label = absl::StrCat(held.lease.tenant(), " ", held.lease.lease_id());
    return absl::StrReplaceAll(client().Execute(held.token, sql).Value(), {{label, "LABEL"}});
  }
};

TEST_F(LeakTest, TheNextTenantFindsWhatAFreshSessionHas) {
  const Held fresh = AcquireAs("fresh");
  const Held last = AcquireAs("last");
  for (const Trace& trace : kTraces) {
    const std::string unspoilt = See(fresh, trace.seen);
    Leave(last, trace);
    EXPECT_THAT(See(last, trace.seen), Ne(unspoilt)) << "it sees nothing: " << trace.seen;
  }
  for (const Trace& trace : kTracesOfATransaction) {
    Leave(last, trace);
    EXPECT_THAT(See(last, trace.seen), Ne(See(fresh, trace.seen))) << "it sees nothing: " << trace.seen;
  }
  EXPECT_FALSE(client().Execute(last.token, "SELECT 1/0").ok()) << "the transaction has failed";
  const auto released = client().Release(last.token);
  ASSERT_THAT(released, IsOk());
  EXPECT_TRUE(released.response.rolled_back());

  const Held next = AcquireAs("next");
  ASSERT_EQ(next.lease.backend_pid(), last.lease.backend_pid()) << "it was not cleaned but replaced";
  EXPECT_FALSE(client().Execute(next.token, "SELECT 1").summary.in_transaction());
  for (const Trace& trace : kTraces) EXPECT_THAT(See(next, trace.seen), Eq(See(fresh, trace.seen)));
  for (const Trace& trace : kTracesOfATransaction) {
    EXPECT_THAT(See(next, trace.seen), Eq(See(fresh, trace.seen)));
  }
  // The last one's session had taken 1 to 10 of it.
  EXPECT_EQ(See(next, "SELECT nextval('leak_sequence')"), "int_value: 11");
}

TEST_F(LeakTest, WhatIsKnownToStayIsTheSeedOfRandomAndTheNamesOfCustomSettings) {
  const Held fresh = AcquireAs("fresh");
  const Held last = AcquireAs("last");
  for (const char* sql : {"SELECT setseed(0.5)", "SET leak.secret = 'canary'"}) {
    EXPECT_THAT(client().Execute(last.token, sql), IsOk());
  }
  ASSERT_THAT(client().Release(last.token), IsOk());
  const Held next = AcquireAs("next");
  ASSERT_EQ(next.lease.backend_pid(), last.lease.backend_pid());

  constexpr char kSecret[] = "SELECT current_setting('leak.secret', true)";
  EXPECT_EQ(See(fresh, kSecret), "null_value: NULL_VALUE");
  EXPECT_EQ(See(next, kSecret), "text_value: \"\"") << "its name, not its value";
  const std::string seeded = See(next, "SELECT random()");
  EXPECT_THAT(client().Execute(fresh.token, "SELECT setseed(0.5)"), IsOk());
  EXPECT_EQ(seeded, See(fresh, "SELECT random()"));
}

}  // namespace
}  // namespace pglessor::system

// What a lease's statements, and people who look at PostgreSQL, see of the lease.
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;

constexpr char kSettings[] =
    "SELECT concat_ws(' ', current_setting('pglessor.lease_id', true), "
    "current_setting('pglessor.fencing_token', true))";

class LabelTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 1); }

  static std::string Label(const v1::Lease& lease) {
    return absl::StrCat("text_value: \"", lease.lease_id(), " ", lease.fencing_token(), "\"");
  }
  std::string ApplicationName(const v1::Lease& lease) {
    return observer().Activity(lease.backend_pid(), "application_name");
  }
};

TEST_F(LabelTest, ATriggerSeesTheLeaseAndItsFencingToken) {
  database().MakeTable("guarded", "deed text, by text");
  const Held first = Acquire();
  EXPECT_THAT(
      client().Execute(first.token,
                       "CREATE OR REPLACE FUNCTION sign() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                       "NEW.by := current_setting('pglessor.fencing_token'); RETURN NEW; END $$"),
      IsOk());
  EXPECT_THAT(
      client().Execute(first.token,
                       "CREATE TRIGGER sign BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION sign()"),
      IsOk());
  EXPECT_THAT(client().Release(first.token), IsOk());

  const Held second = Acquire();
  EXPECT_THAT(client().Execute(second.token, "INSERT INTO guarded VALUES ('done')"), IsOk());
  EXPECT_EQ(observer().Value("SELECT by FROM guarded"), absl::StrCat(second.lease.fencing_token()));
  EXPECT_GT(second.lease.fencing_token(), first.lease.fencing_token());

  v1::ExecuteRequest once = Statement("", "INSERT INTO guarded VALUES ('at once')");
  once.mutable_once();
  EXPECT_THAT(client().Release(second.token), IsOk());
  EXPECT_THAT(client().Execute(once), IsOk());
  EXPECT_GT(observer().Count("SELECT max(by::int8) - min(by::int8) FROM guarded"), 0);
}

TEST_F(LabelTest, PgStatActivityNamesPoolTenantAndLease) {
  v1::AcquireRequest request;
  request.set_holder("evil' holder");
  request.set_tenant("billing");
  const Held held = Acquire(request);
  EXPECT_EQ(ApplicationName(held.lease), "pglessor") << "a lease that ran nothing costs nothing";
  EXPECT_EQ(client().Execute(held.token, kSettings).Value(), Label(held.lease));
  const std::string whole = absl::StrCat("pglessor default/billing ", held.lease.lease_id());
  EXPECT_EQ(ApplicationName(held.lease), whole.substr(0, 63));
  EXPECT_THAT(client().Release(held.token), IsOk());
  ASSERT_TRUE(AwaitRest());
  EXPECT_EQ(ApplicationName(held.lease), "pglessor") << "gone with the lease";
}

TEST_F(LabelTest, EachHolderSeesItsOwn) {
  for (int i = 0; i < 3; ++i) {
    const Held held = Acquire();
    EXPECT_EQ(client().Execute(held.token, kSettings).Value(), Label(held.lease));
    EXPECT_EQ(client().Execute(held.token, kSettings).Value(), Label(held.lease));
    EXPECT_THAT(client().Release(held.token), IsOk());
  }
}

// The label goes in front of the first statement, whatever that is, and changes nothing for it.
TEST_F(LabelTest, TheFirstStatementIsAsItWouldBeAlone) {
  const auto first = [&](const std::string& sql, const std::vector<v1::Value>& params = {}) {
    const Held held = Acquire();
    Result result = client().Execute(held.token, sql, params);
    if (result.summary.in_transaction()) client().Execute(held.token, "ROLLBACK");
    EXPECT_EQ(client().Execute(held.token, kSettings).Value(), Label(held.lease)) << sql;
    EXPECT_THAT(client().Release(held.token), IsOk());
    return result;
  };
  EXPECT_TRUE(first("BEGIN").summary.in_transaction());
  EXPECT_FALSE(first("SELECT 1").summary.in_transaction());
  EXPECT_THAT(first("VACUUM pg_catalog.pg_ts_dict"), IsOk()) << "which no transaction may surround";
  EXPECT_EQ(first("VALUES ($1::int4)", {Int(7)}).Value(), "int_value: 7");
  EXPECT_EQ(first("SELECT generate_series(1, 1000)").rows.size(), 1000U);
  EXPECT_THAT(first(""), IsOk());
  EXPECT_THAT(first("SELECT 1; SELECT 2"), FailsWith(StatusCode::INVALID_ARGUMENT, "SQL_ERROR"));
  EXPECT_EQ(first("SELECT 1 / 0").Metadata("sqlstate"), "22012");
  EXPECT_THAT(first("COPY (SELECT 1) TO STDOUT"), FailsWith(StatusCode::UNIMPLEMENTED, "USE_GATEWAY"));
  EXPECT_THAT(first("/* a /* nested */ comment */ copy pg_class FROM STDIN").reason,
              testing::Not("LEASE_BUSY"));
  EXPECT_THAT(first("LISTEN news"), FailsWith(StatusCode::UNIMPLEMENTED, "USE_GATEWAY"));
  EXPECT_EQ(client().Stats().counters().connections_opened(), 1) << "none was lost on the way";
}

}  // namespace
}  // namespace pglessor::system

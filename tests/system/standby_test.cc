// target_session on a primary and its standby, which is promoted.
#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/configured_test.h"
#include "tests/system/support/own_postgres.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

class StandbyTest : public ConfiguredTest {
 protected:
  // The one that is left to look at in the end.
  Observer& observer() override { return standby_.observer(); }

  // As an operator names both: libpq goes on to the second where the first is away.
  std::string EitherDsn(const std::string& user) const {
    return absl::StrCat("postgresql://", user, "@/app?host=", primary_.folder(), ",", standby_.folder());
  }
  Outcome AcquireSoon(const std::string& pool) {
    v1::AcquireRequest request;
    request.set_pool(pool);
    *request.mutable_wait_timeout() = Span(std::chrono::milliseconds(300));
    return client().Acquire(request);
  }
  std::string ValueOn(const Held& held, const std::string& sql) {
    return client().Execute(held.token, sql).Value();
  }

  OwnPostgres primary_;
  OwnPostgres standby_{OwnPostgres::StandbyOf{primary_}};
};

TEST_F(StandbyTest, AReadOnlyPoolLendsTheStandbyUntilItIsPromoted) {
  ServeFile(Pool("default", primary_.dsn(), primary_.control_dsn(), Sizes(1, 1)) +
            Pool("reports", standby_.dsn(), standby_.control_dsn(),
                 Sizes(1, 1) + "\ntarget_session = \"read-only\"\nprimary = \"default\"\n"));
  ASSERT_TRUE(Eventually([&] { return StatsOf("reports").available() == 1; }));
  const Held first = AcquireFrom("reports");
  EXPECT_EQ(ValueOn(first, "SELECT pg_is_in_recovery()"), "bool_value: true");
  // Ends, too, work there: this one needs its cancel and its confirmation.
  EXPECT_THAT(client().Expire(first.token), IsOk());
  const Held second = AcquireFrom("reports");
  EXPECT_GT(second.lease.fencing_token(), first.lease.fencing_token());
  EXPECT_THAT(client().Release(second.token), IsOk());

  standby_.Promote();
  ASSERT_TRUE(Eventually([&] { return StatsOf("reports").generation() == 2; }));
  ASSERT_TRUE(Eventually([&] { return StatsOf("reports").available() == 0; }));
  EXPECT_THAT(AcquireSoon("reports"), FailsWith(StatusCode::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
  EXPECT_THAT(server().Log(), HasSubstr("the database is a primary; expected read-only"));
  EXPECT_EQ(ValueOn(AcquireFrom("default"), "SELECT 1"), "int_value: 1") << "another pool's matter";
}

TEST_F(StandbyTest, AReadWritePoolMovesToTheStandbyThatIsPromoted) {
  ServeFile(Pool("default", EitherDsn("app"), EitherDsn("postgres"),
                 Sizes(1, 2) + "\ntarget_session = \"read-write\"\nmax_open_backoff = \"100ms\"\n"
                               "breaker_probe_interval = \"200ms\"\n"));
  const Held held = Acquire();
  EXPECT_EQ(ValueOn(held, "SELECT pg_is_in_recovery()"), "bool_value: false");
  EXPECT_THAT(client().Execute(held.token, "CREATE TABLE kept AS SELECT 7 AS n"), IsOk());
  EXPECT_THAT(client().Release(held.token), IsOk());
  standby_.AwaitReplay(primary_);

  primary_.Stop(OwnPostgres::Shutdown::kImmediate);
  ASSERT_TRUE(Eventually([&] {
    return server().Log().find("the database is a standby; expected read-write") != std::string::npos;
  }));
  EXPECT_EQ(AcquireSoon("default").status.error_code(), StatusCode::UNAVAILABLE) << "never on a standby";

  standby_.Promote();
  ASSERT_TRUE(Eventually([&] { return AcquireSoon("default").ok(); }));
  const Held moved = Acquire();
  EXPECT_EQ(ValueOn(moved, "SELECT n FROM kept"), "int_value: 7");
  EXPECT_THAT(client().Execute(moved.token, "INSERT INTO kept VALUES (8)"), IsOk());
  EXPECT_GT(moved.lease.fencing_token(), held.lease.fencing_token());
}

}  // namespace
}  // namespace pglessor::system

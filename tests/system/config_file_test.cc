// --config: what is checked before anything starts, several pools from one file, and SIGHUP.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/configured_test.h"
#include "tests/system/support/own_postgres.h"
#include "tests/system/support/system_test.h"
#include "tests/system/support/temporary_folder.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using testing::AllOf;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

using ConfigFileTest = ConfiguredTest;

TEST_F(ConfigFileTest, TenFaultsAreTenLinesAndNothingStarts) {
  Write(
      "listen = [\"nonsense\"]\n"                    // 1
      "reflection = \"yes\"\n"                       // 2
      "drain_timeout = 30\n"                         // 3
      "advertize = \"a\"\n"                          // 4
      "\n"                                           //
      "[pools.orders]\n"                             // 6
      "dsn = \"postgresql://app:canary@[::1/db\"\n"  // 7
      "min_connections = 30\n"                       // 8
      "isolation = \"none\"\n"                       // 9
      "fallback_pool = \"reports\"\n"                // 10
      "default_ttl = \"25h\"\n"                      // 11
      "\n"                                           //
      "[pools.orders.tenants.a]\n"                   // 13
      "weight = 0\n");                               // 14
  const TemporaryFolder nothing;
  for (const Flags& flags :
       std::vector<Flags>{{"--check-config", "--config=" + path()}, {"--config=" + path()}}) {
    const FinishedRun run = RunPglessor(flags, {{"TMPDIR", nothing.path()}});
    EXPECT_EQ(run.exit, 2);
    EXPECT_EQ(run.output, "");
    EXPECT_TRUE(std::filesystem::is_empty(nothing.path()));
    const std::vector<std::string> lines = absl::StrSplit(run.log, '\n', absl::SkipEmpty());
    const auto at = [&](int line, const char* says) {
      return AllOf(HasSubstr(absl::StrCat("pglessor: ", path(), ":", line, ": ")), HasSubstr(says));
    };
    EXPECT_THAT(lines, testing::UnorderedElementsAre(
                           at(1, "listen: expected HOST:PORT"), at(2, "reflection: expected true or false"),
                           at(3, "drain_timeout: expected a time"), at(4, "did you mean \"advertise\"?"),
                           at(7, "pools.orders.dsn: "), at(8, "pools.orders.min_connections: "),
                           at(9, "pools.orders.isolation: "), at(10, "pools.orders.fallback_pool: "),
                           at(11, "pools.orders.default_ttl: "), at(14, "pools.orders.tenants.a.weight: ")));
    EXPECT_THAT(run.log, Not(HasSubstr("canary")));
  }
}

TEST_F(ConfigFileTest, AGoodFileIsCheckedWithoutStarting) {
  Write(Pool("default", Sizes(1, 2)));
  const FinishedRun run = RunPglessor({"--check-config", "--config=" + path()});
  EXPECT_EQ(run.exit, 0);
  EXPECT_EQ(run.log, "");
  EXPECT_EQ(observer().PglessorBackends(), 0);
}

TEST_F(ConfigFileTest, EachPoolHasItsOwnConnectionsAndLimits) {
  ServeFile(Pool("default", Sizes(1, 1)) + Pool("reports", Sizes(2, 3), "default_ttl = \"7s\""));
  EXPECT_EQ(StatsOf("default").total(), 1);
  EXPECT_EQ(StatsOf("reports").total(), 2);
  // Two control connections come on top.
  EXPECT_EQ(observer().PglessorBackends(), 5);

  const Held held = AcquireFrom("");
  EXPECT_EQ(held.lease.pool(), "default");
  v1::AcquireRequest at_once;
  at_once.mutable_wait_timeout();
  EXPECT_THAT(client().Acquire(at_once), FailsWith(StatusCode::RESOURCE_EXHAUSTED, "NO_IDLE_CONNECTION"));
  const Held other = AcquireFrom("reports");
  EXPECT_EQ(other.lease.pool(), "reports");
  EXPECT_EQ(other.lease.ttl().seconds(), 7);
  EXPECT_NE(other.lease.fencing_token(), held.lease.fencing_token());
  EXPECT_EQ(client().Execute(other.token, "SELECT 1").Value(), "int_value: 1");

  v1::AcquireRequest unknown;
  unknown.set_pool("orders");
  EXPECT_THAT(client().Acquire(unknown), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
}

TEST_F(ConfigFileTest, AFlagOverridesTheFile) {
  ServeFile("advertise = \"file.example:1\"\n" + Pool("default", Sizes(1, 1)));
  EXPECT_EQ(Acquire().lease.server_address(), "file.example:1");
  EXPECT_EQ(server_->End(), 0);
  server_ = ServerProcess::Start({"--config=" + path(), "--advertise=flag.example:2", "--drain-timeout=0s"});
  client_ = std::make_unique<Client>(server().address());
  EXPECT_EQ(Acquire().lease.server_address(), "flag.example:2");
}

TEST_F(ConfigFileTest, ADsnMayStandInAFileBesideIt) {
  std::ofstream(folder_.path() / "dsn") << dsn() << "\n";
  std::ofstream(folder_.path() / "control") << control_dsn() << "\n";
  ServeFile("[pools.default]\ndsn_file = \"dsn\"\ncontrol_dsn_file = \"control\"\n" + Sizes(1, 1) + "\n");
  EXPECT_EQ(client().Execute(Acquire().token, "SELECT current_user").Value(), "text_value: \"app\"");
}

TEST_F(ConfigFileTest, AConnectionIsLentIfItAnswersTheValidation) {
  observer().Run("CREATE TABLE IF NOT EXISTS fit (yes boolean); GRANT SELECT ON fit TO app");
  ServeFile(Pool(
      "default", Sizes(0, 1),
      "validate_query = \"SELECT count(*) FROM fit\"\nvalidate_expect = \"1\"\nvalidate_after = \"0s\""));
  v1::AcquireRequest request;
  *request.mutable_wait_timeout() = Span(std::chrono::milliseconds(300));
  EXPECT_THAT(client().Acquire(request), FailsWith(StatusCode::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
  EXPECT_THAT(server().Log(), HasSubstr("validate_query answered 0; expected 1"));
  observer().Run("INSERT INTO fit VALUES (true)");
  const Held held = AcquireFrom("default");
  EXPECT_THAT(client().Release(held.token), IsOk());
  // The one that idles is no longer fit, and nor would another be.
  observer().Run("TRUNCATE fit");
  EXPECT_THAT(client().Acquire(request), FailsWith(StatusCode::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
}

TEST_F(ConfigFileTest, APoolTakesItsFencingTokensFromItsPrimary) {
  ServeFile(Pool("default", Sizes(1, 1)) + Pool("reports", Sizes(1, 2), "primary = \"default\""));
  const uint64_t first = AcquireFrom("reports").lease.fencing_token();
  EXPECT_NE(AcquireFrom("default").lease.fencing_token() >> 20, first >> 20) << "each pool has its own block";
  EXPECT_GT(AcquireFrom("reports").lease.fencing_token(), first);
}

// --- a database of a kind that changes -----------------------------------------------------------

class TargetSessionTest : public ConfigFileTest {
 protected:
  Observer& observer() override { return postgres_.observer(); }
  std::string dsn() override { return postgres_.dsn(); }
  std::string control_dsn() override { return postgres_.control_dsn(); }

  // As a primary that is about to be demoted is, and one that was promoted.
  void Demote() { SetReadOnly("on"); }
  void Promote() { SetReadOnly("off"); }

  Outcome AcquireSoon() {
    v1::AcquireRequest request;
    *request.mutable_wait_timeout() = Span(std::chrono::milliseconds(300));
    return client().Acquire(request);
  }

 private:
  void SetReadOnly(const std::string& value) {
    observer().Run("ALTER SYSTEM SET default_transaction_read_only = " + value);
    observer().Run("SELECT pg_reload_conf()");
  }

  OwnPostgres postgres_;
};

TEST_F(TargetSessionTest, ADemotedPrimarysConnectionsAreRetiredAndNoneIsOpened) {
  ServeFile(Pool("default", Sizes(1, 2), "target_session = \"read-write\""));
  const std::vector<std::string> before = ConnectionsOf("default");
  EXPECT_THAT(client().Release(Acquire().token), IsOk());
  Demote();
  ASSERT_TRUE(Eventually([&] { return StatsOf("default").generation() == 2; }));
  ASSERT_TRUE(Eventually([&] { return StatsOf("default").available() == 0; }));
  EXPECT_THAT(AcquireSoon(), FailsWith(StatusCode::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
  EXPECT_THAT(server().Log(), HasSubstr("the database is read-only; expected read-write"));
  Promote();
  ASSERT_TRUE(Eventually([&] { return AcquireSoon().ok(); }));
  EXPECT_THAT(ConnectionsOf("default"), Not(testing::Contains(before[0])));
  EXPECT_EQ(StatsOf("default").generation(), 2U);
}

TEST_F(TargetSessionTest, APoolForStandbysOpensNothingOnAPrimary) {
  ServeFile(Pool("default", Sizes(1, 1)) +
            Pool("reports", Sizes(0, 1), "target_session = \"read-only\"\nprimary = \"default\""));
  v1::AcquireRequest request;
  request.set_pool("reports");
  *request.mutable_wait_timeout() = Span(std::chrono::milliseconds(300));
  EXPECT_THAT(client().Acquire(request), FailsWith(StatusCode::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
  Demote();
  EXPECT_TRUE(Eventually([&] { return client().Acquire(request).ok(); }));
}

// --- SIGHUP --------------------------------------------------------------------------------------

TEST_F(ConfigFileTest, ABadFileChangesNothingAndSaysWhereItIsWrong) {
  const std::string good = Pool("default", Sizes(1, 2));
  ServeFile(good);
  const Held held = Acquire();
  Reload(absl::StrCat("reflection = 5\n", good, "weight = 1\n"), "the configuration stays as it was");
  EXPECT_THAT(server().Log(), AllOf(HasSubstr(path() + ":1: reflection: "),
                                    ContainsRegex("pglessor.toml:[0-9]+: pools.default: ")));
  EXPECT_EQ(client().Execute(held.token, "SELECT 1").Value(), "int_value: 1");
  EXPECT_EQ(StatsOf("default").generation(), 1U);
  // And the next good one is taken.
  Reload(good);
}

TEST_F(ConfigFileTest, AMovedPoolIsReplacedAndItsNeighbourKeepsEverything) {
  const std::string stays = Pool("default", Sizes(2, 2));
  ServeFile(stays + Pool("reports", Sizes(2, 2)));
  const std::vector<std::string> before = ConnectionsOf("default");
  const Held held = AcquireFrom("default");
  const Held moved = AcquireFrom("reports");
  const std::string dsn = absl::StrCat(this->dsn(), " options='-c work_mem=1234kB'");
  Reload(stays + absl::StrCat("[pools.reports]\ndsn = \"", dsn, "\"\ncontrol_dsn = \"", control_dsn(), "\"\n",
                              Sizes(2, 2), "\n"));
  // Gracefully: what is leased goes on, and is replaced when it comes back.
  ASSERT_TRUE(Eventually([&] { return StatsOf("reports").generation() == 2; }));
  EXPECT_EQ(client().Execute(moved.token, "SHOW work_mem").Value(), "text_value: \"4MB\"");
  EXPECT_THAT(client().Release(moved.token), IsOk());
  EXPECT_EQ(client().Execute(AcquireFrom("reports").token, "SHOW work_mem").Value(),
            "text_value: \"1234kB\"");

  EXPECT_EQ(ConnectionsOf("default"), before);
  EXPECT_EQ(StatsOf("default").generation(), 1U);
  EXPECT_EQ(client().Execute(held.token, "SELECT 1").Value(), "int_value: 1");
}

TEST_F(ConfigFileTest, OtherLimitsCountForALivePool) {
  ServeFile(Pool("default", Sizes(1, 1)));
  const std::vector<std::string> before = ConnectionsOf("default");
  const Held held = AcquireFrom("default");
  Reload(Pool("default", Sizes(1, 2), "default_ttl = \"7s\""));
  const Held second = AcquireFrom("default");
  EXPECT_EQ(second.lease.ttl().seconds(), 7);
  EXPECT_EQ(StatsOf("default").max_connections(), 2);
  EXPECT_EQ(StatsOf("default").generation(), 1U);
  EXPECT_EQ(ConnectionsOf("default")[0], before[0]);
  EXPECT_EQ(client().Execute(held.token, "SELECT 1").Value(), "int_value: 1");
}

TEST_F(ConfigFileTest, AMovedControlConnectionIsOpenedAnew) {
  ServeFile(Pool("default", Sizes(1, 1)));
  const uint64_t token = AcquireFrom("default").lease.fencing_token();
  constexpr char kControl[] = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pglessor-control'";
  const std::string before = observer().Value(kControl);
  Reload(absl::StrCat("[pools.default]\ndsn = \"", dsn(), "\"\ncontrol_dsn = \"", control_dsn(),
                      " connect_timeout=7\"\n", Sizes(1, 1), "\n"));
  ASSERT_TRUE(Eventually([&] {
    const std::string now = observer().Value(kControl);
    return !now.empty() && now != before;
  }));
  v1::ExpireRequest all;
  all.mutable_leases()->set_pool("default");
  EXPECT_THAT(client().Expire(all), IsOk());
  EXPECT_GT(AcquireFrom("default").lease.fencing_token(), token);
}

TEST_F(ConfigFileTest, AnotherSecretCountsFromTheNextCallOn) {
  const std::string pool = Pool("default", Sizes(2, 2));
  const std::string before = "000102030405060708090a0b0c0d0e0f", after = "f0e0d0c0b0a090807060504030201000";
  const auto acquire_with = [&](const std::string& secret) -> Outcome {
    const Client::Context context = Client::NewContext();
    context->AddMetadata("authorization", "Bearer " + secret);
    return client().Acquire({}, context.get());
  };
  ServeFile(absl::StrCat("[tenants.orders]\nsecret = \"", before, "\"\n", pool));
  EXPECT_THAT(client().Acquire(), FailsWith(StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"));
  EXPECT_THAT(acquire_with(after), FailsWith(StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"));
  EXPECT_THAT(acquire_with(before), IsOk());
  Reload(absl::StrCat("[tenants.orders]\nsecret = \"", after, "\"\n", pool));
  EXPECT_THAT(acquire_with(before), FailsWith(StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"));
  EXPECT_THAT(acquire_with(after), IsOk());
  EXPECT_THAT(server().Log(), AllOf(Not(HasSubstr(before)), Not(HasSubstr(after))));
}

TEST_F(ConfigFileTest, WhatNeedsARestartIsNamed) {
  const std::string pool = Pool("default", Sizes(1, 1));
  ServeFile(pool);
  Reload("advertise = \"other:1\"\n" + pool);
  EXPECT_THAT(server().Log(), AllOf(HasSubstr("a change needs a restart"), HasSubstr("\"advertise\"")));
}

TEST_F(ConfigFileTest, WithoutAFileAHangupEndsIt) {
  Serve(1, 1);
  server().process().Signal(SIGHUP);
  EXPECT_EQ(server().process().AwaitEnd(), -SIGHUP);
}

}  // namespace
}  // namespace pglessor::system

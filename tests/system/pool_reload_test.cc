// Pools that a SIGHUP adds and removes, while their neighbours notice nothing.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"

#include "tests/support/http_client.h"
#include "tests/system/support/background.h"
#include "tests/system/support/configured_test.h"
#include "tests/system/support/operators.h"
#include "tests/system/support/own_postgres.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using grpc::health::v1::HealthCheckResponse;
using std::chrono::hours;
using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

constexpr char kGone[] = "a removed pool is gone";

class PoolReloadTest : public ConfiguredTest {
 protected:
  using Table = std::vector<std::vector<std::string>>;

  // One for all of these tests: the usual one lets nobody in but to its one database.
  static void SetUpTestSuite() { postgres_ = std::make_unique<OwnPostgres>(); }
  static void TearDownTestSuite() { postgres_.reset(); }
  Observer& observer() override { return postgres_->observer(); }
  std::string dsn() override { return postgres_->dsn(); }
  std::string control_dsn() override { return postgres_->control_dsn(); }

  // The pool "spare" has a database of its own. It can be dropped only when nobody is connected to it.
  void SetUp() override { observer().Run("CREATE DATABASE spare OWNER app"); }
  void TearDown() override {
    ConfiguredTest::TearDown();
    observer().Run("SET client_min_messages = warning");
    observer().Run("DROP DATABASE IF EXISTS spare");
  }

  std::string Default() { return Pool("default", Sizes(2, 2)); }
  std::string Spare(const std::string& sizes, const std::string& more = "") {
    return Pool("spare", dsn() + "&dbname=spare", control_dsn() + "&dbname=spare",
                absl::StrCat(sizes, "\n", more));
  }
  void ServeFor(const std::string& text, const std::string& drain_timeout) {
    ServeFile(text, {"--drain-timeout=" + drain_timeout, "--http=127.0.0.1:0", "--enable-fault-injection"});
  }

  Outcome AcquireSpare(milliseconds wait = milliseconds(300)) {
    v1::AcquireRequest request;
    request.set_pool("spare");
    *request.mutable_wait_timeout() = Span(wait);
    return client().Acquire(request);
  }
  Held HoldSpare() {
    v1::AcquireRequest request = AcquireFor(hours(1));
    request.set_pool("spare");
    return Acquire(request);
  }

  // Everything of ours in that database, the control connection too.
  Table BackendsIn(const std::string& database) {
    return observer().Rows(absl::StrCat("SELECT pid, backend_start FROM pg_stat_activity WHERE datname = '",
                                        database, "' AND application_name LIKE 'pglessor%' ORDER BY pid"));
  }
  bool AwaitBackendsInSpare(size_t count) {
    return Eventually([&] { return BackendsIn("spare").size() == count; });
  }
  test::HttpAnswer Page(const char* path) { return test::HttpGet(server().http_address(), path); }
  bool Serving() {
    const Client::Context context = Client::NewContext();
    HealthCheckResponse response;
    const auto health = grpc::health::v1::Health::NewStub(client().channel());
    return health->Check(context.get(), {}, &response).ok() &&
           response.status() == HealthCheckResponse::SERVING;
  }

 private:
  static inline std::unique_ptr<OwnPostgres> postgres_;
};

TEST_F(PoolReloadTest, AnAddedPoolServesAndItsNeighbourNoticesNothing) {
  ServeFor(Default(), "0s");
  const Held held = Acquire();
  const Table before = BackendsIn("app");
  ASSERT_EQ(before.size(), 3U);
  EXPECT_THAT(AcquireSpare(), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));

  Reload(Default() + Spare(Sizes(2, 3), "default_ttl = \"7s\""));
  ASSERT_TRUE(Eventually([&] { return StatsOf("spare").available() == 2; }));
  const Held lease = AcquireFrom("spare");
  EXPECT_EQ(lease.lease.ttl().seconds(), 7);
  EXPECT_EQ(client().Execute(lease.token, "SELECT current_database()::text").Value(),
            "text_value: \"spare\"");
  EXPECT_EQ(client().StatsOf({}).response.pools_size(), 2);
  EXPECT_THAT(Page("/metrics").body, HasSubstr("pglessor_pool_max_connections{pool=\"spare\"} 3"));
  EXPECT_THAT(server().Log(), HasSubstr("a pool was added"));

  EXPECT_EQ(BackendsIn("app"), before);
  EXPECT_EQ(StatsOf("default").generation(), 1U);
  EXPECT_EQ(client().Execute(held.token, "SELECT 1").Value(), "int_value: 1");

  // It has faults of its own.
  v1::InjectFaultRequest fault;
  fault.set_pool("spare");
  fault.set_kind(v1::FAULT_KIND_OPEN_FAILS);
  EXPECT_THAT(Operators(client()).InjectFault(fault), IsOk());
  HoldSpare();
  EXPECT_FALSE(AcquireSpare().ok());
  EXPECT_EQ(StatsOf("default").counters().opens_failed(), 0);
  EXPECT_GT(StatsOf("spare").counters().opens_failed(), 0);
}

TEST_F(PoolReloadTest, AnAddedPoolMayBeAFallback) {
  ServeFor(Default(), "0s");
  Acquire();
  Acquire();
  Reload(Pool("default", Sizes(2, 2), "fallback_pool = \"spare\"") + Spare(Sizes(1, 1)));
  ASSERT_TRUE(Eventually([&] { return StatsOf("spare").available() == 1; }));
  v1::AcquireRequest request;
  request.set_allow_fallback(true);
  *request.mutable_wait_timeout() = Span(milliseconds(50));
  EXPECT_EQ(Acquire(request).lease.pool(), "spare");
}

TEST_F(PoolReloadTest, AnAddedPoolWithoutADatabaseKeepsNobodyFromServing) {
  ServeFor(Default(), "0s");
  const std::string nowhere = "host=127.0.0.1 port=1 dbname=none user=nobody";
  Reload(Default() + Pool("nowhere", nowhere, nowhere, Sizes(1, 1)));
  ASSERT_TRUE(Eventually([&] { return StatsOf("nowhere").counters().opens_failed() > 0; }));
  EXPECT_EQ(Page("/readyz").status, 200);
  EXPECT_TRUE(Serving());
  Acquire();
  // Nor from being removed.
  Reload(Default());
  EXPECT_TRUE(Eventually([&] { return LogLines(kGone) == 1; }));
  EXPECT_EQ(client().StatsOf({}).response.pools_size(), 1);
}

TEST_F(PoolReloadTest, ARemovedPoolRefusesItsWaitersAndLetsItsLeaseFinish) {
  ServeFor(Default() + Spare(Sizes(2, 2)), "1h");
  const Held other = Acquire();
  const Table before = BackendsIn("app");
  const Held held = HoldSpare();
  const Held unused = HoldSpare();
  v1::AcquireRequest waiting = AcquireFor(hours(1));
  waiting.set_pool("spare");
  const auto waiter = StartAcquire(client(), waiting);
  ASSERT_TRUE(Eventually([&] { return StatsOf("spare").waiting() == 1; }));
  EXPECT_THAT(client().Execute(held.token, "CREATE TABLE deeds (deed text)"), IsOk());

  Reload(Default());
  EXPECT_THAT(waiter->Get(), FailsWith(StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_THAT(AcquireSpare(), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
  EXPECT_EQ(Page("/readyz").status, 200);
  EXPECT_TRUE(Serving());

  EXPECT_THAT(client().Release(unused.token), IsOk());
  ASSERT_TRUE(AwaitBackendsInSpare(2)) << "one is lent, and one is the control connection";
  EXPECT_THAT(client().Execute(held.token, "INSERT INTO deeds VALUES ('last')"), IsOk());
  EXPECT_THAT(client().Renew(held.token), IsOk());
  EXPECT_EQ(StatsOf("spare").in_use(), 1);
  EXPECT_EQ(LogLines(kGone), 0U);
  EXPECT_THAT(client().Release(held.token), IsOk());

  ASSERT_TRUE(AwaitBackendsInSpare(0));
  EXPECT_TRUE(Eventually([&] { return LogLines(kGone) == 1; }));
  observer().Run("DROP DATABASE spare");
  v1::StatsRequest of_spare;
  of_spare.set_pool("spare");
  EXPECT_THAT(client().StatsOf(of_spare), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
  EXPECT_THAT(Page("/metrics").body, Not(HasSubstr("spare")));

  EXPECT_EQ(BackendsIn("app"), before);
  EXPECT_EQ(StatsOf("default").generation(), 1U);
  EXPECT_EQ(client().Execute(other.token, "SELECT 1").Value(), "int_value: 1");
  EXPECT_THAT(client().Release(other.token), IsOk());
}

TEST_F(PoolReloadTest, ARemovedPoolsIdleConnectionsCloseAtOnce) {
  ServeFor(Default() + Spare(Sizes(3, 3)), "1h");
  ASSERT_EQ(BackendsIn("spare").size(), 4U);
  Reload(Default());
  ASSERT_TRUE(AwaitBackendsInSpare(0));
  observer().Run("DROP DATABASE spare");
}

TEST_F(PoolReloadTest, LeasesOfARemovedPoolEndAtTheDrainTimeout) {
  ServeFor(Default() + Spare(Sizes(2, 2)), "1500ms");
  const Held asleep = HoldSpare();
  const Held renewed = HoldSpare();
  const auto statement = StartExecute(client(), Statement(asleep.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(asleep.lease.backend_pid()));
  Reload(Default());
  const auto renewal = client().Renew(renewed.token);
  EXPECT_THAT(renewal, IsOk());
  EXPECT_LE(Nanoseconds(renewal.response.lease().ttl()), milliseconds(1500));
  EXPECT_EQ(statement->Get().Metadata("lease_reason"), "LEASE_DRAINED");
  ASSERT_TRUE(AwaitBackendsInSpare(0));
  EXPECT_TRUE(Eventually([&] { return LogLines(kGone) == 1; }));
  EXPECT_FALSE(client().Execute(renewed.token, "SELECT 1").ok());
}

TEST_F(PoolReloadTest, ANameIsFreeForANewPoolAtOnce) {
  ServeFor(Default() + Spare(Sizes(1, 1)), "1h");
  const Held old = HoldSpare();
  Reload(Default());
  Reload(Default() + Spare(Sizes(1, 2)));
  const Held lease = HoldSpare();
  EXPECT_GT(lease.lease.fencing_token(), old.lease.fencing_token());
  EXPECT_EQ(StatsOf("spare").max_connections(), 2) << "the one that lives";
  EXPECT_EQ(client().StatsOf({}).response.pools_size(), 2);
  EXPECT_EQ(client().Execute(old.token, "SELECT 1").Value(), "int_value: 1");
  v1::ListLeasesRequest leases;
  leases.set_pool("spare");
  EXPECT_EQ(Operators(client()).ListLeases(leases).response.leases_size(), 2);

  EXPECT_THAT(client().Release(old.token), IsOk());
  EXPECT_TRUE(Eventually([&] { return LogLines(kGone) == 1; }));
  ASSERT_TRUE(AwaitBackendsInSpare(2));
  EXPECT_EQ(client().Execute(lease.token, "SELECT 1").Value(), "int_value: 1");
  EXPECT_THAT(client().Release(lease.token), IsOk());
}

TEST_F(PoolReloadTest, APoolThatGivesTokensToOneThatStaysNeedsARestart) {
  const std::string with_primary = Spare(Sizes(1, 1), "primary = \"default\"");
  ServeFor(Default() + with_primary, "0s");
  Reload(Spare(Sizes(1, 1)));
  EXPECT_THAT(server().Log(), HasSubstr("\"pools.default\""));
  Acquire();
  EXPECT_THAT(AcquireSpare(), IsOk());
  const Table before = BackendsIn("app");
  Reload(Default() + with_primary);
  EXPECT_EQ(BackendsIn("app"), before);
  EXPECT_EQ(LogLines("a pool was added"), 0U);
}

TEST_F(PoolReloadTest, AServerThatDrainsTakesAlongWhatIsBeingRemoved) {
  ServeFor(Default() + Spare(Sizes(1, 1)), "1s");
  HoldSpare();
  Reload(Default());
  EXPECT_EQ(server().End(), 0);
  EXPECT_EQ(BackendsIn("spare").size(), 0U);
}

}  // namespace
}  // namespace pglessor::system

// What those see who watch it by HTTP: metrics that agree with Stats, health, readiness.
#include <csignal>
#include <future>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/exposition.h"
#include "tests/support/http_client.h"
#include "tests/system/support/background.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using test::Exposition;
using test::HttpAnswer;
using test::HttpGet;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Pair;

class HttpTest : public SystemTest {
 protected:
  void ServeHttp(int min_connections, int max_connections, const std::string& drain_timeout = "0s") {
    Serve(min_connections, max_connections,
          {"--http=127.0.0.1:0", absl::StrCat("--drain-timeout=", drain_timeout)});
  }
  HttpAnswer Get(const char* path) { return HttpGet(server().http_address(), path); }
};

void ExpectAgreement(const Exposition& metrics, const v1::PoolStats& stats) {
  const auto value = [&](const std::string& name, const std::string& label = "") {
    return metrics.Value(
        absl::StrCat(name, "{pool=\"default\"", label.empty() ? "" : absl::StrCat(",", label), "}"));
  };
  const auto state = [&](const char* name) {
    return value("pglessor_pool_connections", absl::StrCat("state=\"", name, "\""));
  };
  EXPECT_EQ(state("available"), stats.available());
  EXPECT_EQ(state("in_use"), stats.in_use());
  EXPECT_EQ(state("opening"), stats.opening());
  EXPECT_EQ(state("cleaning"), stats.cleaning());
  EXPECT_EQ(state("retiring"), stats.retiring());
  EXPECT_EQ(state("stuck"), stats.stuck());
  EXPECT_EQ(value("pglessor_pool_min_connections"), stats.min_connections());
  EXPECT_EQ(value("pglessor_pool_max_connections"), stats.max_connections());
  EXPECT_EQ(value("pglessor_pool_waiting"), stats.waiting());
  EXPECT_EQ(value("pglessor_pool_generation"), stats.generation());

  EXPECT_EQ(value("pglessor_pool_paused"), stats.paused());
  EXPECT_EQ(value("pglessor_pool_breaker", "state=\"closed\""), stats.breaker() == v1::BREAKER_STATE_CLOSED);
  ASSERT_EQ(stats.tenants_size(), 1);
  const v1::TenantStats& tenant = stats.tenants(0);
  const std::string of_tenant = absl::StrCat("tenant=\"", tenant.tenant(), "\"");
  EXPECT_EQ(value("pglessor_tenant_leases", of_tenant), tenant.in_use());
  EXPECT_EQ(value("pglessor_tenant_waiting", of_tenant), tenant.waiting());
  EXPECT_EQ(value("pglessor_tenant_granted_total", of_tenant), tenant.granted());
  EXPECT_EQ(value("pglessor_tenant_rejected_total", of_tenant), tenant.rejected());

  const v1::Counters& counters = stats.counters();
  const auto outcome = [&](const char* name) {
    return value("pglessor_acquires_total", absl::StrCat("outcome=\"", name, "\""));
  };
  EXPECT_EQ(value("pglessor_acquires_requested_total"), counters.acquires_requested());
  EXPECT_EQ(outcome("granted"), counters.granted());
  EXPECT_EQ(outcome("timed_out"), counters.timed_out());
  EXPECT_EQ(outcome("cancelled"), counters.cancelled());
  EXPECT_EQ(outcome("rejected"), counters.rejected());
  const auto ended = [&](const char* reason) {
    return value("pglessor_leases_ended_total", absl::StrCat("reason=\"", reason, "\""));
  };
  EXPECT_EQ(ended("released"), counters.released());
  EXPECT_EQ(ended("expired"), counters.expired());
  EXPECT_EQ(ended("revoked"), counters.revoked());
  EXPECT_EQ(ended("pool_reset"), counters.reset());
  EXPECT_EQ(ended("connection_lost"), counters.lost());
  EXPECT_EQ(ended("drained"), counters.drained());
  EXPECT_EQ(ended("unclaimed"), counters.unclaimed());
  EXPECT_EQ(value("pglessor_connections_opened_total"), counters.connections_opened());
  EXPECT_EQ(value("pglessor_connections_closed_total"), counters.connections_closed());
  EXPECT_EQ(value("pglessor_connection_open_failures_total"), counters.opens_failed());
  EXPECT_EQ(value("pglessor_acquire_wait_seconds_count"), counters.granted());
}

TEST_F(HttpTest, MetricsAgreeWithStatsWhileLeasesAreHeld) {
  ServeHttp(3, 3);
  const Held released = Acquire();
  EXPECT_THAT(client().Release(released.token), IsOk());
  const Held expired = Acquire();
  EXPECT_THAT(client().Expire(expired.token), IsOk());
  const std::vector<Held> held = {Acquire(), Acquire(), Acquire()};
  v1::AcquireRequest at_once;
  *at_once.mutable_wait_timeout() = Span(std::chrono::seconds(0));
  EXPECT_FALSE(client().Acquire(at_once).ok());
  const auto waiter = StartAcquire(client());
  ASSERT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));

  const HttpAnswer scrape = Get("/metrics");
  EXPECT_EQ(scrape.status, 200);
  EXPECT_THAT(scrape.headers, Contains(Pair("content-type", "text/plain; version=0.0.4; charset=utf-8")));
  const Exposition metrics(scrape.body);
  EXPECT_THAT(metrics.faults(), IsEmpty());
  ExpectAgreement(metrics, client().Stats());
  EXPECT_EQ(metrics.Value("pglessor_pool_connections{pool=\"default\",state=\"in_use\"}"), 3);
  EXPECT_EQ(metrics.Value("pglessor_pool_waiting{pool=\"default\"}"), 1);
  EXPECT_GT(metrics.Value("pglessor_pool_oldest_wait_seconds{pool=\"default\"}"), 0);
  EXPECT_GT(metrics.Value("pglessor_pool_longest_hold_seconds{pool=\"default\"}"), 0);
  for (const Held& each : held) {
    EXPECT_EQ(scrape.body.find(each.token), std::string::npos) << "a secret";
    EXPECT_THAT(client().Release(each.token), IsOk());
  }
  EXPECT_TRUE(waiter->Get().ok());
}

TEST_F(HttpTest, ItIsHealthyAndReady) {
  ServeHttp(1, 1);
  EXPECT_THAT(
      server().ready_line(),
      MatchesRegex("pglessor ready grpc=127\\.0\\.0\\.1:[0-9]+ gateway=off http=127\\.0\\.0\\.1:[0-9]+"));
  EXPECT_EQ(Get("/healthz").status, 200);
  EXPECT_EQ(Get("/readyz").status, 200);
  EXPECT_EQ(Get("/readyz").body, "ready\n");
  EXPECT_EQ(Get("/").status, 404);
}

TEST_F(HttpTest, WhileItDrainsItIsHealthyButNotReady) {
  ServeHttp(1, 1, "1h");
  const Held held = Acquire();
  server().process().Signal(SIGTERM);
  ASSERT_TRUE(Eventually([&] { return Get("/readyz").status == 503; }));
  EXPECT_EQ(Get("/readyz").body, "draining\n");
  EXPECT_EQ(Get("/healthz").status, 200);
  EXPECT_EQ(
      Exposition(Get("/metrics").body).Value("pglessor_pool_connections{pool=\"default\",state=\"in_use\"}"),
      1);
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST_F(HttpTest, ManyScrapesAtOnceDisturbNoLease) {
  ServeHttp(2, 2);
  std::vector<std::future<HttpAnswer>> scrapes;
  for (int i = 0; i < 200; ++i) {
    scrapes.push_back(std::async(std::launch::async, [this] { return Get("/metrics"); }));
  }
  for (int i = 0; i < 50; ++i) EXPECT_THAT(client().Release(Acquire().token), IsOk());
  for (auto& scrape : scrapes) {
    const HttpAnswer answer = scrape.get();
    EXPECT_EQ(answer.status, 200);
    EXPECT_THAT(Exposition(answer.body).faults(), IsEmpty());
  }
}

TEST_F(HttpTest, AnAddressInUseIsNamed) {
  ServeHttp(1, 1);
  const FinishedRun second =
      RunPglessor({absl::StrCat("--dsn=", dsn()), absl::StrCat("--control-dsn=", control_dsn()),
                   "--listen=127.0.0.1:0", absl::StrCat("--http=", server().http_address())});
  EXPECT_EQ(second.exit, 1);
  EXPECT_EQ(second.output, "");
  EXPECT_THAT(second.log, HasSubstr(server().http_address()));
  EXPECT_THAT(second.log, HasSubstr("in use"));
}

TEST_F(HttpTest, ACallerWhoNeverAsksDelaysNoEnd) {
  ServeHttp(1, 1);
  const test::HttpCaller idle(server().http_address());
  idle.Send("GET /metr");
  EXPECT_EQ(server().End(), 0) << "and nobody waits for them";
  EXPECT_EQ(idle.ReadAll(), "");
}

}  // namespace
}  // namespace pglessor::system

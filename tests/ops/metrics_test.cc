#include "server/ops/metrics.h"

#include <chrono>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/exposition.h"

namespace pglessor::ops {
namespace {

using core::EndReason;
using core::PoolView;
using core::SlotState;
using test::Exposition;
using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

const ServerFacts kServer{"1.2.3", "replica", core::WallTime(1700000000s)};

// Each figure is another one.
PoolView Busy(std::string name) {
  PoolView pool;
  pool.options.name = std::move(name);
  pool.options.min_connections = 31;
  pool.options.max_connections = 32;
  pool.now = core::Time(1h);
  pool.uptime = 2500ms;
  pool.snapshot.slots_in = {1, 2, 3, 4, 5, 6};
  pool.snapshot.total = 21;
  pool.snapshot.waiting = 7;
  pool.snapshot.oldest_wait = 1500ms;
  pool.snapshot.generation = 8;
  pool.snapshot.breaker = core::BreakerState::kHalfOpen;
  pool.snapshot.paused = true;
  pool.snapshot.tenants = {
      {.name = "t", .in_use = 51, .waiting = 52, .max_leases = 53, .granted = 54, .rejected = 55}};
  pool.snapshot.counters = {.acquires_requested = 100,
                            .granted = 60,
                            .timed_out = 11,
                            .cancelled = 12,
                            .rejected = 13,
                            .ended = {21, 22, 23, 24, 25, 26, 27},
                            .connections_opened = 41,
                            .connections_closed = 42,
                            .opens_failed = 43,
                            .validations = 44,
                            .validation_failures = 45};
  pool.snapshot.wait = {
      .count = 9, .p50 = 1ms, .p90 = 2ms, .p99 = 3ms, .max = 4ms, .ever_count = 60, .ever_seconds = 0.5};
  pool.snapshot.hold = {
      .count = 9, .p50 = 1s, .p90 = 2s, .p99 = 3s, .max = 4s, .ever_count = 168, .ever_seconds = 99.5};
  pool.snapshot.slots = {
      {.index = {1}, .state = SlotState::kInUse, .last_use = pool.now - 3s},
      {.index = {2}, .state = SlotState::kInUse, .last_use = pool.now - 90s},
      {.index = {3}, .state = SlotState::kAvailable, .last_use = pool.now - 1000s},
  };
  return pool;
}

TEST(Metrics, ShowsEveryFigureOfAPool) {
  const Exposition shown(MetricsText(kServer, {Busy("orders")}));
  const auto of_pool = [&](const std::string& name) { return shown.Value(name + "{pool=\"orders\"}"); };
  const auto labelled = [&](const std::string& name, const std::string& label) {
    return shown.Value(name + "{pool=\"orders\"," + label + "}");
  };
  EXPECT_EQ(labelled("pglessor_pool_connections", "state=\"opening\""), 1);
  EXPECT_EQ(labelled("pglessor_pool_connections", "state=\"available\""), 2);
  EXPECT_EQ(labelled("pglessor_pool_connections", "state=\"in_use\""), 3);
  EXPECT_EQ(labelled("pglessor_pool_connections", "state=\"cleaning\""), 4);
  EXPECT_EQ(labelled("pglessor_pool_connections", "state=\"retiring\""), 5);
  EXPECT_EQ(labelled("pglessor_pool_connections", "state=\"stuck\""), 6);
  EXPECT_EQ(of_pool("pglessor_pool_min_connections"), 31);
  EXPECT_EQ(of_pool("pglessor_pool_max_connections"), 32);
  EXPECT_EQ(of_pool("pglessor_pool_waiting"), 7);
  EXPECT_EQ(of_pool("pglessor_pool_oldest_wait_seconds"), 1.5);
  EXPECT_EQ(of_pool("pglessor_pool_longest_hold_seconds"), 90);
  EXPECT_EQ(of_pool("pglessor_pool_generation"), 8);
  EXPECT_EQ(of_pool("pglessor_pool_uptime_seconds"), 2.5);
  EXPECT_EQ(of_pool("pglessor_pool_paused"), 1);
  EXPECT_EQ(labelled("pglessor_pool_breaker", "state=\"closed\""), 0);
  EXPECT_EQ(labelled("pglessor_pool_breaker", "state=\"open\""), 0);
  EXPECT_EQ(labelled("pglessor_pool_breaker", "state=\"half_open\""), 1);

  EXPECT_EQ(labelled("pglessor_tenant_leases", "tenant=\"t\""), 51);
  EXPECT_EQ(labelled("pglessor_tenant_waiting", "tenant=\"t\""), 52);
  EXPECT_EQ(labelled("pglessor_tenant_max_leases", "tenant=\"t\""), 53);
  EXPECT_EQ(labelled("pglessor_tenant_granted_total", "tenant=\"t\""), 54);
  EXPECT_EQ(labelled("pglessor_tenant_rejected_total", "tenant=\"t\""), 55);

  EXPECT_EQ(of_pool("pglessor_acquires_requested_total"), 100);
  EXPECT_EQ(labelled("pglessor_acquires_total", "outcome=\"granted\""), 60);
  EXPECT_EQ(labelled("pglessor_acquires_total", "outcome=\"timed_out\""), 11);
  EXPECT_EQ(labelled("pglessor_acquires_total", "outcome=\"cancelled\""), 12);
  EXPECT_EQ(labelled("pglessor_acquires_total", "outcome=\"rejected\""), 13);
  EXPECT_EQ(labelled("pglessor_leases_ended_total", "reason=\"released\""), 21);
  EXPECT_EQ(labelled("pglessor_leases_ended_total", "reason=\"expired\""), 22);
  EXPECT_EQ(labelled("pglessor_leases_ended_total", "reason=\"revoked\""), 23);
  EXPECT_EQ(labelled("pglessor_leases_ended_total", "reason=\"pool_reset\""), 24);
  EXPECT_EQ(labelled("pglessor_leases_ended_total", "reason=\"connection_lost\""), 25);
  EXPECT_EQ(labelled("pglessor_leases_ended_total", "reason=\"drained\""), 26);
  EXPECT_EQ(labelled("pglessor_leases_ended_total", "reason=\"unclaimed\""), 27);
  EXPECT_EQ(of_pool("pglessor_connections_opened_total"), 41);
  EXPECT_EQ(of_pool("pglessor_connections_closed_total"), 42);
  EXPECT_EQ(of_pool("pglessor_connection_open_failures_total"), 43);
  EXPECT_EQ(of_pool("pglessor_validations_total"), 44);
  EXPECT_EQ(of_pool("pglessor_validation_failures_total"), 45);

  EXPECT_EQ(labelled("pglessor_acquire_wait_seconds", "quantile=\"0.5\""), 0.001);
  EXPECT_EQ(labelled("pglessor_acquire_wait_seconds", "quantile=\"0.9\""), 0.002);
  EXPECT_EQ(labelled("pglessor_acquire_wait_seconds", "quantile=\"0.99\""), 0.003);
  EXPECT_EQ(labelled("pglessor_acquire_wait_seconds", "quantile=\"1\""), 0.004);
  EXPECT_EQ(of_pool("pglessor_acquire_wait_seconds_count"), 60);
  EXPECT_EQ(of_pool("pglessor_acquire_wait_seconds_sum"), 0.5);
  EXPECT_EQ(labelled("pglessor_lease_hold_seconds", "quantile=\"0.99\""), 3);
  EXPECT_EQ(of_pool("pglessor_lease_hold_seconds_count"), 168);
  EXPECT_EQ(of_pool("pglessor_lease_hold_seconds_sum"), 99.5);
}

TEST(Metrics, TellsWhatRunsAndSinceWhen) {
  const Exposition shown(MetricsText(kServer, {}));
  EXPECT_EQ(shown.Value("pglessor_build_info{version=\"1.2.3\",replica=\"replica\"}"), 1);
  EXPECT_EQ(shown.Value("pglessor_process_start_time_seconds"), 1700000000);
}

TEST(Metrics, NamesTheEndReasonsInTheirOrder) {
  PoolView pool = Busy("p");
  pool.snapshot.counters.ended = {};
  pool.snapshot.counters.ended[static_cast<size_t>(EndReason::kConnectionLost)] = 5;
  const Exposition shown(MetricsText(kServer, {pool}));
  EXPECT_EQ(shown.Value("pglessor_leases_ended_total{pool=\"p\",reason=\"connection_lost\"}"), 5);
}

TEST(Metrics, IsWellFormedWhateverAPoolIsCalled) {
  const std::string text =
      MetricsText(kServer, {Busy("a"), Busy("with \"quotes\", \\ and\nlines"), Busy("ü")});
  EXPECT_THAT(Exposition(text).faults(), IsEmpty());
  EXPECT_THAT(text, HasSubstr("pglessor_pool_waiting{pool=\"with \\\"quotes\\\", \\\\ and\\nlines\"} 7\n"));
}

TEST(Metrics, IsWellFormedWithoutPools) {
  EXPECT_THAT(Exposition(MetricsText(kServer, {})).faults(), IsEmpty());
}

TEST(Metrics, ShowsTheBusiestTenantsAndSumsTheRest) {
  PoolView pool = Busy("p");
  pool.snapshot.tenants.clear();
  for (int i = 0; i < 1000; ++i) {
    pool.snapshot.tenants.push_back({.name = absl::StrCat("t", i),
                                     .in_use = 1,
                                     .waiting = 2,
                                     .max_leases = 3,
                                     .granted = i,
                                     .rejected = 4});
  }
  const Exposition shown(MetricsText(kServer, {pool}));
  EXPECT_THAT(shown.faults(), IsEmpty());
  const auto of = [&](const char* name, const char* tenant) {
    return absl::StrCat("pglessor_tenant_", name, "{pool=\"p\",tenant=\"", tenant, "\"}");
  };
  EXPECT_EQ(shown.Value(of("granted_total", "t999")), 999);
  EXPECT_EQ(shown.Value(of("granted_total", "t900")), 900);
  EXPECT_EQ(shown.series().count(of("granted_total", "t899")), 0U);
  EXPECT_EQ(shown.Value(of("leases", "_other")), 900);
  EXPECT_EQ(shown.Value(of("waiting", "_other")), 1800);
  EXPECT_EQ(shown.Value(of("granted_total", "_other")), 899 * 900 / 2);
  EXPECT_EQ(shown.Value(of("rejected_total", "_other")), 3600);
  EXPECT_EQ(shown.series().count(of("max_leases", "_other")), 0U) << "a sum of quotas means nothing";
}

TEST(Metrics, QuantilesOfNothingAreNoNumber) {
  PoolView idle = Busy("idle");
  idle.snapshot.wait = {.ever_count = 3, .ever_seconds = 1};
  const Exposition shown(MetricsText(kServer, {idle}));
  EXPECT_TRUE(std::isnan(shown.Value("pglessor_acquire_wait_seconds{pool=\"idle\",quantile=\"0.99\"}")));
  EXPECT_EQ(shown.Value("pglessor_acquire_wait_seconds_count{pool=\"idle\"}"), 3);
}

// What the checks above would find.
TEST(Exposition, FindsWhatIsWrong) {
  const auto faults = [](const std::string& text) { return Exposition(text).faults(); };
  const std::string head = "# HELP a A.\n# TYPE a gauge\n";
  EXPECT_THAT(faults(head + "a{b=\"c\",d=\"\\\"\"} 1\na 2\n"), IsEmpty());
  EXPECT_THAT(faults(head + "a 1"), Contains(HasSubstr("no end")));
  EXPECT_THAT(faults("a 1\n"), Contains(HasSubstr("no HELP")));
  EXPECT_THAT(faults("# HELP a A.\na 1\n"), Contains(HasSubstr("no TYPE")));
  EXPECT_THAT(faults(head + "a 1\na 2\n"), Contains(HasSubstr("a series twice")));
  EXPECT_THAT(faults(head + "a{b=\"c\",b=\"d\"} 1\n"), Contains(HasSubstr("a label twice")));
  EXPECT_THAT(faults(head + "a{b=\"\"\"} 1\n"), Contains(HasSubstr("no sample")));
  EXPECT_THAT(faults(head + "a{b=\"\\x\"} 1\n"), Contains(HasSubstr("no sample")));
  EXPECT_THAT(faults(head + "a one\n"), Contains(HasSubstr("no number")));
  EXPECT_THAT(faults(head + "b 1\n"), Contains(HasSubstr("no HELP")));
  EXPECT_THAT(faults(head + "a 1\n# HELP b B.\n# TYPE b gauge\na{c=\"d\"} 1\n"),
              Contains(HasSubstr("not in one piece")));
  EXPECT_THAT(faults("# HELP a A.\n# TYPE a counter\na 1\n"), Contains(HasSubstr("of that name")));
  EXPECT_THAT(faults("# HELP a_total A.\n# TYPE a_total counter\na_total -1\n"),
              Contains(HasSubstr("below zero")));
}

}  // namespace
}  // namespace pglessor::ops

#include "server/ops/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <limits>
#include <tuple>
#include <utility>

namespace pglessor::ops {
namespace {

using core::PoolCounters;
using core::PoolSnapshot;
using core::PoolView;
using core::SlotState;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

using TenantRow = PoolSnapshot::TenantRow;
using Families = std::vector<MetricFamily>;
using Pools = std::vector<PoolView>;

// By SlotState, and by EndReason.
constexpr std::array<const char*, core::kSlotStates> kStateNames = {"opening",  "available", "in_use",
                                                                    "cleaning", "retiring",  "stuck"};
constexpr std::array<const char*, core::kEndReasons> kEndReasonNames = {
    "released", "expired", "revoked", "pool_reset", "connection_lost", "drained", "unclaimed"};

constexpr std::array<const char*, 3> kBreakerNames = {"closed", "open", "half_open"};  // by BreakerState

template <typename Span>
double Seconds(Span span) {
  return std::chrono::duration<double>(span).count();
}

// How long the lease that is held longest has been held.
double LongestHold(const PoolView& pool) {
  core::Duration longest{};
  for (const PoolSnapshot::Slot& slot : pool.snapshot.slots) {
    if (slot.state == SlotState::kInUse) longest = std::max(longest, pool.now - slot.last_use);
  }
  return Seconds(longest);
}

struct PoolGauge {
  const char* name;
  const char* help;
  double (*value)(const PoolView&);
};

constexpr PoolGauge kPoolGauges[] = {
    {"pglessor_pool_min_connections", "Connections that the pool keeps open.",
     [](const PoolView& pool) { return static_cast<double>(pool.options.min_connections); }},
    {"pglessor_pool_max_connections", "Connections that the pool never exceeds.",
     [](const PoolView& pool) { return static_cast<double>(pool.options.max_connections); }},
    {"pglessor_pool_waiting", "Acquires that wait for a connection.",
     [](const PoolView& pool) { return static_cast<double>(pool.snapshot.waiting); }},
    {"pglessor_pool_oldest_wait_seconds", "How long the acquire that waits longest has waited.",
     [](const PoolView& pool) { return Seconds(pool.snapshot.oldest_wait); }},
    {"pglessor_pool_longest_hold_seconds", "How long the lease that is held longest has been held.",
     LongestHold},
    {"pglessor_pool_paused", "1 while an operator has paused the pool: nothing is granted.",
     [](const PoolView& pool) { return pool.snapshot.paused ? 1.0 : 0.0; }},
    {"pglessor_pool_generation", "Rises with every reset of the pool.",
     [](const PoolView& pool) { return static_cast<double>(pool.snapshot.generation); }},
    {"pglessor_pool_uptime_seconds", "How long the pool has been there.",
     [](const PoolView& pool) { return Seconds(pool.uptime); }},
};

struct PoolCounter {
  const char* name;
  const char* help;
  int64_t PoolCounters::*value;
};

constexpr PoolCounter kPoolCounters[] = {
    {"pglessor_acquires_requested_total",
     "Acquires that came: the sum of pglessor_acquires_total and pglessor_pool_waiting.",
     &PoolCounters::acquires_requested},
    {"pglessor_connections_opened_total", "Connections opened to PostgreSQL.",
     &PoolCounters::connections_opened},
    {"pglessor_connections_closed_total", "Connections closed, whoever closed them.",
     &PoolCounters::connections_closed},
    {"pglessor_connection_open_failures_total", "Connections that could not be opened.",
     &PoolCounters::opens_failed},
    {"pglessor_validations_total", "Probes of idle connections.", &PoolCounters::validations},
    {"pglessor_validation_failures_total", "Probes that found the connection dead.",
     &PoolCounters::validation_failures},
};

struct Outcome {
  const char* name;
  int64_t PoolCounters::*value;
};

constexpr Outcome kOutcomes[] = {
    {"granted", &PoolCounters::granted},
    {"timed_out", &PoolCounters::timed_out},
    {"cancelled", &PoolCounters::cancelled},
    {"rejected", &PoolCounters::rejected},
};

// --- families ---------------------------------------------------------------------------------------------

MetricFamily& AddFamily(Families& families, MetricType type, const char* name, const char* help) {
  families.push_back({.name = name, .help = help, .type = type, .metric = {}});
  return families.back();
}

ClientMetric& AddSeries(MetricFamily& family, std::vector<ClientMetric::Label> labels) {
  ClientMetric& series = family.metric.emplace_back();
  series.label = std::move(labels);
  return series;
}

void AddGauge(MetricFamily& family, std::vector<ClientMetric::Label> labels, double value) {
  AddSeries(family, std::move(labels)).gauge.value = value;
}

void AddCounter(MetricFamily& family, std::vector<ClientMetric::Label> labels, int64_t value) {
  AddSeries(family, std::move(labels)).counter.value = static_cast<double>(value);
}

void AddServer(Families& families, const ServerFacts& server) {
  AddGauge(AddFamily(families, MetricType::Gauge, "pglessor_build_info", "Always 1; what runs, and where."),
           {{"version", server.version}, {"replica", server.replica}}, 1);
  AddGauge(AddFamily(families, MetricType::Gauge, "pglessor_process_start_time_seconds",
                     "When the process started, as seconds since 1970."),
           {}, Seconds(server.started.time_since_epoch()));
}

void AddGauges(Families& families, const Pools& pools) {
  MetricFamily& connections =
      AddFamily(families, MetricType::Gauge, "pglessor_pool_connections",
                "Connections by state. Each counts against pglessor_pool_max_connections.");
  for (const PoolView& pool : pools) {
    for (size_t i = 0; i < kStateNames.size(); ++i) {
      AddGauge(connections, {{"pool", pool.options.name}, {"state", kStateNames[i]}},
               pool.snapshot.slots_in[i]);
    }
  }
  MetricFamily& breaker = AddFamily(families, MetricType::Gauge, "pglessor_pool_breaker",
                                    "1 for the state that the breaker of openings is in, else 0.");
  for (const PoolView& pool : pools) {
    for (size_t i = 0; i < kBreakerNames.size(); ++i) {
      AddGauge(breaker, {{"pool", pool.options.name}, {"state", kBreakerNames[i]}},
               static_cast<size_t>(pool.snapshot.breaker) == i ? 1 : 0);
    }
  }
  for (const PoolGauge& gauge : kPoolGauges) {
    MetricFamily& family = AddFamily(families, MetricType::Gauge, gauge.name, gauge.help);
    for (const PoolView& pool : pools) AddGauge(family, {{"pool", pool.options.name}}, gauge.value(pool));
  }
}

void AddCounters(Families& families, const Pools& pools) {
  for (const PoolCounter& counter : kPoolCounters) {
    MetricFamily& family = AddFamily(families, MetricType::Counter, counter.name, counter.help);
    for (const PoolView& pool : pools) {
      AddCounter(family, {{"pool", pool.options.name}}, pool.snapshot.counters.*counter.value);
    }
  }
  MetricFamily& acquires = AddFamily(families, MetricType::Counter, "pglessor_acquires_total",
                                     "Acquires that were answered, by what became of them.");
  for (const PoolView& pool : pools) {
    for (const Outcome& outcome : kOutcomes) {
      AddCounter(acquires, {{"pool", pool.options.name}, {"outcome", outcome.name}},
                 pool.snapshot.counters.*outcome.value);
    }
  }
  MetricFamily& ended =
      AddFamily(families, MetricType::Counter, "pglessor_leases_ended_total", "Leases that ended, by why.");
  for (const PoolView& pool : pools) {
    for (size_t i = 0; i < kEndReasonNames.size(); ++i) {
      AddCounter(ended, {{"pool", pool.options.name}, {"reason", kEndReasonNames[i]}},
                 pool.snapshot.counters.ended[i]);
    }
  }
}

// The rows that are shown, and behind them, if there are more, the sum of the rest. By grants, since whoever
// has many keeps them: a row that joined the rest and left it again would look like a counter that restarts.
std::vector<TenantRow> BusiestTenants(std::vector<TenantRow> rows) {
  std::sort(rows.begin(), rows.end(), [](const TenantRow& a, const TenantRow& b) {
    return std::tie(b.granted, a.name) < std::tie(a.granted, b.name);
  });
  if (rows.size() <= kShownTenants) return rows;
  TenantRow others{.name = kOtherTenants};
  for (size_t i = kShownTenants; i < rows.size(); ++i) {
    others.in_use += rows[i].in_use;
    others.waiting += rows[i].waiting;
    others.granted += rows[i].granted;
    others.rejected += rows[i].rejected;
  }
  rows.resize(kShownTenants);
  rows.push_back(std::move(others));
  return rows;
}

void AddTenants(Families& families, const Pools& pools) {
  Families of_tenants;
  AddFamily(of_tenants, MetricType::Gauge, "pglessor_tenant_leases", "Leases that the tenant has.");
  AddFamily(of_tenants, MetricType::Gauge, "pglessor_tenant_waiting", "Acquires of the tenant that wait.");
  AddFamily(of_tenants, MetricType::Gauge, "pglessor_tenant_max_leases",
            "Leases and waiting acquires that the tenant may have; 0 = no quota.");
  AddFamily(of_tenants, MetricType::Counter, "pglessor_tenant_granted_total",
            "Leases that the tenant was granted.");
  AddFamily(of_tenants, MetricType::Counter, "pglessor_tenant_rejected_total",
            "Acquires of the tenant that were refused.");
  for (const PoolView& pool : pools) {
    for (const TenantRow& row : BusiestTenants(pool.snapshot.tenants)) {
      const std::vector<ClientMetric::Label> labels = {{"pool", pool.options.name}, {"tenant", row.name}};
      AddGauge(of_tenants[0], labels, row.in_use);
      AddGauge(of_tenants[1], labels, row.waiting);
      if (row.name != kOtherTenants) AddGauge(of_tenants[2], labels, row.max_leases);
      AddCounter(of_tenants[3], labels, row.granted);
      AddCounter(of_tenants[4], labels, row.rejected);
    }
  }
  std::move(of_tenants.begin(), of_tenants.end(), std::back_inserter(families));
}

// Quantiles over the last minute, of which 1 is the maximum; sum and count since the start.
void AddSummary(Families& families, const Pools& pools, const char* name, const char* help,
                core::DurationSummary PoolSnapshot::*durations) {
  MetricFamily& family = AddFamily(families, MetricType::Summary, name, help);
  for (const PoolView& pool : pools) {
    const core::DurationSummary& recent = pool.snapshot.*durations;
    // Of nothing there is no quantile.
    const auto value = [&](core::Duration span) {
      return recent.count == 0 ? std::numeric_limits<double>::quiet_NaN() : Seconds(span);
    };
    ClientMetric::Summary& summary = AddSeries(family, {{"pool", pool.options.name}}).summary;
    summary.sample_count = static_cast<uint64_t>(recent.ever_count);
    summary.sample_sum = recent.ever_seconds;
    summary.quantile = {{.quantile = 0.5, .value = value(recent.p50)},
                        {.quantile = 0.9, .value = value(recent.p90)},
                        {.quantile = 0.99, .value = value(recent.p99)},
                        {.quantile = 1, .value = value(recent.max)}};
  }
}

}  // namespace

std::string MetricsText(const ServerFacts& server, const std::vector<core::PoolView>& pools) {
  Families families;
  AddServer(families, server);
  AddGauges(families, pools);
  AddCounters(families, pools);
  AddTenants(families, pools);
  AddSummary(families, pools, "pglessor_acquire_wait_seconds",
             "How long acquires waited until they were granted; quantiles over the last minute.",
             &PoolSnapshot::wait);
  AddSummary(families, pools, "pglessor_lease_hold_seconds",
             "How long leases were held until they ended; quantiles over the last minute.",
             &PoolSnapshot::hold);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace pglessor::ops

// The keys of pools and of tenants in them, as tables: name, field, bounds. Each is described in
// docs/configuration.md, with its default.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "server/config_table.h"
#include "server/core/options.h"
#include "server/ops/log.h"
#include "server/postgres/target_session.h"

namespace pglessor {

template <typename Options>
struct TimeKey {
  const char* name;
  core::Duration Options::*field;
  core::Duration least;
  core::Duration most;
};
template <typename Options, typename Number>
struct NumberKey {
  const char* name;
  Number Options::*field;
  Number least;
  Number most;
};

inline constexpr size_t kMostWaiters = 1'000'000;
inline constexpr core::Duration kMillisecond = std::chrono::milliseconds(1);
inline constexpr core::Duration kYear = std::chrono::hours(24 * 365);

inline constexpr TimeKey<core::PoolOptions> kPoolTimes[] = {
    {"default_ttl", &core::PoolOptions::default_ttl, kMillisecond, kYear},
    {"min_ttl", &core::PoolOptions::min_ttl, kMillisecond, kYear},
    {"max_ttl", &core::PoolOptions::max_ttl, kMillisecond, kYear},
    {"max_lease_lifetime", &core::PoolOptions::max_lease_lifetime, kMillisecond, kYear},
    {"acquire_timeout", &core::PoolOptions::acquire_timeout, core::Duration::zero(), kYear},
    {"unclaimed_timeout", &core::PoolOptions::unclaimed_timeout, core::Duration::zero(),
     std::chrono::hours(1)},
    {"connect_timeout", &core::PoolOptions::connect_timeout, std::chrono::milliseconds(10),
     std::chrono::minutes(10)},
    {"first_open_backoff", &core::PoolOptions::first_open_backoff, kMillisecond, std::chrono::hours(1)},
    {"max_open_backoff", &core::PoolOptions::max_open_backoff, kMillisecond, std::chrono::hours(1)},
    {"validate_after", &core::PoolOptions::validate_after, core::Duration::zero(), kYear},
    {"keepalive", &core::PoolOptions::keepalive, core::Duration::zero(), kYear},
    {"idle_timeout", &core::PoolOptions::idle_timeout, core::Duration::zero(), kYear},
    {"max_lifetime", &core::PoolOptions::max_lifetime, core::Duration::zero(), kYear},
    {"age_step", &core::PoolOptions::age_step, core::Duration::zero(), kYear},
    {"degrade_after", &core::PoolOptions::degrade_after, core::Duration::zero(), kYear},
    {"breaker_probe_interval", &core::PoolOptions::breaker_probe_interval, std::chrono::milliseconds(10),
     std::chrono::hours(1)},
    {"max_think_time", &core::PoolOptions::max_think_time, core::Duration::zero(), kYear},
    {"max_idle_in_transaction", &core::PoolOptions::max_idle_in_transaction, core::Duration::zero(), kYear},
    {"leak_warning", &core::PoolOptions::leak_warning, core::Duration::zero(), kYear},
};

inline constexpr NumberKey<core::PoolOptions, int32_t> kPoolNumbers[] = {
    {"min_connections", &core::PoolOptions::min_connections, 0, core::kMostConnections},
    {"max_connections", &core::PoolOptions::max_connections, 1, core::kMostConnections},
    {"max_concurrent_opens", &core::PoolOptions::max_concurrent_opens, 1, core::kMostConnections},
    {"breaker_failures", &core::PoolOptions::breaker_failures, 1, 1000},
};

inline constexpr NumberKey<core::PoolOptions, size_t> kPoolSizes[] = {
    {"max_waiters", &core::PoolOptions::max_waiters, 1, kMostWaiters},
};

inline constexpr NumberKey<core::TenantLimits, int32_t> kTenantNumbers[] = {
    {"max_leases", &core::TenantLimits::max_leases, 0, 1'000'000},
    {"guaranteed", &core::TenantLimits::guaranteed, 0, core::kMostConnections},
    {"weight", &core::TenantLimits::weight, 1, core::kMostWeight},
    {"burst", &core::TenantLimits::burst, 0, 1'000'000},
};

inline constexpr NumberKey<core::TenantLimits, double> kTenantRates[] = {
    {"acquires_per_second", &core::TenantLimits::acquires_per_second, 0, 1e6},
};

inline constexpr Named<ops::LogLevel> kLogLevels[] = {
    {"debug", ops::LogLevel::kDebug},
    {"info", ops::LogLevel::kInfo},
    {"warning", ops::LogLevel::kWarning},
    {"error", ops::LogLevel::kError},
};
inline constexpr Named<core::Isolation> kIsolations[] = {
    {"session", core::Isolation::kSession},
    {"connection", core::Isolation::kConnection},
};
inline constexpr Named<postgres::TargetSession> kTargetSessions[] = {
    {"any", postgres::TargetSession::kAny},
    {"read-write", postgres::TargetSession::kReadWrite},
    {"read-only", postgres::TargetSession::kReadOnly},
};
inline constexpr Named<core::Warmup> kWarmups[] = {
    {"lazy", core::Warmup::kLazy},
    {"minimum", core::Warmup::kMinimum},
    {"maximum", core::Warmup::kMaximum},
    {"forecast", core::Warmup::kForecast},
};
inline constexpr Named<core::Priority> kPriorities[] = {
    {"low", core::Priority::kLow},
    {"normal", core::Priority::kNormal},
    {"high", core::Priority::kHigh},
};

}  // namespace pglessor

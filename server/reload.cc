#include "server/reload.h"

#include <chrono>
#include <string>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "server/config_change.h"

namespace pglessor {

Reload::Reload(Config config, ReadConfig read, Reloaded reloaded, const ops::Log& log)
    : config_(std::move(config)), read_(std::move(read)), reloaded_(reloaded), log_(log) {}

void Reload::Run() {
  CommandLine read = read_();
  if (const auto* const faults = std::get_if<Faults>(&read)) {
    for (const std::string& line : faults->lines)
      log_.Error("a fault in the configuration", {{"fault", line}});
    log_.Error("the configuration stays as it was", {{"file", config_.file}});
    return;
  }
  // The command line is the same, and so it asks for a server still.
  TakeOver(std::get<Config>(read));
}

void Reload::TakeOver(const Config& config) {
  const ConfigChange change = Compare(config_, config);
  if (!config.identities.empty()) reloaded_.rpc.Replace(config.identities);
  // First, since others may name them as their fallback.
  reloaded_.edges.Add(reloaded_.lessor, change.added);
  for (const PoolConfig& pool : change.added) {
    log_.Info("a pool was added", {{"pool", pool.options.name}});
  }
  for (const PoolConfig& pool : change.moved) {
    reloaded_.edges.Move(pool);
    const std::string& name = pool.options.name;
    log_.Info("the pool's DSN or validation has changed: its connections are replaced", {{"pool", name}});
    reloaded_.lessor.Reset(name, /*force=*/false, "its configuration has changed", [](const auto&) {});
  }
  for (const PoolConfig& pool : change.limits) {
    const std::string& name = pool.options.name;
    const absl::Status taken = reloaded_.lessor.Reconfigure(pool.options);
    if (taken.ok()) {
      log_.Info("the pool has other limits", {{"pool", name}});
    } else {
      log_.Error("the pool keeps its limits", {{"pool", name}, {"reason", taken.message()}});
    }
  }
  for (const std::string& pool : change.removed) Remove(pool, config.drain_timeout);
  for (const std::string& key : change.needs_restart) {
    log_.Warning("a change needs a restart", {{"key", key}});
  }
  log_.Info("the configuration was read again", {{"file", config.file}});
  config_ = config;
  config_.pools = change.pools;
}

void Reload::Remove(const std::string& pool, core::Duration timeout) {
  log_.Info("a pool is removed: it grants no more, and its leases have until the drain timeout to end",
            {{"pool", pool}, {"timeout_ms", absl::StrCat(timeout / std::chrono::milliseconds(1))}});
  reloaded_.edges.Remove(reloaded_.lessor, pool, timeout, [this, pool](core::Pool::Stage stage) {
    if (stage == core::Pool::Stage::kGone) {
      log_.Info("a removed pool is gone: none of its connections is left", {{"pool", pool}});
    } else {
      log_.Warning("a removed pool is given up: PostgreSQL has not confirmed the end of every connection",
                   {{"pool", pool}});
    }
  });
}

}  // namespace pglessor

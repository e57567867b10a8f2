#include "server/reload.h"

#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

#include "server/config_change.h"

namespace pglessor {

Reload::Reload(Config config, ReadConfig read, core::Lessor& lessor, PoolEdges& edges, const ops::Log& log)
    : config_(std::move(config)), read_(std::move(read)), lessor_(lessor), edges_(edges), log_(log) {}

void Reload::Run() {
  CommandLine read = read_();
  if (const auto* const faults = std::get_if<Faults>(&read)) {
    for (const std::string& line : faults->lines)
      log_.Error("a fault in the configuration", {{"fault", line}});
    log_.Error("the configuration stays as it was", {{"file", config_.file}});
    return;
  }
  // The command line is the same, and so it asks for a server still.
  Config& config = std::get<Config>(read);
  TakeOver(config);
  config_ = std::move(config);
}

void Reload::TakeOver(const Config& config) {
  const ConfigChange change = Compare(config_, config);
  for (const PoolConfig& pool : change.moved) {
    edges_.Move(pool);
    const std::string& name = pool.options.name;
    log_.Info("the pool's DSN or validation has changed: its connections are replaced", {{"pool", name}});
    lessor_.Reset(name, /*force=*/false, "its configuration has changed", [](const auto&) {});
  }
  for (const PoolConfig& pool : change.limits) {
    log_.Warning("a change needs a restart", {{"key", absl::StrCat("pools.", pool.options.name)}});
  }
  for (const std::string& key : change.needs_restart) {
    log_.Warning("a change needs a restart", {{"key", key}});
  }
  log_.Info("the configuration was read again", {{"file", config.file}});
}

}  // namespace pglessor

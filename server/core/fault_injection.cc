#include "server/core/fault_injection.h"

#include "server/core/check.h"
#include "server/core/faulty_connector.h"

namespace pglessor::core {
namespace {

// Even from 0 to below 1. The standard's own distributions differ from library to library.
double NextFraction(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

}  // namespace

void Faults::Set(const Fault& fault) {
  const MutexLock lock(mutex_);
  active_[static_cast<size_t>(fault.kind)].emplace(Active{fault, std::mt19937_64(fault.seed)});
}

void Faults::Clear() {
  const MutexLock lock(mutex_);
  active_ = {};
}

std::optional<Fault> Faults::Strike(FaultKind kind) {
  const MutexLock lock(mutex_);
  std::optional<Active>& active = active_[static_cast<size_t>(kind)];
  if (!active || NextFraction(active->random) >= active->fault.probability) return std::nullopt;
  const Fault fault = active->fault;
  if (fault.count == 1) {
    active.reset();
  } else if (fault.count > 1) {
    --active->fault.count;
  }
  return fault;
}

Connector& FaultInjection::Wrap(const std::string& pool, Connector& connector) {
  const MutexLock lock(mutex_);
  Pool& entry = pools_.emplace_back();
  entry.connector = std::make_unique<FaultyConnector>(connector, entry.faults, clock_, executor_);
  by_name_[pool] = &entry;
  return *entry.connector;
}

Faults& FaultInjection::Of(const std::string& pool) {
  const MutexLock lock(mutex_);
  const auto entry = by_name_.find(pool);
  PGLESSOR_CHECK(entry != by_name_.end(), "every pool has its faults, or none has");
  return entry->second->faults;
}

}  // namespace pglessor::core

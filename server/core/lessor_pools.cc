// Pools that come, change and go while others serve: Lessor's AddPool, RemovePool and Reconfigure, and which
// pool a name means.
#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"
#include "server/core/lessor.h"

namespace pglessor::core {
namespace {

absl::StatusOr<Pool*> Found(Pool* pool, absl::string_view name) {
  if (pool != nullptr) return pool;
  return MakeError(absl::StatusCode::kNotFound, absl::StrCat("there is no pool named \"", name, "\""),
                   {.reason = reason::kPoolNotFound});
}

}  // namespace

void Lessor::AddPool(const PoolOptions& options, Connector& connector, FencingSource& fencing) {
  const auto lost = [this](LeaseCounter lease) {
    EndUnasked(lease, {EndReason::kConnectionLost, Disposition::kDiscard});
  };
  Pool& pool = pools_.Add(
      std::make_unique<Pool>(options, Pool::Surroundings{clock_, events_}, connector, fencing, lost));
  // A drain that began before has not seen it; one that begins from now on will.
  if (draining_) pool.Drain();
  pool.Start();
}

absl::Status Lessor::RemovePool(absl::string_view name, Duration timeout, Pools::Gone gone) {
  Pool* const pool = pools_.Remove(name, gone);
  if (pool == nullptr) return Found(nullptr, name).status();
  pool->Leave(SaturatingAdd(clock_.Now(), timeout));
  return absl::OkStatus();
}

void Lessor::SeeOff(Pool& pool) {
  const Pool::Departure departure = pool.Depart();
  for (const LeaseCounter lease : departure.overdue) {
    EndUnasked(lease, {EndReason::kDrained, Disposition::kDiscard});
  }
  if (departure.stage == Pool::Stage::kLeaving) return;
  if (Pools::Gone gone = pools_.Forget(pool)) gone(departure.stage);
}

absl::Status Lessor::Reconfigure(const PoolOptions& options) {
  return Reconfigure(options.name, [&](const PoolOptions&) { return options; }).status();
}

absl::StatusOr<PoolOptions> Lessor::Reconfigure(absl::string_view name, OptionsChange change) {
  const absl::StatusOr<Pool*> pool = FindPool(name);
  if (!pool.ok()) return pool.status();
  for (;;) {
    const std::shared_ptr<const PoolOptions> before = (*pool)->options();
    absl::StatusOr<PoolOptions> after = change(*before);
    if (!after.ok()) return after;
    if (absl::Status fault = CheckOptions(*after); !fault.ok()) return fault;
    if ((*pool)->Reconfigure(before, *after)) return after;
  }
}

absl::Status Lessor::CheckPool(absl::string_view name) const { return FindShownPool(name).status(); }

absl::StatusOr<Pool*> Lessor::FindPool(absl::string_view name) const {
  return Found(pools_.Find(name), name);
}

absl::StatusOr<Pool*> Lessor::FindPool(const AcquireRequest& request) const {
  Pool* pool = pools_.Find(request.pool);
  // A retry is no new acquire: a lease that was granted before its pool was removed, or by the fallback of
  // one that has gone since, is still to be had.
  if (pool == nullptr && !request.request_id.empty()) pool = requests_.PoolOf(request);
  return Found(pool, request.pool);
}

absl::StatusOr<Pool*> Lessor::FindShownPool(absl::string_view name) const {
  return Found(pools_.FindShown(name), name);
}

Time Lessor::LatestExpiry(const Pool& pool) const {
  return std::min(latest_expiry_.load(), pool.latest_expiry());
}

}  // namespace pglessor::core

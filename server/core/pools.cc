#include "server/core/pools.h"

#include <algorithm>
#include <utility>

#include "server/core/check.h"

namespace pglessor::core {

Pool& Pools::Add(std::unique_ptr<Pool> pool) {
  const MutexLock lock(mutex_);
  Pool& added = *owned_.emplace_back(std::move(pool));
  const bool free = living_.emplace(added.name(), &added).second;
  PGLESSOR_CHECK(free, "one pool at most lives under a name");
  return added;
}

Pool* Pools::Remove(absl::string_view name, Gone& gone) {
  const MutexLock lock(mutex_);
  const auto found = living_.find(name);
  if (found == living_.end()) return nullptr;
  Pool* const pool = found->second;
  living_.erase(found);
  leaving_.push_back({pool, std::move(gone)});
  return pool;
}

Pools::Gone Pools::Forget(const Pool& pool) {
  const MutexLock lock(mutex_);
  const auto removed =
      std::find_if(leaving_.begin(), leaving_.end(), [&](const Removed& each) { return each.pool == &pool; });
  if (removed == leaving_.end()) return nullptr;
  Gone gone = std::move(removed->gone);
  leaving_.erase(removed);
  return gone;
}

Pool* Pools::Find(absl::string_view name) const {
  const MutexLock lock(mutex_);
  const auto found = living_.find(name);
  return found == living_.end() ? nullptr : found->second;
}

Pool* Pools::FindShown(absl::string_view name) const {
  const MutexLock lock(mutex_);
  if (const auto found = living_.find(name); found != living_.end()) return found->second;
  const auto last = std::find_if(leaving_.rbegin(), leaving_.rend(),
                                 [&](const Removed& each) { return each.pool->name() == name; });
  return last == leaving_.rend() ? nullptr : last->pool;
}

std::vector<Pool*> Pools::Living() const {
  std::vector<Pool*> pools;
  const MutexLock lock(mutex_);
  AppendLiving(pools);
  return pools;
}

std::vector<Pool*> Pools::Leaving() const {
  std::vector<Pool*> pools;
  const MutexLock lock(mutex_);
  AppendLeaving(pools);
  return pools;
}

std::vector<Pool*> Pools::All() const {
  std::vector<Pool*> pools;
  const MutexLock lock(mutex_);
  AppendLiving(pools);
  AppendLeaving(pools);
  return pools;
}

void Pools::AppendLiving(std::vector<Pool*>& pools) const {
  for (const auto& [name, pool] : living_) pools.push_back(pool);
}

void Pools::AppendLeaving(std::vector<Pool*>& pools) const {
  for (const Removed& removed : leaving_) pools.push_back(removed.pool);
}

std::vector<Pool*> Pools::Shown() const {
  std::map<absl::string_view, Pool*> by_name;
  {
    const MutexLock lock(mutex_);
    for (const Removed& removed : leaving_) by_name[removed.pool->name()] = removed.pool;
    for (const auto& [name, pool] : living_) by_name[name] = pool;
  }
  std::vector<Pool*> pools;
  for (const auto& [name, pool] : by_name) pools.push_back(pool);
  return pools;
}

}  // namespace pglessor::core

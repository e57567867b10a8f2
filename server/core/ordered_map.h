// A concurrent map in insertion order, sharded by lock: the registry of connections and of leases.
//
// Keys come from rising counters, so insertion order is key order, and a page of "oldest first" is a
// range of keys. A pool of twenty is found by every call of every caller: one lock for all of them would
// be the hottest in the process, so entries are spread over shards, neighbours onto different ones.
//
// Threads: every member may be called from any thread. An entry is found and changed under its shard's
//   lock; no reference leaves it, and no call holds two shards' locks. What is passed in (`use`,
//   `project`) runs under that lock: it decides and copies, and must not call out, block, or come back
//   into the map.
// Order: `Page` goes shard by shard and merges. It is weakly consistent: an entry that is there from the
//   beginning of the call to its end appears exactly once, in key order; one that comes or goes meanwhile
//   may or may not.
// Cost: insert, find and erase O(log(n / shards)) under one shard's lock; a page of k entries
//   O(shards * (log n + k)).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"

#include "server/core/mutex.h"

namespace pglessor::core {

template <typename Key, typename Value, size_t kShards = 16>
class OrderedMap {
 public:
  // False, and nothing changed, if `key` is there already.
  bool Insert(Key key, Value value) {
    Shard& shard = ShardOf(key);
    const MutexLock lock(shard.mutex);
    return shard.entries.try_emplace(key, std::move(value)).second;
  }

  // Calls use(Value&) under the entry's lock; false if there is none.
  template <typename Use>
  bool With(Key key, Use&& use) {
    Shard& shard = ShardOf(key);
    const MutexLock lock(shard.mutex);
    const auto entry = shard.entries.find(key);
    if (entry == shard.entries.end()) return false;
    std::forward<Use>(use)(entry->second);
    return true;
  }

  // The erased value, so that it is destroyed outside the lock; nothing if there was none.
  std::optional<Value> Erase(Key key) {
    Shard& shard = ShardOf(key);
    const MutexLock lock(shard.mutex);
    const auto entry = shard.entries.find(key);
    if (entry == shard.entries.end()) return std::nullopt;
    std::optional<Value> value(std::move(entry->second));
    shard.entries.erase(entry);
    return value;
  }

  // The first `limit` entries with a key above `after` (all keys if unset) for which
  // project(key, const Value&) yields something, in key order, as what it yields: an std::optional<T>.
  template <typename Project>
  auto Page(std::optional<Key> after, size_t limit, Project&& project) const {
    using Projected = std::invoke_result_t<Project&, Key, const Value&>;
    std::vector<std::pair<Key, typename Projected::value_type>> page;
    for (const Shard& shard : shards_) {
      const MutexLock lock(shard.mutex);
      auto entry = after ? shard.entries.upper_bound(*after) : shard.entries.begin();
      for (size_t taken = 0; taken < limit && entry != shard.entries.end(); ++entry) {
        if (Projected projected = project(entry->first, entry->second)) {
          page.emplace_back(entry->first, *std::move(projected));
          ++taken;
        }
      }
    }
    std::sort(page.begin(), page.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    if (page.size() > limit) page.erase(page.begin() + static_cast<ptrdiff_t>(limit), page.end());
    return page;
  }

  // Exact while nobody writes.
  size_t size() const {
    size_t total = 0;
    for (const Shard& shard : shards_) {
      const MutexLock lock(shard.mutex);
      total += shard.entries.size();
    }
    return total;
  }

 private:
  // On cache lines of its own: two shards' locks must not slow each other down.
  struct alignas(64) Shard {
    mutable Mutex mutex;
    absl::btree_map<Key, Value> entries ABSL_GUARDED_BY(mutex);
  };

  Shard& ShardOf(Key key) { return shards_[key.value % kShards]; }

  std::array<Shard, kShards> shards_;
};

}  // namespace pglessor::core

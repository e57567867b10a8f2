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
//   O(shards * log n + k * log shards) where the shards have like shares of it, as with rising keys.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
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
    if (limit == 0) return page;
    // How far each shard was looked through, and whether there is more. Of each its share is enough, and it
    // is asked again only where it holds more of the page.
    std::array<std::optional<Key>, kShards> through;
    through.fill(after);
    std::array<bool, kShards> more;
    more.fill(true);
    const size_t share = limit / kShards + 2;
    page.reserve(std::min(limit, kShards * SizeOf(shards_.front())) + 2 * kShards);
    for (;;) {
      std::optional<Key> last;
      if (page.size() >= limit) last = page[limit - 1].first;
      std::vector<size_t> begins;
      if (!page.empty()) begins.push_back(0);
      bool asked = false;
      for (size_t i = 0; i < kShards; ++i) {
        if (!more[i] || (last && *last <= *through[i])) continue;
        asked = true;
        begins.push_back(page.size());
        more[i] = TakeBehind(through[i], shards_[i], share, project, page);
      }
      if (!asked) break;
      MergeParts(page, std::move(begins));
    }
    if (page.size() > limit) page.erase(page.begin() + static_cast<ptrdiff_t>(limit), page.end());
    return page;
  }

  // Exact while nobody writes.
  size_t size() const {
    size_t total = 0;
    for (const Shard& shard : shards_) total += SizeOf(shard);
    return total;
  }

 private:
  // On cache lines of its own: two shards' locks must not slow each other down.
  struct alignas(64) Shard {
    mutable Mutex mutex;
    absl::btree_map<Key, Value> entries ABSL_GUARDED_BY(mutex);
  };

  static size_t SizeOf(const Shard& shard) {
    const MutexLock lock(shard.mutex);
    return shard.entries.size();
  }

  // Appends the first `limit` that `project` wants behind `through`, which moves on to the last one seen;
  // false if there are no more.
  template <typename Project, typename Page>
  static bool TakeBehind(std::optional<Key>& through, const Shard& shard, size_t limit, Project& project,
                         Page& page) {
    const MutexLock lock(shard.mutex);
    auto entry = through ? shard.entries.upper_bound(*through) : shard.entries.begin();
    for (size_t taken = 0; entry != shard.entries.end(); ++entry) {
      if (taken == limit) return true;
      through = entry->first;
      if (auto projected = project(entry->first, entry->second)) {
        page.emplace_back(entry->first, *std::move(projected));
        ++taken;
      }
    }
    return false;
  }

  // Sorts what is sorted from each of `begins` to the next: by merging neighbours, until one is left.
  template <typename Page>
  static void MergeParts(Page& page, std::vector<size_t> begins) {
    Page merged;
    while (begins.size() > 1) {
      const auto begin_of = [&](size_t part) {
        const size_t at = part < begins.size() ? begins[part] : page.size();
        return std::make_move_iterator(page.begin() + static_cast<ptrdiff_t>(at));
      };
      std::vector<size_t> next;
      merged.clear();
      merged.reserve(page.size());
      for (size_t i = 0; i < begins.size(); i += 2) {
        next.push_back(merged.size());
        std::merge(begin_of(i), begin_of(i + 1), begin_of(i + 1), begin_of(i + 2), std::back_inserter(merged),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
      }
      page.swap(merged);
      begins = std::move(next);
    }
  }

  Shard& ShardOf(Key key) { return shards_[key.value % kShards]; }

  std::array<Shard, kShards> shards_;
};

}  // namespace pglessor::core

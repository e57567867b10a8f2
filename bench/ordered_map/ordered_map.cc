// P11: core::OrderedMap beside one mutex over std::map and one over absl::btree_map.
//
//   script/bench P11        in turn, as ratios
//   ordered_map_bench       once; about a minute
//
// Prints nanoseconds an operation, over all threads together, by number of entries and of threads:
//   mixed      of 1,000 operations 900 find one at random, 49 insert behind the last, 49 erase the first, and
//   2
//              copy the first 100 in order, as whoever lists leases does. Ours erases the first by its key,
//              as core::LeaseTable does, who knows it; the others theirs, which is begin()
// and, of one thread, an ordered copy of all entries, and erase-first + insert.
#include "server/core/ordered_map.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/strings/str_cat.h"

#include "bench/support/figures.h"
#include "server/core/ids.h"

namespace pglessor::bench {
namespace {

using Key = core::LeaseCounter;
using Entries = std::vector<std::pair<Key, uint64_t>>;

constexpr size_t kSizes[] = {1'000, 100'000, 1'000'000};
constexpr int kThreads[] = {1, 2, 4, 16};
constexpr std::chrono::milliseconds kCellTime(300);
constexpr size_t kPage = 100;

class Ours {
 public:
  void Insert(Key key, uint64_t value) { map_.Insert(key, value); }
  bool Find(Key key, uint64_t& value) {
    return map_.With(key, [&](uint64_t found) { value = found; });
  }
  void EraseFirst(Key first) { map_.Erase(first); }
  Entries First(size_t limit) {
    return map_.Page(std::nullopt, limit, [](Key, uint64_t value) { return std::optional(value); });
  }

 private:
  core::OrderedMap<Key, uint64_t> map_;
};

template <typename Map>
class UnderOneMutex {
 public:
  void Insert(Key key, uint64_t value) {
    const std::scoped_lock lock(mutex_);
    map_.try_emplace(key, value);
  }
  bool Find(Key key, uint64_t& value) {
    const std::scoped_lock lock(mutex_);
    const auto entry = map_.find(key);
    if (entry == map_.end()) return false;
    value = entry->second;
    return true;
  }
  void EraseFirst(Key) {
    const std::scoped_lock lock(mutex_);
    if (!map_.empty()) map_.erase(map_.begin());
  }
  Entries First(size_t limit) {
    Entries first;
    const std::scoped_lock lock(mutex_);
    first.reserve(std::min(limit, map_.size()));
    for (auto entry = map_.begin(); entry != map_.end() && first.size() < limit; ++entry) {
      first.emplace_back(entry->first, entry->second);
    }
    return first;
  }

 private:
  std::mutex mutex_;
  Map map_;
};

// The keys that are there: above `erased`, up to `inserted`.
struct Range {
  std::atomic<uint64_t> erased{0};
  std::atomic<uint64_t> inserted{0};
  size_t size = 0;
};

// What it found, so that the compiler cannot leave it out.
template <typename Map>
uint64_t MixedOperation(Map& map, Range& range, std::minstd_rand& random) {
  uint64_t value = 0;
  const unsigned chosen = random() % 1'000;
  if (chosen < 900) {
    map.Find(Key{range.erased.load(std::memory_order_relaxed) + 1 + random() % range.size}, value);
  } else if (chosen < 998) {
    map.Insert(Key{++range.inserted}, chosen);
    map.EraseFirst(Key{++range.erased});
  } else {
    value = map.First(kPage).size();
  }
  return value;
}

template <typename Map>
double Mixed(Map& map, Range& range, int threads) {
  std::atomic<bool> stop{false};
  std::atomic<int64_t> operations{0};
  std::atomic<uint64_t> found{0};
  std::vector<std::thread> running;
  const auto start = Clock::now();
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      std::minstd_rand random(static_cast<unsigned>(i) + 1);
      int64_t own = 0;
      uint64_t sum = 0;
      for (; !stop.load(std::memory_order_relaxed); ++own) sum += MixedOperation(map, range, random);
      operations += own;
      found += sum;
    });
  }
  std::this_thread::sleep_for(kCellTime);
  stop = true;
  for (std::thread& thread : running) thread.join();
  return NanosecondsSince(start) / static_cast<double>(operations);
}

// How long one takes of a thing that is done for as long as a cell lasts, and at least once.
template <typename Thing>
double Each(Thing thing) {
  int64_t times = 0;
  const auto start = Clock::now();
  do {
    thing();
    ++times;
  } while (Clock::now() - start < kCellTime);
  return NanosecondsSince(start) / static_cast<double>(times);
}

template <typename Map>
void Measure(const std::string& who) {
  for (const size_t size : kSizes) {
    const auto map = std::make_unique<Map>();
    Range range;
    range.size = size;
    for (size_t i = 0; i < size; ++i) map->Insert(Key{++range.inserted}, i);
    for (const int threads : kThreads) {
      PrintFigure(absl::StrCat(size, " entries, mixed, ", threads, " threads"), who,
                  Mixed(*map, range, threads));
    }
    PrintFigure(absl::StrCat(size, " entries, ordered copy"), who, Each([&] { map->First(SIZE_MAX); }));
    PrintFigure(absl::StrCat(size, " entries, erase-first + insert"), who, Each([&] {
                  map->EraseFirst(Key{++range.erased});
                  map->Insert(Key{++range.inserted}, 0);
                }));
  }
}

int Main() {
  Measure<Ours>("pglessor");
  Measure<UnderOneMutex<std::map<Key, uint64_t>>>("std::map");
  Measure<UnderOneMutex<absl::btree_map<Key, uint64_t>>>("absl::btree_map");
  return 0;
}

}  // namespace
}  // namespace pglessor::bench

int main() { return pglessor::bench::Main(); }

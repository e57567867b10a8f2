// What must hold of an OrderedMap whoever writes meanwhile; run by one thread and by many.
//
// Even keys stay throughout, odd ones come and go, each by one writer alone. A value knows its key,
// and its two halves are equal unless somebody saw it half written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <set>

#include "gtest/gtest.h"

#include "server/core/ids.h"
#include "server/core/ordered_map.h"

namespace pglessor::core {

class OrderedMapChecker {
 public:
  static constexpr uint64_t kKeys = 400;

  struct Entry {
    uint64_t key = 0;
    uint64_t left = 0;
    uint64_t right = 0;
  };

  OrderedMapChecker() {
    for (uint64_t key = 0; key < kKeys; key += 2) map_.Insert({key}, Entry{key, 0, 0});
  }

  // One of `writers`, with the odd keys that are its own.
  class Writer {
   public:
    Writer(OrderedMapChecker& checker, uint64_t number, uint64_t writers)
        : map_(checker.map_), number_(number), writers_(writers), random_(number + 1) {}

    void Step() {
      const uint64_t own = (random_() % (kKeys / 2 / writers_)) * writers_ + number_;
      const LeaseCounter key{2 * own + 1};
      const bool there = mine_.contains(key);
      switch (random_() % 4) {
        case 0:
          EXPECT_EQ(map_.Insert(key, Entry{key.value, 1, 1}), !there);
          mine_.insert(key);
          break;
        case 1: {
          const std::optional<Entry> erased = map_.Erase(key);
          EXPECT_EQ(erased.has_value(), there);
          if (erased) {
            EXPECT_EQ(erased->key, key.value);
          }
          mine_.erase(key);
          break;
        }
        case 2:
          EXPECT_EQ(map_.With(key, Change), there);
          break;
        default:
          EXPECT_TRUE(map_.With({2 * (random_() % (kKeys / 2))}, Change)) << "it stays throughout";
      }
    }

    size_t count() const { return mine_.size(); }

   private:
    static void Change(Entry& entry) {
      EXPECT_EQ(entry.left, entry.right);
      ++entry.left;
      ++entry.right;
    }

    OrderedMap<LeaseCounter, Entry>& map_;
    const uint64_t number_;
    const uint64_t writers_;
    std::mt19937_64 random_;
    std::set<LeaseCounter> mine_;
  };

  // A page from anywhere: in order, and what is there throughout exactly once.
  void ReadPage(std::mt19937_64& random) const {
    std::optional<LeaseCounter> after;
    if (random() % 4 != 0) after = LeaseCounter{random() % kKeys};
    const size_t limit = random() % 3 == 0 ? SIZE_MAX : random() % 50;
    const auto page =
        map_.Page(after, limit, [](LeaseCounter, const Entry& entry) { return std::optional<Entry>(entry); });
    ASSERT_LE(page.size(), limit);
    uint64_t next = after ? after->value + 1 : 0;  // the least key that may come
    for (const auto& [key, entry] : page) {
      ASSERT_GE(key.value, next) << "out of order, or twice";
      ASSERT_TRUE(key.value == next || (next % 2 == 1 && key.value == next + 1)) << next << " is missing";
      ASSERT_EQ(entry.key, key.value);
      ASSERT_EQ(entry.left, entry.right);
      next = key.value + 1;
    }
    if (page.size() < limit) {
      ASSERT_GE(next, kKeys - 1) << "the page ends too early";
    }
  }

  size_t size() const { return map_.size(); }

 private:
  OrderedMap<LeaseCounter, Entry> map_;
};

}  // namespace pglessor::core

#include "server/core/ordered_map.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/ids.h"
#include "tests/core/ordered_map_checker.h"

namespace pglessor::core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::Pointee;

using Map = OrderedMap<ConnectionIndex, std::string>;

std::optional<std::string> Whole(ConnectionIndex, const std::string& value) { return value; }

std::vector<uint64_t> KeysOf(const Map& map, std::optional<ConnectionIndex> after, size_t limit) {
  std::vector<uint64_t> keys;
  for (const auto& [key, unused] : map.Page(after, limit, Whole)) keys.push_back(key.value);
  return keys;
}

TEST(OrderedMap, FindsWhatWasInserted) {
  Map map;
  EXPECT_TRUE(map.Insert({1}, "one"));
  std::string seen;
  EXPECT_TRUE(map.With({1}, [&](const std::string& value) { seen = value; }));
  EXPECT_EQ(seen, "one");
  EXPECT_EQ(map.size(), 1U);
}

TEST(OrderedMap, ChangesAnEntryInItsPlace) {
  Map map;
  map.Insert({1}, "one");
  map.With({1}, [](std::string& value) { value += "!"; });
  EXPECT_THAT(map.Erase({1}), Optional(std::string("one!")));
}

TEST(OrderedMap, KeepsTheFirstOfTwoInsertions) {
  Map map;
  map.Insert({1}, "first");
  EXPECT_FALSE(map.Insert({1}, "second"));
  EXPECT_THAT(map.Erase({1}), Optional(std::string("first")));
}

TEST(OrderedMap, KnowsNothingOfWhatIsNotThere) {
  Map map;
  map.Insert({1}, "one");
  EXPECT_FALSE(map.With({17}, [](const std::string&) { ADD_FAILURE(); })) << "same shard";
  EXPECT_EQ(map.Erase({17}), std::nullopt);
  map.Erase({1});
  EXPECT_EQ(map.Erase({1}), std::nullopt);
  EXPECT_EQ(map.size(), 0U);
}

TEST(OrderedMap, TakesValuesThatOnlyMove) {
  OrderedMap<ConnectionIndex, std::unique_ptr<int>> map;
  map.Insert({1}, std::make_unique<int>(5));
  EXPECT_THAT(map.Erase({1}), Optional(Pointee(5)));
}

TEST(OrderedMap, PagesInKeyOrderOverAllShards) {
  Map map;
  for (const uint64_t key : {40U, 3U, 16U, 1U, 0U, 33U, 17U, 2U}) map.Insert({key}, "");
  EXPECT_THAT(KeysOf(map, std::nullopt, 100), ElementsAre(0, 1, 2, 3, 16, 17, 33, 40));
}

TEST(OrderedMap, PagesGoOnBehindAKeyThatNeedNotExist) {
  Map map;
  for (uint64_t key = 0; key < 100; key += 2) map.Insert({key}, "");
  EXPECT_THAT(KeysOf(map, ConnectionIndex{10}, 3), ElementsAre(12, 14, 16));
  EXPECT_THAT(KeysOf(map, ConnectionIndex{11}, 3), ElementsAre(12, 14, 16));
  EXPECT_THAT(KeysOf(map, ConnectionIndex{96}, 3), ElementsAre(98));
  EXPECT_THAT(KeysOf(map, ConnectionIndex{98}, 3), IsEmpty());
  EXPECT_THAT(KeysOf(map, std::nullopt, 0), IsEmpty());
}

TEST(OrderedMap, PagesTakeTogetherGiveEachEntryOnce) {
  Map map;
  std::vector<uint64_t> all;
  for (uint64_t key = 1; key <= 250; ++key) {
    map.Insert({key}, "");
    all.push_back(key);
  }
  std::vector<uint64_t> seen;
  std::optional<ConnectionIndex> after;
  for (;;) {
    const auto page = KeysOf(map, after, 7);
    if (page.empty()) break;
    seen.insert(seen.end(), page.begin(), page.end());
    after = ConnectionIndex{page.back()};
  }
  EXPECT_EQ(seen, all);
}

TEST(OrderedMap, PagesLeaveOutWhatTheProjectionDoesNotWant) {
  Map map;
  for (uint64_t key = 0; key < 64; ++key) map.Insert({key}, std::to_string(key % 10));
  const auto page = map.Page(std::nullopt, 4, [](ConnectionIndex key, const std::string& value) {
    return value == "3" ? std::optional<int>(static_cast<int>(key.value)) : std::nullopt;
  });
  std::vector<int> values;
  for (const auto& [unused, value] : page) values.push_back(value);
  EXPECT_THAT(values, ElementsAre(3, 13, 23, 33));
}

// Few keys or many, spread over the shards or nearly all in one.
TEST(OrderedMap, PagesAsANaiveMapWould) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; ++round) {
    Map map;
    std::vector<uint64_t> keys;
    const uint64_t stride = round % 3 == 0 ? 16 : 1;
    for (uint64_t key = 0; key < random() % 400; ++key) {
      const bool elsewhere = random() % 20 == 0;
      if (random() % 3 != 0 && map.Insert({key * stride + (elsewhere ? 1 : 0)}, "")) {
        keys.push_back(key * stride + (elsewhere ? 1 : 0));
      }
    }
    std::sort(keys.begin(), keys.end());
    const uint64_t after = random() % 500;
    const size_t limit = random() % 200;
    std::vector<uint64_t> expected(std::upper_bound(keys.begin(), keys.end(), after), keys.end());
    expected.resize(std::min(expected.size(), limit));
    EXPECT_EQ(KeysOf(map, ConnectionIndex{after}, limit), expected);
  }
}

// The checker of the stress test, without threads: it is wrong itself if it fails here.
TEST(OrderedMap, KeepsItsPromisesWhileOthersWrite) {
  OrderedMapChecker checker;
  OrderedMapChecker::Writer one(checker, 0, 2);
  OrderedMapChecker::Writer two(checker, 1, 2);
  std::mt19937_64 random(7);
  for (int i = 0; i < 2'000; ++i) {
    one.Step();
    two.Step();
    checker.ReadPage(random);
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_EQ(checker.size(), OrderedMapChecker::kKeys / 2 + one.count() + two.count());
}

}  // namespace
}  // namespace pglessor::core

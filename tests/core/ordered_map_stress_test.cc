#include <array>
#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "tests/core/ordered_map_checker.h"

namespace pglessor::core {
namespace {

TEST(OrderedMapStress, KeepsItsPromisesWhileOthersWrite) {
  constexpr uint64_t kWriters = 3;
  constexpr int kSteps = 20'000;
  OrderedMapChecker checker;
  std::array<size_t, kWriters> left{};
  std::atomic<uint64_t> writing{kWriters};
  std::vector<std::thread> threads;
  for (uint64_t number = 0; number < kWriters; ++number) {
    threads.emplace_back([&, number] {
      OrderedMapChecker::Writer writer(checker, number, kWriters);
      for (int i = 0; i < kSteps; ++i) writer.Step();
      left[number] = writer.count();
      --writing;
    });
  }
  for (uint64_t number = 0; number < 2; ++number) {
    threads.emplace_back([&, number] {
      std::mt19937_64 random(number);
      while (writing > 0 && !testing::Test::HasFailure()) checker.ReadPage(random);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(checker.size(), OrderedMapChecker::kKeys / 2 + left[0] + left[1] + left[2]);
}

}  // namespace
}  // namespace pglessor::core

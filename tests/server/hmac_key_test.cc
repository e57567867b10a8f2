#include "server/hmac_key.h"

#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace pglessor {
namespace {

TEST(HmacKey, SignsATextTheSameWhateverCameBetween) {
  const HmacKey key;
  const auto mac = key.Sign("a lease");
  EXPECT_NE(key.Sign(""), mac);
  EXPECT_NE(key.Sign(std::string(1'000, 'x')), mac);
  EXPECT_EQ(key.Sign("a lease"), mac);
}

TEST(HmacKey, IsAnotherEachTime) { EXPECT_NE(HmacKey().Sign("a lease"), HmacKey().Sign("a lease")); }

TEST(HmacKey, SignsOnManyThreads) {
  const HmacKey key;
  const auto mac = key.Sign("a lease");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 1'000; ++round) {
        key.Sign(std::to_string(round));
        EXPECT_EQ(key.Sign("a lease"), mac);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace pglessor

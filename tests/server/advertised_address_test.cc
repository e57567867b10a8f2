// What leases name as their server's address.
#include "server/advertised_address.h"

#include "gtest/gtest.h"

namespace pglessor {
namespace {

TEST(AdvertisedAddress, IsTheFirstOneListenedOnUnlessSomethingElseIsSaid) {
  EXPECT_EQ(AdvertisedAddress("", {"unix:/x", "127.0.0.1:1"}), "unix:/x");
  EXPECT_EQ(AdvertisedAddress("db.internal:7", {"unix:/x"}), "db.internal:7");
}

TEST(AdvertisedAddress, WithoutAPortHasThatOfTheFirstOverTcp) {
  EXPECT_EQ(AdvertisedAddress("db.internal", {"unix:/x:2", "127.0.0.1:1", "127.0.0.1:2"}), "db.internal:1");
  EXPECT_EQ(AdvertisedAddress("[fd00::1]", {"[::1]:7"}), "[fd00::1]:7");
  EXPECT_EQ(AdvertisedAddress("db.internal", {"unix:/x:2"}), std::nullopt);
}

}  // namespace
}  // namespace pglessor

#include "client/internal/request_id.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pglessor::internal {
namespace {

TEST(RequestId, IsARandomUuid) {
  EXPECT_THAT(NewRequestId(),
              testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
}

TEST(RequestId, IsAnotherEachTime) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(NewRequestId());
  EXPECT_EQ(ids.size(), 1000U);
}

}  // namespace
}  // namespace pglessor::internal

#include "server/postgres/type_names.h"

#include <cstdint>
#include <limits>

#include "gtest/gtest.h"

namespace pglessor::postgres {
namespace {

TEST(TypeName, IsTheCatalogsOwn) {
  EXPECT_STREQ(TypeName(16), "bool");
  EXPECT_STREQ(TypeName(17), "bytea");
  EXPECT_STREQ(TypeName(20), "int8");
  EXPECT_STREQ(TypeName(23), "int4");
  EXPECT_STREQ(TypeName(25), "text");
  EXPECT_STREQ(TypeName(701), "float8");
  EXPECT_STREQ(TypeName(1184), "timestamptz");
  EXPECT_STREQ(TypeName(1700), "numeric");
  EXPECT_STREQ(TypeName(2950), "uuid");
  EXPECT_STREQ(TypeName(3802), "jsonb");
  EXPECT_STREQ(TypeName(6157), "int8multirange[]");  // the last row
}

TEST(TypeName, OfAnArrayIsItsElementsAndBrackets) {
  EXPECT_STREQ(TypeName(1016), "int8[]");
  EXPECT_STREQ(TypeName(1009), "text[]");
  EXPECT_STREQ(TypeName(2951), "uuid[]");
}

TEST(TypeName, OfWhatIsNotBuiltInIsEmpty) {
  for (const uint32_t oid : {0U, 1U, 15U, 9999U, 16'384U, std::numeric_limits<uint32_t>::max()}) {
    EXPECT_STREQ(TypeName(oid), "") << oid;
  }
}

}  // namespace
}  // namespace pglessor::postgres

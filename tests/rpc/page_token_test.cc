#include "server/rpc/page_token.h"

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace pglessor::rpc {
namespace {

using core::ConnectionIndex;
using core::ConnectionPlace;
using core::ConnectionQuery;
using core::LeaseCounter;
using core::LeaseQuery;
using test::HasReason;
using test::IsOk;

class PageTokenTest : public testing::Test {
 protected:
  static LeaseQuery Query() {
    LeaseQuery query;
    query.filter = {.pool = "p", .tenant = "t", .tags = {{"k", "v"}}};
    return query;
  }

  const PageTokens tokens_{{"replica", 7}};
};

TEST_F(PageTokenTest, GivesBackWhatWasPutIn) {
  for (const uint64_t key : {uint64_t{1}, uint64_t{255}, uint64_t{256}, UINT64_MAX}) {
    const std::string token = tokens_.TokenOf(Query(), LeaseCounter{key});
    EXPECT_EQ(*tokens_.Read(Query(), token), LeaseCounter{key});
  }
  for (const std::string pool : {"", "default", "pool with \n and \xff"}) {
    const std::string token = tokens_.TokenOf(ConnectionQuery{}, {pool, ConnectionIndex{12}});
    const auto place = tokens_.Read(ConnectionQuery{}, token);
    ASSERT_THAT(place, IsOk());
    EXPECT_EQ((*place)->pool, pool);
    EXPECT_EQ((*place)->index, ConnectionIndex{12});
  }
  EXPECT_EQ(*tokens_.Read(Query(), ""), std::nullopt);
}

TEST_F(PageTokenTest, IsBoundToEveryFilter) {
  const std::string token = tokens_.TokenOf(Query(), LeaseCounter{5});
  std::vector<LeaseQuery> others(5, Query());
  others[0].filter.pool = "q";
  others[1].filter.tenant = "";
  others[2].filter.tags = {};
  others[3].filter.tags = {{"k", "w"}};
  others[4].state = core::LeaseState::kActive;
  for (const LeaseQuery& other : others) EXPECT_THAT(tokens_.Read(other, token), HasReason("FIELD_INVALID"));
  // Texts are not run together.
  LeaseQuery shifted = Query();
  shifted.filter.pool = "pt";
  shifted.filter.tenant = "";
  EXPECT_THAT(tokens_.Read(shifted, token), HasReason("FIELD_INVALID"));
}

TEST_F(PageTokenTest, IsBoundToItsListAndItsRun) {
  const std::string token = tokens_.TokenOf(LeaseQuery{}, LeaseCounter{5});
  EXPECT_THAT(tokens_.Read(ConnectionQuery{}, token), HasReason("FIELD_INVALID"));
  const PageTokens after_a_restart{{"replica", 8}};
  EXPECT_THAT(after_a_restart.Read(LeaseQuery{}, token), HasReason("FIELD_INVALID"));
}

TEST_F(PageTokenTest, MadeUpOrChangedItIsRefused) {
  const std::string token = tokens_.TokenOf(ConnectionQuery{}, {"default", ConnectionIndex{12}});
  std::vector<std::string> bad = {"x",
                                  "====",
                                  "not base64 \xff",
                                  token + token,
                                  token.substr(1),
                                  token.substr(0, 8),
                                  std::string(1 << 20, 'A')};
  std::string bytes;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(token, &bytes));
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    bad.push_back(absl::WebSafeBase64Escape(changed));
  }
  for (const std::string& text : bad) {
    const auto refused = tokens_.Read(ConnectionQuery{}, text);
    EXPECT_THAT(refused, HasReason("FIELD_INVALID")) << text.substr(0, 80);
    EXPECT_EQ(test::MetadataOf(refused.status(), "field"), "page_token");
  }
}

}  // namespace
}  // namespace pglessor::rpc

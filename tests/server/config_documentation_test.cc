// docs/configuration.md says every key, and its defaults are the defaults.
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/config_keys.h"
#include "tests/server/config_text.h"

namespace pglessor {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class ConfigDocumentationTest : public ConfigTextTest {
 protected:
  ConfigDocumentationTest() {
    std::ifstream stream(PGLESSOR_CONFIGURATION_DOCUMENT);
    text_.assign(std::istreambuf_iterator<char>(stream), {});
  }

  // The cell beside that key's, without quotes of Markdown.
  std::string DefaultOf(const std::string& key) const {
    const std::string begin = absl::StrCat("\n| `", key, "` | ");
    const size_t row = text_.find(begin);
    if (row == std::string::npos) return "no row";
    const size_t cell = row + begin.size();
    std::string value = text_.substr(cell, text_.find(" | ", cell) - cell);
    absl::StrReplaceAll({{"`", ""}}, &value);
    return value;
  }

  std::string text_;
};

TEST_F(ConfigDocumentationTest, EveryDefaultOfAPoolIsTheDefault) {
  std::string keys;
  for (const auto& key : kPoolNumbers) absl::StrAppend(&keys, key.name, " = ", DefaultOf(key.name), "\n");
  for (const auto& key : kPoolSizes) absl::StrAppend(&keys, key.name, " = ", DefaultOf(key.name), "\n");
  for (const auto& key : kPoolTimes) absl::StrAppend(&keys, key.name, " = ", DefaultOf(key.name), "\n");
  absl::StrAppend(&keys, "warmup = ", DefaultOf("warmup"), "\nisolation = ", DefaultOf("isolation"), "\n");
  EXPECT_EQ(DefaultOf("fallback_pool"), "none");
  core::PoolOptions expected;
  expected.name = "p";
  EXPECT_EQ(MustReadPool(keys).options, expected);
}

TEST_F(ConfigDocumentationTest, EveryDefaultOfATenantIsTheDefault) {
  std::string keys = "[pools.p.tenants.t]\n";
  for (const auto& key : kTenantNumbers) absl::StrAppend(&keys, key.name, " = ", DefaultOf(key.name), "\n");
  for (const auto& key : kTenantRates) absl::StrAppend(&keys, key.name, " = ", DefaultOf(key.name), "\n");
  absl::StrAppend(&keys, "max_priority = ", DefaultOf("max_priority"), "\n");
  const PoolConfig pool = MustReadPool(keys);
  ASSERT_THAT(pool.options.tenants, SizeIs(1));
  EXPECT_EQ(pool.options.tenants.at("t"), core::TenantLimits());
}

TEST_F(ConfigDocumentationTest, EveryBoundOfANumberIsTheBound) {
  for (const auto& key : kPoolNumbers) {
    EXPECT_THAT(text_, HasSubstr(absl::StrCat("| `", key.name, "` | ", DefaultOf(key.name), " | ", key.least,
                                              " – ", key.most)));
  }
  for (const auto& key : kTenantNumbers) {
    EXPECT_THAT(text_, HasSubstr(absl::StrCat("| `", key.name, "` | ", DefaultOf(key.name), " | ", key.least,
                                              " – ", key.most)));
  }
}

TEST_F(ConfigDocumentationTest, ItsExampleIsAFile) {
  const size_t begin = text_.find("```toml\n") + 8;
  std::string example = text_.substr(begin, text_.find("```", begin) - begin);
  Write("control", "host=db user=c\n");
  absl::StrReplaceAll({{"/run/secrets/control-dsn", "control"}}, &example);
  EXPECT_THAT(MustRead(example).pools, SizeIs(2));
}

}  // namespace
}  // namespace pglessor

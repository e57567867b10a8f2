// What a configuration that is read again changes.
#include "server/config_change.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pglessor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

PoolConfig PoolNamed(const std::string& name) {
  PoolConfig pool;
  pool.options.name = name;
  pool.dsn = "host=db";
  return pool;
}

class ConfigChangeTest : public testing::Test {
 protected:
  ConfigChangeTest() {
    before_.pools = {PoolNamed("a"), PoolNamed("b")};
    after_ = before_;
  }

  // The names in `pools`.
  static std::vector<std::string> Names(const std::vector<PoolConfig>& pools) {
    std::vector<std::string> names;
    for (const PoolConfig& pool : pools) names.push_back(pool.options.name);
    return names;
  }

  Config before_;
  Config after_;
};

TEST_F(ConfigChangeTest, NothingIfNothingChanged) {
  const ConfigChange change = Compare(before_, after_);
  EXPECT_THAT(change.limits, IsEmpty());
  EXPECT_THAT(change.moved, IsEmpty());
  EXPECT_THAT(change.needs_restart, IsEmpty());
}

TEST_F(ConfigChangeTest, APoolsLimitsAreItsOwn) {
  after_.pools[1].options.max_connections = 30;
  const ConfigChange change = Compare(before_, after_);
  EXPECT_THAT(Names(change.limits), ElementsAre("b"));
  EXPECT_THAT(change.moved, IsEmpty());
  EXPECT_THAT(change.needs_restart, IsEmpty());
}

TEST_F(ConfigChangeTest, ATenantsLimitsAreItsPools) {
  after_.pools[0].options.tenants["t"].weight = 5;
  EXPECT_THAT(Names(Compare(before_, after_).limits), ElementsAre("a"));
}

TEST_F(ConfigChangeTest, APoolMovesWithEitherDsn) {
  after_.pools[0].dsn = "host=other";
  after_.pools[1].control_dsn = "host=db user=c";
  const ConfigChange change = Compare(before_, after_);
  EXPECT_THAT(Names(change.moved), ElementsAre("a", "b"));
  EXPECT_THAT(change.limits, IsEmpty());
}

TEST_F(ConfigChangeTest, APoolIsReplacedForAnotherValidation) {
  after_.pools[0].validation.query = "SELECT 1";
  EXPECT_THAT(Names(Compare(before_, after_).moved), ElementsAre("a"));
}

TEST_F(ConfigChangeTest, APoolIsReplacedForAnotherPassword) {
  after_.pools[0].passwords["role"] = "other";
  const ConfigChange change = Compare(before_, after_);
  EXPECT_THAT(Names(change.moved), ElementsAre("a"));
  EXPECT_THAT(change.needs_restart, IsEmpty());
}

TEST_F(ConfigChangeTest, AnotherKindOfDatabaseNeedsARestart) {
  after_.pools[0].target_session = postgres::TargetSession::kReadWrite;
  after_.pools[1].primary = "a";
  EXPECT_THAT(Compare(before_, after_).needs_restart,
              ElementsAre("pools.a.target_session", "pools.b.primary"));
}

TEST_F(ConfigChangeTest, APoolComesOrGoes) {
  after_.pools = {PoolNamed("b"), PoolNamed("c")};
  const ConfigChange change = Compare(before_, after_);
  EXPECT_THAT(Names(change.added), ElementsAre("c"));
  EXPECT_THAT(change.removed, ElementsAre("a"));
  EXPECT_THAT(Names(change.pools), ElementsAre("b", "c"));
  EXPECT_THAT(change.limits, IsEmpty());
  EXPECT_THAT(change.moved, IsEmpty());
  EXPECT_THAT(change.needs_restart, IsEmpty());
}

TEST_F(ConfigChangeTest, APoolGoesWithThoseThatHaveTheirTokensFromIt) {
  before_.pools[1].primary = "a";
  after_.pools = {PoolNamed("c")};
  const ConfigChange change = Compare(before_, after_);
  EXPECT_THAT(change.removed, ElementsAre("b", "a")) << "the tokens last as long as those that need them";
  EXPECT_THAT(change.needs_restart, IsEmpty());
}

// The one that stays has its tokens from it until the next start, whatever the file says.
TEST_F(ConfigChangeTest, APoolStaysThatOneThatStaysHasItsTokensFrom) {
  before_.pools[1].primary = "a";
  after_.pools = {PoolNamed("b")};
  after_.pools[0].options.max_connections = 30;
  const ConfigChange change = Compare(before_, after_);
  EXPECT_THAT(change.removed, IsEmpty());
  EXPECT_THAT(change.needs_restart, ElementsAre("pools.a", "pools.b.primary"));
  ASSERT_THAT(Names(change.pools), ElementsAre("a", "b"));
  EXPECT_EQ(change.pools[1].primary, "a");
  EXPECT_EQ(change.pools[1].options.max_connections, 30);

  // And so it neither comes nor goes when the file names it again.
  Config now = after_;
  now.pools = change.pools;
  const ConfigChange back = Compare(now, before_);
  EXPECT_THAT(back.added, IsEmpty());
  EXPECT_THAT(back.needs_restart, IsEmpty());
}

TEST_F(ConfigChangeTest, WhatIsTakenOnceNeedsARestart) {
  after_.listen = {"127.0.0.1:1"};
  after_.advertise = "a";
  after_.gateway = "g";
  after_.gateway_advertise = "h";
  after_.http = "i";
  after_.insecure = true;
  after_.reflection = false;
  after_.fault_injection = true;
  after_.ended_retention = std::chrono::hours(1);
  after_.log_level = ops::LogLevel::kDebug;
  after_.log_format = ops::LogFormat::kText;
  after_.tls.client_ca = "ca";
  before_.identities.emplace_back();
  EXPECT_THAT(Compare(before_, after_).needs_restart,
              ElementsAre("listen", "advertise", "gateway", "gateway_advertise", "http", "insecure",
                          "reflection", "enable_fault_injection", "ended_retention", "log_level",
                          "log_format", "tls", "identities"));
}

TEST_F(ConfigChangeTest, WhatIsReadWhenItIsNeededDoesNot) {
  after_.identities = {{.name = "a", .roles = {}, .tenants = {}, .secret_sha256 = {}, .certificates = {}}};
  after_.drain_timeout = std::chrono::seconds(1);
  EXPECT_THAT(Compare(before_, after_).needs_restart, IsEmpty());
}

}  // namespace
}  // namespace pglessor

// What a configuration file means, where it has no fault.
#include "server/config_file.h"

#include <chrono>
#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/config_keys.h"
#include "tests/server/config_text.h"

namespace pglessor {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;

using ConfigFileTest = ConfigTextTest;

// 32 hex digits.
constexpr char kSecret[] = "000102030405060708090a0b0c0d0e0f";

std::string Written(core::Duration time) {
  return absl::StrCat("\"", std::chrono::duration_cast<std::chrono::milliseconds>(time).count(), "ms\"");
}

TEST_F(ConfigFileTest, TakesWhatFlagsSay) {
  const Config config = MustRead(R"(
    listen = ["127.0.0.1:1", "unix:/run/p.sock"]
    advertise = "db.example:7432"
    gateway = "127.0.0.1:2"
    gateway_advertise = "db.example:7433"
    http = "127.0.0.1:3"
    insecure = true
    reflection = false
    enable_fault_injection = true
    drain_timeout = "1m30s"
    ended_retention = "1h"
    log_level = "warning"
    log_format = "text"
  )");
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:1", "unix:/run/p.sock"));
  EXPECT_EQ(config.advertise, "db.example:7432");
  EXPECT_EQ(config.gateway, "127.0.0.1:2");
  EXPECT_EQ(config.gateway_advertise, "db.example:7433");
  EXPECT_EQ(config.http, "127.0.0.1:3");
  EXPECT_TRUE(config.insecure);
  EXPECT_FALSE(config.reflection);
  EXPECT_TRUE(config.fault_injection);
  EXPECT_EQ(config.drain_timeout, 90s);
  EXPECT_EQ(config.ended_retention, 1h);
  EXPECT_EQ(config.log_level, ops::LogLevel::kWarning);
  EXPECT_EQ(config.log_format, ops::LogFormat::kText);
}

TEST_F(ConfigFileTest, LeavesEverythingElseAsItWas) {
  const Config config = MustRead("# nothing but a comment\n");
  EXPECT_THAT(config.listen, IsEmpty());
  EXPECT_THAT(config.pools, IsEmpty());
  EXPECT_EQ(config.drain_timeout, 30s);
  EXPECT_TRUE(config.reflection);
}

TEST_F(ConfigFileTest, NamesPools) {
  const Config config = MustRead(R"(
    [pools.default]
    dsn = "host=db"
    [pools.reports]
    dsn = "host=db user=r"
    control_dsn = "host=db user=c"
  )");
  ASSERT_THAT(config.pools, SizeIs(2));
  EXPECT_EQ(config.pools[0].options, core::PoolOptions());
  EXPECT_EQ(config.pools[0].dsn, "host=db");
  EXPECT_EQ(config.pools[0].control_dsn, "");
  EXPECT_EQ(config.pools[1].options.name, "reports");
  EXPECT_EQ(config.pools[1].control_dsn, "host=db user=c");
}

// One file with every key at a value that is not its default, so that none is mixed up with another.
TEST_F(ConfigFileTest, TakesEveryKeyOfAPool) {
  core::PoolOptions expected;
  expected.name = "p";
  std::string text;
  expected.min_connections = 1;
  expected.max_connections = 7;
  expected.max_concurrent_opens = 3;
  expected.breaker_failures = 4;
  for (const auto& key : kPoolNumbers) absl::StrAppend(&text, key.name, " = ", expected.*key.field, "\n");
  expected.max_waiters = 5;
  for (const auto& key : kPoolSizes) absl::StrAppend(&text, key.name, " = ", expected.*key.field, "\n");
  core::Duration time = 11ms;
  for (const auto& key : kPoolTimes) {
    expected.*key.field = time;
    time += 1ms;
  }
  // These are in an order.
  expected.min_ttl = 100ms;
  expected.default_ttl = 101ms;
  expected.max_ttl = 102ms;
  expected.max_lease_lifetime = 103ms;
  for (const auto& key : kPoolTimes) {
    absl::StrAppend(&text, key.name, " = ", Written(expected.*key.field), "\n");
  }
  expected.warmup = core::Warmup::kForecast;
  expected.isolation = core::Isolation::kConnection;
  absl::StrAppend(&text, "warmup = \"forecast\"\nisolation = \"connection\"\n");
  EXPECT_EQ(MustReadPool(text).options, expected);
}

TEST_F(ConfigFileTest, TakesEveryKeyOfATenantInAPool) {
  const PoolConfig pool = MustReadPool(R"(
    [pools.p.tenants.orders]
    max_leases = 15
    guaranteed = 3
    weight = 9
    acquires_per_second = 2.5
    burst = 4
    max_priority = "normal"
    isolation = "connection"
    role = "orders_role"
    password = "secret"
    [pools.p.tenants."a.b"]
    acquires_per_second = 7
  )");
  core::TenantLimits orders;
  orders.max_leases = 15;
  orders.guaranteed = 3;
  orders.weight = 9;
  orders.acquires_per_second = 2.5;
  orders.burst = 4;
  orders.max_priority = core::Priority::kNormal;
  orders.isolation = core::Isolation::kConnection;
  orders.role = "orders_role";
  core::TenantLimits other;
  other.acquires_per_second = 7;
  EXPECT_THAT(pool.options.tenants, UnorderedElementsAre(Pair("orders", orders), Pair("a.b", other)));
  EXPECT_THAT(pool.passwords, UnorderedElementsAre(Pair("orders_role", "secret")));
}

TEST_F(ConfigFileTest, TakesEachChoice) {
  for (const auto& choice : kWarmups) {
    EXPECT_EQ(MustReadPool(absl::StrCat("warmup = \"", choice.name, "\"")).options.warmup, choice.value);
  }
  for (const auto& choice : kIsolations) {
    EXPECT_EQ(MustReadPool(absl::StrCat("isolation = \"", choice.name, "\"")).options.isolation,
              choice.value);
  }
  for (const auto& choice : kPriorities) {
    const PoolConfig pool =
        MustReadPool(absl::StrCat("[pools.p.tenants.t]\nmax_priority = \"", choice.name, "\""));
    EXPECT_EQ(pool.options.tenants.at("t").max_priority, choice.value);
  }
}

TEST_F(ConfigFileTest, TakesTheLeastAndTheMostOfEachNumber) {
  for (const auto& key : kPoolNumbers) {
    for (const int32_t number : {key.least, key.most}) {
      // With the other end of the pool's size out of the way.
      const bool is_max = std::string(key.name) == "max_connections";
      const bool is_min = std::string(key.name) == "min_connections";
      const std::string room = is_max ? "min_connections = 0\n" : is_min ? "max_connections = 10000\n" : "";
      EXPECT_EQ(MustReadPool(absl::StrCat(room, key.name, " = ", number)).options.*key.field, number);
    }
  }
}

TEST_F(ConfigFileTest, TakesSecretsFromFilesBesideIt) {
  Write("dsn", "host=db password=p\n");
  Write("control", "host=db user=c\r\n");
  Write("role", "from a file\n");
  const Config config = MustRead(R"(
    [pools.p]
    dsn_file = "dsn"
    control_dsn_file = "control"
    tenants.t = { role = "r", password_file = "role" }
  )");
  ASSERT_THAT(config.pools, SizeIs(1));
  EXPECT_EQ(config.pools[0].dsn, "host=db password=p");
  EXPECT_EQ(config.pools[0].control_dsn, "host=db user=c");
  EXPECT_THAT(config.pools[0].passwords, UnorderedElementsAre(Pair("r", "from a file")));
}

TEST_F(ConfigFileTest, TakesAFallbackPool) {
  const Config config = MustRead(R"(
    pools.a = { dsn = "host=a", fallback_pool = "b" }
    pools.b = { dsn = "host=b", fallback_pool = "c" }
    pools.c = { dsn = "host=c" }
  )");
  EXPECT_EQ(config.pools[0].options.fallback_pool, "b");
}

TEST_F(ConfigFileTest, TakesWhatASessionMustBe) {
  const Config config = MustRead(R"(
    [pools.a]
    dsn = "host=a"
    target_session = "read-write"
    validate_query = "SELECT 1"
    validate_expect = "1"
    [pools.b]
    dsn = "host=b"
    target_session = "read-only"
    primary = "a"
  )");
  EXPECT_EQ(config.pools[0].target_session, postgres::TargetSession::kReadWrite);
  EXPECT_EQ(config.pools[0].validation, (postgres::Validation{"SELECT 1", "1"}));
  EXPECT_EQ(config.pools[1].target_session, postgres::TargetSession::kReadOnly);
  EXPECT_EQ(config.pools[1].primary, "a");
}

TEST_F(ConfigFileTest, TakesTheListenersCertificates) {
  const std::string cert = Write("cert.pem", "c");
  Write("key.pem", "k");
  Write("ca.pem", "a");
  const Config config =
      MustRead("[tls]\ncert = '" + cert + "'\nkey = \"key.pem\"\nclient_ca = \"./ca.pem\"\n");
  EXPECT_EQ(config.tls.cert, cert);
  EXPECT_EQ(config.tls.key, (folder_ / "key.pem").string());
  EXPECT_EQ(config.tls.client_ca, (folder_ / "./ca.pem").string());
}

// --- who may call --------------------------------------------------------------------------------

TEST_F(ConfigFileTest, ATenantIsACallerForItself) {
  const Config config = MustRead(absl::StrCat("[tenants.orders]\nsecret = '", kSecret, "'\n"));
  ASSERT_THAT(config.identities, SizeIs(1));
  const rpc::IdentityOptions& orders = config.identities[0];
  EXPECT_EQ(orders.name, "orders");
  EXPECT_THAT(orders.roles, ElementsAre(rpc::Role::kHolder));
  EXPECT_THAT(orders.tenants, ElementsAre("orders"));
  // printf %s 000102030405060708090a0b0c0d0e0f | sha256sum
  EXPECT_EQ(absl::BytesToHexString(orders.secret_sha256),
            "d65df89f702eec58ca3c7bf2001c9ffc7cd80553ae01d42a799ba26756142d96");
}

TEST_F(ConfigFileTest, ASecretMayBeGivenByItsHashOrInAFile) {
  Write("secret", absl::StrCat(kSecret, "\n"));
  const Config config = MustRead(R"(
    tenants.a.secret_file = "secret"
    tenants.b.secret_sha256 = "000102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1e1f"
  )");
  ASSERT_THAT(config.identities, SizeIs(2));
  EXPECT_EQ(absl::BytesToHexString(config.identities[0].secret_sha256),
            "d65df89f702eec58ca3c7bf2001c9ffc7cd80553ae01d42a799ba26756142d96");
  EXPECT_EQ(absl::BytesToHexString(config.identities[1].secret_sha256),
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
}

TEST_F(ConfigFileTest, ASecretIsAnythingThatMayHold128Bits) {
  for (const char* secret :
       {"000102030405060708090a0b0c0d0e0f", "AAECAwQFBgcICQoLDA0ODw",
        "AAECAwQFBgcICQoLDA0ODw==", "-_ECAwQFBgcICQoLDA0ODwAAAA", "+/ECAwQFBgcICQoLDA0ODw"}) {
    MustRead(absl::StrCat("tenants.a.secret = '", secret, "'\n"));
  }
}

TEST_F(ConfigFileTest, AnIdentityHasRolesAndTenants) {
  const Config config = MustRead(R"(
    [identities.console]
    certificates = ["spiffe://example.org/console", "console.example.org"]
    roles = ["viewer", "operator"]
    [identities.worker]
    secret = "000102030405060708090a0b0c0d0e0f"
    roles = ["holder"]
    tenants = ["orders", "*"]
  )");
  ASSERT_THAT(config.identities, SizeIs(2));
  EXPECT_THAT(config.identities[0].certificates,
              ElementsAre("spiffe://example.org/console", "console.example.org"));
  EXPECT_EQ(config.identities[0].secret_sha256, "");
  EXPECT_THAT(config.identities[0].roles, ElementsAre(rpc::Role::kViewer, rpc::Role::kOperator));
  EXPECT_THAT(config.identities[0].tenants, IsEmpty());
  EXPECT_THAT(config.identities[1].tenants, ElementsAre("orders", "*"));
}

TEST_F(ConfigFileTest, KeepsATenantsLoginForTheGateway) {
  // As PostgreSQL made it.
  constexpr char kVerifier[] =
      "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
      "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
  const Config config = MustRead(
      absl::StrCat("[tenants.orders]\nsecret = '", kSecret, "'\nscram_verifier = '", kVerifier, "'\n"));
  EXPECT_THAT(config.scram_verifiers, UnorderedElementsAre(Pair("orders", kVerifier)));
}

}  // namespace
}  // namespace pglessor

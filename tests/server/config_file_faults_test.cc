// What is wrong with a configuration file: one line a fault, with its place, the key and what was expected.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/config_keys.h"
#include "tests/server/config_text.h"

namespace pglessor {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

using ConfigFileFaultsTest = ConfigTextTest;

constexpr char kPool[] = "[pools.p]\ndsn = 'host=db'\n";

TEST_F(ConfigFileFaultsTest, OfSyntaxAreOneLineWithItsColumn) {
  EXPECT_THAT(FaultsOf("listen = [\"a:1\"]\nadvertise = = 1\n"), ElementsAre(StartsWith("p.toml:2:13: ")));
  EXPECT_THAT(FaultsOf("insecure = true\ninsecure = false\n"),
              ElementsAre(AllOf(StartsWith("p.toml:2:"), HasSubstr("redefine"))));
  EXPECT_THAT(FaultsOf("[pools.a]\n[pools.a]\n"), ElementsAre(StartsWith("p.toml:2:")));
  EXPECT_THAT(FaultsOf("advertise = \"\xff\"\n"), ElementsAre(StartsWith("p.toml:1:")));
}

TEST_F(ConfigFileFaultsTest, AFileThatCannotBeReadIsOne) {
  Config config;
  EXPECT_THAT(ReadConfigFile((folder_ / "none.toml").string(), config).faults,
              ElementsAre(AllOf(StartsWith("--config: "), HasSubstr("none.toml"))));
  EXPECT_THAT(ReadConfigFile(folder_.string(), config).faults, ElementsAre(StartsWith("--config: ")));
  EXPECT_THAT(FaultsOf(std::string(2 << 20, '\n')), ElementsAre(HasSubstr("at most")));
}

TEST_F(ConfigFileFaultsTest, SaysOneLineForEach) {
  const struct {
    std::string text;
    const char* place;
    const char* says;
  } cases[] = {
      // The wrong type, or none of the choices.
      {"listen = '127.0.0.1:1'", "p.toml:1: listen: ", "expected an array of texts, got \"127.0.0.1:1\""},
      {"listen = ['127.0.0.1:1', 2]", "p.toml:1: listen: ", "got 2"},
      {"advertise = 5", "p.toml:1: advertise: ", "expected a text, got 5"},
      {"insecure = 'yes'", "p.toml:1: insecure: ", "expected true or false, got \"yes\""},
      {"reflection = 1979-05-27", "p.toml:1: reflection: ", "a date"},
      {"drain_timeout = 30", "p.toml:1: drain_timeout: ", "\"30s\""},
      {"drain_timeout = '30'", "p.toml:1: drain_timeout: ", "got \"30\""},
      {"drain_timeout = '1us'", "p.toml:1: drain_timeout: ", "got \"1us\""},
      {"drain_timeout = '9000h'", "p.toml:1: drain_timeout: ", "to 8760h"},
      {"log_level = 'loud'",
       "p.toml:1: log_level: ", "\"debug\", \"info\", \"warning\", \"error\", got \"loud\""},
      {"log_format = 'xml'", "p.toml:1: log_format: ", "got \"xml\""},
      {"tls = 5", "p.toml:1: tls: ", "expected a table, got 5"},
      {"pools = []", "p.toml:1: pools: ", "expected a table, got an array"},
      {"pools.p = 1", "p.toml:1: pools.p: ", "expected a table"},
      // Unknown keys.
      {"\nlisten_on = 1", "p.toml:2: the file: ", "there is no key \"listen_on\""},
      {"advertize = 'a'", "p.toml:1: the file: ", "did you mean \"advertise\"?"},
      {"tls.crt = 'a'\ntls.cert = 'p.toml'\ntls.key = 'p.toml'", "p.toml:1: tls: ", "did you mean \"cert\"?"},
      {absl::StrCat(kPool, "min_conections = 1"), "p.toml:3: pools.p: ", "did you mean \"min_connections\"?"},
      {absl::StrCat(kPool, "tenants.t.wieght = 1"),
       "p.toml:3: pools.p.tenants.t: ", "did you mean \"weight\"?"},
      {"tenants.t.scret = 'a'\ntenants.t.certificates = ['a']",
       "p.toml:1: tenants.t: ", "did you mean \"secret\"?"},
      // Names.
      {"[pools.Orders]\ndsn = 'host=db'", "p.toml:1: pools: ", "got \"Orders\""},
      {"[tenants.lease]\ncertificates = ['a']", "p.toml:1: tenants.lease: ", "gateway"},
      {absl::StrCat(kPool, "tenants.lease.weight = 1"), "p.toml:3: pools.p.tenants: ", "gateway"},
      {"[identities.'']\nroles = ['viewer']\ncertificates = ['a']", "p.toml:1: identities: ", "got \"\""},
      // A pool.
      {"[pools.p]", "p.toml:1: pools.p.dsn: ", "a dsn or a dsn_file"},
      {"[pools.p]\ndsn = 'nonsense'", "p.toml:2: pools.p.dsn: ", "postgresql://"},
      {"[pools.p]\ndsn_file = 'nowhere'", "p.toml:2: pools.p.dsn_file: ", "nowhere\""},
      {"[pools.p]\ndsn_file = ''", "p.toml:2: pools.p.dsn_file: ", "got nothing"},
      {"[pools.p]\ndsn = ''", "p.toml:2: pools.p.dsn: ", "not empty"},
      {absl::StrCat(kPool, "dsn_file = 'p.toml'"), "p.toml:3: pools.p.dsn_file: ", "got both"},
      {absl::StrCat(kPool, "control_dsn = 'nonsense'"), "p.toml:3: pools.p.control_dsn: ", "postgresql://"},
      {absl::StrCat(kPool, "min_connections = 1.5"),
       "p.toml:3: pools.p.min_connections: ", "from 0 to 10000, got 1.5"},
      {absl::StrCat(kPool, "connect_timeout = '1ms'"),
       "p.toml:3: pools.p.connect_timeout: ", "from 10ms to 10m"},
      {absl::StrCat(kPool, "warmup = 'hot'"), "p.toml:3: pools.p.warmup: ", "\"forecast\", got \"hot\""},
      // What contradicts something else.
      {absl::StrCat(kPool, "min_connections = 21"),
       "p.toml:3: pools.p.min_connections: ", "at most max_connections, which is 20"},
      {absl::StrCat(kPool, "max_connections = 9"),
       "p.toml:3: pools.p.max_connections: ", "at least min_connections, which is 10"},
      {absl::StrCat(kPool, "default_ttl = '2h'"),
       "p.toml:3: pools.p.default_ttl: ", "at most max_ttl, which is 1h, got 2h"},
      {absl::StrCat(kPool, "min_ttl = '31s'"),
       "p.toml:3: pools.p.min_ttl: ", "at most default_ttl, which is 30s"},
      {absl::StrCat(kPool, "max_lease_lifetime = '59m'"),
       "p.toml:3: pools.p.max_lease_lifetime: ", "at least max_ttl"},
      {absl::StrCat(kPool, "first_open_backoff = '3s'"),
       "p.toml:3: pools.p.first_open_backoff: ", "at most max_open_backoff"},
      {absl::StrCat(kPool, "fallback_pool = 'q'"),
       "p.toml:3: pools.p.fallback_pool: ", "expected a pool, got \"q\""},
      {absl::StrCat(kPool, "fallback_pool = 'p'"), "p.toml:3: pools.p.fallback_pool: ", "p → p"},
      {absl::StrCat(kPool, "validate_expect = '1'"),
       "p.toml:3: pools.p.validate_expect: ", "a validate_query"},
      {absl::StrCat(kPool, "target_session = 'rw'"), "p.toml:3: pools.p.target_session: ", "\"read-write\""},
      {absl::StrCat(kPool, "target_session = 'read-only'"),
       "p.toml:3: pools.p.target_session: ", "primary with it"},
      {absl::StrCat(kPool, "primary = 'q'"), "p.toml:3: pools.p.primary: ", "another pool, got \"q\""},
      {absl::StrCat(kPool, "primary = 'p'"), "p.toml:3: pools.p.primary: ", "another pool, got \"p\""},
      {"pools.a = { dsn = 'host=a', primary = 'b' }\npools.b = { dsn = 'host=b', primary = 'c' }\n"
       "pools.c.dsn = 'host=c'",
       "p.toml:1: pools.a.primary: ", "without a primary, got \"b\""},
      // A tenant in it.
      {absl::StrCat(kPool, "tenants.t.weight = 0"),
       "p.toml:3: pools.p.tenants.t.weight: ", "from 1 to 1000, got 0"},
      {absl::StrCat(kPool, "tenants.t.acquires_per_second = -1"),
       "p.toml:3: pools.p.tenants.t.acquires_per_second: ", "from 0 to"},
      {absl::StrCat(kPool, "tenants.t.acquires_per_second = nan"),
       "p.toml:3: pools.p.tenants.t.acquires_per_second: ", "got nan"},
      {absl::StrCat(kPool, "tenants.t.burst = 5"),
       "p.toml:3: pools.p.tenants.t.burst: ", "acquires_per_second"},
      {absl::StrCat(kPool, "tenants.t.role = ''"), "p.toml:3: pools.p.tenants.t.role: ", "1 to 63 bytes"},
      {absl::StrCat(kPool, "tenants.t.password = 'x'"), "p.toml:3: pools.p.tenants.t.password: ", "a role"},
      {absl::StrCat(kPool, "tenants.t = { guaranteed = 3, max_leases = 2 }"),
       "p.toml:3: pools.p.tenants.t.guaranteed: ", "at most max_leases"},
      {absl::StrCat(kPool, "tenants.t.guaranteed = 11\ntenants.u.guaranteed = 10"),
       "p.toml:3: pools.p.tenants: ", "which is 20, in sum, got 21"},
      {absl::StrCat(kPool,
                    "tenants.t = {role = 'r', password = 'x'}\ntenants.u = {role = 'r', password = 'y'}"),
       "p.toml:4: pools.p.tenants.u.password: ", "the same"},
      // Who may call.
      {"[tenants.t]", "p.toml:1: tenants.t.secret_sha256: ", "nobody is it"},
      {"tenants.t.secret = 'too-short-to-be-one'", "p.toml:1: tenants.t.secret: ", "128 random bits"},
      {"tenants.t.secret = '0123456789abcdef0123456789'", "p.toml:1: tenants.t.secret: ", "32 hex digits"},
      {"tenants.t.secret = 'with blanks it is no such thing'",
       "p.toml:1: tenants.t.secret: ", "128 random bits"},
      {"tenants.t.secret_sha256 = 'abc'", "p.toml:1: tenants.t.secret_sha256: ", "64 hex digits"},
      {"tenants.t.secret_sha256 = 5", "p.toml:1: tenants.t.secret_sha256: ", "expected a text"},
      {"tenants.t = { certificates = ['a'], scram_verifier = 'md5abc' }",
       "p.toml:1: tenants.t.scram_verifier: ", "SCRAM-SHA-256$"},
      {"tenants.t = { certificates = [''] }", "p.toml:1: tenants.t.certificates: ", "an empty one"},
      {"tenants.t = { certificates = ['a'], roles = ['king'] }",
       "p.toml:1: tenants.t.roles: ", "got \"king\""},
      {"tenants.t.certificates = ['a']\ntenants.u.certificates = ['a']",
       "p.toml:2: tenants.u.certificates: ", "got \"a\""},
      {"identities.i.certificates = ['a']", "p.toml:1: identities.i.roles: ", "it may do nothing"},
      {"identities.i = { certificates = ['a'], roles = ['holder'] }",
       "p.toml:1: identities.i.tenants: ", "\"*\""},
      {"identities.i = { certificates = ['a'], roles = ['holder'], tenants = ['A'] }",
       "p.toml:1: identities.i.tenants: ", "got \"A\""},
      {"identities.i = { certificates = ['a'], roles = ['holder'], tenants = ['lease'] }",
       "p.toml:1: identities.i.tenants: ", "got \"lease\""},
      {"tenants.i.certificates = ['a']\nidentities.i = { certificates = ['b'], roles = ['viewer'] }",
       "p.toml:2: identities.i: ", "another name"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    EXPECT_THAT(FaultsOf(c.text), ElementsAre(AllOf(StartsWith(c.place), HasSubstr(c.says))));
  }
}

TEST_F(ConfigFileFaultsTest, OneBelowTheLeastAndOneAboveTheMostIsOne) {
  for (const auto& key : kPoolNumbers) {
    EXPECT_THAT(FaultsOf(absl::StrCat(kPool, key.name, " = ", key.least - 1)),
                ElementsAre(HasSubstr(absl::StrCat("from ", key.least, " to ", key.most))));
    EXPECT_THAT(FaultsOf(absl::StrCat(kPool, key.name, " = ", key.most + 1)),
                ElementsAre(HasSubstr(key.name)));
  }
}

TEST_F(ConfigFileFaultsTest, ComeInTheOrderOfTheFile) {
  EXPECT_THAT(FaultsOf("reflection = 1\n"
                       "listen = 2\n"
                       "[pools.b]\n"
                       "min_connections = -1\n"
                       "dsn = 'host=b'\n"
                       "[pools.a]\n"
                       "dsn = 'host=a'\n"
                       "isolation = 'none'\n"),
              ElementsAre(StartsWith("p.toml:1: "), StartsWith("p.toml:2: "), StartsWith("p.toml:4: "),
                          StartsWith("p.toml:8: ")));
}

TEST_F(ConfigFileFaultsTest, EachPoolOnAWayBackIsOne) {
  EXPECT_THAT(FaultsOf("pools.a = { dsn = 'host=a', fallback_pool = 'b' }\n"
                       "pools.b = { dsn = 'host=b', fallback_pool = 'c' }\n"
                       "pools.c = { dsn = 'host=c', fallback_pool = 'b' }\n"),
              ElementsAre(HasSubstr("b → c → b"), HasSubstr("c → b → c")));
}

TEST_F(ConfigFileFaultsTest, TwoCallersHaveNoSecretInCommon) {
  const std::string secret = "secret = '000102030405060708090a0b0c0d0e0f'\n";
  EXPECT_THAT(FaultsOf("[tenants.a]\n" + secret + "[identities.b]\nroles = ['viewer']\n" + secret),
              ElementsAre(StartsWith("p.toml:3: identities.b.secret_sha256: ")));
}

// --- secrets -------------------------------------------------------------------------------------

TEST_F(ConfigFileFaultsTest, NeverQuoteASecret) {
  Write("secret", "hunter2");
  Write("dsn", "postgresql://app:hunter2@db/d?nonsense=1");
  for (const char* text : {
           "pools.p.dsn = 'postgresql://app:hunter2@db/d?nonsense=1'",
           "pools.p.dsn = ['hunter2']",
           "pools.p.dsn = postgresql://app:hunter2@db",
           "pools.p.dsn = 'hunter2",
           "pools.p.dsn = \"hunter2\\h\"",
           "pools.p.dsn_file = 'dsn'",
           "pools.p.dsn_file = 'postgresql://app:hunter2@db'",
           "pools.p = { dsn = 'host=db', control_dsn = 'password=hunter2 nonsense' }",
           "pools.p = { dsn = 'host=db', dns = 'postgresql://app:hunter2@db' }",
           "pools.p = { dsn = 'host=db', fallback_pool = 'postgresql://app:hunter2@db' }",
           "pools.p = { dsn = 'host=db', tenants.t = { password = 'hunter2' } }",
           "pools.p = { dsn = 'host=db', tenants.t = { role = 'r', password = ['hunter2'] } }",
           "listen = 'postgresql://app:hunter2@db'",
           "log_level = 'host=db password=hunter2'",
           "tenants.t.secret = 'hunter2'",
           "tenants.t.secret_file = 'secret'",
           "tenants.t.secret_sha256 = 'hunter2'",
           "tenants.t = { certificates = ['a'], scram_verifier = 'hunter2' }",
       }) {
    SCOPED_TRACE(text);
    const auto faults = FaultsOf(text);
    EXPECT_THAT(faults, Not(IsEmpty()));
    EXPECT_THAT(faults, Each(Not(HasSubstr("hunter2"))));
  }
  EXPECT_THAT(FaultsOf("tenants.t.secret = 99999999999999999999"), Each(Not(HasSubstr("9999"))));
}

TEST_F(ConfigFileFaultsTest, EscapeWhatTheyQuote) {
  EXPECT_THAT(FaultsOf("log_level = \"a\\u001b[31m\\n\""),
              ElementsAre(AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\n")))));
  EXPECT_THAT(FaultsOf("log_level = \"" + std::string(10'000, 'x') + "\""),
              ElementsAre(testing::SizeIs(testing::Lt(300))));
}

}  // namespace
}  // namespace pglessor

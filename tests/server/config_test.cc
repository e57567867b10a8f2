// What a command line means, where it has no fault.
#include "server/config.h"

#include <chrono>
#include <optional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/server/command_line.h"

namespace pglessor {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::Eq;
using testing::HasSubstr;
using testing::Optional;
using testing::SizeIs;

using ConfigTest = CommandLineTest;

TEST_F(ConfigTest, HasDefaults) {
  const Config config = MustParse({"--dsn", "host=db"});
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:7432"));
  EXPECT_EQ(config.advertise, "");
  ASSERT_THAT(config.pools, SizeIs(1));
  EXPECT_EQ(config.pools[0].options, core::PoolOptions());
  EXPECT_EQ(config.pools[0].dsn, "host=db");
  EXPECT_EQ(config.pools[0].control_dsn, "");
  EXPECT_EQ(config.embedded, std::nullopt);
  EXPECT_EQ(config.drain_timeout, 30s);
  EXPECT_TRUE(config.reflection);
  EXPECT_EQ(config.log_level, ops::LogLevel::kInfo);
}

TEST_F(ConfigTest, TakesEveryFlag) {
  const Config config =
      MustParse({"--dsn", "postgresql://app@db/orders", "--control-dsn", "host=db user=c", "--advertise",
                 "10.0.0.1:7432", "--min-connections", "0", "--max-connections", "10000", "--drain-timeout",
                 "500ms", "--log-level", "warning", "--log-format", "text", "--no-reflection"});
  ASSERT_THAT(config.pools, SizeIs(1));
  EXPECT_EQ(config.pools[0].dsn, "postgresql://app@db/orders");
  EXPECT_EQ(config.pools[0].control_dsn, "host=db user=c");
  EXPECT_EQ(config.advertise, "10.0.0.1:7432");
  EXPECT_EQ(config.pools[0].options.min_connections, 0);
  EXPECT_EQ(config.pools[0].options.max_connections, 10'000);
  EXPECT_EQ(config.drain_timeout, 500ms);
  EXPECT_EQ(config.log_level, ops::LogLevel::kWarning);
  EXPECT_EQ(config.log_format, ops::LogFormat::kText);
  EXPECT_FALSE(config.reflection);
}

TEST_F(ConfigTest, TakesAMinimumThatIsTheMaximum) {
  const Config config = MustParse({"--embedded", "--min-connections", "1", "--max-connections", "1"});
  ASSERT_THAT(config.pools, SizeIs(1));
  EXPECT_EQ(config.pools[0].options.min_connections, 1);
}

TEST_F(ConfigTest, TakesEmbeddedWithAndWithoutAFolder) {
  EXPECT_THAT(MustParse({"--embedded"}).embedded, Optional(Eq("")));
  EXPECT_THAT(MustParse({"--embedded="}).embedded, Optional(Eq("")));
  EXPECT_THAT(MustParse({"--embedded=DIR"}).embedded, Optional(Eq("DIR")));
  EXPECT_THAT(MustParse({"--embedded=/a b/--c"}).embedded, Optional(Eq("/a b/--c")));
  const Config config = MustParse({"--embedded", "--listen", "127.0.0.1:0"});
  EXPECT_THAT(config.embedded, Optional(Eq("")));
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:0"));
}

TEST_F(ConfigTest, ListensWhereItIsTold) {
  EXPECT_THAT(MustParse({"--embedded", "--listen", "unix:/run/p.sock", "--listen", "[::1]:0"}).listen,
              ElementsAre("unix:/run/p.sock", "[::1]:0"));
  EXPECT_THAT(MustParse({"--embedded", "--insecure", "--listen", "0.0.0.0:7432"}).listen,
              ElementsAre("0.0.0.0:7432"));
}

TEST_F(ConfigTest, ServesHttpWhereItIsTold) {
  EXPECT_EQ(MustParse({"--embedded"}).http, "127.0.0.1:7434");
  EXPECT_EQ(MustParse({"--embedded", "--http", "127.0.0.1:0"}).http, "127.0.0.1:0");
  EXPECT_EQ(MustParse({"--embedded", "--http=[::1]:80", "--listen=127.0.0.1:0"}).http, "[::1]:80");
  EXPECT_EQ(MustParse({"--embedded", "--insecure", "--http=0.0.0.0:7434"}).http, "0.0.0.0:7434");
}

TEST_F(ConfigTest, TakesAnEmptyHttpForOff) {
  EXPECT_EQ(MustParse({"--embedded", "--http="}).http, "");
  EXPECT_EQ(MustParse({"--embedded", "--http=", "--max-connections", "21"}).http, "");
  EXPECT_EQ(MustParse({"--embedded", "--http", ""}).http, "");
}

TEST_F(ConfigTest, TakesAnEmptyGatewayForOff) {
  EXPECT_EQ(MustParse({"--embedded", "--gateway="}).gateway, "");
  EXPECT_EQ(MustParse({"--embedded", "--gateway", "127.0.0.1:7433"}).gateway, "127.0.0.1:7433");
}

TEST_F(ConfigTest, TakesListenAndDsnsFromTheEnvironment) {
  SetEnvironment("PGLESSOR_LISTEN", "127.0.0.1:9");
  SetEnvironment("PGLESSOR_DSN", "host=env");
  SetEnvironment("PGLESSOR_CONTROL_DSN", "host=control");
  const Config config = MustParse({});
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:9"));
  ASSERT_THAT(config.pools, SizeIs(1));
  EXPECT_EQ(config.pools[0].dsn, "host=env");
  EXPECT_EQ(config.pools[0].control_dsn, "host=control");
}

TEST_F(ConfigTest, LetsAFlagOverrideTheEnvironment) {
  SetEnvironment("PGLESSOR_LISTEN", "127.0.0.1:9");
  SetEnvironment("PGLESSOR_DSN", "host=env");
  const Config config = MustParse({"--listen", "127.0.0.1:8", "--dsn", "host=flag"});
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:8"));
  ASSERT_THAT(config.pools, SizeIs(1));
  EXPECT_EQ(config.pools[0].dsn, "host=flag");
}

TEST_F(ConfigTest, TakesAnEmptyEnvironmentForNone) {
  SetEnvironment("PGLESSOR_LISTEN", "");
  SetEnvironment("PGLESSOR_DSN", "");
  const Config config = MustParse({"--embedded"});
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:7432"));
}

// --- with a file ---------------------------------------------------------------------------------

using ConfigWithFileTest = ConfigTest;

TEST_F(ConfigWithFileTest, ThePoolsAreTheFiles) {
  const Config config =
      MustParse({"--config", Write("[pools.a]\ndsn = 'host=a'\n[pools.b]\ndsn = 'host=b'\n")});
  ASSERT_THAT(config.pools, SizeIs(2));
  EXPECT_EQ(config.pools[1].dsn, "host=b");
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:7432"));
  EXPECT_THAT(config.file, HasSubstr(".toml"));
}

TEST_F(ConfigWithFileTest, TheRestMayBeTheFiles) {
  const Config config =
      MustParse({"--embedded", "--config",
                 Write("listen = ['127.0.0.1:5']\ndrain_timeout = '5s'\nlog_level = 'error'\n"
                       "log_format = 'text'\nreflection = false\nadvertise = 'file:1'\n")});
  EXPECT_THAT(config.embedded, Optional(Eq("")));
  EXPECT_THAT(config.pools, SizeIs(1));
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:5"));
  EXPECT_EQ(config.drain_timeout, 5s);
  EXPECT_EQ(config.log_level, ops::LogLevel::kError);
  EXPECT_EQ(config.log_format, ops::LogFormat::kText);
  EXPECT_FALSE(config.reflection);
  EXPECT_EQ(config.advertise, "file:1");
}

TEST_F(ConfigWithFileTest, MaySayWhereHttpIsAndAFlagMayTurnItOff) {
  const std::string file = Write("http = '127.0.0.1:7'\n");
  EXPECT_EQ(MustParse({"--embedded", "--config", file}).http, "127.0.0.1:7");
  EXPECT_EQ(MustParse({"--embedded", "--config", file, "--http="}).http, "");
}

TEST_F(ConfigWithFileTest, AFlagOverridesIt) {
  const Config config = MustParse(
      {"--embedded",
       "--config",
       Write("listen = ['127.0.0.1:5']\ndrain_timeout = '5s'\nlog_level = 'error'\nlog_format = 'text'\n"
             "reflection = false\nadvertise = 'file:1'\ngateway = 'file:2'\ngateway_advertise = 'file:3'\n"
             "http = '127.0.0.1:7'\n"),
       "--listen",
       "127.0.0.1:6",
       "--drain-timeout",
       "6s",
       "--log-level",
       "info",
       "--log-format",
       "json",
       "--reflection",
       "--advertise",
       "flag:1",
       "--gateway",
       "flag:2",
       "--gateway-advertise",
       "flag:3",
       "--http",
       "127.0.0.1:8"});
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:6"));
  EXPECT_EQ(config.drain_timeout, 6s);
  EXPECT_EQ(config.log_level, ops::LogLevel::kInfo);
  EXPECT_EQ(config.log_format, ops::LogFormat::kJson);
  EXPECT_TRUE(config.reflection);
  EXPECT_EQ(config.advertise, "flag:1");
  EXPECT_EQ(config.gateway, "flag:2");
  EXPECT_EQ(config.gateway_advertise, "flag:3");
  EXPECT_EQ(config.http, "127.0.0.1:8");
}

TEST_F(ConfigTest, ChecksAConfigWithoutStarting) {
  EXPECT_TRUE(std::holds_alternative<CheckedConfig>(Parse({"--embedded", "--check-config"})));
  EXPECT_TRUE(std::holds_alternative<Faults>(Parse({"--check-config"})));
}

TEST_F(ConfigTest, PrintsHelpAndVersionWhateverElseIsWrong) {
  const auto text = [](const std::vector<std::string>& arguments) {
    const CommandLine parsed = Parse(arguments);
    const auto* print = std::get_if<PrintAndExit>(&parsed);
    return print == nullptr ? std::string() : print->text;
  };
  EXPECT_EQ(text({"--version"}), std::string("pglessor ") + kVersion + "\n");
  EXPECT_THAT(text({"--help"}), HasSubstr("--max-connections"));
  EXPECT_THAT(text({"--help", "--min-connections", "x"}), HasSubstr("--max-connections"));
  EXPECT_THAT(text({"probe", "--help"}), HasSubstr("exit 0"));
}

TEST_F(ConfigTest, ProbesWhereItIsTold) {
  const auto address = [](const std::vector<std::string>& arguments) {
    const CommandLine parsed = Parse(arguments);
    const auto* probe = std::get_if<ProbeCommand>(&parsed);
    return probe == nullptr ? std::string("no probe") : probe->address;
  };
  EXPECT_EQ(address({"probe"}), "127.0.0.1:7432");
  EXPECT_EQ(address({"probe", "10.0.0.1:1"}), "10.0.0.1:1");
  SetEnvironment("PGLESSOR_LISTEN", "127.0.0.1:9");
  EXPECT_EQ(address({"probe"}), "127.0.0.1:9");
  EXPECT_EQ(address({"probe", "10.0.0.1:1"}), "10.0.0.1:1");
}

// --- durations and addresses ---------------------------------------------------------------------

TEST(ParseDuration, ReadsTimes) {
  const std::pair<const char*, std::chrono::milliseconds> cases[] = {
      {"30s", 30s},     {"500ms", 500ms}, {"2m", 2min}, {"1h", 1h},      {"1h30m", 90min},
      {"1.5s", 1500ms}, {"0", 0s},        {"0s", 0s},   {"8760h", 8760h}};
  for (const auto& [text, time] : cases) EXPECT_THAT(ParseDuration(text), Optional(time)) << text;
}

TEST(ParseDuration, RefusesEverythingElse) {
  for (const char* text : {"", "30", "s", "-1s", "30 s", "30s ", "30x", "inf", "-inf", "nan", "1d", "1e3s",
                           "8761h", "1us", "1.5ms", "99999999999999999999h", "0x10s"}) {
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  }
}

TEST(IsLoopback, IsThisMachineOnly) {
  for (const char* address : {"127.0.0.1:7432", "127.0.0.1:0", "127.255.255.254:1", "localhost:0", "[::1]:1",
                              "unix:/run/p.sock", "unix:p.sock"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
}

TEST(IsLoopback, IsNoAddressThatOnlyLooksLikeIt) {
  for (const char* address : {"0.0.0.0:1",
                              "10.0.0.1:1",
                              "[::]:1",
                              "*:1",
                              ":1",
                              "127.evil.com:1",
                              "127.0.0.1.evil.com:1",
                              "127:1",
                              "localhost.evil.com:1",
                              "evil-localhost:1",
                              "[::1].evil.com:1",
                              "[::1%eth0]:1",
                              "[::2]:1",
                              "::1",
                              "::1:80",
                              "[::ffff:10.0.0.1]:1",
                              "1127.0.0.1:1",
                              "127.0.0.1:1,0.0.0.0:2",
                              "dns:///127.0.0.1:1",
                              "ipv4:0.0.0.0:1",
                              "localhost:1@evil.com:2",
                              " 127.0.0.1:1",
                              "unix",
                              ""}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

}  // namespace
}  // namespace pglessor

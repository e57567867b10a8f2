// What is wrong with a command line: one line a fault, which says the flag and what was expected.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/server/command_line.h"

namespace pglessor {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

using ConfigFaultsTest = CommandLineTest;

constexpr char kSecret[] = "hunter2";
constexpr char kDsnWithSecret[] = "postgresql://app:hunter2@db/orders";

TEST_F(ConfigFaultsTest, SaysOneLineForEach) {
  const struct {
    std::vector<std::string> arguments;
    const char* flag;
    const char* says;
  } cases[] = {
      {{}, "--dsn: ", "--embedded"},
      {{"--embedded", "--dsn", "host=db"}, "--embedded: ", "got both"},
      {{"--embedded", "--control-dsn", "host=db"}, "--control-dsn: ", "leave it out"},
      {{"--dsn", "nonsense"}, "--dsn: ", "postgresql://"},
      {{"--dsn", "host=db bad=1"}, "--dsn: ", "postgresql://"},
      {{"--dsn", "host=db", "--control-dsn", "postgresql://h/d?nonsense=1"},
       "--control-dsn: ",
       "postgresql://"},
      {{"--embedded", "--min-connections", "x"}, "--min-connections: ", "from 0 to 10000, got \"x\""},
      {{"--embedded", "--min-connections", "-1"}, "--min-connections: ", "got \"-1\""},
      {{"--embedded", "--min-connections", "21"},
       "--min-connections: ",
       "at most --max-connections, which is 20"},
      {{"--embedded", "--max-connections", "9"},
       "--max-connections: ",
       "at least --min-connections, which is 10 by default"},
      {{"--embedded", "--min-connections", "10001"}, "--min-connections: ", "from 0 to 10000"},
      {{"--embedded", "--max-connections", "x"}, "--max-connections: ", "from 1 to 10000, got \"x\""},
      {{"--embedded", "--max-connections", "0"}, "--max-connections: ", "from 1 to 10000, got \"0\""},
      {{"--embedded", "--max-connections", "10001"}, "--max-connections: ", "got \"10001\""},
      {{"--embedded", "--max-connections", "99999999999999"}, "--max-connections: ", "from 1 to 10000"},
      {{"--embedded", "--max-connections", "2e1"}, "--max-connections: ", "got \"2e1\""},
      {{"--embedded", "--drain-timeout", "30"}, "--drain-timeout: ", "30s, 500ms or 2m, got \"30\""},
      {{"--embedded", "--log-level", "loud"}, "--log-level: ", "got \"loud\""},
      {{"--embedded", "--log-format", "xml"}, "--log-format: ", "got \"xml\""},
      {{"--embedded", "--listen", "unix:"}, "--listen: ", "path"},
      {{"--embedded", "--listen", "127.0.0.1"}, "--listen: ", "HOST:PORT"},
      {{"--embedded", "--listen", ":80"}, "--listen: ", "HOST:PORT"},
      {{"--embedded", "--listen", "127.0.0.1:"}, "--listen: ", "HOST:PORT"},
      {{"--embedded", "--listen", "127.0.0.1:65536"}, "--listen: ", "HOST:PORT"},
      {{"--embedded", "--listen", "127.0.0.1:-1"}, "--listen: ", "HOST:PORT"},
      {{"--embedded", "--listen", "127.0.0.1:http"}, "--listen: ", "HOST:PORT"},
      {{"--embedded", "--listen", "nonsense", "--advertise", "db"}, "--listen: ", "HOST:PORT"},
      {{"--embedded", "--listen", "0.0.0.0:7432"},
       "--listen: ",
       "without TLS and by anybody: give --tls-cert and --tls-key, listen on 127.0.0.1, or say --insecure"},
      {{"--embedded", "--listen", "unix:/x", "--advertise", "db.internal"}, "--advertise: ", "HOST:PORT"},
      {{"--embedded", "--http", "0.0.0.0:7434"}, "--http: ", "--insecure"},
      {{"--embedded", "--http", "127.0.0.1"}, "--http: ", "HOST:PORT"},
      {{"--embedded", "--http", "unix:/run/p.sock"}, "--http: ", "HOST:PORT"},
      {{"--embedded", "--config", "/nowhere/p.toml"}, "--config: ", "can be read"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(testing::PrintToString(c.arguments));
    EXPECT_THAT(FaultsOf(c.arguments), ElementsAre(AllOf(StartsWith(c.flag), HasSubstr(c.says))));
  }
}

TEST_F(ConfigFaultsTest, SaysTwoLinesForTwo) {
  EXPECT_THAT(FaultsOf({"--dsn", "host=db", "--min-connections", "x", "--drain-timeout", "y"}),
              ElementsAre(StartsWith("--min-connections: "), StartsWith("--drain-timeout: ")));
  EXPECT_THAT(FaultsOf({"--embedded", "--listen", "a:1", "--listen", "b:2"}),
              ElementsAre(StartsWith("--listen: a:1 "), StartsWith("--listen: b:2 ")));
}

TEST_F(ConfigFaultsTest, SaysOfTheFileWhatContradictsAFlag) {
  const std::string path = Write("listen = [\"0.0.0.0:1\", \"nonsense\"]\n[pools.a]\ndsn = 'host=a'\n");
  const auto with = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--config", path});
    return FaultsOf(arguments);
  };
  EXPECT_THAT(with({}), ElementsAre(AllOf(StartsWith(path + ":1: listen: "), HasSubstr("--insecure")),
                                    AllOf(StartsWith(path + ":1: listen: "), HasSubstr("HOST:PORT"))));
  EXPECT_THAT(with({"--insecure"}), ElementsAre(HasSubstr("HOST:PORT")));
  const std::string listen = "--listen=127.0.0.1:1";
  EXPECT_THAT(with({listen}), IsEmpty());
  EXPECT_THAT(with({listen, "--embedded"}),
              ElementsAre(AllOf(StartsWith("--embedded: "), HasSubstr("got both"))));
  EXPECT_THAT(with({listen, "--dsn=host=b"}),
              ElementsAre(AllOf(StartsWith("--dsn: "), HasSubstr("got both"))));
  for (const char* flag : {"--control-dsn=host=b", "--min-connections=1", "--max-connections=30"}) {
    EXPECT_THAT(with({listen, flag}), ElementsAre(HasSubstr("as a key of the pool")));
  }
}

TEST_F(ConfigFaultsTest, SaysWhatIsWrongWithTheFilesOfTls) {
  EXPECT_THAT(FaultsOf({"--embedded", "--tls-cert", "/nowhere"}),
              ElementsAre(StartsWith("--tls-cert: /nowhere"), StartsWith("--tls-key: ")));
  EXPECT_THAT(FaultsOf({"--embedded", "--tls-client-ca", "/nowhere"}),
              ElementsAre(StartsWith("--tls-client-ca: ")));
  // The certificate is that file itself, which has none.
  const std::string path =
      Write("\n[tls]\ncert = 'ConfigFaultsTest.SaysWhatIsWrongWithTheFilesOfTls.toml'\nkey = 'nowhere'\n");
  EXPECT_THAT(FaultsOf({"--embedded", "--config", path}),
              ElementsAre(StartsWith(path + ":2: tls.cert: "), StartsWith(path + ":2: tls.key: ")));
}

TEST_F(ConfigFaultsTest, SaysThatNoCertificateOfACallerIsBelieved) {
  const std::string path = Write("[tenants.orders]\ncertificates = ['a']\n");
  EXPECT_THAT(FaultsOf({"--embedded", "--config", path}),
              ElementsAre(AllOf(StartsWith(path + ": "), HasSubstr("orders"), HasSubstr("tls.client_ca"))));
}

TEST_F(ConfigFaultsTest, SaysThatAFileHasNoPoolInItsPools) {
  const std::string path = Write("\n[pools]\n");
  EXPECT_THAT(FaultsOf({"--config", path}),
              ElementsAre(AllOf(StartsWith(path + ":2: pools: "), HasSubstr("[pools.NAME]"))));
}

TEST_F(ConfigFaultsTest, SaysWhatAnUnknownFlagIs) {
  EXPECT_THAT(FaultsOf({"--embedded", "--max-conections", "5"}),
              ElementsAre(AllOf(HasSubstr("--max-conections"), HasSubstr("--help"))));
  EXPECT_THAT(FaultsOf({"--dsn"}), ElementsAre(HasSubstr("--dsn")));
  EXPECT_THAT(FaultsOf({"--dsn", "host=a", "--dsn", "host=b"}), ElementsAre(HasSubstr("--dsn")));
}

TEST_F(ConfigFaultsTest, TakesNoPortThatIsNotPlainDigits) {
  for (const char* listen : {"127.0.0.1: 80", "127.0.0.1:+80", "127.0.0.1:-0", "127.0.0.1:80 "}) {
    EXPECT_THAT(FaultsOf({"--embedded", "--listen", listen}), SizeIs(1)) << listen;
  }
}

// --- secrets -------------------------------------------------------------------------------------

TEST_F(ConfigFaultsTest, NeverQuotesThePasswordOfABadDsn) {
  const std::string bad = std::string(kDsnWithSecret) + "?nonsense=1";
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"--dsn", bad},
           {"--dsn=" + bad},
           {"--dsn", "host=db password=hunter2 nonsense=1"},
           {"--dsn", kDsnWithSecret, "--control-dsn", bad},
           {"--embedded", "--dsn", kDsnWithSecret},
           {"--dsn", kDsnWithSecret, "--dsn", kDsnWithSecret},
       }) {
    SCOPED_TRACE(testing::PrintToString(arguments));
    const auto faults = FaultsOf(arguments);
    EXPECT_THAT(faults, Not(IsEmpty()));
    EXPECT_THAT(faults, Each(Not(HasSubstr(kSecret))));
  }
  SetEnvironment("PGLESSOR_DSN", bad.c_str());
  EXPECT_THAT(FaultsOf({}), ElementsAre(Not(HasSubstr(kSecret))));
}

TEST_F(ConfigFaultsTest, NamesTheVariableWhereTheValueIsItsOwn) {
  const std::string path = Write("listen = [\"127.0.0.1:1\"]\n[pools.a]\ndsn = 'host=a'\n");
  SetEnvironment("PGLESSOR_LISTEN", "nonsense");
  EXPECT_THAT(FaultsOf({"--config", path}), ElementsAre(StartsWith("PGLESSOR_LISTEN: expected HOST:PORT")))
      << "it overrides the file";
  const std::string listen = "--listen=127.0.0.1:2";
  EXPECT_THAT(FaultsOf({"--config", path, listen}), IsEmpty()) << "the flag overrides it";
  SetEnvironment("PGLESSOR_DSN", "host=b");
  EXPECT_THAT(FaultsOf({"--config", path, listen}),
              ElementsAre(AllOf(StartsWith("PGLESSOR_DSN: "), HasSubstr("got both"))));
  EXPECT_THAT(FaultsOf({"--embedded", listen}), ElementsAre(HasSubstr("either PGLESSOR_DSN or --embedded")));
  EXPECT_THAT(FaultsOf({"--embedded", "--dsn=host=c", listen}), ElementsAre(HasSubstr("either --dsn or")));
}

TEST_F(ConfigFaultsTest, SaysWhyCallersThatAreKnownNeedTls) {
  const std::string path = Write("[tenants.a]\nsecret = '000102030405060708090a0b0c0d0e0f'\n");
  EXPECT_THAT(FaultsOf({"--embedded", "--listen=0.0.0.0:1", "--config", path}),
              ElementsAre(HasSubstr("from other machines, without TLS: give --tls-cert")));
}

// The likeliest slips: the flag left out, or misspelt. What is printed lands in a log.
TEST_F(ConfigFaultsTest, NeverQuotesThePasswordOfADsnInTheWrongPlace) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {kDsnWithSecret},
           {"--dns", kDsnWithSecret},
           {std::string("--dns=") + kDsnWithSecret},
           {"--embedded", "--reflection=" + std::string(kDsnWithSecret)},
           {"--embedded", "--listen", kDsnWithSecret},
           {"--embedded", "--listen", "postgresql://app:hunter2@db:5432"},
           {"--embedded", "--config", kDsnWithSecret},
           {"--embedded", "--log-level", kDsnWithSecret},
           {"--embedded", "--min-connections", kDsnWithSecret},
           {"probe", "127.0.0.1:1", kDsnWithSecret},
       }) {
    SCOPED_TRACE(testing::PrintToString(arguments));
    const auto faults = FaultsOf(arguments);
    EXPECT_THAT(faults, Not(IsEmpty()));
    EXPECT_THAT(faults, Each(Not(HasSubstr(kSecret))));
  }
}

}  // namespace
}  // namespace pglessor

// No secret leaves: canaries are planted in each place where a secret comes in, good and bad calls are made,
// and everything that pglessor writes is searched for them.
#include <csignal>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/rpc/sha256.h"
#include "tests/system/support/system_test.h"
#include "tests/system/support/temporary_folder.h"

namespace pglessor::system {
namespace {

using namespace std::chrono_literals;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

constexpr char kBearer[] = "ca4a11ca4a11ca4a11ca4a11bea4e401";
constexpr char kOperator[] = "ca4a11ca4a11ca4a11ca4a11bea4e402";
constexpr char kWrongBearer[] = "ca4a11ca4a11ca4a11ca4a11bea4e403";
constexpr char kPassword[] = "canary-password";
constexpr char kParameter[] = "canary-parameter";

class SecretsTest : public SystemTest {
 protected:
  // Its caller "shop" holds, "oncall" operates; the password is of no use, since PostgreSQL trusts its
  // socket.
  void ServeWithCanaries() {
    const std::string config = folder_.path() / "pglessor.toml";
    std::ofstream(config) << "[tenants.shop]\nsecret = \"" << kBearer
                          << "\"\n[identities.oncall]\nroles = [\"operator\"]\nsecret = \"" << kOperator
                          << "\"\n";
    server_ = ServerProcess::Start(
        {"--config=" + config, "--log-level=debug", "--drain-timeout=0s", "--min-connections=2",
         "--max-connections=2"},
        {{"PGLESSOR_DSN", absl::StrCat(dsn(), " password=", kPassword)},
         {"PGLESSOR_CONTROL_DSN", absl::StrCat(control_dsn(), " password=", kPassword)}});
    ASSERT_NE(server_->address(), "");
  }
  Client As(const std::string& secret) { return Client(server().address(), {.secret = secret}); }

  // What goes wrong may not be told with the secret that it went wrong with.
  void ExpectNotIn(const Outcome& outcome, const std::string& secret) {
    EXPECT_THAT(outcome.status.error_message(), Not(HasSubstr(secret)));
    EXPECT_THAT(outcome.status.error_details(), Not(HasSubstr(secret)));
  }

  TemporaryFolder folder_;
};

TEST_F(SecretsTest, ShowNowhereWhateverHappens) {
  ServeWithCanaries();
  std::vector<std::string> tokens;
  {
    Client shop = As(kBearer), oncall = As(kOperator), stranger = As(kWrongBearer);
    const auto held = shop.Acquire(), expiring = shop.Acquire(AcquireFor(100ms));
    ASSERT_THAT(held, IsOk());
    ASSERT_THAT(expiring, IsOk());
    const std::string& token = held.response.lease_token();
    tokens = {token, expiring.response.lease_token()};

    EXPECT_THAT(shop.Execute(token, "SELECT $1::text", {Text(kParameter)}), IsOk());
    EXPECT_THAT(shop.Execute(token, "SELECT $1::int4", {Text(kParameter)}), Not(IsOk()));
    EXPECT_THAT(shop.Execute(token, absl::StrCat("SELECT '", kParameter, "' FROM nowhere")), Not(IsOk()));
    EXPECT_THAT(shop.Execute(token, "DO $$ BEGIN RAISE WARNING 'canary-parameter'; END $$"), IsOk());
    EXPECT_THAT(shop.Renew(token), IsOk());
    ExpectNotIn(stranger.Release(token), kWrongBearer);
    ExpectNotIn(stranger.Release(token), token);
    ExpectNotIn(oncall.Release(token), token);
    ExpectNotIn(shop.Release(token + "x"), token);
    // Put in the wrong place, where it is no secret's.
    v1::ExpireRequest by_id;
    by_id.set_lease_id(token);
    by_id.set_reason("looking for a leak");
    ExpectNotIn(oncall.Expire(by_id), token);
    EXPECT_THAT(shop.Reset(v1::RESET_MODE_FORCE), Not(IsOk()));
    EXPECT_TRUE(Eventually([&] { return !shop.Execute(tokens[1], "SELECT 1").ok(); })) << "it expires";
    EXPECT_THAT(oncall.StatsOf({}).response.SerializeAsString(), Not(HasSubstr(token)));
    EXPECT_THAT(oncall.Reset(v1::RESET_MODE_FORCE), IsOk());
    EXPECT_THAT(shop.Execute(token, "SELECT 1"),
                FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "POOL_RESET"));
  }
  server().process().Signal(SIGHUP);
  ASSERT_EQ(server().End(), 0);

  const std::string output = server().Log() + server().process().Output();
  ASSERT_THAT(output, HasSubstr("POOL_RESET")) << "the log tells what happened";
  std::vector<std::string> canaries = {kBearer, kOperator, kWrongBearer, kPassword, kParameter};
  for (const char* const secret : {kBearer, kOperator}) {
    canaries.push_back(absl::BytesToHexString(test::Sha256(secret)));
    canaries.push_back(absl::Base64Escape(test::Sha256(secret)));
  }
  for (const std::string& token : tokens) {
    canaries.push_back(token);
    canaries.push_back(token.substr(token.size() - 40));  // of the mac, which makes it a secret
  }
  for (const std::string& canary : canaries) EXPECT_THAT(output, Not(HasSubstr(canary)));
}

// A database that refuses the password: the log says so, and not which.
TEST_F(SecretsTest, OfADatabaseThatRefusesThemShowNowhere) {
  Process process({PGLESSOR_BINARY,
                   {"--listen=127.0.0.1:0", "--log-level=debug", "--drain-timeout=0s"},
                   {{"PGLESSOR_DSN", absl::StrCat(dsn(), " user=nobody password=", kPassword)}}});
  ASSERT_TRUE(Eventually([&] { return process.Log().find("nobody") != std::string::npos; })) << process.Log();
  process.Signal(SIGTERM);
  EXPECT_TRUE(process.AwaitEnd());
  EXPECT_THAT(process.Log() + process.Output(), Not(HasSubstr(kPassword)));
}

TEST_F(SecretsTest, AreInNoCoreDump) {
  ServeWithCanaries();
  const std::string limits = ReadFile(absl::StrCat("/proc/", server().process().pid(), "/limits"));
  EXPECT_THAT(limits, ContainsRegex("Max core file size +0 +0 "));
}

}  // namespace
}  // namespace pglessor::system

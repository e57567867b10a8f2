// Who is known by which credentials. Whatever is wrong with them, the answer is the same.
#include "server/rpc/identities.h"

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/rpc/sha256.h"
#include "tests/support/status_matchers.h"

namespace pglessor::rpc {
namespace {

using test::HasReason;
using test::IsOk;
using test::Sha256;
using test::StatusIs;

constexpr char kWebSecret[] = "web-secret-0f3c9a71d2";
constexpr char kCronSecret[] = "cron-secret-77b1e05c44";
constexpr char kWebSpiffe[] = "spiffe://cluster.example/ns/shop/sa/web";

IdentityOptions Web() {
  return {.name = "web",
          .roles = {Role::kHolder},
          .tenants = {"shop"},
          .secret_sha256 = Sha256(kWebSecret),
          .certificates = {kWebSpiffe, "web.shop.example"}};
}

IdentityOptions Cron() {
  return {.name = "cron",
          .roles = {Role::kHolder},
          .tenants = {"batch"},
          .secret_sha256 = Sha256(kCronSecret),
          .certificates = {"cron.shop.example"}};
}

class IdentitiesTest : public testing::Test {
 protected:
  using Certificate = std::optional<std::vector<std::string>>;

  // The name of the identity; else the status.
  std::string Known(const std::vector<absl::string_view>& authorization,
                    const Certificate& certificate = {}) {
    const auto caller = identities_.Authenticate([&] { return Credentials{authorization, certificate}; });
    if (caller.ok()) return (*caller)->identity();
    EXPECT_THAT(caller, StatusIs(absl::StatusCode::kUnauthenticated));
    EXPECT_THAT(caller, HasReason("UNAUTHENTICATED"));
    if (refusal_.ok()) refusal_ = caller.status();
    EXPECT_EQ(caller.status(), refusal_) << "one text for all";
    return "nobody";
  }

  const std::string web_bearer_ = absl::StrCat("Bearer ", kWebSecret);
  const std::string cron_bearer_ = absl::StrCat("Bearer ", kCronSecret);
  Identities identities_{{Web(), Cron()}};
  absl::Status refusal_;
};

TEST_F(IdentitiesTest, KnowsByASecret) {
  EXPECT_EQ(Known({web_bearer_}), "web");
  EXPECT_EQ(Known({cron_bearer_}), "cron");
}

TEST_F(IdentitiesTest, TakesTheSchemeInAnyCaseAndBlanksAroundTheSecret) {
  EXPECT_EQ(Known({absl::StrCat("bearer ", kWebSecret)}), "web");
  EXPECT_EQ(Known({absl::StrCat("BEARER   ", kWebSecret, " ")}), "web");
}

TEST_F(IdentitiesTest, RefusesWhatIsNoSecretOfAnybody) {
  const std::string secret = kWebSecret;
  for (const std::string& value :
       {std::string(), std::string("Bearer"), std::string("Bearer "), secret, absl::StrCat("Bearer", secret),
        absl::StrCat("Basic ", secret), absl::StrCat("Bearer ", secret, "x"),
        absl::StrCat("Bearer ", secret.substr(1)), absl::StrCat("Bearer ", Sha256(secret)),
        absl::StrCat("Bearer ", secret, ",", secret), std::string("Bearer \0", 8),
        absl::StrCat("Bearer ", std::string(16'000, 'a'))}) {
    EXPECT_EQ(Known({value}), "nobody") << value;
  }
  EXPECT_EQ(Known({}), "nobody");
  EXPECT_EQ(Known({web_bearer_, web_bearer_}), "nobody");
}

TEST_F(IdentitiesTest, KnowsByACertificate) {
  EXPECT_EQ(Known({}, Certificate({kWebSpiffe})), "web");
  EXPECT_EQ(Known({}, Certificate({"unknown.example", "cron.shop.example"})), "cron");
  EXPECT_EQ(Known({}, Certificate({"web.shop.example", kWebSpiffe})), "web") << "two names of one identity";
}

TEST_F(IdentitiesTest, RefusesACertificateOfNobodyOrOfSeveral) {
  EXPECT_EQ(Known({}, Certificate({})), "nobody");
  EXPECT_EQ(Known({}, Certificate({"web.shop.example.evil"})), "nobody");
  EXPECT_EQ(Known({}, Certificate({"web.shop.example", "cron.shop.example"})), "nobody");
}

TEST_F(IdentitiesTest, WantsBothToProveOneIdentityWhereBothAreGiven) {
  EXPECT_EQ(Known({web_bearer_}, Certificate({kWebSpiffe})), "web");
  EXPECT_EQ(Known({cron_bearer_}, Certificate({kWebSpiffe})), "nobody");
  EXPECT_EQ(Known({web_bearer_}, Certificate({"unknown.example"})), "nobody");
  EXPECT_EQ(Known({"Bearer wrong"}, Certificate({kWebSpiffe})), "nobody");
  EXPECT_EQ(Known({"Bearer wrong"}, Certificate({"unknown.example"})), "nobody");
}

TEST_F(IdentitiesTest, AreReplacedAsAWhole) {
  const auto before = identities_.Authenticate([&] { return Credentials{{web_bearer_}, {}}; });
  IdentityOptions web = Web();
  web.secret_sha256 = Sha256("another secret");
  identities_.Replace({web});
  EXPECT_EQ(Known({web_bearer_}), "nobody");
  EXPECT_EQ(Known({"Bearer another secret"}), "web");
  EXPECT_EQ(Known({cron_bearer_}), "nobody");
  EXPECT_EQ((*before)->identity(), "web") << "a call under way keeps who it is";
}

TEST_F(IdentitiesTest, AreLookedUpWhileTheyAreReplaced) {
  std::thread replacing([&] {
    for (int i = 0; i < 200; ++i)
      identities_.Replace(i % 2 == 0 ? std::vector{Web()} : std::vector{Web(), Cron()});
  });
  for (int i = 0; i < 200; ++i) EXPECT_EQ(Known({web_bearer_}), "web");
  replacing.join();
}

TEST(IdentitiesUnconfigured, MakeEverybodyAnonymousWithoutALook) {
  const Identities identities({});
  const auto caller = identities.Authenticate([]() -> Credentials {
    ADD_FAILURE() << "nobody's credentials matter";
    return {};
  });
  ASSERT_THAT(caller, IsOk());
  EXPECT_EQ((*caller)->identity(), "anonymous");
}

}  // namespace
}  // namespace pglessor::rpc

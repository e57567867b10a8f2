#include "server/config_warnings.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pglessor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Config Known() {
  Config config;
  config.identities.emplace_back();
  return config;
}

TEST(ConfigWarnings, HasNothingToSayOfWhatIsMeant) {
  EXPECT_THAT(WarningsOf(Known(), "10.0.0.1:7432"), IsEmpty());
}

TEST(ConfigWarnings, SaysThatEveryCallerMayDoEverything) {
  EXPECT_THAT(WarningsOf({}, "127.0.0.1:7432"), ElementsAre(HasSubstr("anonymous")));
}

TEST(ConfigWarnings, SaysThatNobodyFindsAnAddressThatIsEveryMachines) {
  Config config = Known();
  for (const char* bound : {"0.0.0.0:7432", "[::]:7432"}) {
    EXPECT_THAT(WarningsOf(config, bound), ElementsAre(HasSubstr("--advertise"))) << bound;
  }
  config.advertise = "db:7432";
  EXPECT_THAT(WarningsOf(config, "0.0.0.0:7432"), IsEmpty());
}

TEST(ConfigWarnings, SaysWhatHasNoEffectYet) {
  Config gateway = Known();
  gateway.gateway = "127.0.0.1:7433";
  EXPECT_THAT(WarningsOf(gateway, "127.0.0.1:7432"), ElementsAre(HasSubstr("not built yet")));
  Config verifier = Known();
  verifier.scram_verifiers["a"] = "SCRAM-SHA-256$...";
  EXPECT_THAT(WarningsOf(verifier, "127.0.0.1:7432"), ElementsAre(HasSubstr("not built yet")));
}

}  // namespace
}  // namespace pglessor

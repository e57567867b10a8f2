// What a caller may do, for whom, and what it is shown.
#include "server/rpc/caller.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/events.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/toy_token_key.h"

namespace pglessor::rpc {
namespace {

using test::HasReason;
using test::IsOk;

Caller CallerWith(std::set<Role> roles, std::vector<std::string> tenants = {}) {
  return Caller({.name = "web",
                 .roles = std::move(roles),
                 .tenants = std::move(tenants),
                 .secret_sha256 = {},
                 .certificates = {}});
}

TEST(Caller, MayDoWhatItsRolesSayAndNothingElse) {
  const Caller nobody = CallerWith({});
  EXPECT_FALSE(nobody.May(Role::kHolder) || nobody.May(Role::kViewer) || nobody.May(Role::kOperator));
  const Caller viewer = CallerWith({Role::kViewer});
  EXPECT_FALSE(viewer.May(Role::kHolder) || viewer.May(Role::kOperator));
  EXPECT_TRUE(viewer.May(Role::kViewer));
  const Caller operators = CallerWith({Role::kOperator});
  EXPECT_FALSE(operators.May(Role::kHolder)) << "who operates need not hold";
  EXPECT_TRUE(operators.May(Role::kViewer) && operators.May(Role::kOperator));
}

TEST(Caller, ThatHoldsMayLookAtItsOwn) {
  const Caller holder = CallerWith({Role::kHolder}, {"shop", "billing"});
  EXPECT_TRUE(holder.May(Role::kHolder) && holder.May(Role::kViewer));
  EXPECT_FALSE(holder.May(Role::kOperator));
  EXPECT_FALSE(holder.SeesEverything());
  EXPECT_TRUE(holder.Sees("shop") && holder.Sees("billing"));
  EXPECT_FALSE(holder.Sees("crm") || holder.Sees("") || holder.Sees("sho"));
}

TEST(Caller, ThatViewsOrOperatesSeesEverybodys) {
  for (const Role role : {Role::kViewer, Role::kOperator}) {
    const Caller caller = CallerWith({Role::kHolder, role}, {"shop"});
    EXPECT_TRUE(caller.SeesEverything());
    EXPECT_TRUE(caller.Sees("crm"));
    EXPECT_FALSE(caller.ActsFor("crm")) << "to see is not to act";
  }
}

TEST(Caller, ActsForItsFirstTenantUnlessItNamesAnother) {
  const Caller caller = CallerWith({Role::kHolder}, {"shop", "billing"});
  EXPECT_EQ(*caller.TenantFor(""), "shop");
  EXPECT_EQ(*caller.TenantFor("billing"), "billing");
  EXPECT_THAT(caller.TenantFor("crm"), HasReason("PERMISSION_DENIED"));
  EXPECT_THAT(caller.TenantFor("*"), HasReason("PERMISSION_DENIED"));
}

TEST(Caller, OfAnyTenantActsForTheDefaultUnlessItNamesOne) {
  const Caller caller = CallerWith({Role::kHolder}, {"*"});
  EXPECT_EQ(*caller.TenantFor(""), "default");
  EXPECT_EQ(*caller.TenantFor("crm"), "crm");
  EXPECT_EQ(*CallerWith({Role::kHolder}, {"shop", "*"}).TenantFor(""), "shop");
}

TEST(Caller, OfNoTenantActsForNone) {
  EXPECT_THAT(CallerWith({Role::kHolder}).TenantFor(""), HasReason("PERMISSION_DENIED"));
  EXPECT_THAT(CallerWith({Role::kHolder}).TenantFor("default"), HasReason("PERMISSION_DENIED"));
}

TEST(Caller, IsAnonymousAndMayDoEverythingWhereNobodyIsKnown) {
  const Caller anonymous = Caller::Anonymous();
  EXPECT_EQ(anonymous.identity(), "anonymous");
  EXPECT_TRUE(anonymous.May(Role::kHolder) && anonymous.May(Role::kViewer) && anonymous.May(Role::kOperator));
  EXPECT_EQ(*anonymous.TenantFor(""), "default");
  EXPECT_EQ(*anonymous.TenantFor("crm"), "crm");
}

TEST(Caller, ProvesNoLeaseOfAnotherTenantAndIsNotToldThatThereIsOne) {
  const test::FakeClock clock;
  const test::ToyTokenKey key;
  const core::Events events;
  const core::Lessor lessor({.replica = {"here", 1}, .server_address = "", .leases = {}}, clock, key, events);
  core::LeaseGrant grant;
  grant.counter = core::LeaseCounter{7};
  grant.terms.tenant = "shop";
  const std::string token = lessor.TokenOf(grant);

  const auto own = Prove(CallerWith({Role::kHolder}, {"crm", "shop"}), lessor, token);
  ASSERT_THAT(own, IsOk());
  EXPECT_EQ(*own, grant.counter);
  const Caller other = CallerWith({Role::kHolder, Role::kOperator}, {"crm"});
  EXPECT_EQ(Prove(other, lessor, token).status(), Prove(other, lessor, "forged").status());
  EXPECT_THAT(Prove(other, lessor, token), HasReason("LEASE_NOT_FOUND"));
}

}  // namespace
}  // namespace pglessor::rpc

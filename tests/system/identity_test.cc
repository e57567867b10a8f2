// Tenants that share a server and do not get at each other's leases: over gRPC, on a real PostgreSQL.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/rpc/sha256.h"
#include "tests/system/support/client.h"
#include "tests/system/support/operators.h"
#include "tests/system/support/outcome.h"
#include "tests/system/support/service.h"

namespace pglessor::system {
namespace {

using namespace std::chrono_literals;
using grpc::StatusCode;
using rpc::IdentityOptions;
using rpc::Role;
using test::Sha256;

std::string SecretOf(const std::string& name) { return name + "-secret-5d1f0a77c3"; }

IdentityOptions Identity(const std::string& name, std::set<Role> roles, std::vector<std::string> tenants) {
  return {.name = name,
          .roles = std::move(roles),
          .tenants = std::move(tenants),
          .secret_sha256 = Sha256(SecretOf(name)),
          .certificates = {}};
}

const IdentityOptions kWeb = Identity("web", {Role::kHolder}, {"shop"});
const IdentityOptions kTill = Identity("till", {Role::kHolder}, {"shop"});
const IdentityOptions kCrm = Identity("crm", {Role::kHolder}, {"crm"});
const IdentityOptions kWatch = Identity("watch", {Role::kViewer}, {});
const IdentityOptions kAdmin = Identity("admin", {Role::kOperator}, {});

class IdentityTest : public testing::Test {
 protected:
  static rpc::RpcOptions Known() {
    rpc::RpcOptions options;
    options.identities = {kWeb, kTill, kCrm, kWatch, kAdmin};
    return options;
  }
  Client As(const std::string& name) { return Client(service_.address(), {.secret = SecretOf(name)}); }

  Service service_{{.min_connections = 2, .max_connections = 3}, Known()};
  Client web_ = As("web"), till_ = As("till"), crm_ = As("crm"), watch_ = As("watch"), admin_ = As("admin");
};

TEST_F(IdentityTest, ALeaseIsForTheTenantOfWhoAcquiresIt) {
  const auto held = web_.Acquire();
  ASSERT_THAT(held, IsOk());
  EXPECT_EQ(held.response.lease().tenant(), "shop");
  EXPECT_EQ(web_.Execute(held.response.lease_token(), "SELECT 7").Value(), "int_value: 7");

  v1::AcquireRequest request;
  request.set_tenant("shop");
  EXPECT_THAT(crm_.Acquire(request), FailsWith(StatusCode::PERMISSION_DENIED, "PERMISSION_DENIED"));
}

// The token alone is not enough: it must come from who may act for its tenant.
TEST_F(IdentityTest, ATokenIsNoUseToAnotherTenantAndTellsItNothing) {
  const auto held = web_.Acquire();
  ASSERT_THAT(held, IsOk());
  const std::string& token = held.response.lease_token();

  const Outcome forged = crm_.Release("forged");
  EXPECT_THAT(forged, FailsWith(StatusCode::NOT_FOUND, "LEASE_NOT_FOUND"));
  const std::vector<Outcome> refused = {crm_.Release(token), crm_.Renew(token), crm_.Expire(token),
                                        crm_.Execute(token, "SELECT 1")};
  for (const Outcome& outcome : refused) {
    EXPECT_THAT(outcome, FailsWith(StatusCode::NOT_FOUND, "LEASE_NOT_FOUND"));
    EXPECT_EQ(outcome.status.error_message(), forged.status.error_message());
    EXPECT_EQ(outcome.status.error_details(), forged.status.error_details());
  }
  EXPECT_THAT(web_.Execute(token, "SELECT 1"), IsOk()) << "the lease has not noticed";
  EXPECT_THAT(till_.Release(token), IsOk()) << "who acts for the same tenant may use it";
}

TEST_F(IdentityTest, AnOperatorWithoutThatRoleHoldsNothing) {
  EXPECT_THAT(admin_.Acquire(), FailsWith(StatusCode::PERMISSION_DENIED, "PERMISSION_DENIED"));
  EXPECT_THAT(admin_.Reset(v1::RESET_MODE_GRACEFUL), IsOk());
  EXPECT_THAT(web_.Reset(v1::RESET_MODE_GRACEFUL),
              FailsWith(StatusCode::PERMISSION_DENIED, "PERMISSION_DENIED"));
}

TEST_F(IdentityTest, AnOperatorRevokesByTheNameOfALeaseWhichAHolderMayNot) {
  const auto held = web_.Acquire();
  ASSERT_THAT(held, IsOk());
  v1::ExpireRequest request;
  request.set_lease_id(held.response.lease().lease_id());
  EXPECT_THAT(web_.Expire(request), FailsWith(StatusCode::PERMISSION_DENIED, "PERMISSION_DENIED"));
  const auto expired = admin_.Expire(request);
  ASSERT_THAT(expired, IsOk());
  EXPECT_EQ(expired.response.leases_ended(), 1);
  EXPECT_THAT(web_.Execute(held.response.lease_token(), "SELECT 1"),
              FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_REVOKED"));
}

TEST_F(IdentityTest, OneRequestIdOfTwoIdentitiesIsTwoAcquires) {
  v1::AcquireRequest request = AcquireFor(10s);
  request.set_request_id("7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001");
  const auto first = web_.Acquire(request), again = web_.Acquire(request), other = till_.Acquire(request);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(other, IsOk());
  EXPECT_EQ(again.response.lease().lease_id(), first.response.lease().lease_id());
  EXPECT_NE(other.response.lease().lease_id(), first.response.lease().lease_id());
}

TEST_F(IdentityTest, StatsShowAHolderTheRowsOfItsTenantOnly) {
  const auto shop = web_.Acquire(), crm = crm_.Acquire();
  ASSERT_THAT(shop, IsOk());
  ASSERT_THAT(crm, IsOk());

  const v1::PoolStats own = till_.Stats();
  ASSERT_EQ(own.connections_size(), 1);
  EXPECT_EQ(own.connections(0).lease_id(), shop.response.lease().lease_id());
  for (const v1::TenantStats& tenant : own.tenants()) EXPECT_EQ(tenant.tenant(), "shop");
  EXPECT_EQ(own.in_use(), 2) << "of the pool as a whole";
  EXPECT_EQ(watch_.Stats().connections_size(), 2);
  EXPECT_EQ(admin_.Stats().connections_size(), 2);
}

TEST_F(IdentityTest, ListsAndEventsShowAHolderWhatIsOfItsTenantOnly) {
  Operators till(till_), watch(watch_);
  const auto shops = till.Watch(), everybodys = watch.Watch();
  const auto crm = crm_.Acquire(), shop = web_.Acquire();
  ASSERT_THAT(crm, IsOk());
  ASSERT_THAT(shop, IsOk());

  const auto leases = till.ListLeases();
  ASSERT_EQ(leases.response.leases_size(), 1);
  EXPECT_EQ(leases.response.leases(0).lease_id(), shop.response.lease().lease_id());
  const auto connections = till.ListConnections();
  ASSERT_EQ(connections.response.connections_size(), 1);
  EXPECT_EQ(connections.response.connections(0).lease().lease_id(), shop.response.lease().lease_id());
  EXPECT_EQ(watch.ListLeases().response.leases_size(), 2);
  EXPECT_EQ(watch.ListConnections().response.connections_size(), 2);

  EXPECT_THAT(crm_.Release(crm.response.lease_token()), IsOk());
  EXPECT_THAT(web_.Release(shop.response.lease_token()), IsOk());
  for (const v1::Event& event : shops->Until(v1::EVENT_TYPE_LEASE_ENDED)) {
    EXPECT_EQ(event.tenant(), "shop") << event.ShortDebugString();
  }
  EXPECT_EQ(everybodys->Until(v1::EVENT_TYPE_LEASE_ENDED).back().tenant(), "crm")
      << "whose lease ended first";
}

TEST_F(IdentityTest, WhoIsNoLongerConfiguredIsRefusedFromTheNextCallOn) {
  const auto held = web_.Acquire();
  ASSERT_THAT(held, IsOk());
  service_.rpc().Replace({kTill, kAdmin});
  EXPECT_THAT(web_.Execute(held.response.lease_token(), "SELECT 1"),
              FailsWith(StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"));
  EXPECT_THAT(till_.Execute(held.response.lease_token(), "SELECT 1"), IsOk()) << "the lease lives on";
}

}  // namespace
}  // namespace pglessor::system

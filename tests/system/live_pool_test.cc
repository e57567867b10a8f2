// A pool that operators pause, resume and change while it serves; and what tenants' limits do then.
#include <chrono>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/operators.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::Contains;
using testing::HasSubstr;

class LivePoolTest : public SystemTest {
 protected:
  Operators operators() { return Operators(client()); }

  static v1::UpdatePoolRequest Change(const std::string& field) {
    v1::UpdatePoolRequest request;
    request.set_pool("default");
    request.mutable_update_mask()->add_paths(field);
    return request;
  }
  static v1::AcquireRequest As(const std::string& tenant, v1::Priority priority = v1::PRIORITY_NORMAL) {
    v1::AcquireRequest request;
    request.set_tenant(tenant);
    request.set_priority(priority);
    return request;
  }
};

TEST_F(LivePoolTest, GrantsNothingWhileItIsPaused) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto watch = operators().Watch();
  const auto paused = operators().PausePool("default", "vacuum");
  ASSERT_THAT(paused, IsOk());
  EXPECT_FALSE(paused.response.already_paused());
  EXPECT_EQ(paused.response.in_use(), 1);
  EXPECT_TRUE(operators().PausePool("default").response.already_paused());
  EXPECT_EQ(watch->Until(v1::EVENT_TYPE_POOL_PAUSED).back().reason(), "vacuum");

  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk()) << "leases live on";
  EXPECT_THAT(client().Renew(held.token), IsOk());
  EXPECT_THAT(client().Release(held.token), IsOk());
  const auto waiter = StartAcquire(client());
  ASSERT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  ASSERT_TRUE(Eventually([&] { return client().Stats().available() == 1; })) << "idle beside a waiter";
  EXPECT_TRUE(client().Stats().paused());

  const auto resumed = operators().ResumePool("default");
  ASSERT_THAT(resumed, IsOk());
  EXPECT_TRUE(resumed.response.was_paused());
  EXPECT_EQ(resumed.response.waiting(), 1);
  EXPECT_THAT(waiter->Get(), IsOk());
  EXPECT_FALSE(operators().ResumePool("default").response.was_paused());
  EXPECT_FALSE(client().Stats().paused());
}

TEST_F(LivePoolTest, ServesAWaiterFromARaisedMaximum) {
  Serve(1, 1);
  Acquire();
  const auto waiter = StartAcquire(client());
  ASSERT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  v1::UpdatePoolRequest request = Change("max_connections");
  request.mutable_settings()->set_max_connections(2);
  request.mutable_settings()->set_min_connections(77);  // not in the mask
  const auto updated = operators().UpdatePool(request);
  ASSERT_THAT(updated, IsOk());
  EXPECT_EQ(updated.response.settings().max_connections(), 2);
  EXPECT_EQ(updated.response.settings().min_connections(), 1);
  EXPECT_THAT(waiter->Get(), IsOk());
  EXPECT_EQ(client().Stats().max_connections(), 2);
}

TEST_F(LivePoolTest, FallsToALoweredMaximumWithoutEndingALease) {
  Serve(3, 3);
  const Held held = Acquire();
  v1::UpdatePoolRequest request = Change("max_connections");
  request.mutable_update_mask()->add_paths("min_connections");
  request.mutable_settings()->set_max_connections(1);
  request.mutable_settings()->set_min_connections(1);
  ASSERT_THAT(operators().UpdatePool(request), IsOk());
  // Until then the old maximum is the bound, which Client::Stats would not have.
  EXPECT_TRUE(Eventually(
      [&] { return observer().Count("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'") == 1; }));
  EXPECT_TRUE(Eventually([&] { return client().StatsOf({}).response.pools(0).total() == 1; }));
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
  EXPECT_THAT(client().Release(held.token), IsOk());
}

TEST_F(LivePoolTest, IsChangedAsAWholeOrNotAtAll) {
  Serve(1, 2);
  v1::UpdatePoolRequest request = Change("max_connections");
  request.mutable_update_mask()->add_paths("min_connections");
  request.mutable_settings()->set_max_connections(5);
  request.mutable_settings()->set_min_connections(6);
  const auto refused = operators().UpdatePool(request);
  EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(refused.status.error_message(), HasSubstr("min_connections"));
  EXPECT_EQ(client().Stats().max_connections(), 2);
  EXPECT_THAT(operators().UpdatePool({}), FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(operators().UpdatePool(Change("dsn")),
              FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  request = Change("max_connections");
  request.set_pool("nowhere");
  EXPECT_THAT(operators().UpdatePool(request), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
  EXPECT_THAT(operators().PausePool("nowhere"), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
  EXPECT_THAT(operators().PausePool(""), FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(operators().ResumePool(""), FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(operators().PausePool("default", std::string(257, 'x')),
              FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
}

TEST_F(LivePoolTest, HoldsATenantToItsQuotaRateAndPriority) {
  Serve(4, 4);
  v1::UpdatePoolRequest request = Change("tenants");
  v1::TenantLimits& quota = *request.mutable_settings()->add_tenants();
  quota.set_tenant("quota");
  quota.set_max_leases(1);
  quota.set_max_priority(v1::PRIORITY_NORMAL);
  v1::TenantLimits& rate = *request.mutable_settings()->add_tenants();
  rate.set_tenant("rate");
  rate.set_acquires_per_second(0.001);
  ASSERT_THAT(operators().UpdatePool(request), IsOk());

  const auto first = client().Acquire(As("quota"));
  ASSERT_THAT(first, IsOk());
  const auto second = client().Acquire(As("quota"));
  EXPECT_THAT(second, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TENANT_QUOTA_EXCEEDED"));
  EXPECT_THAT(second.status.error_message(), HasSubstr("quota"));
  EXPECT_THAT(client().Release(first.response.lease_token()), IsOk());
  EXPECT_THAT(client().Acquire(As("quota", v1::PRIORITY_HIGH)),
              FailsWith(StatusCode::PERMISSION_DENIED, "PERMISSION_DENIED"));
  ASSERT_THAT(client().Acquire(As("quota")), IsOk());

  EXPECT_THAT(client().Acquire(As("rate")), IsOk());
  EXPECT_THAT(client().Acquire(As("rate")), FailsWith(StatusCode::RESOURCE_EXHAUSTED, "RATE_LIMITED"));
  EXPECT_THAT(client().Acquire(As("other")), IsOk()) << "others are not concerned";

  const v1::PoolStats stats = client().Stats();
  ASSERT_EQ(stats.tenants().size(), 3);
  EXPECT_EQ(stats.tenants(0).tenant(), "other");
  EXPECT_EQ(stats.tenants(1).tenant(), "quota");
  EXPECT_EQ(stats.tenants(1).in_use(), 1);
  EXPECT_EQ(stats.tenants(1).max_leases(), 1);
  EXPECT_EQ(stats.tenants(1).rejected(), 2);
  EXPECT_EQ(stats.tenants(2).granted(), 1);
}

TEST_F(LivePoolTest, ServesAHigherPriorityBeforeOneThatCameEarlier) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto low = StartAcquire(client(), As("a", v1::PRIORITY_LOW));
  ASSERT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  const auto high = StartAcquire(client(), As("a", v1::PRIORITY_HIGH));
  ASSERT_TRUE(Eventually([&] { return client().Stats().waiting() == 2; }));
  EXPECT_THAT(client().Release(held.token), IsOk());
  const auto granted = high->Get();
  ASSERT_THAT(granted, IsOk());
  EXPECT_EQ(client().Stats().waiting(), 1);
  EXPECT_THAT(client().Release(granted.response.lease_token()), IsOk());
  EXPECT_THAT(low->Get(), IsOk());
}

}  // namespace
}  // namespace pglessor::system

#include "server/rpc/convert_settings.h"

#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace pglessor::rpc {
namespace {

using namespace std::chrono_literals;
using core::PoolOptions;
using core::TenantLimits;
using test::HasReason;
using test::IsOk;

using Request = v1::UpdatePoolRequest;

Request Update(const std::string& field) {
  Request request;
  request.set_pool("default");
  request.mutable_update_mask()->add_paths(field);
  return request;
}

Request Update(const std::string& field, int32_t connections) {
  Request request = Update(field);
  request.mutable_settings()->set_max_connections(connections);
  return request;
}

PoolOptions Before() {
  PoolOptions options;
  options.tenants["kept"] = {.max_leases = 9};
  options.tenants["old"] = {.max_leases = 1, .weight = 5, .role = "old_role"};
  return options;
}

TEST(ConvertSettings, OnlyWhatTheMaskNamesChanges) {
  Request request = Update("max_connections");
  request.mutable_settings()->set_max_connections(50);
  request.mutable_settings()->set_min_connections(7);
  request.mutable_settings()->mutable_max_ttl()->set_seconds(50);
  PoolOptions expected = Before();
  expected.max_connections = 50;
  EXPECT_EQ(*Changed(Before(), request), expected);

  request.mutable_update_mask()->add_paths("min_connections");
  request.mutable_update_mask()->add_paths("max_ttl");
  expected.min_connections = 7;
  expected.max_ttl = 50s;
  EXPECT_EQ(*Changed(Before(), request), expected);
}

TEST(ConvertSettings, ATenantsRowIsReplacedAsAWholeAndOthersAreKept) {
  Request request = Update("tenants");
  v1::TenantLimits& old = *request.mutable_settings()->add_tenants();
  old.set_tenant("old");
  old.set_acquires_per_second(2.5);
  old.set_burst(4);
  v1::TenantLimits& added = *request.mutable_settings()->add_tenants();
  added.set_tenant("new");
  added.set_guaranteed(2);
  added.set_weight(1000);
  added.set_max_priority(v1::PRIORITY_NORMAL);
  const auto changed = Changed(Before(), request);
  ASSERT_THAT(changed, IsOk());
  // What no row can say stays: his role.
  EXPECT_EQ(changed->tenants.at("old"),
            (TenantLimits{.acquires_per_second = 2.5, .burst = 4, .role = "old_role"}));
  EXPECT_EQ(changed->tenants.at("new"),
            (TenantLimits{.guaranteed = 2, .weight = 1000, .max_priority = core::Priority::kNormal}));
  EXPECT_EQ(changed->tenants.at("kept"), Before().tenants.at("kept"));
}

TEST(ConvertSettings, WhatIsShownIsReadBack) {
  PoolOptions options = Before();
  options.min_connections = 3;
  options.default_ttl = 1500ms;
  options.tenants["low"] = {.max_priority = core::Priority::kLow};
  Request request = Update("tenants");
  for (const char* const field :
       {"min_connections", "max_connections", "min_ttl", "default_ttl", "max_ttl"}) {
    request.mutable_update_mask()->add_paths(field);
  }
  *request.mutable_settings() = ToProto(options);
  PoolOptions empty;
  empty.tenants["old"].role = "old_role";
  EXPECT_EQ(*Changed(empty, request), options);
}

TEST(ConvertSettings, BadMasksAreRefused) {
  Request none;
  EXPECT_THAT(Changed({}, none), HasReason("FIELD_INVALID"));
  for (const char* const field :
       {"", "*", "tenants.max_leases", "maxConnections", "settings.max_connections", "pool"}) {
    Request request = Update("min_connections");
    request.mutable_update_mask()->add_paths(field);
    const auto refused = Changed({}, request);
    EXPECT_THAT(refused, HasReason("FIELD_INVALID")) << field;
    EXPECT_EQ(test::MetadataOf(refused.status(), "field"), "update_mask") << field;
  }
}

TEST(ConvertSettings, BadValuesNameTheirField) {
  const auto ttl = [](const char* name, int64_t seconds, int32_t nanos) {
    Request request = Update(name);
    google::protobuf::Duration span;
    span.set_seconds(seconds);
    span.set_nanos(nanos);
    *request.mutable_settings()->mutable_min_ttl() = span;
    *request.mutable_settings()->mutable_default_ttl() = span;
    *request.mutable_settings()->mutable_max_ttl() = span;
    return request;
  };
  const auto tenant = [](const std::function<void(v1::TenantLimits&)>& change) {
    Request request = Update("tenants");
    v1::TenantLimits& row = *request.mutable_settings()->add_tenants();
    row.set_tenant("t");
    change(row);
    return request;
  };
  Request twice = tenant([](v1::TenantLimits&) {});
  twice.mutable_settings()->add_tenants()->set_tenant("t");
  const double infinite = std::numeric_limits<double>::infinity();
  const std::pair<const char*, Request> bad[] = {
      {"settings.min_ttl", ttl("min_ttl", -1, 0)},
      {"settings.default_ttl", ttl("default_ttl", 0, 1'000'000'000)},
      {"settings.max_ttl", ttl("max_ttl", 1, -1)},
      {"settings.max_ttl", Update("max_ttl")},
      {"settings.tenants.tenant", tenant([](v1::TenantLimits& row) { row.set_tenant(""); })},
      {"settings.tenants.tenant", tenant([](v1::TenantLimits& row) { row.set_tenant("../x"); })},
      {"settings.tenants.tenant", tenant([](v1::TenantLimits& row) { row.set_tenant("lease"); })},
      {"settings.tenants", twice},
      {"settings.tenants[t].guaranteed", tenant([](v1::TenantLimits& row) {
         row.set_guaranteed(3);
         row.set_max_leases(2);
       })},
      {"settings.max_ttl", ttl("max_ttl", 48 * 3600, 0)},
      {"settings.min_connections", Update("max_connections", 5)},
      {"settings.tenants[t].max_leases", tenant([](v1::TenantLimits& row) { row.set_max_leases(-1); })},
      {"settings.tenants[t].burst", tenant([](v1::TenantLimits& row) { row.set_burst(-1); })},
      {"settings.tenants[t].guaranteed", tenant([](v1::TenantLimits& row) { row.set_guaranteed(-1); })},
      {"settings.tenants[t].weight", tenant([](v1::TenantLimits& row) { row.set_weight(-1); })},
      {"settings.tenants[t].weight", tenant([](v1::TenantLimits& row) { row.set_weight(1001); })},
      {"settings.tenants[t].acquires_per_second",
       tenant([](v1::TenantLimits& row) { row.set_acquires_per_second(-0.5); })},
      {"settings.tenants[t].acquires_per_second",
       tenant([&](v1::TenantLimits& row) { row.set_acquires_per_second(infinite); })},
      {"settings.tenants[t].acquires_per_second",
       tenant([](v1::TenantLimits& row) { row.set_acquires_per_second(std::nan("")); })},
      {"settings.tenants[t].max_priority",
       tenant([](v1::TenantLimits& row) { row.set_max_priority(static_cast<v1::Priority>(4)); })},
  };
  for (const auto& [field, request] : bad) {
    const auto refused = Changed(Before(), request);
    EXPECT_THAT(refused, HasReason("FIELD_INVALID")) << request.ShortDebugString();
    EXPECT_EQ(test::MetadataOf(refused.status(), "field"), field) << request.ShortDebugString();
  }
}

}  // namespace
}  // namespace pglessor::rpc

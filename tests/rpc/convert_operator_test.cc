#include "server/rpc/convert_operator.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace pglessor::rpc {
namespace {

using test::HasReason;
using test::IsOk;
using testing::ElementsAre;
using testing::Pair;

TEST(ConvertOperator, PageSizesAreDefaultedLoweredAndRefused) {
  const std::pair<int32_t, size_t> sizes[] = {{0, 100},     {1, 1},       {999, 999},
                                              {1000, 1000}, {1001, 1000}, {1'000'000'000, 1000}};
  for (const auto& [asked, size] : sizes) EXPECT_EQ(*PageSizeFromProto(asked), size) << asked;
  for (const int32_t asked : {-1, std::numeric_limits<int32_t>::min()}) {
    const auto refused = PageSizeFromProto(asked);
    EXPECT_THAT(refused, HasReason("FIELD_INVALID")) << asked;
    EXPECT_EQ(test::MetadataOf(refused.status(), "field"), "page_size");
  }
}

TEST(ConvertOperator, ReadsFiltersOfLeases) {
  v1::ListLeasesRequest request;
  EXPECT_EQ(FromProto(request)->state, std::nullopt);
  request.set_pool("orders");
  request.set_tenant("billing");
  (*request.mutable_tags())["job"] = "nightly";
  request.set_state(v1::LEASE_STATE_ENDING);
  const auto query = FromProto(request);
  ASSERT_THAT(query, IsOk());
  EXPECT_EQ(query->filter.pool, "orders");
  EXPECT_EQ(query->filter.tenant, "billing");
  EXPECT_THAT(query->filter.tags, ElementsAre(Pair("job", "nightly")));
  EXPECT_EQ(query->state, core::LeaseState::kEnding);
  for (const int state : {4, -1, 1'000'000}) {
    request.set_state(static_cast<v1::LeaseState>(state));
    EXPECT_THAT(FromProto(request), HasReason("FIELD_INVALID")) << state;
  }
}

TEST(ConvertOperator, EveryStateOfAConnectionIsAFilter) {
  const std::pair<v1::ConnectionState, core::SlotState> states[] = {
      {v1::CONNECTION_STATE_OPENING, core::SlotState::kOpening},
      {v1::CONNECTION_STATE_AVAILABLE, core::SlotState::kAvailable},
      {v1::CONNECTION_STATE_IN_USE, core::SlotState::kInUse},
      {v1::CONNECTION_STATE_CLEANING, core::SlotState::kCleaning},
      {v1::CONNECTION_STATE_RETIRING, core::SlotState::kRetiring},
      {v1::CONNECTION_STATE_STUCK, core::SlotState::kStuck},
  };
  v1::ListConnectionsRequest request;
  EXPECT_EQ(FromProto(request)->state, std::nullopt);
  for (const auto& [proto, state] : states) {
    request.set_state(proto);
    EXPECT_EQ(FromProto(request)->state, state) << proto;
  }
  request.set_state(static_cast<v1::ConnectionState>(7));
  EXPECT_THAT(FromProto(request), HasReason("FIELD_INVALID"));
}

v1::InjectFaultRequest Inject(int kind) {
  v1::InjectFaultRequest request;
  request.set_pool("default");
  request.set_kind(static_cast<v1::FaultKind>(kind));
  return request;
}

TEST(ConvertOperator, ReadsFaults) {
  v1::InjectFaultRequest request = Inject(v1::FAULT_KIND_STATEMENT_DELAYED);
  request.set_count(3);
  request.set_seed(9);
  request.mutable_delay()->set_nanos(5);
  auto fault = FromProto(request);
  ASSERT_THAT(fault, IsOk());
  EXPECT_EQ((*fault)->kind, core::FaultKind::kStatementDelayed);
  EXPECT_EQ((*fault)->probability, 1);
  EXPECT_EQ((*fault)->count, 3);
  EXPECT_EQ((*fault)->seed, 9U);
  EXPECT_EQ((*fault)->delay, core::Duration(5));
  request.set_probability(0.25);
  EXPECT_EQ((*FromProto(request))->probability, 0.25);

  const std::pair<v1::FaultKind, core::FaultKind> kinds[] = {
      {v1::FAULT_KIND_OPEN_FAILS, core::FaultKind::kOpenFails},
      {v1::FAULT_KIND_OPEN_HANGS, core::FaultKind::kOpenHangs},
      {v1::FAULT_KIND_VALIDATION_FAILS, core::FaultKind::kValidationFails},
      {v1::FAULT_KIND_CONNECTION_CUT, core::FaultKind::kConnectionCut},
  };
  for (const auto& [proto, kind] : kinds) {
    EXPECT_EQ((*FromProto(Inject(proto)))->kind, kind);
    EXPECT_EQ((*FromProto(Inject(proto)))->delay, std::nullopt);
  }
  EXPECT_EQ(*FromProto(Inject(v1::FAULT_KIND_NONE)), std::nullopt);
}

TEST(ConvertOperator, RefusesBadFaults) {
  using Request = v1::InjectFaultRequest;
  const auto cut = Inject(v1::FAULT_KIND_CONNECTION_CUT);
  const auto with = [&](auto change) {
    Request request = cut;
    change(request);
    return request;
  };
  const std::pair<const char*, Request> bad[] = {
      {"pool", with([](Request& request) { request.clear_pool(); })},
      {"kind", Inject(v1::FAULT_KIND_UNSPECIFIED)},
      {"kind", Inject(7)},
      {"kind", Inject(-1)},
      {"probability", with([](Request& request) { request.set_probability(-0.1); })},
      {"probability", with([](Request& request) { request.set_probability(1.0001); })},
      {"probability", with([](Request& request) { request.set_probability(std::nan("")); })},
      {"probability",
       with([](Request& request) { request.set_probability(std::numeric_limits<double>::infinity()); })},
      {"count", with([](Request& request) { request.set_count(-1); })},
      {"delay", with([](Request& request) { request.mutable_delay()->set_seconds(-1); })},
      {"delay", with([](Request& request) { request.mutable_delay()->set_nanos(1'000'000'000); })},
      {"delay", Inject(v1::FAULT_KIND_STATEMENT_DELAYED)},
      {"delay", with([](Request& request) {
         request.set_kind(v1::FAULT_KIND_STATEMENT_DELAYED);
         request.mutable_delay();
       })},
  };
  for (const auto& [field, request] : bad) {
    const auto refused = FromProto(request);
    EXPECT_THAT(refused, HasReason("FIELD_INVALID")) << request.ShortDebugString();
    EXPECT_EQ(test::MetadataOf(refused.status(), "field"), field) << request.ShortDebugString();
  }
}

}  // namespace
}  // namespace pglessor::rpc

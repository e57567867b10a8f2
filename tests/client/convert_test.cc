#include "client/internal/convert.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pglessor::internal {
namespace {

using namespace std::chrono_literals;

Value ThereAndBack(const Value& value) { return FromProto(ToProto(value)); }

TEST(ClientConvert, AValueOfEveryKindSurvives) {
  for (const Value& value : {Value(), Value(false), Value(-7), Value(0.5), Value(""), Value("text"),
                             Value(Bytes{std::string("\0\xff", 2)})}) {
    EXPECT_EQ(ThereAndBack(value), value);
  }
}

TEST(ClientConvert, NullIsSaid) {
  EXPECT_EQ(ToProto(Value()).kind_case(), v1::Value::kNullValue) << "an unset kind is refused";
}

TEST(ClientConvert, DurationsAreNormalised) {
  EXPECT_EQ(ToProto(1500ms).seconds(), 1);
  EXPECT_EQ(ToProto(1500ms).nanos(), 500'000'000);
  EXPECT_EQ(ToProto(-1500ms).seconds(), -1);
  EXPECT_EQ(ToProto(-1500ms).nanos(), -500'000'000);
  EXPECT_EQ(FromProto(ToProto(-1500ms)), -1500ms);
}

TEST(ClientConvert, ADurationTooLongIsTheLongest) {
  google::protobuf::Duration span;
  span.set_seconds(315'576'000'000);  // the protocol's longest
  EXPECT_EQ(FromProto(span), Duration::max());
}

TEST(ClientConvert, WhatAnAcquireDoesNotSayIsNotSent) {
  const v1::AcquireRequest request = ToProto(AcquireOptions{});
  EXPECT_EQ(request.ByteSizeLong(), 0U) << request.ShortDebugString();
}

TEST(ClientConvert, AnAcquireSaysAllOfIt) {
  const v1::AcquireRequest request = ToProto(AcquireOptions{.pool = "orders",
                                                            .tenant = "billing",
                                                            .holder = "billing-7f9c",
                                                            .ttl = 2s,
                                                            .wait_timeout = 0ns,
                                                            .priority = Priority::kLow,
                                                            .allow_fallback = true,
                                                            .tags = {{"job", "7"}},
                                                            .request_id = "id"});
  EXPECT_EQ(request.pool(), "orders");
  EXPECT_EQ(request.tenant(), "billing");
  EXPECT_EQ(request.holder(), "billing-7f9c");
  EXPECT_EQ(request.ttl().seconds(), 2);
  EXPECT_TRUE(request.has_wait_timeout()) << "zero is not unset: it means not to queue";
  EXPECT_EQ(request.priority(), v1::PRIORITY_LOW);
  EXPECT_TRUE(request.allow_fallback());
  EXPECT_EQ(request.tags().at("job"), "7");
  EXPECT_EQ(request.request_id(), "id");
}

TEST(ClientConvert, DefaultsFillWhatWasLeftUnset) {
  const AcquireOptions defaults{
      .pool = "orders", .holder = "billing", .ttl = 2s, .allow_fallback = true, .request_id = "never"};
  const AcquireOptions merged = Merged({.holder = "other", .wait_timeout = 0ns}, defaults);
  EXPECT_EQ(merged.pool, "orders");
  EXPECT_EQ(merged.holder, "other");
  EXPECT_EQ(merged.ttl, 2s);
  EXPECT_EQ(merged.wait_timeout, 0ns);
  EXPECT_EQ(merged.allow_fallback, true);
  EXPECT_EQ(Merged({.allow_fallback = false}, defaults).allow_fallback, false) << "which is said, too";
  EXPECT_EQ(merged.request_id, "") << "names one Acquire";
}

TEST(ClientConvert, AnAcquireHasADeadlineBeyondItsWait) {
  EXPECT_EQ(AcquireTimeout({}), 60s);
  EXPECT_EQ(AcquireTimeout({.wait_timeout = 5s}), 15s);
  EXPECT_EQ(AcquireTimeout({.wait_timeout = 5s, .timeout = 1s}), 1s);
  EXPECT_EQ(AcquireTimeout({.wait_timeout = Duration::max()}), Duration::max());
}

TEST(ClientConvert, AStatementGoesWithItsLimits) {
  Statement statement("SELECT $1", {7});
  statement.statement_timeout = 2s;
  statement.max_rows = 3;
  const v1::ExecuteRequest request = ToProto(statement, "token");
  EXPECT_EQ(request.lease_token(), "token");
  EXPECT_EQ(request.sql(), "SELECT $1");
  EXPECT_EQ(request.params(0).int_value(), 7);
  EXPECT_EQ(request.statement_timeout().seconds(), 2);
  EXPECT_EQ(request.max_rows(), 3);
  EXPECT_FALSE(ToProto(Statement("SELECT 1"), "").has_statement_timeout());
}

}  // namespace
}  // namespace pglessor::internal

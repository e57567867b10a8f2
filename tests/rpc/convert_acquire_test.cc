// What an AcquireRequest may hold, field by field.
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/rpc/convert.h"
#include "tests/support/status_matchers.h"

namespace pglessor::rpc {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;
using test::MetadataOf;
using testing::AllOf;
using testing::Eq;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;
using testing::UnorderedElementsAre;

google::protobuf::Duration Span(int64_t seconds, int32_t nanos = 0) {
  google::protobuf::Duration span;
  span.set_seconds(seconds);
  span.set_nanos(nanos);
  return span;
}

absl::StatusOr<core::AcquireRequest> Converted(const v1::AcquireRequest& request) {
  return FromProto(request, Caller::Anonymous());
}

v1::AcquireRequest OfTenant(const std::string& tenant) {
  v1::AcquireRequest request;
  request.set_tenant(tenant);
  return request;
}

// Refused for that field, and for a reason in words.
void ExpectRefused(const v1::AcquireRequest& request, const std::string& field) {
  const absl::Status status = Converted(request).status();
  EXPECT_THAT(status, AllOf(test::StatusIs(absl::StatusCode::kInvalidArgument), HasReason("FIELD_INVALID")));
  EXPECT_EQ(MetadataOf(status, "field"), field);
  EXPECT_LT(status.message().size(), 300U) << "it repeats what it was given";
}

TEST(ConvertAcquire, OfNothingAtAllIsTheDefaults) {
  const auto acquire = Converted(v1::AcquireRequest());
  ASSERT_THAT(acquire, IsOk());
  EXPECT_EQ(acquire->pool, "default");
  EXPECT_EQ(acquire->identity, "anonymous");
  EXPECT_EQ(acquire->tenant, "default");
  EXPECT_EQ(acquire->holder, "");
  EXPECT_EQ(acquire->ttl, std::nullopt);
  EXPECT_EQ(acquire->wait, std::nullopt);
  EXPECT_EQ(acquire->priority, core::Priority::kNormal);
  EXPECT_TRUE(acquire->tags.empty());
}

TEST(ConvertAcquire, IsForATenantThatTheCallerMayActFor) {
  const Caller caller({.name = "web",
                       .roles = {Role::kHolder},
                       .tenants = {"shop", "billing"},
                       .secret_sha256 = {},
                       .certificates = {}});
  const auto own = FromProto(v1::AcquireRequest(), caller);
  ASSERT_THAT(own, IsOk());
  EXPECT_EQ(own->identity, "web");
  EXPECT_EQ(own->tenant, "shop");
  EXPECT_EQ(FromProto(OfTenant("billing"), caller)->tenant, "billing");
  EXPECT_THAT(FromProto(OfTenant("crm"), caller), HasReason("PERMISSION_DENIED"));
  EXPECT_THAT(FromProto(OfTenant("No Tenant"), caller), HasReason("FIELD_INVALID"));
}

TEST(ConvertAcquire, TakesEveryField) {
  v1::AcquireRequest request = OfTenant("billing");
  request.set_pool("orders");
  request.set_holder("billing-7f9c/charge");
  *request.mutable_ttl() = Span(90, 500'000'000);
  *request.mutable_wait_timeout() = Span(2);
  request.set_priority(v1::PRIORITY_HIGH);
  (*request.mutable_tags())["job"] = "nightly";
  const auto acquire = Converted(request);
  ASSERT_THAT(acquire, IsOk());
  EXPECT_EQ(acquire->pool, "orders");
  EXPECT_EQ(acquire->tenant, "billing");
  EXPECT_EQ(acquire->holder, "billing-7f9c/charge");
  EXPECT_THAT(acquire->ttl, Eq(core::Duration(90'500ms)));
  EXPECT_THAT(acquire->wait, Eq(core::Duration(2s)));
  EXPECT_EQ(acquire->priority, core::Priority::kHigh);
  EXPECT_THAT(acquire->tags, UnorderedElementsAre(Pair("job", "nightly")));
}

// --- tenant --------------------------------------------------------------------------------------

TEST(ConvertAcquire, TakesTenantsOfItsAlphabet) {
  for (const std::string& tenant : {std::string("a"), std::string("0"), std::string("billing.eu-1_x"),
                                    std::string("a..--__"), std::string(63, 'z')}) {
    const auto acquire = Converted(OfTenant(tenant));
    ASSERT_THAT(acquire, IsOk()) << tenant;
    EXPECT_EQ(acquire->tenant, tenant);
  }
}

TEST(ConvertAcquire, RefusesEveryOtherTenant) {
  const std::vector<std::string> tenants = {
      std::string("a\0b", 3),  // C strings end there
      std::string(1, '\0'),    //
      "billing\n",             // a line of its own in a log
      "a\r\nb",                //
      "../etc",                // a path
      "a/../b",                //
      "..",                    //
      ".hidden",               //
      "-rf",                   // an option
      "_a",                    //
      "Billing",               // upper case
      "billing ",              //
      " ",                     //
      "a b",                   //
      "\xe2\x80\xae"
      "gnillib",               // right-to-left override
      "a\xe2\x80\x8f",         // right-to-left mark
      "b\xc3\xa9",             // é
      "\xd0\xb0",              // Cyrillic а
      "a\xff",                 // not UTF-8
      "a%00",                  //
      "a'; DROP TABLE t; --",  //
      "tenant:a",              //
      "lease",                 // the gateway's
      std::string(64, 'a'),    // one too many
      std::string(65 * 1024, 'a'),
  };
  for (const std::string& tenant : tenants) {
    SCOPED_TRACE(testing::PrintToString(tenant.substr(0, 80)));
    ExpectRefused(OfTenant(tenant), "tenant");
  }
}

TEST(ConvertAcquire, RefusesEveryByteThatIsNoneOfItsAlphabet) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto c = static_cast<char>(byte);
    const bool first = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    const bool later = first || c == '.' || c == '_' || c == '-';
    EXPECT_EQ(Converted(OfTenant(std::string(1, c))).ok(), first) << byte;
    EXPECT_EQ(Converted(OfTenant(std::string("a") + c)).ok(), later) << byte;
  }
}

// --- holder, tags, request_id, priority ----------------------------------------------------------

TEST(ConvertAcquire, BoundsTheHolderInBytes) {
  v1::AcquireRequest request;
  request.set_holder(std::string(256, 'h'));
  EXPECT_THAT(Converted(request), IsOk());
  request.set_holder(std::string(257, 'h'));
  ExpectRefused(request, "holder");
  std::string umlauts;
  for (int i = 0; i < 129; ++i) umlauts += "\xc3\xa4";
  request.set_holder(umlauts);  // 129 characters, 258 bytes
  ExpectRefused(request, "holder");
}

TEST(ConvertAcquire, BoundsTheNumberOfTags) {
  v1::AcquireRequest request;
  for (int i = 0; i < 16; ++i) (*request.mutable_tags())[absl::StrCat("k", i)] = "v";
  ASSERT_THAT(Converted(request), IsOk());
  EXPECT_EQ(Converted(request)->tags.size(), 16U);
  (*request.mutable_tags())["one-more"] = "v";
  ExpectRefused(request, "tags");
}

TEST(ConvertAcquire, BoundsEachTag) {
  const struct {
    size_t key, value;
    bool ok;
  } cases[] = {{1, 0, true},   {63, 255, true}, {0, 1, false},
               {64, 1, false}, {1, 256, false}, {65'000, 1, false}};
  for (const auto& c : cases) {
    SCOPED_TRACE(absl::StrCat(c.key, "=", c.value));
    v1::AcquireRequest request;
    (*request.mutable_tags())[std::string(c.key, 'k')] = std::string(c.value, 'v');
    if (c.ok) {
      EXPECT_THAT(Converted(request), IsOk());
    } else {
      ExpectRefused(request, "tags");
    }
  }
}

TEST(ConvertAcquire, TakesAUuidInEitherCaseAsARequestId) {
  v1::AcquireRequest request;
  for (const char* good : {"7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001", "7F1C0E52-9F0A-4B1E-8B53-2F4A4C1DE001",
                           "00000000-0000-0000-0000-000000000000"}) {
    request.set_request_id(good);
    const auto acquire = Converted(request);
    ASSERT_THAT(acquire, IsOk());
    EXPECT_EQ(acquire->request_id, absl::AsciiStrToLower(good));
  }
  for (const std::string& bad : {std::string("x"), std::string("7f1c0e529f0a4b1e8b532f4a4c1de001"),
                                 std::string("{7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001}"),
                                 std::string("7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de00"),
                                 std::string("7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001 "),
                                 std::string("7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de00g"),
                                 std::string("7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de00\0", 36),
                                 std::string(36, '-'), std::string(36, '0'), std::string(65'000, 'f')}) {
    SCOPED_TRACE(testing::PrintToString(bad.substr(0, 40)));
    request.set_request_id(bad);
    ExpectRefused(request, "request_id");
  }
}

TEST(ConvertAcquire, KnowsItsPrioritiesAndNoOthers) {
  const std::pair<int, core::Priority> known[] = {{0, core::Priority::kNormal},
                                                  {1, core::Priority::kLow},
                                                  {2, core::Priority::kNormal},
                                                  {3, core::Priority::kHigh}};
  v1::AcquireRequest request;
  for (const auto& [number, priority] : known) {
    request.set_priority(static_cast<v1::Priority>(number));
    ASSERT_THAT(Converted(request), IsOk()) << number;
    EXPECT_EQ(Converted(request)->priority, priority) << number;
  }
  for (const int unknown : {-1, 4, 99, std::numeric_limits<int>::max(), std::numeric_limits<int>::min()}) {
    SCOPED_TRACE(unknown);
    request.set_priority(static_cast<v1::Priority>(unknown));
    ExpectRefused(request, "priority");
  }
}

// --- ttl and wait_timeout ------------------------------------------------------------------------

TEST(ConvertAcquire, TakesNoTtlOfZeroAndAWaitOfZero) {
  v1::AcquireRequest request;
  request.mutable_ttl();
  ExpectRefused(request, "ttl");
  request.clear_ttl();
  request.mutable_wait_timeout();
  ASSERT_THAT(Converted(request), IsOk());
  EXPECT_THAT(Converted(request)->wait, Eq(core::Duration::zero()));
}

TEST(ConvertAcquire, NamesTheSpanThatIsWrong) {
  for (const auto& span : {Span(-1), Span(0, -1), Span(1, 1'000'000'000)}) {
    v1::AcquireRequest request;
    *request.mutable_ttl() = span;
    ExpectRefused(request, "ttl");
    request.clear_ttl();
    *request.mutable_wait_timeout() = span;
    ExpectRefused(request, "wait_timeout");
  }
}

TEST(ConvertAcquire, SaysWhatWasExpected) {
  const absl::Status status = Converted(OfTenant("Billing")).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("[a-z0-9]"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("Billing")));
}

}  // namespace
}  // namespace pglessor::rpc

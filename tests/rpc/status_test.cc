#include "server/rpc/status.h"

#include <chrono>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "pglessor/v1/error_details.pb.h"
#include "server/core/error.h"
#include "tests/support/status_matchers.h"

namespace pglessor::rpc {
namespace {

using namespace std::chrono_literals;
using core::MakeError;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr char kTypeUrl[] = "type.googleapis.com/google.rpc.";
// What a client takes of trailers by default.
constexpr size_t kTrailerLimit = 8 * 1024;

v1::Status Decode(const grpc::Status& status) {
  v1::Status proto;
  EXPECT_TRUE(proto.ParseFromString(status.error_details()));
  return proto;
}

// The detail of that kind; fails the test if there is none, or two.
template <typename Detail>
Detail Only(const v1::Status& status, const std::string& google_name) {
  Detail detail;
  int count = 0;
  for (const auto& any : status.details()) {
    if (any.type_url() != kTypeUrl + google_name) continue;
    ++count;
    EXPECT_TRUE(detail.ParseFromString(any.value()));
  }
  EXPECT_EQ(count, 1) << google_name;
  return detail;
}

TEST(RpcStatus, OfOkIsOk) {
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  EXPECT_EQ(ToGrpc(absl::OkStatus()).error_details(), "");
}

TEST(RpcStatus, KeepsEveryCode) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    EXPECT_EQ(static_cast<int>(ToGrpc(status).error_code()), code);
    EXPECT_EQ(ToProto(status).code(), code);
  }
}

TEST(RpcStatus, OfAnErrorWithoutDetailHasNone) {
  const grpc::Status status = ToGrpc(absl::InternalError("why"));
  EXPECT_EQ(status.error_message(), "why");
  EXPECT_EQ(status.error_details(), "");
  EXPECT_THAT(ToProto(absl::InternalError("why")).details(), IsEmpty());
}

TEST(RpcStatus, CarriesErrorInfo) {
  const grpc::Status status =
      ToGrpc(MakeError(absl::StatusCode::kAborted, "why",
                       {.reason = "LEASE_BUSY", .metadata = {{"in_use", "3"}, {"max", "4"}}}));
  EXPECT_EQ(status.error_message(), "why");
  const v1::Status proto = Decode(status);
  EXPECT_EQ(proto.code(), 10);
  EXPECT_EQ(proto.message(), "why");
  ASSERT_THAT(proto.details(), SizeIs(1));
  const auto info = Only<v1::ErrorInfo>(proto, "ErrorInfo");
  EXPECT_EQ(info.reason(), "LEASE_BUSY");
  EXPECT_EQ(info.domain(), "pglessor");
  EXPECT_THAT(info.metadata(), UnorderedElementsAre(Pair("in_use", "3"), Pair("max", "4")));
}

TEST(RpcStatus, CarriesRetryInfo) {
  const v1::Status proto = Decode(
      ToGrpc(MakeError(absl::StatusCode::kResourceExhausted, "why", {.reason = "X", .retry_after = 1500ms})));
  EXPECT_THAT(proto.details(), SizeIs(2));
  const auto retry = Only<v1::RetryInfo>(proto, "RetryInfo");
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
}

TEST(RpcStatus, TellsRetryNowFromNoRetryTime) {
  const v1::Status proto = Decode(ToGrpc(MakeError(absl::StatusCode::kUnavailable, "why",
                                                   {.reason = "X", .retry_after = core::Duration::zero()})));
  EXPECT_TRUE(Only<v1::RetryInfo>(proto, "RetryInfo").has_retry_delay());
}

TEST(RpcStatus, CarriesBadRequest) {
  const v1::Status proto = Decode(ToGrpc(core::FieldInvalid("once.ttl", "expected more")));
  EXPECT_EQ(proto.code(), 3);
  const auto bad = Only<v1::BadRequest>(proto, "BadRequest");
  ASSERT_THAT(bad.field_violations(), SizeIs(1));
  EXPECT_EQ(bad.field_violations(0).field(), "once.ttl");
  EXPECT_EQ(bad.field_violations(0).description(), "expected more");
  EXPECT_EQ(Only<v1::ErrorInfo>(proto, "ErrorInfo").reason(), "FIELD_INVALID");
}

TEST(RpcStatus, CarriesQuotaFailure) {
  const v1::Status proto = Decode(
      ToGrpc(MakeError(absl::StatusCode::kResourceExhausted, "why",
                       {.reason = "X", .quotas = {{"tenant:a", "ten leases"}, {"pool:default", "20"}}})));
  const auto failure = Only<v1::QuotaFailure>(proto, "QuotaFailure");
  ASSERT_THAT(failure.violations(), SizeIs(2));
  EXPECT_EQ(failure.violations(0).subject(), "tenant:a");
  EXPECT_EQ(failure.violations(1).description(), "20");
}

TEST(RpcStatus, OfEveryKindComesWithOneErrorInfo) {
  const v1::Status proto = ToProto(MakeError(absl::StatusCode::kUnavailable, "why",
                                             {.reason = "X",
                                              .metadata = {{"a", "b"}},
                                              .retry_after = 1s,
                                              .fields = {{"f", "d"}},
                                              .quotas = {{"q", "d"}}}));
  EXPECT_THAT(proto.details(), SizeIs(4));
  EXPECT_EQ(Only<v1::ErrorInfo>(proto, "ErrorInfo").reason(), "X");
}

TEST(RpcStatus, FitsIntoAClientsTrailers) {
  const std::string text(65 * 1024, 'x');
  const grpc::Status status = ToGrpc(MakeError(absl::StatusCode::kInvalidArgument, text,
                                               {.reason = "SQL_ERROR",
                                                .metadata = {{"sqlstate", "P0001"},
                                                             {"severity", "ERROR"},
                                                             {"position", text},
                                                             {"constraint", text},
                                                             {"hint", text}}}));
  // The details travel as base64, and the message is there twice.
  EXPECT_LT(status.error_message().size() + status.error_details().size() * 4 / 3, kTrailerLimit);
  const auto info = Only<v1::ErrorInfo>(Decode(status), "ErrorInfo");
  EXPECT_EQ(info.metadata().at("sqlstate"), "P0001");
}

TEST(RpcStatus, CutsALongMessageBetweenTwoCharacters) {
  for (size_t lead = 0; lead < 4; ++lead) {
    std::string text(lead, 'x');
    while (text.size() < 5000) text += "\xf0\x9f\x90\x98";  // four bytes
    const grpc::Status status = ToGrpc(MakeError(absl::StatusCode::kInternal, text, {.reason = "X"}));
    // What is not UTF-8 does not parse.
    EXPECT_EQ(Decode(status).message(), status.error_message());
    EXPECT_TRUE(absl::EndsWith(status.error_message(), "…"));
  }
}

TEST(RpcStatus, LeavesAShortMessageWhole) {
  const std::string text(1000, 'x');
  EXPECT_EQ(ToGrpc(absl::InternalError(text)).error_message(), text);
}

// PostgreSQL's errors come in the holder's client_encoding.
TEST(RpcStatus, OfTextThatIsNotUtf8CanStillBeRead) {
  const grpc::Status status = ToGrpc(MakeError(absl::StatusCode::kInvalidArgument, "relation \"caf\xe9\"",
                                               {.reason = "SQL_ERROR", .metadata = {{"hint", "caf\xe9"}}}));
  v1::Status proto;
  ASSERT_TRUE(proto.ParseFromString(status.error_details()));
  EXPECT_EQ(Only<v1::ErrorInfo>(proto, "ErrorInfo").reason(), "SQL_ERROR");
}

}  // namespace
}  // namespace pglessor::rpc

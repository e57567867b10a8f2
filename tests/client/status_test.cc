#include "client/internal/status.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "pglessor/error.h"
#include "pglessor/v1/error_details.pb.h"
#include "pglessor/v1/status.pb.h"

namespace pglessor::internal {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

template <typename Detail>
void Add(v1::Status& status, const char* url, const Detail& detail) {
  google::protobuf::Any& any = *status.add_details();
  any.set_type_url(url);
  any.set_value(detail.SerializeAsString());
}

grpc::Status Wire(grpc::StatusCode code, const v1::Status& details) {
  return {code, "why", details.SerializeAsString()};
}

v1::ErrorInfo Info(const std::string& reason) {
  v1::ErrorInfo info;
  info.set_domain("pglessor");
  info.set_reason(reason);
  return info;
}

grpc::Status WithReason(grpc::StatusCode code, const std::string& reason) {
  v1::Status details;
  Add(details, kErrorInfoUrl, Info(reason));
  return Wire(code, details);
}

TEST(ClientStatus, OfOkIsOk) {
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
  EXPECT_EQ(ErrorReason(absl::OkStatus()), "");
}

TEST(ClientStatus, KeepsCodeAndMessage) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status = FromGrpc({static_cast<grpc::StatusCode>(code), "why"});
    EXPECT_EQ(static_cast<int>(status.code()), code);
    EXPECT_EQ(status.message(), "why");
  }
}

TEST(ClientStatus, TellsReasonAndFacts) {
  v1::ErrorInfo info = Info("SQL_ERROR");
  (*info.mutable_metadata())["sqlstate"] = "23505";
  v1::Status details;
  Add(details, kErrorInfoUrl, info);
  const absl::Status status = FromGrpc(Wire(grpc::StatusCode::ALREADY_EXISTS, details));
  EXPECT_EQ(ErrorReason(status), "SQL_ERROR");
  EXPECT_THAT(ErrorMetadata(status), ElementsAre(Pair("sqlstate", "23505")));
  EXPECT_EQ(SqlState(status), "23505");
  EXPECT_EQ(RetryDelay(status), std::nullopt);
}

TEST(ClientStatus, TellsWhenToRetryAndWhichFieldOrLimit) {
  v1::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(250'000'000);
  v1::BadRequest bad;
  bad.add_field_violations()->set_field("ttl");
  v1::QuotaFailure quota;
  quota.add_violations()->set_subject("pool:default");
  v1::Status details;
  Add(details, kRetryInfoUrl, retry);
  Add(details, kBadRequestUrl, bad);
  Add(details, kQuotaFailureUrl, quota);
  const absl::Status status = FromGrpc(Wire(grpc::StatusCode::RESOURCE_EXHAUSTED, details));
  EXPECT_EQ(RetryDelay(status), 250ms);
  EXPECT_THAT(FieldViolations(status), ElementsAre(Violation{"ttl", ""}));
  EXPECT_THAT(QuotaViolations(status), ElementsAre(Violation{"pool:default", ""}));
}

TEST(ClientStatus, DetailsThatDoNotParseAreLeftOut) {
  const absl::Status status = FromGrpc({grpc::StatusCode::ABORTED, "why", "\xff\xff not a status"});
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ErrorReason(status), "");
  EXPECT_THAT(FieldViolations(status), IsEmpty());
}

TEST(ClientStatus, AStatementWhoseConnectionBrokeMayHaveHappened) {
  const absl::Status status = StatementStatus({grpc::StatusCode::UNAVAILABLE, "Socket closed"});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnknown) << "UNAVAILABLE invites to try again";
  EXPECT_EQ(ErrorReason(status), "COMMIT_OUTCOME_UNKNOWN");
  EXPECT_THAT(std::string(status.message()), HasSubstr("Socket closed"));
}

TEST(ClientStatus, AStatementThatFoundNoConnectionHasNotHappened) {
  const grpc::Status status(grpc::StatusCode::UNAVAILABLE,
                            "failed to connect to all addresses; last error: refused");
  EXPECT_EQ(StatementStatus(status).code(), absl::StatusCode::kUnavailable);
}

TEST(ClientStatus, AStatementThatTheServerRefusedHasNotHappened) {
  const grpc::Status status = WithReason(grpc::StatusCode::UNAVAILABLE, "DRAINING");
  EXPECT_EQ(StatementStatus(status).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrorReason(StatementStatus(status)), "DRAINING");
}

TEST(ClientStatus, KnowsWhichReasonsEndALease) {
  for (const char* reason : {"LEASE_RELEASED", "LEASE_EXPIRED", "LEASE_REVOKED", "POOL_RESET",
                             "CONNECTION_LOST", "LEASE_UNCLAIMED", "LEASE_DRAINED", "LEASE_NOT_FOUND"}) {
    EXPECT_TRUE(EndsLease(MakeError(absl::StatusCode::kFailedPrecondition, "why", reason))) << reason;
  }
  for (const char* reason : {"SQL_ERROR", "LEASE_BUSY", "TOO_LARGE", "USE_GATEWAY", ""}) {
    EXPECT_FALSE(EndsLease(MakeError(absl::StatusCode::kFailedPrecondition, "why", reason))) << reason;
  }
  EXPECT_FALSE(EndsLease(absl::OkStatus()));
}

TEST(ClientStatus, AnUnknownOutcomeEndsTheLeaseWhereTheServerSaysSo) {
  EXPECT_FALSE(EndsLease(OutcomeUnknown("Socket closed")));
  v1::ErrorInfo info = Info("COMMIT_OUTCOME_UNKNOWN");
  (*info.mutable_metadata())["lease_reason"] = "CONNECTION_LOST";
  v1::Status details;
  Add(details, kErrorInfoUrl, info);
  EXPECT_TRUE(EndsLease(FromGrpc(Wire(grpc::StatusCode::UNKNOWN, details))));
}

}  // namespace
}  // namespace pglessor::internal

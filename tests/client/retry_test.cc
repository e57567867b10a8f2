// Which failures are safe to run again, and how often that is done.
#include "pglessor/retry.h"

#include <chrono>
#include <string>

#include "absl/strings/cord.h"
#include "gtest/gtest.h"

#include "client/internal/convert.h"
#include "client/internal/status.h"
#include "pglessor/v1/error_details.pb.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using internal::MakeError;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

absl::Status SqlErrorOf(const std::string& sqlstate) {
  v1::ErrorInfo info;
  info.set_domain("pglessor");
  info.set_reason("SQL_ERROR");
  (*info.mutable_metadata())["sqlstate"] = sqlstate;
  absl::Status status(StatusCode::kAborted, "no");
  status.SetPayload(internal::kErrorInfoUrl, absl::Cord(info.SerializeAsString()));
  return status;
}

TEST(IsSafeToRetry, SaysWhatHasLeftNothingBehind) {
  for (const char* reason :
       {"POOL_EXHAUSTED", "NO_IDLE_CONNECTION", "WAIT_QUEUE_FULL", "TENANT_QUOTA_EXCEEDED", "RATE_LIMITED"}) {
    EXPECT_TRUE(IsSafeToRetry(MakeError(StatusCode::kResourceExhausted, "no", reason))) << reason;
  }
  for (const char* reason : {"BREAKER_OPEN", "DATABASE_UNAVAILABLE", "DRAINING"}) {
    EXPECT_TRUE(IsSafeToRetry(MakeError(StatusCode::kUnavailable, "no", reason))) << reason;
  }
  for (const char* reason : {"LEASE_EXPIRED", "LEASE_REVOKED", "POOL_RESET", "CONNECTION_LOST",
                             "LEASE_UNCLAIMED", "LEASE_DRAINED"}) {
    EXPECT_TRUE(IsSafeToRetry(MakeError(StatusCode::kFailedPrecondition, "no", reason))) << reason;
  }
  EXPECT_TRUE(IsSafeToRetry(absl::UnavailableError("no route")));
  for (const char* sqlstate : {"40001", "40P01", "55P03"}) EXPECT_TRUE(IsSafeToRetry(SqlErrorOf(sqlstate)));
}

TEST(IsSafeToRetry, SaysNoToTheRest) {
  EXPECT_FALSE(IsSafeToRetry(absl::OkStatus()));
  EXPECT_FALSE(IsSafeToRetry(internal::OutcomeUnknown("the connection broke")));
  EXPECT_FALSE(IsSafeToRetry(SqlErrorOf("23505")));
  EXPECT_FALSE(IsSafeToRetry(SqlErrorOf("40003"))) << "statement_completion_unknown";
  for (const char* reason : {"LEASE_RELEASED", "LEASE_BUSY", "LEASE_NOT_FOUND", "DATABASE_AUTH_FAILED",
                             "FIELD_INVALID", "REQUEST_ID_REUSED"}) {
    EXPECT_FALSE(IsSafeToRetry(MakeError(StatusCode::kFailedPrecondition, "no", reason))) << reason;
  }
  for (const char* reason : {"TOO_LARGE", "USE_GATEWAY", "CANCELLED"}) {
    EXPECT_FALSE(IsSafeToRetry(MakeError(StatusCode::kResourceExhausted, "no", reason))) << reason;
  }
  EXPECT_FALSE(IsSafeToRetry(absl::DeadlineExceededError("the caller's own")));
  EXPECT_FALSE(
      IsSafeToRetry(internal::OfRelease(MakeError(StatusCode::kFailedPrecondition, "no", "LEASE_EXPIRED"))))
      << "a COMMIT before it stands";
  EXPECT_FALSE(IsSafeToRetry(absl::InternalError("")));
}

TEST(Retry, StopsAtASuccessAtItsLastAttemptAndAtWhatIsNotSafe) {
  const RetryOptions options{.attempts = 3, .first_pause = milliseconds(1)};
  int attempts = 0;
  EXPECT_TRUE(
      Retry(options, [&] { return ++attempts == 2 ? absl::OkStatus() : absl::UnavailableError(""); }).ok());
  EXPECT_EQ(attempts, 2);
  attempts = 0;
  const absl::StatusOr<int> vain = Retry(options, [&]() -> absl::StatusOr<int> {
    ++attempts;
    return absl::UnavailableError("");
  });
  EXPECT_EQ(vain.status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(attempts, 3);
  attempts = 0;
  Retry(options, [&] {
    ++attempts;
    return absl::InternalError("");
  }).IgnoreError();
  EXPECT_EQ(attempts, 1);
}

steady_clock::duration TimeToFail(const RetryOptions& options, const absl::Status& why) {
  const steady_clock::time_point began = steady_clock::now();
  Retry(options, [&] { return why; }).IgnoreError();
  return steady_clock::now() - began;
}

TEST(Retry, PausesLongerFromOneAttemptToTheNext) {
  // Half of 20, 40, 40.
  EXPECT_GE(TimeToFail({.attempts = 4, .first_pause = milliseconds(20), .longest_pause = milliseconds(40)},
                       absl::UnavailableError("")),
            milliseconds(50));
}

TEST(Retry, PausesAsLongAsItIsToldAtLeast) {
  v1::RetryInfo info;
  *info.mutable_retry_delay() = internal::ToProto(milliseconds(60));
  absl::Status told = absl::UnavailableError("");
  told.SetPayload(internal::kRetryInfoUrl, absl::Cord(info.SerializeAsString()));
  EXPECT_GE(
      TimeToFail({.attempts = 2, .first_pause = milliseconds(1), .longest_pause = milliseconds(1)}, told),
      milliseconds(60));
}

}  // namespace
}  // namespace pglessor

// Errors that tell the caller what to do: absl::Status plus the details that gRPC callers expect.
//
// A Status made here carries a machine-readable reason, metadata, and where they apply a time to retry
// after, violated quotas and violated fields. They travel as a payload of the Status; the rpc edge turns
// them into google.rpc.ErrorInfo, RetryInfo, QuotaFailure and BadRequest. Messages and metadata are seen
// by callers and logs: never put a secret in them.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "server/core/clock.h"

namespace pglessor::core {

// The value of google.rpc.ErrorInfo.reason. One word for one failure, for ever: callers switch on it.
namespace reason {
inline constexpr char kFieldInvalid[] = "FIELD_INVALID";
inline constexpr char kRequestIdReused[] = "REQUEST_ID_REUSED";
inline constexpr char kUnauthenticated[] = "UNAUTHENTICATED";
inline constexpr char kPermissionDenied[] = "PERMISSION_DENIED";
inline constexpr char kPoolNotFound[] = "POOL_NOT_FOUND";
inline constexpr char kLeaseNotFound[] = "LEASE_NOT_FOUND";
inline constexpr char kLeaseReleased[] = "LEASE_RELEASED";
inline constexpr char kLeaseExpired[] = "LEASE_EXPIRED";
inline constexpr char kLeaseRevoked[] = "LEASE_REVOKED";
inline constexpr char kPoolReset[] = "POOL_RESET";
inline constexpr char kConnectionLost[] = "CONNECTION_LOST";
inline constexpr char kLeaseUnclaimed[] = "LEASE_UNCLAIMED";
inline constexpr char kLeaseDrained[] = "LEASE_DRAINED";
inline constexpr char kLeaseBusy[] = "LEASE_BUSY";
inline constexpr char kNoLease[] = "NO_LEASE";
inline constexpr char kLeaseHeld[] = "LEASE_HELD";
inline constexpr char kPoolExhausted[] = "POOL_EXHAUSTED";
inline constexpr char kDatabaseUnavailable[] = "DATABASE_UNAVAILABLE";
inline constexpr char kDatabaseAuthFailed[] = "DATABASE_AUTH_FAILED";
inline constexpr char kNoIdleConnection[] = "NO_IDLE_CONNECTION";
inline constexpr char kWaitQueueFull[] = "WAIT_QUEUE_FULL";
inline constexpr char kTenantQuotaExceeded[] = "TENANT_QUOTA_EXCEEDED";
inline constexpr char kRateLimited[] = "RATE_LIMITED";
inline constexpr char kBreakerOpen[] = "BREAKER_OPEN";
inline constexpr char kDraining[] = "DRAINING";
inline constexpr char kCommitOutcomeUnknown[] = "COMMIT_OUTCOME_UNKNOWN";
inline constexpr char kCancelled[] = "CANCELLED";
inline constexpr char kSqlError[] = "SQL_ERROR";
inline constexpr char kUseGateway[] = "USE_GATEWAY";
inline constexpr char kTooLarge[] = "TOO_LARGE";
inline constexpr char kFaultInjectionOff[] = "FAULT_INJECTION_OFF";
}  // namespace reason

struct Violation {
  std::string subject;  // the field's path, or what the quota counts
  std::string description;
};

struct ErrorDetail {
  std::string reason = {};
  std::vector<std::pair<std::string, std::string>> metadata = {};
  std::optional<Duration> retry_after = std::nullopt;
  std::vector<Violation> fields = {};
  std::vector<Violation> quotas = {};
};

absl::Status MakeError(absl::StatusCode code, absl::string_view message, const ErrorDetail& detail);

// INVALID_ARGUMENT FIELD_INVALID for one field: what is wrong with it, and what was expected; or for several.
absl::Status FieldInvalid(absl::string_view field, absl::string_view expected);
absl::Status FieldsInvalid(std::vector<Violation> fields);

// What MakeError put in; nothing for a Status that was made elsewhere.
std::optional<ErrorDetail> DetailOf(const absl::Status& status);

}  // namespace pglessor::core

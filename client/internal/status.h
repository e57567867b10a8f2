// grpc::Status → absl::Status, with the details that the server sent, and errors of the client's own in the
// same form.
//
// Each detail becomes a payload under its own type URL. Details that do not parse are left out: code and
// message stand on their own.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace pglessor::internal {

inline constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
inline constexpr char kRetryInfoUrl[] = "type.googleapis.com/google.rpc.RetryInfo";
inline constexpr char kBadRequestUrl[] = "type.googleapis.com/google.rpc.BadRequest";
inline constexpr char kQuotaFailureUrl[] = "type.googleapis.com/google.rpc.QuotaFailure";

absl::Status FromGrpc(const grpc::Status& status);

// An error as the server would make it.
absl::Status MakeError(absl::StatusCode code, absl::string_view message, absl::string_view reason);

// Of a statement that was sent and has no answer that tells its outcome.
absl::Status OutcomeUnknown(absl::string_view why);

// What became of a statement, by how its call ended. Where the connection to the server broke under it, gRPC
// says UNAVAILABLE, which callers take for "not executed, try again": that becomes OutcomeUnknown, unless it
// is certain that the statement never left.
absl::Status StatementStatus(const grpc::Status& status);

// Of a Release that failed: what was committed before it stays, so that nothing may be run again.
absl::Status OfRelease(absl::Status status);
bool IsOfRelease(const absl::Status& status);

// Whether the error tells that the lease of the call is gone.
bool EndsLease(const absl::Status& status);

}  // namespace pglessor::internal

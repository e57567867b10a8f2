#include "client/internal/status.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "pglessor/error.h"
#include "pglessor/v1/error_details.pb.h"
#include "pglessor/v1/status.pb.h"

namespace pglessor::internal {
namespace {

constexpr char kDomain[] = "pglessor";
constexpr char kReleaseUrl[] = "pglessor/release";  // of no message: that it is there says it

absl::Status WithReason(absl::Status status, absl::string_view reason) {
  v1::ErrorInfo info;
  info.set_domain(kDomain);
  info.set_reason(std::string(reason));
  status.SetPayload(kErrorInfoUrl, absl::Cord(info.SerializeAsString()));
  return status;
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status converted(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  v1::Status details;
  if (status.error_details().empty() || !details.ParseFromString(status.error_details())) return converted;
  for (const google::protobuf::Any& detail : details.details()) {
    converted.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return converted;
}

absl::Status MakeError(absl::StatusCode code, absl::string_view message, absl::string_view reason) {
  return WithReason(absl::Status(code, message), reason);
}

absl::Status OutcomeUnknown(absl::string_view why) {
  return MakeError(
      absl::StatusCode::kUnknown,
      absl::StrCat("the statement was sent and its answer is lost (", why,
                   "): it may have taken effect, outside a transaction or as the end of one; look before "
                   "you repeat it"),
      "COMMIT_OUTCOME_UNKNOWN");
}

absl::Status StatementStatus(const grpc::Status& status) {
  absl::Status converted = FromGrpc(status);
  if (converted.code() != absl::StatusCode::kUnavailable || !ErrorReason(converted).empty()) return converted;
  // gRPC has no better sign of a call that found no connection. If its words change, errors become more
  // careful, never less.
  if (absl::StartsWith(converted.message(), "failed to connect to all addresses")) return converted;
  return OutcomeUnknown(converted.message());
}

absl::Status OfRelease(absl::Status status) {
  if (!status.ok()) status.SetPayload(kReleaseUrl, absl::Cord());
  return status;
}

bool IsOfRelease(const absl::Status& status) { return status.GetPayload(kReleaseUrl).has_value(); }

bool EndsLease(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  for (const char* end : {"LEASE_RELEASED", "LEASE_EXPIRED", "LEASE_REVOKED", "POOL_RESET", "CONNECTION_LOST",
                          "LEASE_UNCLAIMED", "LEASE_DRAINED", "LEASE_NOT_FOUND", "LEASE_ON_OTHER_REPLICA"}) {
    if (reason == end) return true;
  }
  // The connection died or the lease was taken away under the statement; the server says which.
  return reason == "COMMIT_OUTCOME_UNKNOWN" && ErrorMetadata(status).contains("lease_reason");
}

}  // namespace pglessor::internal

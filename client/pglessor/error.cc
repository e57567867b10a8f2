#include "pglessor/error.h"

#include "absl/strings/cord.h"

#include "client/internal/convert.h"
#include "client/internal/status.h"
#include "pglessor/v1/error_details.pb.h"

namespace pglessor {
namespace {

template <typename Detail>
std::optional<Detail> DetailOf(const absl::Status& status, const char* type_url) {
  const absl::optional<absl::Cord> payload = status.GetPayload(type_url);
  Detail detail;
  if (!payload || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

}  // namespace

std::string ErrorReason(const absl::Status& status) {
  const auto info = DetailOf<v1::ErrorInfo>(status, internal::kErrorInfoUrl);
  return info ? info->reason() : "";
}

std::map<std::string, std::string> ErrorMetadata(const absl::Status& status) {
  const auto info = DetailOf<v1::ErrorInfo>(status, internal::kErrorInfoUrl);
  if (!info) return {};
  return {info->metadata().begin(), info->metadata().end()};
}

std::string SqlState(const absl::Status& status) {
  const auto metadata = ErrorMetadata(status);
  const auto found = metadata.find("sqlstate");
  return found == metadata.end() ? "" : found->second;
}

std::optional<std::chrono::nanoseconds> RetryDelay(const absl::Status& status) {
  const auto retry = DetailOf<v1::RetryInfo>(status, internal::kRetryInfoUrl);
  if (!retry) return std::nullopt;
  return internal::FromProto(retry->retry_delay());
}

std::vector<Violation> FieldViolations(const absl::Status& status) {
  std::vector<Violation> found;
  if (const auto request = DetailOf<v1::BadRequest>(status, internal::kBadRequestUrl)) {
    for (const auto& field : request->field_violations())
      found.push_back({field.field(), field.description()});
  }
  return found;
}

std::vector<Violation> QuotaViolations(const absl::Status& status) {
  std::vector<Violation> found;
  if (const auto failure = DetailOf<v1::QuotaFailure>(status, internal::kQuotaFailureUrl)) {
    for (const auto& quota : failure->violations()) found.push_back({quota.subject(), quota.description()});
  }
  return found;
}

}  // namespace pglessor

#include "server/rpc/status.h"

#include <string>

#include "absl/strings/str_cat.h"

#include "pglessor/v1/error_details.pb.h"
#include "server/core/error.h"
#include "server/core/utf8.h"
#include "server/rpc/convert.h"

namespace pglessor::rpc {
namespace {

constexpr char kDomain[] = "pglessor";
// A client takes 8 KiB of trailers by default, and an error goes there twice: as text and in the details. A
// longer one would reach it as a failure of the transport.
constexpr size_t kMaxMessageBytes = 1024;
constexpr size_t kMaxMetadataBytes = 512;

// At most `limit` bytes, cut between two characters of UTF-8. What is not UTF-8 no receiver could parse.
std::string Clip(absl::string_view given, size_t limit) {
  std::string valid = core::ToValidUtf8(given.substr(0, 2 * limit));
  const absl::string_view text = valid;
  if (text.size() <= limit) return valid;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;
  return absl::StrCat(text.substr(0, limit), "…");
}

template <typename Detail>
void AddDetail(v1::Status& status, const char* google_name, const Detail& detail) {
  google::protobuf::Any& any = *status.add_details();
  any.set_type_url(absl::StrCat("type.googleapis.com/google.rpc.", google_name));
  any.set_value(detail.SerializeAsString());
}

}  // namespace

v1::Status ToProto(const absl::Status& status) {
  v1::Status proto;
  proto.set_code(static_cast<int>(status.code()));
  proto.set_message(Clip(status.message(), kMaxMessageBytes));
  const std::optional<core::ErrorDetail> detail = core::DetailOf(status);
  if (!detail) return proto;

  v1::ErrorInfo info;
  info.set_reason(detail->reason);
  info.set_domain(kDomain);
  for (const auto& [key, value] : detail->metadata) {
    (*info.mutable_metadata())[key] = Clip(value, kMaxMetadataBytes);
  }
  AddDetail(proto, "ErrorInfo", info);
  if (detail->retry_after) {
    v1::RetryInfo retry;
    *retry.mutable_retry_delay() = ToProto(*detail->retry_after);
    AddDetail(proto, "RetryInfo", retry);
  }
  if (!detail->quotas.empty()) {
    v1::QuotaFailure failure;
    for (const core::Violation& quota : detail->quotas) {
      auto& violation = *failure.add_violations();
      violation.set_subject(quota.subject);
      violation.set_description(quota.description);
    }
    AddDetail(proto, "QuotaFailure", failure);
  }
  if (!detail->fields.empty()) {
    v1::BadRequest bad;
    for (const core::Violation& field : detail->fields) {
      auto& violation = *bad.add_field_violations();
      violation.set_field(field.subject);
      violation.set_description(field.description);
    }
    AddDetail(proto, "BadRequest", bad);
  }
  return proto;
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const v1::Status proto = ToProto(status);
  const auto code = static_cast<grpc::StatusCode>(status.code());
  if (proto.details().empty()) return {code, proto.message()};
  return {code, proto.message(), proto.SerializeAsString()};
}

}  // namespace pglessor::rpc

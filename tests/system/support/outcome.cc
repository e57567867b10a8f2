#include "tests/system/support/outcome.h"

#include "absl/strings/strip.h"
#include "gtest/gtest.h"

#include "pglessor/v1/error_details.pb.h"
#include "pglessor/v1/status.pb.h"

namespace pglessor::system {
namespace {

template <typename Detail>
Detail Read(const google::protobuf::Any& any) {
  Detail detail;
  EXPECT_TRUE(detail.ParseFromString(any.value())) << any.type_url();
  return detail;
}

}  // namespace

std::string Outcome::Metadata(const std::string& key) const {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : found->second;
}

Outcome OutcomeOf(const grpc::Status& status) {
  Outcome outcome{status};
  if (status.error_details().empty()) return outcome;
  v1::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), status.error_code());
  EXPECT_EQ(details.message(), status.error_message());
  for (const google::protobuf::Any& any : details.details()) {
    absl::string_view name = any.type_url();
    EXPECT_TRUE(absl::ConsumePrefix(&name, "type.googleapis.com/google.rpc.")) << name;
    if (name == "ErrorInfo") {
      const auto info = Read<v1::ErrorInfo>(any);
      EXPECT_EQ(info.domain(), "pglessor");
      outcome.reason = info.reason();
      outcome.metadata = {info.metadata().begin(), info.metadata().end()};
    } else if (name == "RetryInfo") {
      outcome.retry_after = Read<v1::RetryInfo>(any).retry_delay();
    } else if (name == "BadRequest") {
      const auto request = Read<v1::BadRequest>(any);
      for (const auto& violation : request.field_violations()) {
        EXPECT_NE(violation.description(), "");
        outcome.fields.push_back(violation.field());
      }
    } else {
      EXPECT_EQ(name, "QuotaFailure");
      const auto failure = Read<v1::QuotaFailure>(any);
      for (const auto& violation : failure.violations()) {
        EXPECT_NE(violation.description(), "");
        outcome.quotas.push_back(violation.subject());
      }
    }
  }
  return outcome;
}

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  if (outcome.ok()) return out << "OK";
  out << "code " << outcome.status.error_code() << ", reason \"" << outcome.reason << "\"";
  for (const auto& [key, value] : outcome.metadata) out << ", " << key << "=" << value;
  return out << ": " << outcome.status.error_message();
}

}  // namespace pglessor::system

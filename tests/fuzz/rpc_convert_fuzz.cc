// Requests as they come off the wire. Whatever a caller sends is refused with a reason, or is in bounds.
//
// The first byte says which request the rest is.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/ascii.h"

#include "pglessor/v1/sql_service.pb.h"
#include "server/core/error.h"
#include "server/rpc/convert.h"
#include "server/rpc/status.h"
#include "server/rpc/values.h"
#include "tests/fuzz/fuzz_check.h"

namespace pglessor::rpc {
namespace {

void CheckRefusal(const absl::Status& status) {
  FUZZ_CHECK(status.code() == absl::StatusCode::kInvalidArgument ||
             status.code() == absl::StatusCode::kUnimplemented);
  FUZZ_CHECK(core::DetailOf(status).has_value());
  FUZZ_CHECK(ToGrpc(status).error_details().size() < 4096);
}

void CheckAcquire(const std::string& bytes) {
  v1::AcquireRequest request;
  if (!request.ParseFromString(bytes)) return;
  const auto acquire = FromProto(request, Caller::Anonymous());
  if (!acquire.ok()) {
    CheckRefusal(acquire.status());
    return;
  }
  FUZZ_CHECK(!acquire->pool.empty());
  FUZZ_CHECK(!acquire->tenant.empty() && acquire->tenant.size() <= 63);
  FUZZ_CHECK(std::all_of(acquire->tenant.begin(), acquire->tenant.end(), [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) ||
           absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  }));
  FUZZ_CHECK(acquire->holder.size() <= 256);
  FUZZ_CHECK(!acquire->ttl || *acquire->ttl > core::Duration::zero());
  FUZZ_CHECK(!acquire->wait || *acquire->wait >= core::Duration::zero());
  FUZZ_CHECK(acquire->priority >= core::Priority::kLow && acquire->priority <= core::Priority::kHigh);
  FUZZ_CHECK(acquire->tags.size() <= 16);
  for (const auto& [key, value] : acquire->tags) {
    FUZZ_CHECK(!key.empty() && key.size() <= 63 && value.size() <= 255);
  }
}

void CheckExecute(const std::string& bytes) {
  v1::ExecuteRequest request;
  if (!request.ParseFromString(bytes)) return;
  const auto statement = StatementFromProto(request);
  if (!statement.ok()) {
    CheckRefusal(statement.status());
    return;
  }
  // It goes to PostgreSQL as a C string.
  FUZZ_CHECK(statement->sql.find('\0') == std::string::npos);
  FUZZ_CHECK(statement->parameters.size() == static_cast<size_t>(request.params_size()));
  FUZZ_CHECK(statement->parameters.size() <= 65'535);
  for (const core::Parameter& parameter : statement->parameters) {
    FUZZ_CHECK(parameter.binary || !parameter.value || parameter.value->find('\0') == std::string::npos);
  }
  FUZZ_CHECK(!statement->timeout || *statement->timeout > core::Duration::zero());
  FUZZ_CHECK(statement->max_rows >= 0);
}

// A result of any type with any text can be shown.
void CheckResult(const std::string& bytes) {
  if (bytes.size() < 2) return;
  const uint32_t oid = static_cast<uint8_t>(bytes[0]) * 4U + static_cast<uint8_t>(bytes[1]) % 4U;
  v1::Value value;
  ToProto(absl::string_view(bytes).substr(2), oid, value);
  FUZZ_CHECK(value.kind_case() != v1::Value::KIND_NOT_SET);
  FUZZ_CHECK(value.kind_case() != v1::Value::kNullValue);
}

void CheckRequest(uint8_t kind, const std::string& bytes) {
  switch (kind % 3) {
    case 0:
      CheckAcquire(bytes);
      break;
    case 1:
      CheckExecute(bytes);
      break;
    default:
      CheckResult(bytes);
      break;
  }
}

}  // namespace
}  // namespace pglessor::rpc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  pglessor::rpc::CheckRequest(data[0], std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}

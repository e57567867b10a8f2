#include "server/rpc/values.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "server/core/error.h"
#include "server/core/utf8.h"
#include "server/rpc/convert.h"

namespace pglessor::rpc {
namespace {

using core::FieldInvalid;

// PostgreSQL counts a statement's parameters in 16 bits.
constexpr int kMaxParameters = 65'535;
// Of one statement's notices, so that its summary fits into a message.
constexpr size_t kMaxNoticesBytes = 1 << 20;

// pg_type's OIDs of the types that have a Value kind of their own.
constexpr uint32_t kBool = 16;
constexpr uint32_t kBytea = 17;
constexpr uint32_t kInt8 = 20;
constexpr uint32_t kInt2 = 21;
constexpr uint32_t kInt4 = 23;
constexpr uint32_t kFloat4 = 700;
constexpr uint32_t kFloat8 = 701;

std::string DoubleText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return absl::StrFormat("%.17g", value);
}

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

absl::StatusOr<core::Parameter> FromProto(const v1::Value& value, int index) {
  switch (value.kind_case()) {
    case v1::Value::kNullValue:
      return core::Parameter{};
    case v1::Value::kBoolValue:
      return core::Parameter{value.bool_value() ? "true" : "false"};
    case v1::Value::kIntValue:
      return core::Parameter{absl::StrCat(value.int_value())};
    case v1::Value::kDoubleValue:
      return core::Parameter{DoubleText(value.double_value())};
    case v1::Value::kTextValue:
      if (HasNul(value.text_value())) {
        return FieldInvalid(absl::StrCat("params[", index, "]"),
                            "expected text without NUL, which PostgreSQL cannot store; use bytes_value");
      }
      return core::Parameter{value.text_value()};
    case v1::Value::kBytesValue:
      return core::Parameter{value.bytes_value(), /*binary=*/true};
    case v1::Value::KIND_NOT_SET:
      break;
  }
  return FieldInvalid(absl::StrCat("params[", index, "]"), "expected one of its kinds; null_value for NULL");
}

}  // namespace

absl::StatusOr<core::Statement> StatementFromProto(const v1::ExecuteRequest& request) {
  core::Statement statement;
  if (HasNul(request.sql())) return FieldInvalid("sql", "expected text without NUL");
  if (request.params_size() > kMaxParameters) {
    return FieldInvalid("params", absl::StrCat("expected at most ", kMaxParameters, ", got ",
                                               request.params_size(), "; pass an array instead"));
  }
  if (request.batch_rows() < 0) return FieldInvalid("batch_rows", "expected zero (for 256) or more");
  if (request.max_rows() < 0) return FieldInvalid("max_rows", "expected zero (for all) or more");
  if (request.has_statement_timeout()) {
    const absl::StatusOr<core::Duration> timeout =
        FromProto(request.statement_timeout(), "statement_timeout");
    if (!timeout.ok()) return timeout.status();
    if (*timeout == core::Duration::zero()) {
      return FieldInvalid("statement_timeout", "expected a duration above zero; leave it unset for none");
    }
    statement.timeout = *timeout;
  }
  statement.sql = request.sql();
  statement.max_rows = request.max_rows();
  statement.parameters.reserve(static_cast<size_t>(request.params_size()));
  for (int i = 0; i < request.params_size(); ++i) {
    absl::StatusOr<core::Parameter> parameter = FromProto(request.params(i), i);
    if (!parameter.ok()) return parameter.status();
    statement.parameters.push_back(*std::move(parameter));
  }
  return statement;
}

void ToProto(const core::Column& from, v1::Column& to) {
  to.set_name(core::ToValidUtf8(from.name));
  to.set_type_oid(from.type_oid);
  to.set_type_name(from.type_name);
}

void ToProto(const core::Field& from, uint32_t type_oid, v1::Value& to) {
  if (!from) {
    to.set_null_value(google::protobuf::NULL_VALUE);
    return;
  }
  int64_t integer = 0;
  double real = 0;
  switch (type_oid) {
    case kBool:
      to.set_bool_value(*from == "t");
      return;
    case kInt2:
    case kInt4:
    case kInt8:
      if (absl::SimpleAtoi(*from, &integer)) {
        to.set_int_value(integer);
        return;
      }
      break;
    case kFloat4:
    case kFloat8:
      if (absl::SimpleAtod(*from, &real)) {
        to.set_double_value(real);
        return;
      }
      break;
    case kBytea:
      to.set_bytes_value(from->data(), from->size());
      return;
    default:
      break;
  }
  // A holder may have set another client_encoding; no receiver could parse a message with such text.
  to.set_text_value(core::ToValidUtf8(*from));
}

void ToProto(const core::StatementEnd& from, v1::Summary& to) {
  to.set_command_tag(from.command_tag);
  to.set_rows_affected(from.rows_affected);
  to.set_rows_returned(from.rows_returned);
  *to.mutable_elapsed() = ToProto(from.elapsed);
  to.set_in_transaction(from.in_transaction);
  size_t bytes = 0;
  for (const std::string& notice : from.notices) {
    std::string text = core::ToValidUtf8(absl::string_view(notice).substr(0, kMaxNoticesBytes));
    bytes += text.size();
    if (bytes > kMaxNoticesBytes) break;
    to.add_notices(std::move(text));
  }
}

}  // namespace pglessor::rpc

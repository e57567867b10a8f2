#include "client/internal/convert.h"

#include <utility>
#include <variant>

namespace pglessor::internal {
namespace {

using std::chrono::seconds;

constexpr Duration kTimeToAnswer = seconds(10);  // beyond the wait that was asked for
constexpr Duration kAcquireTimeout = seconds(60);

struct ToProtoValue {
  v1::Value& proto;

  void operator()(std::nullptr_t) const { proto.set_null_value(google::protobuf::NULL_VALUE); }
  void operator()(bool value) const { proto.set_bool_value(value); }
  void operator()(int64_t value) const { proto.set_int_value(value); }
  void operator()(double value) const { proto.set_double_value(value); }
  void operator()(const std::string& text) const { proto.set_text_value(text); }
  void operator()(const Bytes& bytes) const { proto.set_bytes_value(bytes.data); }
};

v1::Priority ToProto(Priority priority) {
  switch (priority) {
    case Priority::kLow:
      return v1::PRIORITY_LOW;
    case Priority::kNormal:
      return v1::PRIORITY_NORMAL;
    case Priority::kHigh:
      return v1::PRIORITY_HIGH;
  }
  return v1::PRIORITY_UNSPECIFIED;
}

}  // namespace

google::protobuf::Duration ToProto(Duration span) {
  google::protobuf::Duration proto;
  proto.set_seconds(span / seconds(1));
  proto.set_nanos(static_cast<int32_t>((span % seconds(1)).count()));
  return proto;
}

Duration FromProto(const google::protobuf::Duration& span) {
  constexpr int64_t kMostSeconds = std::chrono::duration_cast<seconds>(Duration::max()).count() - 1;
  if (span.seconds() > kMostSeconds) return Duration::max();
  return seconds(span.seconds()) + Duration(span.nanos());
}

v1::Value ToProto(const Value& value) {
  v1::Value proto;
  std::visit(ToProtoValue{proto}, value.kind());
  return proto;
}

Value FromProto(v1::Value&& value) {
  switch (value.kind_case()) {
    case v1::Value::kBoolValue:
      return value.bool_value();
    case v1::Value::kIntValue:
      return value.int_value();
    case v1::Value::kDoubleValue:
      return value.double_value();
    case v1::Value::kTextValue:
      return std::move(*value.mutable_text_value());
    case v1::Value::kBytesValue:
      return Bytes{std::move(*value.mutable_bytes_value())};
    case v1::Value::kNullValue:
    case v1::Value::KIND_NOT_SET:
      break;
  }
  return nullptr;
}

AcquireOptions Merged(AcquireOptions options, const AcquireOptions& defaults) {
  const auto merge = [](auto& given, const auto& otherwise) {
    if (given == std::remove_reference_t<decltype(given)>()) given = otherwise;
  };
  merge(options.pool, defaults.pool);
  merge(options.tenant, defaults.tenant);
  merge(options.holder, defaults.holder);
  merge(options.ttl, defaults.ttl);
  merge(options.wait_timeout, defaults.wait_timeout);
  merge(options.priority, defaults.priority);
  merge(options.allow_fallback, defaults.allow_fallback);
  merge(options.tags, defaults.tags);
  merge(options.timeout, defaults.timeout);
  return options;  // request_id names one Acquire: it has no default
}

v1::AcquireRequest ToProto(const AcquireOptions& options) {
  v1::AcquireRequest request;
  request.set_pool(options.pool);
  request.set_tenant(options.tenant);
  request.set_holder(options.holder);
  if (options.ttl) *request.mutable_ttl() = ToProto(*options.ttl);
  if (options.wait_timeout) *request.mutable_wait_timeout() = ToProto(*options.wait_timeout);
  if (options.priority) request.set_priority(ToProto(*options.priority));
  request.mutable_tags()->insert(options.tags.begin(), options.tags.end());
  request.set_request_id(options.request_id);
  request.set_allow_fallback(options.allow_fallback.value_or(false));
  return request;
}

Duration AcquireTimeout(const AcquireOptions& options) {
  if (options.timeout) return *options.timeout;
  if (!options.wait_timeout) return kAcquireTimeout;
  return SaturatingAdd(Time(*options.wait_timeout), kTimeToAnswer).time_since_epoch();
}

v1::ExecuteRequest ToProto(const Statement& statement, const std::string& lease_token) {
  v1::ExecuteRequest request;
  request.set_lease_token(lease_token);
  request.set_sql(statement.sql);
  for (const Value& param : statement.params) *request.add_params() = ToProto(param);
  if (statement.statement_timeout) {
    *request.mutable_statement_timeout() = ToProto(*statement.statement_timeout);
  }
  request.set_max_rows(statement.max_rows);
  return request;
}

std::vector<Column> FromProto(const v1::Header& header) {
  std::vector<Column> columns;
  columns.reserve(header.columns_size());
  for (const v1::Column& column : header.columns()) {
    columns.push_back({column.name(), column.type_oid(), column.type_name()});
  }
  return columns;
}

Row FromProto(const Row::Columns& columns, v1::Row& row) {
  std::vector<Value> values;
  values.reserve(row.values_size());
  for (v1::Value& value : *row.mutable_values()) values.push_back(FromProto(std::move(value)));
  return {columns, std::move(values)};
}

Summary FromProto(const v1::Summary& summary, const std::vector<Column>& columns) {
  return {.columns = columns,
          .command_tag = summary.command_tag(),
          .rows_affected = summary.rows_affected(),
          .rows_returned = summary.rows_returned(),
          .elapsed = FromProto(summary.elapsed()),
          .in_transaction = summary.in_transaction(),
          .notices = {summary.notices().begin(), summary.notices().end()}};
}

}  // namespace pglessor::internal

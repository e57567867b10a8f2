// SQL values ↔ proto. Pure.
//
//   parameter        bool, int, double, text → text, its type left to PostgreSQL; bytes → binary bytea
//   result           bool → bool_value; int2, int4, int8 → int_value; float4, float8 → double_value;
//                    bytea → bytes_value; everything else → text_value, PostgreSQL's own text
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

#include "pglessor/v1/sql.pb.h"
#include "pglessor/v1/sql_service.pb.h"
#include "server/core/statement.h"

namespace pglessor::rpc {

// Fails with: INVALID_ARGUMENT FIELD_INVALID.
absl::StatusOr<core::Statement> StatementFromProto(const v1::ExecuteRequest& request);

void ToProto(const core::Column& from, v1::Column& to);
void ToProto(const core::Field& from, uint32_t type_oid, v1::Value& to);
void ToProto(const core::StatementEnd& from, v1::Summary& to);

}  // namespace pglessor::rpc

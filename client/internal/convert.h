// The public types ↔ the protocol's messages. Pure.
#pragma once

#include <string>
#include <vector>

#include "google/protobuf/duration.pb.h"

#include "client/internal/time.h"
#include "pglessor/acquire_options.h"
#include "pglessor/result.h"
#include "pglessor/row.h"
#include "pglessor/statement.h"
#include "pglessor/v1/lease_service.pb.h"
#include "pglessor/v1/sql.pb.h"
#include "pglessor/v1/sql_service.pb.h"
#include "pglessor/value.h"

namespace pglessor::internal {

// Normalised as the protocol wants it; a negative one stays negative, for the server to refuse.
google::protobuf::Duration ToProto(Duration span);
Duration FromProto(const google::protobuf::Duration& span);  // the longest there is where it does not fit

v1::Value ToProto(const Value& value);
Value FromProto(v1::Value&& value);

// `options`, and for what it leaves unset, `defaults`.
AcquireOptions Merged(AcquireOptions options, const AcquireOptions& defaults);
v1::AcquireRequest ToProto(const AcquireOptions& options);
// How long the whole Acquire may take.
Duration AcquireTimeout(const AcquireOptions& options);

v1::ExecuteRequest ToProto(const Statement& statement, const std::string& lease_token);

std::vector<Column> FromProto(const v1::Header& header);
// Takes the row's values away.
Row FromProto(const Row::Columns& columns, v1::Row& row);
Summary FromProto(const v1::Summary& summary, const std::vector<Column>& columns);

}  // namespace pglessor::internal

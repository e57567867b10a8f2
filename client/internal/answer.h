// The answer to one Execute, as it comes: a header, rows, a summary.
#pragma once

#include <grpcpp/grpcpp.h>

#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "pglessor/result.h"
#include "pglessor/row.h"
#include "pglessor/v1/sql_service.grpc.pb.h"

namespace pglessor::internal {

// An error that it returns cancels the statement.
using EachRow = absl::FunctionRef<absl::Status(Row&&)>;

struct Answer {
  std::optional<Summary> summary = {};
  absl::Status refused = {};  // by each_row
  grpc::Status ended = {};    // as the server said it, or gRPC
};

// Reads to the stream's end, by the thread that calls.
Answer ReadAnswer(v1::SqlService::Stub& sql, const v1::ExecuteRequest& request, grpc::ClientContext& context,
                  EachRow each_row);

// How the statement ended. Requires: no row was refused.
absl::StatusOr<Summary> SummaryOf(Answer answer);

// All rows of a statement, which `run` runs.
absl::StatusOr<Result> Collected(absl::FunctionRef<absl::StatusOr<Summary>(EachRow)> run);

}  // namespace pglessor::internal

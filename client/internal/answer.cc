#include "client/internal/answer.h"

#include <memory>
#include <utility>
#include <vector>

#include "client/internal/convert.h"
#include "client/internal/status.h"

namespace pglessor::internal {

Answer ReadAnswer(v1::SqlService::Stub& sql, const v1::ExecuteRequest& request, grpc::ClientContext& context,
                  EachRow each_row) {
  const auto reader = sql.Execute(&context, request);
  auto columns = std::make_shared<std::vector<Column>>();
  Answer answer;
  for (v1::ExecuteResponse part; reader->Read(&part);) {
    if (part.has_header()) {
      *columns = FromProto(part.header());
    } else if (part.has_summary()) {
      answer.summary = FromProto(part.summary(), *columns);
    } else if (answer.refused.ok()) {
      for (v1::Row& row : *part.mutable_rows()->mutable_rows()) {
        answer.refused = each_row(FromProto(columns, row));
        if (!answer.refused.ok()) {
          context.TryCancel();  // what is still on its way is read and dropped
          break;
        }
      }
    }
  }
  answer.ended = reader->Finish();
  return answer;
}

absl::StatusOr<Summary> SummaryOf(Answer answer) {
  absl::Status status = StatementStatus(answer.ended);
  if (!status.ok()) return status;
  if (!answer.summary) return absl::InternalError("the server's answer to a statement had no summary");
  return *std::move(answer.summary);
}

absl::StatusOr<Result> Collected(absl::FunctionRef<absl::StatusOr<Summary>(EachRow)> run) {
  std::vector<Row> rows;
  absl::StatusOr<Summary> summary = run([&rows](Row&& row) {
    rows.push_back(std::move(row));
    return absl::OkStatus();
  });
  if (!summary.ok()) return summary.status();
  return Result(*std::move(summary), std::move(rows));
}

}  // namespace pglessor::internal

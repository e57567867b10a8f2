#include "server/rpc/result_batches.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"
#include "server/core/statement_outcome.h"
#include "server/rpc/values.h"

namespace pglessor::rpc {
namespace {

constexpr int kDefaultBatchRows = 256;
constexpr size_t kMaxBatchBytes = 1 << 20;
// A message's default limit in gRPC's clients.
constexpr size_t kMaxRowBytes = 4 << 20;
// What a row and each of its values take beyond their bytes, at most, once they are encoded.
constexpr size_t kRowOverhead = 32;
constexpr size_t kValueOverhead = 16;

absl::Status RowTooLarge(size_t bytes) {
  return core::MakeError(absl::StatusCode::kResourceExhausted,
                         absl::StrCat("a row of ", bytes, " bytes is over the limit of ", kMaxRowBytes,
                                      "; select less of it, or open a PostgreSQL connection of your own for "
                                      "it"),
                         {.reason = core::reason::kTooLarge});
}

}  // namespace

ResultBatches::ResultBatches(int32_t batch_rows)
    : batch_rows_(batch_rows > 0 ? batch_rows : kDefaultBatchRows) {
  header_.mutable_header();
}

void ResultBatches::AddColumns(const std::vector<core::Column>& columns) {
  column_types_.reserve(columns.size());
  for (const core::Column& column : columns) {
    column_types_.push_back(column.type_oid);
    ToProto(column, *header_.mutable_header()->add_columns());
  }
}

absl::Status ResultBatches::AddRow(core::Row row, Emit emit) {
  size_t values = 0;
  for (const core::Field& field : row) values += field ? field->size() : 0;
  const size_t bytes = kRowOverhead + row.size() * kValueOverhead + values;
  if (bytes > kMaxRowBytes) {
    too_large_ = RowTooLarge(values);
    return too_large_;
  }
  if (batch_bytes_ + bytes > kMaxBatchBytes) CloseBatch(emit);
  v1::Row& to = *batch_.mutable_rows()->add_rows();
  to.mutable_values()->Reserve(static_cast<int>(row.size()));
  for (size_t i = 0; i < row.size(); ++i) ToProto(row[i], column_types_[i], *to.add_values());
  batch_bytes_ += bytes;
  if (batch_.rows().rows_size() >= batch_rows_ || batch_bytes_ >= kMaxBatchBytes) CloseBatch(emit);
  return absl::OkStatus();
}

absl::Status ResultBatches::End(const core::StatementEnd& end, Emit emit) {
  using How = core::StatementEnd::How;
  if (!too_large_.ok() && end.how == How::kDone)
    return core::AnswerWithheld(too_large_, core::Ran::kToItsEnd);
  if (!too_large_.ok() && end.how == How::kFailed)
    return core::AnswerWithheld(too_large_, core::Ran::kStopped);
  CloseBatch(emit);
  if (!end.error.ok()) return end.error;
  TellHeader(emit);
  v1::ExecuteResponse summary;
  ToProto(end, *summary.mutable_summary());
  emit(std::move(summary));
  return absl::OkStatus();
}

void ResultBatches::CloseBatch(Emit emit) {
  if (batch_.rows().rows().empty()) return;
  TellHeader(emit);
  emit(std::move(batch_));
  batch_.Clear();
  batch_bytes_ = 0;
  if (spare_.empty()) return;
  batch_ = std::move(spare_.back());
  spare_.pop_back();
}

void ResultBatches::TakeBack(v1::ExecuteResponse&& written) {
  if (!written.has_rows() || spare_.size() >= kPauseAt) return;
  written.mutable_rows()->clear_rows();
  spare_.push_back(std::move(written));
}

void ResultBatches::TellHeader(Emit emit) {
  if (std::exchange(header_told_, true)) return;
  emit(std::move(header_));
}

}  // namespace pglessor::rpc

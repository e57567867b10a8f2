#include "server/rpc/execute_call.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"
#include "server/rpc/status.h"
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
// Messages that stand ready before PostgreSQL is asked to pause, and how few before it goes on.
constexpr size_t kPauseAt = 4;
constexpr size_t kResumeAt = 1;

}  // namespace

ExecuteCall::ExecuteCall(CallQueue& queue, const Method& method)
    : Call(queue), method_(method), writer_(&context()) {}

void ExecuteCall::Serve(CallQueue& queue, const Method& method) {
  std::make_shared<ExecuteCall>(queue, method)->Start();
}

void ExecuteCall::Listen(void* tag) {
  method_.listen(&context(), &request_, &writer_, queue().queue.get(), tag);
}

void ExecuteCall::OnRequest() {
  const absl::Status begun = Begin();
  if (!begun.ok()) Refuse(ToGrpc(begun));
}

absl::Status ExecuteCall::Begin() {
  if (request_.on_case() == v1::ExecuteRequest::ON_NOT_SET) {
    return core::FieldInvalid("on", "expected lease_token, or once");
  }
  if (request_.has_once()) return NotBuiltYet("Execute.once");
  absl::StatusOr<core::Statement> statement = StatementFromProto(request_);
  if (!statement.ok()) return statement.status();
  batch_rows_ = request_.batch_rows() > 0 ? request_.batch_rows() : kDefaultBatchRows;
  const absl::StatusOr<core::LeaseCounter> lease = Prove(caller(), method_.lessor, request_.lease_token());
  if (!lease.ok()) return lease.status();
  absl::StatusOr<core::Lessor::Running> running = method_.lessor.Execute(
      *lease, *std::move(statement), std::static_pointer_cast<ExecuteCall>(shared_from_this()));
  if (!running.ok()) return running.status();
  bool abandoned = false;
  {
    const core::MutexLock lock(mutex_);
    running_ = *std::move(running);
    abandoned = abandoned_;
  }
  if (abandoned) Abandon();  // a row was too large before we were here
  return absl::OkStatus();
}

void ExecuteCall::OnColumns(std::vector<core::Column> columns) {
  columns_told_ = true;
  v1::ExecuteResponse message;
  for (const core::Column& column : columns) {
    column_types_.push_back(column.type_oid);
    ToProto(column, *message.mutable_header()->add_columns());
  }
  message.mutable_header();
  const core::MutexLock lock(mutex_);
  // It waits for the first rows, or for the end, and goes out with them.
  ready_.push_back(std::move(message));
}

core::StatementSink::Flow ExecuteCall::OnRow(core::Row row) {
  size_t values = 0;
  for (const core::Field& field : row) values += field ? field->size() : 0;
  const size_t bytes = kRowOverhead + row.size() * kValueOverhead + values;
  bool abandon = false;
  Flow flow = Flow::kContinue;
  {
    const core::MutexLock lock(mutex_);
    if (abandoned_) return Flow::kContinue;
    if (bytes > kMaxRowBytes) {
      too_large_ =
          core::MakeError(absl::StatusCode::kResourceExhausted,
                          absl::StrCat("a row of ", values, " bytes is over the limit of ", kMaxRowBytes,
                                       "; select less of it, or use a PostgreSQL driver on the lease"),
                          {.reason = core::reason::kTooLarge});
      abandon = true;
    } else {
      if (batch_bytes_ + bytes > kMaxBatchBytes) CloseBatch();
      v1::Row& to = *batch_.mutable_rows()->add_rows();
      for (size_t i = 0; i < row.size(); ++i) ToProto(row[i], column_types_[i], *to.add_values());
      batch_bytes_ += bytes;
      if (batch_.rows().rows_size() >= batch_rows_ || batch_bytes_ >= kMaxBatchBytes) CloseBatch();
      Write();
      paused_ = ready_.size() >= kPauseAt;
      if (paused_) flow = Flow::kPause;
    }
  }
  if (abandon) Abandon();
  return flow;
}

void ExecuteCall::OnEnd(core::StatementEnd end) {
  const core::MutexLock lock(mutex_);
  if (!too_large_.ok()) end.error = too_large_;
  if (end.error.ok()) {
    CloseBatch();
    if (!columns_told_) ready_.emplace_back().mutable_header();
    ToProto(end, *ready_.emplace_back().mutable_summary());
  }
  end_ = ToGrpc(end.error);
  Write();
}

void ExecuteCall::CloseBatch() {
  if (batch_.rows().rows().empty()) return;
  ready_.push_back(std::move(batch_));
  batch_.Clear();
  batch_bytes_ = 0;
}

void ExecuteCall::Write() {
  if (writing_ || finished_) return;
  const bool only_header = ready_.size() == 1 && ready_.front().has_header();
  if (ready_.empty() || (only_header && !end_)) {
    if (!end_) return;
    finished_ = true;
    writer_.Finish(*end_, FinishTag());
    return;
  }
  const v1::ExecuteResponse message = std::move(ready_.front());
  ready_.pop_front();
  if (ready_.empty() && end_ && end_->ok()) {
    finished_ = true;
    writer_.WriteAndFinish(message, grpc::WriteOptions(), *end_, FinishTag());
    return;
  }
  writing_ = true;
  // Without a buffer hint: on the first message, which takes the headers along, gRPC 1.51 then sends nothing
  // until the connection has something else to write (40 to 300 ms).
  writer_.Write(message, WriteTag());
}

void ExecuteCall::OnWritten(bool ok) {
  bool resume = false;
  std::optional<core::Lessor::Running> running;
  {
    const core::MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) ready_.clear();  // the caller has gone; OnDone says so too
    Write();
    resume = paused_ && ready_.size() <= kResumeAt;
    if (resume) {
      paused_ = false;
      running = running_;
    }
  }
  if (running) running->ResumeRows();
}

void ExecuteCall::OnDone(bool delivered) {
  if (!delivered) Abandon();
}

void ExecuteCall::Abandon() {
  std::optional<core::Lessor::Running> running;
  {
    const core::MutexLock lock(mutex_);
    abandoned_ = true;
    ready_.clear();
    batch_.Clear();
    batch_bytes_ = 0;
    paused_ = false;
    if (!end_) running = running_;
  }
  if (!running) return;
  running->Cancel();
  running->ResumeRows();
}

}  // namespace pglessor::rpc

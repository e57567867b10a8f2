#include "server/rpc/execute_call.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"
#include "server/rpc/caller.h"
#include "server/rpc/convert.h"
#include "server/rpc/status.h"
#include "server/rpc/values.h"

namespace pglessor::rpc {
namespace {

// However many callers wait with however large a statement.
constexpr size_t kMostWaitingBytes = 64 << 20;

absl::Status TooMuchWaits() {
  return core::MakeError(absl::StatusCode::kResourceExhausted,
                         absl::StrCat("statements that wait for a lease take ", kMostWaitingBytes >> 20,
                                      " MB already; retry later, or acquire a lease first"),
                         {.reason = core::reason::kWaitQueueFull,
                          .retry_after = std::chrono::milliseconds(100),
                          .quotas = {{"server", absl::StrCat(kMostWaitingBytes >> 20,
                                                             " MB of statements that wait for a lease")}}});
}

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
  if (!begun.ok()) Finish(begun);
}

absl::Status ExecuteCall::Begin() {
  if (request_.on_case() == v1::ExecuteRequest::ON_NOT_SET) {
    return core::FieldInvalid("on", "expected lease_token, or once");
  }
  absl::StatusOr<core::Statement> statement = StatementFromProto(request_);
  if (!statement.ok()) return statement.status();
  {
    const core::MutexLock lock(mutex_);
    batches_.emplace(request_.batch_rows());
  }
  if (request_.has_once()) return BeginOnce(*std::move(statement));
  const absl::StatusOr<core::LeaseCounter> lease = Prove(caller(), method_.lessor, request_.lease_token());
  if (!lease.ok()) return lease.status();
  return Run(*lease, *std::move(statement));
}

absl::Status ExecuteCall::BeginOnce(core::Statement statement) {
  absl::StatusOr<core::AcquireRequest> acquire = FromProto(request_.once(), caller());
  if (!acquire.ok()) return Within("once", acquire.status());
  if (!acquire->request_id.empty()) {
    return core::FieldInvalid("once.request_id", "expected none: a statement is not safe to repeat");
  }
  if (!acquire->ttl) acquire->renewal = core::Renewal::kByItself;
  const size_t bytes = request_.ByteSizeLong();
  if ((*method_.waiting_bytes += bytes) > kMostWaitingBytes) {
    *method_.waiting_bytes -= bytes;
    return TooMuchWaits();
  }
  request_.Clear();  // the statement has it all
  attempt_ =
      method_.lessor.Acquire(*std::move(acquire), [self = Self(), bytes, statement = std::move(statement)](
                                                      const absl::StatusOr<core::LeaseView>& lease) mutable {
        *self->method_.waiting_bytes -= bytes;
        self->OnAcquired(lease, std::move(statement));
      });
  return absl::OkStatus();
}

void ExecuteCall::OnAcquired(const absl::StatusOr<core::LeaseView>& lease, core::Statement statement) {
  if (!lease.ok()) {
    Finish(lease.status());
    return;
  }
  const core::LeaseCounter counter = lease->grant.counter;
  bool gone = false;
  {
    const core::MutexLock lock(mutex_);
    once_ = counter;
    gone = gone_;
  }
  const absl::Status run =
      gone ? absl::CancelledError("the caller has gone") : Run(counter, std::move(statement));
  if (!run.ok()) ReleaseAndFinish(counter, run);
}

absl::Status ExecuteCall::Run(core::LeaseCounter lease, core::Statement statement) {
  absl::StatusOr<core::Lessor::Running> running = method_.lessor.Execute(lease, std::move(statement), Self());
  if (!running.ok()) return running.status();
  // What happened before we were here, and found nothing running.
  bool cancel = false;
  std::optional<core::Lessor::Running> resume;
  {
    const core::MutexLock lock(mutex_);
    running_ = *std::move(running);
    cancel = abandoned_;
    resume = ToResume();
  }
  if (cancel) CancelStatement();
  if (resume) resume->ResumeRows();
  return absl::OkStatus();
}

void ExecuteCall::OnColumns(std::vector<core::Column> columns) {
  const core::MutexLock lock(mutex_);
  batches_->AddColumns(columns);
}

core::StatementSink::Flow ExecuteCall::OnRow(core::Row row) {
  {
    const core::MutexLock lock(mutex_);
    if (abandoned_) return Flow::kContinue;
    const absl::Status added =
        batches_->AddRow(row, [this](v1::ExecuteResponse&& message)
                                  ABSL_NO_THREAD_SAFETY_ANALYSIS { ready_.push_back(std::move(message)); });
    if (added.ok()) {
      Write();
      paused_ = ready_.size() >= kPauseAt;
      return paused_ ? Flow::kPause : Flow::kContinue;
    }
    abandoned_ = true;
  }
  CancelStatement();
  return Flow::kContinue;
}

void ExecuteCall::OnEnd(core::StatementEnd end) {
  std::optional<core::LeaseCounter> once;
  absl::Status status;
  {
    const core::MutexLock lock(mutex_);
    status = batches_->End(end, [this](v1::ExecuteResponse&& message)
                                    ABSL_NO_THREAD_SAFETY_ANALYSIS { ready_.push_back(std::move(message)); });
    once = once_;
  }
  if (once) {
    ReleaseAndFinish(*once, status);
  } else {
    Finish(status);
  }
}

void ExecuteCall::Finish(const absl::Status& status) {
  const core::MutexLock lock(mutex_);
  end_ = ToGrpc(status);
  if (gone_) ready_.clear();
  Write();
}

void ExecuteCall::ReleaseAndFinish(core::LeaseCounter lease, const absl::Status& status) {
  // Where the lease was taken away meanwhile, the statement's outcome is as it is.
  method_.lessor.Release(
      lease, core::Disposition::kReturn,
      [self = Self(), status](const absl::StatusOr<core::Lessor::Released>&) { self->Finish(status); });
}

void ExecuteCall::Write() {
  if (writing_ || finished_) return;
  if (ready_.empty()) {
    if (!end_) return;
    finished_ = true;
    writer_.Finish(*end_, FinishTag());
    return;
  }
  v1::ExecuteResponse message = std::move(ready_.front());
  ready_.pop_front();
  if (ready_.empty() && end_ && end_->ok()) {
    finished_ = true;
    writer_.WriteAndFinish(message, grpc::WriteOptions(), *end_, FinishTag());
    return;
  }
  writing_ = true;
  writer_.Write(message, FlushUnless(headers_sent_ && (!ready_.empty() || end_)), WriteTag());
  headers_sent_ = true;
  batches_->TakeBack(std::move(message));  // what is written is a copy
}

void ExecuteCall::OnWritten(bool ok) {
  std::optional<core::Lessor::Running> resume;
  {
    const core::MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) ready_.clear();  // the caller has gone; OnDone says so too
    Write();
    resume = ToResume();
  }
  if (resume) resume->ResumeRows();
}

std::optional<core::Lessor::Running> ExecuteCall::ToResume() {
  if (!paused_ || ready_.size() > kResumeAt || !running_) return std::nullopt;
  paused_ = false;
  return running_;
}

void ExecuteCall::OnDone(bool delivered) {
  if (delivered) return;
  if (attempt_ != nullptr) method_.lessor.Over(attempt_, /*delivered=*/false);
  std::optional<core::LeaseCounter> once;
  {
    const core::MutexLock lock(mutex_);
    gone_ = true;
    abandoned_ = true;
    ready_.clear();
    once = once_;
  }
  if (once) {
    // Cancels what runs, by force where it does not heed that. Whoever finishes the call waits for it too.
    method_.lessor.Release(*once, core::Disposition::kReturn,
                           [](const absl::StatusOr<core::Lessor::Released>&) {});
  } else {
    CancelStatement();
  }
}

void ExecuteCall::CancelStatement() {
  std::optional<core::Lessor::Running> running;
  {
    const core::MutexLock lock(mutex_);
    if (!end_) running = running_;
    paused_ = false;
  }
  if (!running) return;
  running->Cancel();
  running->ResumeRows();
}

}  // namespace pglessor::rpc

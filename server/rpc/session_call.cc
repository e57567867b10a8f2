#include "server/rpc/session_call.h"

#include <utility>

#include "server/core/error.h"
#include "server/core/statement_outcome.h"
#include "server/rpc/session_message.h"
#include "server/rpc/status.h"

namespace pglessor::rpc {
namespace {

// Nothing more is read while so much is queued, or so many answers stand unread.
constexpr size_t kMaxQueued = 1000;
constexpr size_t kMaxQueuedBytes = 4 << 20;
constexpr size_t kMaxUnread = 64;

}  // namespace

SessionCall::SessionCall(CallQueue& queue, const Method& method)
    : Call(queue), method_(method), stream_(&context()) {}

absl::Status SessionCall::Cancelled() {
  return core::MakeError(absl::StatusCode::kCancelled, "the request was cancelled",
                         {.reason = core::reason::kCancelled});
}

void SessionCall::Serve(CallQueue& queue, const Method& method) {
  std::make_shared<SessionCall>(queue, method)->Start();
}

void SessionCall::Listen(void* tag) { method_.listen(&context(), &stream_, queue().queue.get(), tag); }

void SessionCall::Refuse(const grpc::Status& why) {
  const core::MutexLock lock(mutex_);
  finished_ = true;
  stream_.Finish(why, FinishTag());
}

void SessionCall::OnRequest() {
  const core::MutexLock lock(mutex_);
  Read();
}

void SessionCall::Read() {
  const bool enough =
      queue_.size() >= kMaxQueued || queued_bytes_ >= kMaxQueuedBytes || ready_.size() >= kMaxUnread;
  if (reading_ || ending_ || enough) return;
  reading_ = true;
  stream_.Read(&message_, ReadTag());
}

SessionCall::Turn SessionCall::TurnOf(grpc::ByteBuffer& message) {
  Turn turn{.request = {}, .bytes = message.Length()};
  absl::StatusOr<v1::SessionRequest> request = RequestFrom(message);
  if (request.ok()) {
    turn.request = *std::move(request);
  } else {
    turn.fault = request.status();
    turn.request.set_id(IdIn(message));
  }
  message.Clear();
  return turn;
}

void SessionCall::OnRead(bool ok) {
  Turn turn = ok ? TurnOf(message_) : Turn{.request = {}, .ends_stream = true};
  const bool at_once = turn.request.has_renew() || turn.request.has_cancel();
  if (turn.request.has_renew()) Renew(turn.request);
  if (turn.request.has_cancel()) Cancel(turn.request.cancel().id());
  {
    const core::MutexLock lock(mutex_);
    reading_ = false;
    if (!ending_ && !at_once) {
      ending_ = turn.ends_stream;
      queued_bytes_ += turn.bytes;
      queue_.push_back(std::move(turn));
    }
  }
  Advance();
  const core::MutexLock lock(mutex_);
  Read();
}

void SessionCall::Advance() {
  {
    // One thread at a time, and no deeper however many requests are answered inside their start.
    const core::MutexLock lock(mutex_);
    if (std::exchange(advancing_, true)) return;
  }
  while (const std::optional<Turn> turn = NextTurn()) Begin(*turn);
}

std::optional<SessionCall::Turn> SessionCall::NextTurn() {
  const core::MutexLock lock(mutex_);
  if (current_ || queue_.empty() || ready_.size() >= kPauseAt) {
    advancing_ = false;
    return std::nullopt;
  }
  Turn turn = std::move(queue_.front());
  queue_.pop_front();
  queued_bytes_ -= turn.bytes;
  current_.emplace(Current{.id = turn.request.id(), .acquires = turn.request.has_acquire()});
  return turn;
}

void SessionCall::Begin(const Turn& turn) {
  const v1::SessionRequest& request = turn.request;
  if (turn.ends_stream) {
    EndStream();
    return;
  }
  absl::Status started;
  if (!turn.fault.ok()) {
    started = turn.fault;
  } else if (turn.cancelled) {
    started = Cancelled();
  } else if (request.has_acquire()) {
    started = Acquire(request.acquire());
  } else if (request.has_execute()) {
    started = Execute(request.execute());
  } else if (request.has_release()) {
    started = Release(request.release());
  } else {
    started = core::FieldInvalid("message", "expected acquire, execute, release, renew, or cancel");
  }
  if (!started.ok()) Fail(started);
}

void SessionCall::OnColumns(std::vector<core::Column> columns) {
  const core::MutexLock lock(mutex_);
  batches_->AddColumns(columns);
}

core::StatementSink::Flow SessionCall::OnRow(core::Row row) {
  {
    const core::MutexLock lock(mutex_);
    if (gone_ || current_->cancelled || current_->abandoned) {
      // To pause here would keep PostgreSQL from seeing the cancel.
      current_->rows_dropped = true;
      return Flow::kContinue;
    }
    const absl::Status added =
        batches_->AddRow(row, [this](v1::ExecuteResponse&& part)
                                  ABSL_NO_THREAD_SAFETY_ANALYSIS { ResultReady(std::move(part)); });
    Write();
    if (added.ok()) {
      paused_ = ready_.size() >= kPauseAt;
      return paused_ ? Flow::kPause : Flow::kContinue;
    }
    current_->abandoned = true;
  }
  CancelStatement();
  return Flow::kContinue;
}

void SessionCall::OnEnd(core::StatementEnd end) {
  absl::Status status;
  {
    const core::MutexLock lock(mutex_);
    if (end.error.ok() && current_->rows_dropped) {
      end.error = core::AnswerWithheld(Cancelled(), core::Ran::kToItsEnd);
    }
    status = batches_->End(end, [this](v1::ExecuteResponse&& part)
                                    ABSL_NO_THREAD_SAFETY_ANALYSIS { ResultReady(std::move(part)); });
    Write();
  }
  if (status.ok()) {
    TurnIsOver();
  } else {
    Fail(status);
  }
}

void SessionCall::Fail(const absl::Status& status) {
  v1::SessionResponse response;
  *response.mutable_error() = ToProto(status);
  Answer(std::move(response));
}

void SessionCall::Answer(v1::SessionResponse response) {
  {
    const core::MutexLock lock(mutex_);
    response.set_id(current_->id);
    Tell(std::move(response));
  }
  TurnIsOver();
}

void SessionCall::TurnIsOver() {
  {
    const core::MutexLock lock(mutex_);
    current_.reset();
    paused_ = false;
  }
  Advance();
}

void SessionCall::ResultReady(v1::ExecuteResponse&& part) {
  v1::SessionResponse response;
  *response.mutable_result() = std::move(part);
  response.set_id(current_->id);
  Ready(std::move(response));
}

void SessionCall::Ready(v1::SessionResponse&& response) {
  if (!gone_) ready_.push_back(std::move(response));
}

void SessionCall::Tell(v1::SessionResponse&& response) {
  Ready(std::move(response));
  Write();
}

void SessionCall::Write() {
  if (writing_ || finished_) return;
  if (ready_.empty()) {
    if (!end_) return;
    finished_ = true;
    stream_.Finish(*end_, FinishTag());
    return;
  }
  v1::SessionResponse message = std::move(ready_.front());
  ready_.pop_front();
  writing_ = true;
  stream_.Write(ToBytes(message), FlushUnless(headers_sent_ && !ready_.empty()), WriteTag());
  headers_sent_ = true;
  if (message.has_result() && batches_) batches_->TakeBack(std::move(*message.mutable_result()));
}

void SessionCall::OnWritten(bool ok) {
  std::optional<core::Lessor::Running> resume;
  {
    const core::MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) ready_.clear();  // the client has gone; OnDone says so too
    Write();
    Read();
    resume = ToResume();
  }
  if (resume) resume->ResumeRows();
  Advance();
}

std::optional<core::Lessor::Running> SessionCall::ToResume() {
  if (!paused_ || ready_.size() > kResumeAt || !current_ || !current_->running) return std::nullopt;
  paused_ = false;
  return current_->running;
}

void SessionCall::OnDone(bool delivered) {
  core::Lessor::AttemptRef attempt;
  bool answered = true;
  std::optional<core::LeaseCounter> lease;
  {
    const core::MutexLock lock(mutex_);
    attempt = std::exchange(attempt_, nullptr);
    if (!delivered) {
      gone_ = true;
      ready_.clear();
      answered = !(current_ && current_->acquires);
      lease = std::exchange(lease_, std::nullopt);
      const bool end_has_begun = ending_ && queue_.empty();
      queue_.clear();
      queued_bytes_ = 0;
      if (!end_has_begun) queue_.push_back({.request = {}, .ends_stream = true});
      ending_ = true;
    }
  }
  if (attempt != nullptr) method_.lessor.Over(attempt, answered);
  if (lease) {
    // What runs is cancelled, by force where it does not heed that.
    method_.lessor.Release(*lease, core::Disposition::kReturn,
                           [](const absl::StatusOr<core::Lessor::Released>&) {});
  }
  Advance();
}

void SessionCall::CancelStatement() {
  std::optional<core::Lessor::Running> running;
  {
    const core::MutexLock lock(mutex_);
    if (current_) running = current_->running;
    paused_ = false;
  }
  if (!running) return;
  running->Cancel();
  running->ResumeRows();
}

}  // namespace pglessor::rpc

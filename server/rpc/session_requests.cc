// What each request of a Session does: SessionCall's part from a request's beginning to its answer. When they
// begin, and how answers are written, stands in session_call.cc.
#include <algorithm>
#include <utility>

#include "server/core/error.h"
#include "server/rpc/caller.h"
#include "server/rpc/convert.h"
#include "server/rpc/session_call.h"
#include "server/rpc/status.h"
#include "server/rpc/values.h"

namespace pglessor::rpc {
namespace {

absl::Status NoLease() {
  return core::MakeError(absl::StatusCode::kFailedPrecondition,
                         "the stream has no lease: none was acquired, or it has ended; send `acquire`",
                         {.reason = core::reason::kNoLease});
}

absl::Status LeaseHeld() {
  return core::MakeError(absl::StatusCode::kFailedPrecondition,
                         "the stream has a lease already: send `release` first, or open another stream",
                         {.reason = core::reason::kLeaseHeld});
}

bool CanBeCancelled(const v1::SessionRequest& request) {
  return request.has_acquire() || request.has_execute();
}

}  // namespace

absl::Status SessionCall::Acquire(const v1::AcquireRequest& request) {
  absl::StatusOr<core::AcquireRequest> acquire = FromProto(request, caller());
  if (!acquire.ok()) return Within("acquire", acquire.status());
  if (StreamsLease().ok()) return LeaseHeld();
  if (!acquire->ttl) acquire->renewal = core::Renewal::kByItself;
  core::Lessor::AttemptRef last;
  {
    const core::MutexLock lock(mutex_);
    last = std::exchange(attempt_, nullptr);
  }
  if (last != nullptr) method_.lessor.Over(last, /*delivered=*/true);
  core::Lessor::AttemptRef attempt = method_.lessor.Acquire(
      *std::move(acquire),
      [self = Self()](const absl::StatusOr<core::LeaseView>& lease) { self->OnAcquired(lease); });
  bool over = false, answered = false;
  {
    const core::MutexLock lock(mutex_);
    answered = !current_;
    over = gone_ || (current_ && current_->cancelled);
    if (!over) attempt_ = attempt;
  }
  if (over) method_.lessor.Over(attempt, answered);
  return absl::OkStatus();
}

void SessionCall::OnAcquired(const absl::StatusOr<core::LeaseView>& lease) {
  if (!lease.ok()) {
    // To the core a request that is cancelled is a caller who has gone.
    Fail(absl::IsCancelled(lease.status()) ? Cancelled() : lease.status());
    return;
  }
  const core::LeaseCounter counter = lease->grant.counter;
  v1::SessionResponse response;
  ToProto(*lease, method_.lessor, *response.mutable_acquired()->mutable_lease());
  response.mutable_acquired()->set_lease_token(method_.lessor.TokenOf(lease->grant));
  bool unwanted = false;
  {
    const core::MutexLock lock(mutex_);
    unwanted = current_->cancelled || gone_;
    if (!unwanted) {
      lease_ = counter;
      current_->acquires = false;  // too late to cancel it
      response.set_id(current_->id);
      Tell(std::move(response));
    }
  }
  if (unwanted) {
    method_.lessor.Release(
        counter, core::Disposition::kReturn,
        [self = Self()](const absl::StatusOr<core::Lessor::Released>&) { self->Fail(Cancelled()); });
    return;
  }
  // It fails if the lease is forgotten already; the next statement will say so.
  method_.lessor
      .WhenEnded(counter, [self = Self()](const core::LeaseView& ended) { self->OnLeaseEnded(ended); })
      .IgnoreError();
  TurnIsOver();
}

void SessionCall::OnLeaseEnded(const core::LeaseView& lease) {
  const core::MutexLock lock(mutex_);
  if (lease_ != lease.grant.counter) return;  // its end was asked for here
  lease_.reset();
  v1::SessionResponse response;
  ToProto(lease, method_.lessor, *response.mutable_ended()->mutable_lease());
  Tell(std::move(response));
}

absl::Status SessionCall::Execute(const v1::ExecuteRequest& request) {
  if (request.on_case() != v1::ExecuteRequest::ON_NOT_SET) {
    return core::FieldInvalid("execute.on", "expected none: a stream's statements run on its lease");
  }
  absl::StatusOr<core::Statement> statement = StatementFromProto(request);
  if (!statement.ok()) return Within("execute", statement.status());
  const absl::StatusOr<core::LeaseCounter> lease = StreamsLease();
  if (!lease.ok()) return lease.status();
  {
    const core::MutexLock lock(mutex_);
    batches_.emplace(request.batch_rows());
  }
  absl::StatusOr<core::Lessor::Running> running =
      method_.lessor.Execute(*lease, *std::move(statement), Self());
  if (!running.ok()) return running.status();
  // What happened before we were here, and found nothing running.
  bool cancel = false;
  std::optional<core::Lessor::Running> resume;
  {
    const core::MutexLock lock(mutex_);
    if (!current_) return absl::OkStatus();  // it has ended
    cancel = current_->cancelled || current_->abandoned;
    current_->running = *std::move(running);
    resume = ToResume();
  }
  if (cancel) CancelStatement();
  if (resume) resume->ResumeRows();
  return absl::OkStatus();
}

absl::Status SessionCall::Release(const v1::ReleaseRequest& request) {
  if (!request.lease_token().empty()) {
    return core::FieldInvalid("release.lease_token", "expected none: a stream releases its own lease");
  }
  const absl::StatusOr<core::Disposition> disposition = FromProto(request.disposition());
  if (!disposition.ok()) return Within("release", disposition.status());
  std::optional<core::LeaseCounter> lease;
  {
    const core::MutexLock lock(mutex_);
    lease = std::exchange(lease_, std::nullopt);
  }
  if (!lease) return NoLease();
  method_.lessor.Release(*lease, *disposition,
                         [self = Self()](const absl::StatusOr<core::Lessor::Released>& released) {
                           if (!released.ok()) {
                             self->Fail(released.status());
                             return;
                           }
                           v1::SessionResponse response;
                           ToProto(*released, self->method_.lessor, *response.mutable_released());
                           self->Answer(std::move(response));
                         });
  return absl::OkStatus();
}

void SessionCall::EndStream() {
  std::optional<core::LeaseCounter> lease;
  {
    const core::MutexLock lock(mutex_);
    lease = std::exchange(lease_, std::nullopt);
  }
  const auto finish = [self = Self()] {
    const core::MutexLock lock(self->mutex_);
    self->end_ = grpc::Status::OK;
    self->Write();
  };
  if (!lease) {
    finish();
    return;
  }
  method_.lessor.Release(*lease, core::Disposition::kReturn,
                         [finish](const absl::StatusOr<core::Lessor::Released>&) { finish(); });
}

void SessionCall::Renew(const v1::SessionRequest& request) {
  const absl::StatusOr<core::LeaseView> lease = RenewLease(request.renew());
  v1::SessionResponse response;
  response.set_id(request.id());
  if (lease.ok()) {
    ToProto(*lease, method_.lessor, *response.mutable_renewed()->mutable_lease());
  } else {
    *response.mutable_error() = ToProto(lease.status());
  }
  const core::MutexLock lock(mutex_);
  Tell(std::move(response));
}

absl::StatusOr<core::LeaseView> SessionCall::RenewLease(const v1::RenewRequest& request) {
  if (request.subject_case() != v1::RenewRequest::SUBJECT_NOT_SET) {
    return core::FieldInvalid("renew.subject", "expected none: a stream renews its own lease");
  }
  std::optional<core::Duration> ttl;
  if (request.has_ttl()) {
    const absl::StatusOr<core::Duration> asked = TtlFromProto(request.ttl());
    if (!asked.ok()) return Within("renew", asked.status());
    ttl = *asked;
  }
  const absl::StatusOr<core::LeaseCounter> lease = StreamsLease();
  if (!lease.ok()) return lease.status();
  return method_.lessor.Renew(*lease, ttl);
}

void SessionCall::Cancel(int64_t id) {
  core::Lessor::AttemptRef attempt;
  {
    const core::MutexLock lock(mutex_);
    if (current_ && current_->id == id) {
      current_->cancelled = true;
      if (current_->acquires) attempt = std::exchange(attempt_, nullptr);
    } else {
      const auto queued = std::find_if(queue_.begin(), queue_.end(), [id](const Turn& turn) {
        return turn.request.id() == id && CanBeCancelled(turn.request);
      });
      if (queued != queue_.end()) queued->cancelled = true;
      return;
    }
  }
  // Granted at this very instant it goes back: OnAcquired sees that it is cancelled.
  if (attempt != nullptr) method_.lessor.Over(attempt, /*delivered=*/false);
  CancelStatement();
}

absl::StatusOr<core::LeaseCounter> SessionCall::StreamsLease() {
  const core::MutexLock lock(mutex_);
  if (!lease_) return NoLease();
  return *lease_;
}

}  // namespace pglessor::rpc

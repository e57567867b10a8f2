#include "client/internal/held_lease.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

#include "client/internal/convert.h"
#include "client/internal/status.h"
#include "pglessor/error.h"

namespace pglessor::internal {
namespace {

using std::chrono::milliseconds;

// Between two attempts at a statement that finds our own last one still being cancelled.
constexpr Duration kFirstBusyPause = milliseconds(1);
constexpr Duration kLongestBusyPause = milliseconds(50);

v1::Lease WithoutEnd(v1::Lease lease) {
  lease.clear_expire_time();  // by the server's wall clock, and soon out of date: nobody shall count on it
  return lease;
}

bool IsOurOwnCancel(const absl::Status& status) {
  return ErrorReason(status).empty() && (status.code() == absl::StatusCode::kCancelled ||
                                         status.code() == absl::StatusCode::kDeadlineExceeded);
}

}  // namespace

std::shared_ptr<HeldLease> HeldLease::Hold(Parts parts) {
  std::shared_ptr<HeldLease> held(new HeldLease(std::move(parts)));
  held->SetTimer();
  return held;
}

HeldLease::HeldLease(Parts parts)
    : background_(std::move(parts.background)),
      replica_(std::move(parts.replica)),
      granted_(WithoutEnd(parts.granted.lease())),
      token_(parts.granted.lease_token()),
      call_timeout_(parts.call_timeout),
      timer_(background_->NewTimer()),
      term_(parts.promise) {}

HeldLease::~HeldLease() { background_->CancelTimer(timer_); }

LeaseTerm::Promise HeldLease::PromiseOf(const v1::Lease& lease, Time from) {
  return {from, FromProto(lease.ttl()), FromProto(lease.renew_after())};
}

Duration HeldLease::ttl() const {
  MutexLock lock(mutex_);
  return term_.ttl();
}

bool HeldLease::lost() const {
  MutexLock lock(mutex_);
  return term_.Lost(BootNow());
}

bool HeldLease::in_transaction() const {
  MutexLock lock(mutex_);
  return in_transaction_;
}

// --- the background's part ----------------------------------------------------------------------

void HeldLease::SetTimer() {
  Time due;
  {
    MutexLock lock(mutex_);
    due = term_.NextWake();
  }
  // The timer holds no lease: one that nobody else holds any more is over.
  background_->SetTimer(timer_, due, [weak = weak_from_this()](Background::Wake wake) {
    if (const auto held = weak.lock()) held->OnTimer(wake);
  });
}

void HeldLease::OnTimer(Background::Wake wake) {
  if (wake == Background::Wake::kStopping) {
    Abandon(MakeError(absl::StatusCode::kFailedPrecondition,
                      "the lease was released with the Client that acquired it", "LEASE_RELEASED"));
    return;
  }
  bool lost = false;
  bool renew = false;
  Time now;
  Time attempt_end;
  {
    MutexLock lock(mutex_);
    now = BootNow();
    lost = term_.Lost(now);
    renew = term_.StartRenewal(now);
    attempt_end = term_.AttemptEnd(now);
  }
  if (lost) {
    End(MakeError(absl::StatusCode::kFailedPrecondition,
                  "the lease was not renewed in time, since the server did not answer; acquire another",
                  "LEASE_EXPIRED"));
    CutOff();
    return;
  }
  if (renew) Renew(now, attempt_end);
  SetTimer();
}

void HeldLease::Renew(Time now, Time attempt_end) {
  v1::RenewRequest request;
  request.set_lease_token(token_);
  const auto prepare = [&](grpc::ClientContext* context, grpc::CompletionQueue* queue) {
    return replica_->leases->PrepareAsyncRenew(context, request, queue);
  };
  // Not started, once the client stops: the timer finds the loss.
  background_->Start<v1::RenewResponse>(
      attempt_end - now, prepare,
      [weak = weak_from_this(), sent = now](const grpc::Status& status, const v1::RenewResponse& response) {
        if (const auto held = weak.lock()) held->OnRenewed(sent, status, response);
      });
}

void HeldLease::OnRenewed(Time sent, const grpc::Status& status, const v1::RenewResponse& response) {
  const absl::Status outcome = FromGrpc(status);
  bool gone = false;
  {
    MutexLock lock(mutex_);
    const Time now = BootNow();
    if (outcome.ok()) {
      term_.Renewed(now, PromiseOf(response.lease(), sent));
    } else {
      gone = term_.RenewalFailed(now, outcome);
    }
  }
  if (gone) {
    End(outcome);  // a statement that runs is answered by the server, which knows what became of it
  } else {
    SetTimer();  // a loss by time is found by it, at once
  }
}

void HeldLease::End(const absl::Status& why) {
  MutexLock lock(mutex_);
  term_.End();
  if (end_.ok()) end_ = why;
}

void HeldLease::CutOff() {
  std::vector<Context> running;
  {
    MutexLock lock(mutex_);
    running = running_;
  }
  for (const Context& context : running) context->TryCancel();
}

// --- statements ---------------------------------------------------------------------------------

absl::Status HeldLease::WhyLost() const {
  if (!end_.ok()) return end_;
  if (!term_.Lost(BootNow())) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   "the lease was not renewed in time; acquire another", "LEASE_EXPIRED");
}

absl::Status HeldLease::Enter(const Context& context) {
  MutexLock lock(mutex_);
  absl::Status lost = WhyLost();
  if (lost.ok()) running_.push_back(context);
  return lost;
}

void HeldLease::Leave(const Context& context, const absl::StatusOr<Summary>& outcome) {
  MutexLock lock(mutex_);
  running_.erase(std::find(running_.begin(), running_.end(), context));
  if (outcome.ok()) in_transaction_ = outcome->in_transaction;
}

absl::StatusOr<Summary> HeldLease::RunOnce(const v1::ExecuteRequest& request, const Context& context,
                                           EachRow each_row) {
  Answer answer = ReadAnswer(*replica_->sql, request, *context, each_row);
  bool cut_off = false;
  {
    MutexLock lock(mutex_);
    const bool ours = IsOurOwnCancel(FromGrpc(answer.ended));
    gave_up_ = ours;
    cut_off = ours && answer.refused.ok() && term_.Lost(BootNow());
  }
  if (!answer.refused.ok()) return answer.refused;
  if (cut_off) return OutcomeUnknown("the lease was lost meanwhile");
  return SummaryOf(std::move(answer));
}

absl::StatusOr<Summary> HeldLease::Run(const Statement& statement, EachRow each_row) {
  const v1::ExecuteRequest request = ToProto(statement, token_);
  const Time patience = SaturatingAdd(BootNow(), call_timeout_);
  const auto deadline = Background::DeadlineIn(statement.timeout.value_or(Duration::max()));
  for (Duration pause = kFirstBusyPause;; pause = std::min(2 * pause, kLongestBusyPause)) {
    bool gave_up = false;
    {
      MutexLock lock(mutex_);
      gave_up = gave_up_;
    }
    const auto context = std::make_shared<grpc::ClientContext>();
    context->set_deadline(deadline);
    absl::Status lost = Enter(context);
    if (!lost.ok()) return lost;
    absl::StatusOr<Summary> outcome = RunOnce(request, context, each_row);
    Leave(context, outcome);
    if (!outcome.ok() && EndsLease(outcome.status())) End(outcome.status());
    // The server has not yet cancelled what we gave up. It refuses without running anything, so trying again
    // is safe; and the caller, who runs one statement at a time, shall not see it.
    const bool busy = gave_up && ErrorReason(outcome.status()) == "LEASE_BUSY";
    if (!busy || BootNow() >= patience) return outcome;
    {
      MutexLock lock(mutex_);
      gave_up_ = true;
    }
    std::this_thread::sleep_for(pause);
  }
}

absl::StatusOr<Result> HeldLease::Run(const Statement& statement) {
  return Collected([&](EachRow each_row) { return Run(statement, each_row); });
}

// --- the end ------------------------------------------------------------------------------------

absl::StatusOr<ReleaseResult> HeldLease::Release(v1::Disposition disposition) {
  {
    MutexLock lock(mutex_);
    term_.End();
    if (end_.ok()) {
      end_ = MakeError(absl::StatusCode::kFailedPrecondition, "the lease was given back by its holder",
                       "LEASE_RELEASED");
    }
  }
  v1::ReleaseRequest request;
  request.set_lease_token(token_);
  request.set_disposition(disposition);
  v1::ReleaseResponse response;
  grpc::ClientContext context;
  context.set_deadline(Background::DeadlineIn(call_timeout_));
  const absl::Status status = FromGrpc(replica_->leases->Release(&context, request, &response));
  if (status.ok() || EndsLease(status)) {
    MutexLock lock(mutex_);
    released_ = true;
  }
  if (!status.ok()) return OfRelease(status);
  return ReleaseResult{response.already_released(), response.rolled_back()};
}

void HeldLease::Abandon(const absl::Status& why) {
  bool tell = false;
  Duration left;  // until the lease ends by itself, and nobody needs to be told
  {
    MutexLock lock(mutex_);
    left = term_.trusted_until() - BootNow();
    tell = !released_ && left > Duration::zero();
    released_ = true;
  }
  End(why);
  CutOff();
  if (!tell) return;
  v1::ReleaseRequest request;
  request.set_lease_token(token_);
  const auto prepare = [&](grpc::ClientContext* context, grpc::CompletionQueue* queue) {
    return replica_->leases->PrepareAsyncRelease(context, request, queue);
  };
  // Nobody is left to be told how it ended, and where it fails the lease ends by its ttl. The replica is held
  // until then, since its connection carries the call.
  background_->Start<v1::ReleaseResponse>(
      std::min(left, call_timeout_), prepare,
      [replica = replica_](const grpc::Status&, const v1::ReleaseResponse&) {});
}

}  // namespace pglessor::internal

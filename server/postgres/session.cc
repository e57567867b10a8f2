#include "server/postgres/session.h"

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "server/core/check.h"
#include "server/postgres/error_status.h"

namespace pglessor::postgres {
namespace {

using std::chrono::milliseconds;

constexpr core::Duration kQuietTimeout = milliseconds(500);  // an ended lease's cancel is given up
constexpr core::Duration kCleanTimeout = milliseconds(500);
constexpr core::Duration kProbeTimeout = milliseconds(500);
constexpr core::Duration kStuckTimeout = milliseconds(500);
constexpr size_t kMostShown = 100;  // bytes of an answer to validate_query

}  // namespace

Session::Session(executor::EventLoop& loop, ControlConnection& control, std::unique_ptr<Backend> backend,
                 Callback lost, Validation validation)
    : loop_(loop),
      control_(control),
      validation_(std::move(validation)),
      identity_(backend->identity()),
      reported_at_opening_([&] {
        Reported reported;
        for (size_t i = 0; i < kReported.size(); ++i) reported[i] = backend->Parameter(kReported[i]);
        return reported;
      }()),
      backend_(std::move(backend)),
      on_lost_(std::move(lost)) {
  backend_->SetListener(this);
}

void Session::Execute(core::StatementKey key, core::Statement statement,
                      std::shared_ptr<core::StatementSink> sink) {
  loop_.Post([self = shared_from_this(), key, statement = std::move(statement),
              sink = std::move(sink)]() mutable { self->Start(key, std::move(statement), std::move(sink)); });
}

void Session::Cancel(core::StatementKey key) {
  loop_.Post([self = shared_from_this(), key] {
    if (self->running_ && self->running_->key == key) self->RequestCancel();
  });
}

void Session::ResumeRows(core::StatementKey key) {
  loop_.Post([self = shared_from_this(), key] {
    if (self->running_ && self->running_->key == key) self->backend_->Resume();
  });
}

void Session::Cut() {
  loop_.Post([self = shared_from_this()] {
    if (self->backend_ != nullptr) self->backend_->Cut();
  });
}

void Session::Clean(core::LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced,
                    absl::AnyInvocable<void(CleanReport)> cleaned) {
  loop_.Post(
      [self = shared_from_this(), lease, fenced = std::move(fenced), cleaned = std::move(cleaned)]() mutable {
        fenced(self->RaiseFence(lease));
        self->cleaned_ = std::move(cleaned);
        self->CleanUp();
      });
}

void Session::Fence(core::LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced) {
  loop_.Post([self = shared_from_this(), lease, fenced = std::move(fenced)]() mutable {
    fenced(self->RaiseFence(lease));
  });
}

Session::FenceReport Session::RaiseFence(core::LeaseCounter lease) {
  fenced_through_ = lease;
  label_.reset();
  names_.Clear();
  FenceReport report;
  report.transaction_was_open = backend_ != nullptr && backend_->InTransaction();
  if (!running_) return report;
  if (running_->answered) {
    // Only the answer to a cancel is missing; the statement's own is known, and worth telling.
    FinishStatement(running_->end.error.ok() ? core::StatementEnd::How::kDone
                                             : core::StatementEnd::How::kFailed);
    return report;
  }
  report.transaction_was_open = running_->end.was_in_transaction;
  half_sent_ = backend_->HasUnsent();
  // libpq would send the rest of the message, if only to say goodbye behind it.
  if (half_sent_) backend_->Cut();
  step_ = Step::kAwaitQuiet;  // from here on its rows are nobody's
  FinishStatement(core::StatementEnd::How::kFenced);
  return report;
}

void Session::CleanUp() {
  if (lost_ || half_sent_) {
    FinishClean(absl::UnavailableError(lost_ ? "the connection is lost"
                                             : "a statement was cut in the middle of its message"));
    return;
  }
  step_ = Step::kAwaitQuiet;
  clean_timer_ = loop_.RunAfter(kQuietTimeout, [self = shared_from_this()] {
    self->clean_timer_.reset();
    self->FinishClean(absl::DeadlineExceededError("the cancelled statement did not end in time"));
  });
  if (backend_->busy()) {
    SendCancel();
    backend_->Resume();
  } else {
    CleanNext();
  }
}

void Session::Probe(absl::AnyInvocable<void(CleanReport)> probed) {
  loop_.Post([self = shared_from_this(), probed = std::move(probed)]() mutable {
    if (self->lost_) {
      probed(absl::UnavailableError("the connection is lost"));
      return;
    }
    self->cleaned_ = std::move(probed);
    self->step_ = Step::kProbe;
    self->clean_timer_ = self->loop_.RunAfter(kProbeTimeout, [self] {
      self->clean_timer_.reset();
      self->FinishClean(absl::DeadlineExceededError("no answer to a probe"));
    });
    const absl::Status sent = self->backend_->SendSimple(self->validation_.query.c_str());
    if (!sent.ok()) self->FinishClean(sent);
  });
}

void Session::CleanNext() {
  if (step_ == Step::kGivenUp || backend_ == nullptr) return;
  if (backend_->busy() || cancels_in_flight_ > 0 || cleaned_ == nullptr) return;
  if (step_ == Step::kProbe) {
    step_ = Step::kStatement;
    if (cleaning_error_.ok() && !backend_->Idle()) {
      cleaning_error_ = absl::FailedPreconditionError("validate_query has left a transaction open");
    }
    FinishClean(cleaning_error_);
    return;
  }
  if (cancel_outcome_unknown_) {
    FinishClean(absl::UnavailableError("a cancel may still be under way to this connection"));
    return;
  }
  if (step_ == Step::kAwaitQuiet) {
    loop_.Cancel(*clean_timer_);
    clean_timer_ = loop_.RunAfter(kCleanTimeout, [self = shared_from_this()] {
      self->clean_timer_.reset();
      self->FinishClean(absl::DeadlineExceededError("ROLLBACK and DISCARD ALL did not end in time"));
    });
    step_ = backend_->InTransaction() ? Step::kRollback : Step::kDiscard;
  } else if (step_ == Step::kRollback) {
    step_ = Step::kDiscard;
  } else {
    Verify();
    return;
  }
  // A simple query: through a named statement, DISCARD ALL leaves the unnamed one of the last
  // holder alive.
  const absl::Status sent = backend_->SendSimple(step_ == Step::kRollback ? "ROLLBACK" : "DISCARD ALL");
  if (!sent.ok()) FinishClean(sent);
}

void Session::Verify() {
  if (!cleaning_error_.ok()) {
    FinishClean(cleaning_error_);
  } else if (!backend_->Idle() || ReportedNow() != reported_at_opening_) {
    FinishClean(absl::InternalError("after DISCARD ALL the session is not as it was when it was opened"));
  } else {
    step_ = Step::kStatement;
    FinishClean(absl::OkStatus());
  }
}

absl::Status Session::JudgeProbe(const PGresult& result) const {
  const ExecStatusType status = PQresultStatus(&result);
  if (status != PGRES_EMPTY_QUERY && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    return SqlError(result, /*timed_out=*/false);
  }
  if (validation_.expect.empty()) return absl::OkStatus();
  const bool answered = PQntuples(&result) > 0 && PQnfields(&result) > 0;
  const std::string got = answered ? PQgetvalue(&result, 0, 0) : "nothing";
  if (answered && got == validation_.expect) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("validate_query answered ", got.substr(0, kMostShown), "; expected ", validation_.expect));
}

void Session::FinishClean(absl::Status outcome) {
  if (clean_timer_) loop_.Cancel(*clean_timer_);
  clean_timer_.reset();
  cleaning_error_ = absl::OkStatus();
  if (!outcome.ok()) step_ = Step::kGivenUp;
  if (cleaned_ != nullptr) std::exchange(cleaned_, nullptr)(std::move(outcome));
}

void Session::Close(CloseCallbacks callbacks) {
  loop_.Post([self = shared_from_this(), callbacks = std::move(callbacks)]() mutable {
    self->on_lost_ = nullptr;
    // Whichever comes first takes what it calls; `gone` may still follow `stuck`.
    auto shared = std::make_shared<CloseCallbacks>(std::move(callbacks));
    const executor::EventLoop::TimerId timer =
        self->loop_.RunAfter(kStuckTimeout, [shared] { shared->stuck(); });
    // Where the connection is lost, its backend may know nothing of that, and run on.
    const auto means = !self->lost_ && self->backend_->Idle() ? ControlConnection::Means::kAsk
                                                              : ControlConnection::Means::kTerminate;
    self->backend_.reset();
    self->control_.AwaitGone(self->identity_, means, [self, shared, timer] {
      self->loop_.Cancel(timer);
      shared->gone();
    });
  });
}

Session::Reported Session::ReportedNow() const {
  Reported reported;
  for (size_t i = 0; i < kReported.size(); ++i) reported[i] = backend_->Parameter(kReported[i]);
  return reported;
}

void Session::OnResult(const PGresult& result) {
  if (running_ && step_ == Step::kStatement) {
    OnStatementResult(result);
    return;
  }
  const bool cleaning = step_ == Step::kRollback || step_ == Step::kDiscard;
  if (cleaning && PQresultStatus(&result) != PGRES_COMMAND_OK) {
    cleaning_error_ = SqlError(result, /*timed_out=*/false);
  } else if (step_ == Step::kProbe && cleaning_error_.ok()) {
    cleaning_error_ = JudgeProbe(result);
  }
}

void Session::OnReady() {
  if (!running_) {
    CleanNext();
    return;
  }
  if (running_->listened && step_ == Step::kStatement) {
    running_->needs_gateway = true;
    step_ = Step::kUnlisten;
    if (backend_->SendSimple("UNLISTEN *").ok()) return;
  }
  if (running_->run_unnamed && RunUnnamed()) return;
  step_ = Step::kStatement;
  FinishIfQuiet();
}

void Session::OnLost(const absl::Status&) {
  lost_ = true;
  // The lease ends first, so that the statement's end can say so.
  if (on_lost_ != nullptr) std::exchange(on_lost_, nullptr)();
  if (running_) FinishStatement(core::StatementEnd::How::kConnectionLost);
  if (cleaned_ != nullptr)
    FinishClean(absl::UnavailableError("the connection was lost while it was cleaned or probed"));
}

}  // namespace pglessor::postgres

#include "server/postgres/session.h"

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "server/core/check.h"
#include "server/core/error.h"
#include "server/core/statement_outcome.h"
#include "server/postgres/error_status.h"
#include "server/postgres/type_names.h"

namespace pglessor::postgres {
namespace {

using std::chrono::milliseconds;

constexpr core::Duration kCancelPeriod = milliseconds(500);  // a living lease's cancel is repeated
constexpr core::Duration kQuietTimeout = milliseconds(500);  // an ended one's is given up
constexpr core::Duration kCleanTimeout = milliseconds(500);
constexpr core::Duration kProbeTimeout = milliseconds(500);
constexpr core::Duration kStuckTimeout = milliseconds(500);
constexpr size_t kMaxNotices = 100;
constexpr size_t kMostShown = 100;  // bytes of an answer to validate_query
constexpr Oid kByteaOid = 17;

absl::Status GatewayNeeded() {
  return core::MakeError(absl::StatusCode::kUnimplemented,
                         "COPY FROM STDIN, COPY TO STDOUT and LISTEN need a session of their own: use a "
                         "PostgreSQL driver on the lease through the gateway",
                         {.reason = core::reason::kUseGateway});
}

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

void Session::Start(core::StatementKey key, core::Statement statement,
                    std::shared_ptr<core::StatementSink> sink) {
  core::StatementEnd end;
  if (key.lease <= fenced_through_ || lost_) {
    end.how = key.lease <= fenced_through_ ? core::StatementEnd::How::kFenced
                                           : core::StatementEnd::How::kConnectionLost;
    sink->OnEnd(std::move(end));
    return;
  }
  PGLESSOR_CHECK(!running_ && !backend_->busy(), "the lease's permit lets one statement run at a time");
  end.was_in_transaction = backend_->InTransaction();
  end.sent = true;
  if (statement.label) label_ = std::move(statement.label);
  // It waits behind a COPY, which libpq can end in no pipeline.
  if (label_ && core::FirstKeyword(statement.sql) != "COPY") {
    statement.label = std::exchange(label_, std::nullopt);
  } else {
    statement.label.reset();
  }
  if (!end.was_in_transaction) names_.Settle();
  const StatementWay way = names_.Choose(statement);
  const core::Time sent_at = loop_.Now();
  const absl::Status sent = backend_->SendStatement(statement, way);
  if (!sent.ok()) {
    end.how = core::StatementEnd::How::kFailed;
    end.error = core::FieldInvalid("params", sent.message());
    sink->OnEnd(std::move(end));
    return;
  }
  running_.emplace();
  running_->key = key;
  running_->sink = std::move(sink);
  running_->end = std::move(end);
  running_->sent_at = sent_at;
  running_->max_rows = statement.max_rows;
  step_ = Step::kStatement;
  if (statement.timeout) {
    running_->timeout = loop_.RunAfter(*statement.timeout, [self = shared_from_this(), key] {
      if (!self->running_ || self->running_->key != key) return;
      self->running_->timeout.reset();
      self->running_->timed_out = true;
      self->RequestCancel();
    });
  }
  if (way.how != StatementWay::How::kUnnamed) running_->named = std::move(statement);
}

// A cancel that is under way, or comes, is meant for it as much as for the first try.
bool Session::RunUnnamed() {
  running_->run_unnamed = false;
  const core::Statement statement = *std::exchange(running_->named, std::nullopt);
  if (!backend_->SendStatement(statement, {}).ok()) return false;
  running_->end.error = absl::OkStatus();
  running_->end.notices.clear();
  return true;
}

void Session::RequestCancel() {
  if (running_->cancel_wanted || running_->answered) return;
  running_->cancel_wanted = true;
  SendCancel();
}

void Session::SendCancel() {
  ++cancels_in_flight_;
  control_.Cancel(identity_,
                  [self = shared_from_this()](const absl::Status& outcome) { self->OnCancelled(outcome); });
}

void Session::OnCancelled(const absl::Status& outcome) {
  --cancels_in_flight_;
  if (!outcome.ok()) cancel_outcome_unknown_ = true;
  if (step_ == Step::kAwaitQuiet) {
    CleanNext();
    return;
  }
  if (!running_) return;
  if (running_->answered) {
    FinishIfQuiet();
    return;
  }
  // Cancel is advisory. It is asked for again while the lease lives; the lease's end has harder
  // means.
  loop_.RunAfter(kCancelPeriod, [self = shared_from_this(), key = running_->key] {
    if (self->running_ && self->running_->key == key && !self->running_->answered) self->SendCancel();
  });
}

void Session::FinishIfQuiet() {
  running_->answered = true;
  if (cancels_in_flight_ > 0) return;
  if (running_->needs_gateway) running_->end.error = GatewayNeeded();
  FinishStatement(running_->end.error.ok() ? core::StatementEnd::How::kDone
                                           : core::StatementEnd::How::kFailed);
}

void Session::FinishStatement(core::StatementEnd::How how) {
  RunningStatement done = *std::move(running_);
  running_.reset();
  if (done.timeout) loop_.Cancel(*done.timeout);
  done.end.how = how;
  done.end.elapsed = loop_.Now() - done.sent_at;
  done.end.in_transaction = backend_->InTransaction();
  done.sink->OnEnd(std::move(done.end));
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

void Session::TellColumns(const PGresult& result) {
  if (running_->columns_told) return;
  running_->columns_told = true;
  std::vector<core::Column> columns(static_cast<size_t>(PQnfields(&result)));
  row_.resize(columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    const int column = static_cast<int>(i);
    const Oid type = PQftype(&result, column);
    columns[i] = {PQfname(&result, column), type, TypeName(type)};
  }
  running_->sink->OnColumns(std::move(columns));
}

void Session::TellRow(const PGresult& result) {
  TellColumns(result);
  if (running_->max_rows > 0 && running_->end.rows_returned >= running_->max_rows) return;
  ++running_->end.rows_returned;
  for (size_t i = 0; i < row_.size(); ++i) {
    const int column = static_cast<int>(i);
    if (PQgetisnull(&result, 0, column) != 0) {
      row_[i] = std::nullopt;
    } else if (PQftype(&result, column) == kByteaOid) {
      row_[i] = Bytes(PQgetvalue(&result, 0, column));
    } else {
      row_[i] = absl::string_view(PQgetvalue(&result, 0, column),
                                  static_cast<size_t>(PQgetlength(&result, 0, column)));
    }
  }
  const auto flow = running_->sink->OnRow(row_);
  row_bytes_.clear();
  if (flow == core::StatementSink::Flow::kPause) backend_->Pause();
}

absl::string_view Session::Bytes(const char* text) {
  // In either of bytea_output's formats: the holder may have set it.
  size_t size = 0;
  unsigned char* const bytes = PQunescapeBytea(reinterpret_cast<const unsigned char*>(text), &size);
  PGLESSOR_CHECK(bytes != nullptr, "there is memory for a value");
  row_bytes_.emplace_back(reinterpret_cast<const char*>(bytes), size);
  PQfreemem(bytes);
  return row_bytes_.back();
}

void Session::OnStatementResult(const PGresult& result) {
  // PQcmdTuples and PQcmdStatus take a result that is not const, and do not change it.
  auto* const mutable_result = const_cast<PGresult*>(&result);
  switch (PQresultStatus(&result)) {
    case PGRES_SINGLE_TUPLE:
      TellRow(result);
      break;
    case PGRES_TUPLES_OK:
      TellColumns(result);
      [[fallthrough]];
    case PGRES_COMMAND_OK:
      running_->end.command_tag = PQcmdStatus(mutable_result);
      running_->end.rows_affected = 0;
      if (!absl::SimpleAtoi(PQcmdTuples(mutable_result), &running_->end.rows_affected)) {
        running_->end.rows_affected = 0;
      }
      if (running_->end.command_tag == "LISTEN") running_->listened = true;
      if (PQresultStatus(&result) == PGRES_COMMAND_OK) names_.OnCommand(running_->end.command_tag);
      break;
    case PGRES_EMPTY_QUERY:
      break;
    case PGRES_COPY_IN:
      running_->needs_gateway = true;
      break;
    case PGRES_COPY_OUT:
      running_->needs_gateway = true;
      RequestCancel();
      break;
    default:
      OnStatementError(result);
      break;
  }
}

void Session::OnStatementError(const PGresult& error) {
  running_->end.error = SqlError(error, running_->timed_out);
  if (!running_->named) {
    names_.OnUnnamedFailed();
    return;
  }
  const NameFault fault = NameFaultOf(error);
  names_.OnFault(*running_->named, fault);
  const bool ran_nothing = fault == NameFault::kUnknown || fault == NameFault::kOutdated;
  // In a transaction it has failed with that, which can only be told.
  running_->run_unnamed = ran_nothing && !running_->end.was_in_transaction;
}

void Session::OnPrepared() {
  if (running_ && running_->named) names_.Prepared(*running_->named);
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

void Session::OnNotice(const PGresult& notice) {
  if (!running_ || running_->end.notices.size() >= kMaxNotices) return;
  const char* const text = PQresultErrorField(&notice, PG_DIAG_MESSAGE_PRIMARY);
  if (text != nullptr) running_->end.notices.emplace_back(text);
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

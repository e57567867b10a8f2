// How a session runs one statement: Session's part from Start to FinishStatement.
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"

#include "server/core/check.h"
#include "server/core/error.h"
#include "server/core/statement_outcome.h"
#include "server/postgres/error_status.h"
#include "server/postgres/session.h"
#include "server/postgres/type_names.h"

namespace pglessor::postgres {
namespace {

constexpr core::Duration kCancelPeriod = std::chrono::milliseconds(500);  // a living lease's is repeated
constexpr size_t kMaxNotices = 100;
constexpr Oid kByteaOid = 17;

absl::Status NeedsOwnSession(const RunningStatement& running) {
  // A COPY that ran to its end before it could be cancelled has no error; nor has a LISTEN, which is undone.
  const bool stands = running.end.error.ok() && !running.listened;
  return core::AnswerWithheld(
      core::MakeError(absl::StatusCode::kUnimplemented,
                      "COPY FROM STDIN, COPY TO STDOUT and LISTEN are not to be had on a lease; open a "
                      "PostgreSQL connection of your own for them",
                      {.reason = core::reason::kUseGateway}),
      stands ? core::Ran::kToItsEnd : core::Ran::kStopped);
}

}  // namespace

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
  StatementWay way = names_.Choose(statement);
  if (way.how != StatementWay::How::kUnnamed && SettingsMoved()) {
    names_.Forget();
    if (way.how == StatementWay::How::kPrepared) way = {};
  }
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

bool Session::SettingsMoved() {
  Reported now = ReportedNow();
  if (now == settings_) return false;
  settings_ = std::move(now);
  return true;
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
  if (running_->needs_gateway) running_->end.error = NeedsOwnSession(*running_);
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

void Session::OnNotice(const PGresult& notice) {
  if (!running_ || running_->end.notices.size() >= kMaxNotices) return;
  const char* const text = PQresultErrorField(&notice, PG_DIAG_MESSAGE_PRIMARY);
  if (text != nullptr) running_->end.notices.emplace_back(text);
}

}  // namespace pglessor::postgres

#include "client/internal/session_stream.h"

#include <deque>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "client/internal/convert.h"
#include "client/internal/status.h"

namespace pglessor::internal {
namespace {

// What may be under way without an answer. More would gain nothing, and where neither side reads on before
// the other does, both would wait for ever.
constexpr size_t kMostUnanswered = 64;
constexpr size_t kMostUnansweredBytes = 32 * 1024;

absl::Status FromProto(const v1::Status& error) {
  return FromGrpc(
      grpc::Status(static_cast<grpc::StatusCode>(error.code()), error.message(), error.SerializeAsString()));
}

v1::SessionRequest ToRequest(const Statement& statement) {
  v1::SessionRequest request;
  v1::ExecuteRequest& execute = *request.mutable_execute();
  execute = ToProto(statement, /*lease_token=*/"");
  execute.clear_on();  // the session's lease
  if (statement.timeout &&
      (!statement.statement_timeout || *statement.timeout < *statement.statement_timeout)) {
    *execute.mutable_statement_timeout() = ToProto(*statement.timeout);
  }
  return request;
}

absl::Status NotSent(const grpc::Status& end) {
  return absl::UnavailableError(
      absl::StrCat("the session's stream has ended, and this was not run: ", end.error_message()));
}

}  // namespace

SessionStream::SessionStream(std::shared_ptr<Replica> replica, AcquireOptions defaults)
    : replica_(std::move(replica)),
      defaults_(std::move(defaults)),
      stream_(replica_->sql->Session(&context_)) {}

SessionStream::~SessionStream() {
  context_.TryCancel();
  Ended();
}

absl::Status SessionStream::Acquire(const AcquireOptions& given) {
  AcquireOptions options = Merged(given, defaults_);
  // The default is for leases that are renewed in the background; here it would be a hard end.
  options.ttl = given.ttl;
  v1::SessionRequest request;
  *request.mutable_acquire() = ToProto(options);
  if (!Send(request)) return NotSent(Ended());
  v1::SessionResponse response;
  if (!Receive(response)) return FromGrpc(Ended());
  if (response.has_error()) return FromProto(response.error());
  lease_ = std::move(*response.mutable_acquired()->mutable_lease());
  return absl::OkStatus();
}

std::vector<absl::StatusOr<Result>> SessionStream::ExecuteAll(absl::Span<const Statement> statements) {
  std::vector<absl::StatusOr<Result>> results;
  results.reserve(statements.size());
  std::deque<size_t> unanswered;  // their sizes
  size_t unanswered_bytes = 0;
  bool sending = true;
  while (results.size() < statements.size()) {
    const size_t sent = results.size() + unanswered.size();
    if (sending && sent < statements.size() &&
        (unanswered.empty() ||
         (unanswered.size() < kMostUnanswered && unanswered_bytes < kMostUnansweredBytes))) {
      v1::SessionRequest request = ToRequest(statements[sent]);
      sending = Send(request);
      if (!sending) continue;
      unanswered.push_back(request.ByteSizeLong());
      unanswered_bytes += unanswered.back();
    } else if (!unanswered.empty()) {
      results.push_back(ReceiveResult());
      unanswered_bytes -= unanswered.front();
      unanswered.pop_front();
    } else {
      results.emplace_back(NotSent(Ended()));
    }
  }
  return results;
}

absl::StatusOr<ReleaseResult> SessionStream::Release() {
  v1::SessionRequest request;
  request.mutable_release();
  if (!Send(request)) return OfRelease(NotSent(Ended()));
  v1::SessionResponse response;
  if (!Receive(response)) return OfRelease(FromGrpc(Ended()));
  if (response.has_error()) return OfRelease(FromProto(response.error()));
  return ReleaseResult{response.released().already_released(), response.released().rolled_back()};
}

bool SessionStream::Send(v1::SessionRequest& request) {
  request.set_id(++last_id_);
  return !ended_ && stream_->Write(request);
}

bool SessionStream::Receive(v1::SessionResponse& response) {
  do {
    if (ended_ || !stream_->Read(&response)) return false;
    // That the lease has ended shows in the answer to what is asked of it next.
  } while (response.has_ended());
  return true;
}

absl::StatusOr<Result> SessionStream::ReceiveResult() {
  std::vector<Row> rows;
  auto columns = std::make_shared<std::vector<Column>>();
  for (v1::SessionResponse response; Receive(response);) {
    if (response.has_error()) return FromProto(response.error());
    v1::ExecuteResponse& part = *response.mutable_result();
    if (part.has_header()) {
      *columns = internal::FromProto(part.header());
    } else if (part.has_summary()) {
      return Result(internal::FromProto(part.summary(), *columns), std::move(rows));
    } else {
      for (v1::Row& row : *part.mutable_rows()->mutable_rows()) {
        rows.push_back(internal::FromProto(columns, row));
      }
    }
  }
  return StatementStatus(Ended());
}

const grpc::Status& SessionStream::Ended() {
  if (ended_) return end_;
  ended_ = true;
  stream_->WritesDone();
  for (v1::SessionResponse rest; stream_->Read(&rest);) {
  }
  end_ = stream_->Finish();
  if (end_.ok()) end_ = {grpc::StatusCode::UNAVAILABLE, "the server has ended the session's stream"};
  return end_;
}

}  // namespace pglessor::internal

#include "pglessor/session.h"

#include "client/internal/session_stream.h"

namespace pglessor {
namespace {

absl::Status MovedFrom() { return absl::FailedPreconditionError("this Session was moved from"); }

const v1::Lease& LeaseOf(const std::unique_ptr<internal::SessionStream>& stream) {
  return stream == nullptr ? v1::Lease::default_instance() : stream->lease();
}

}  // namespace

Session::Session(std::unique_ptr<internal::SessionStream> stream) : stream_(std::move(stream)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

absl::Status Session::Acquire(const AcquireOptions& options) {
  return stream_ == nullptr ? MovedFrom() : stream_->Acquire(options);
}

absl::StatusOr<Result> Session::Execute(const Statement& statement) {
  return std::move(ExecuteAll(absl::MakeConstSpan(&statement, 1)).front());
}

std::vector<absl::StatusOr<Result>> Session::ExecuteAll(absl::Span<const Statement> statements) {
  if (stream_ == nullptr) return std::vector<absl::StatusOr<Result>>(statements.size(), MovedFrom());
  return stream_->ExecuteAll(statements);
}

absl::StatusOr<ReleaseResult> Session::Release() {
  if (stream_ == nullptr) return MovedFrom();
  return stream_->Release();
}

const std::string& Session::lease_id() const { return LeaseOf(stream_).lease_id(); }
int32_t Session::backend_pid() const { return LeaseOf(stream_).backend_pid(); }
uint64_t Session::fencing_token() const { return LeaseOf(stream_).fencing_token(); }

}  // namespace pglessor

#include "pglessor/lease.h"

#include <utility>

#include "client/internal/convert.h"
#include "client/internal/held_lease.h"

namespace pglessor {
namespace {

absl::Status MovedFrom() { return absl::FailedPreconditionError("this Lease was moved from"); }

// What a moved-from lease was granted: nothing.
const v1::Lease& GrantedTo(const std::shared_ptr<internal::HeldLease>& held) {
  return held == nullptr ? v1::Lease::default_instance() : held->granted();
}

}  // namespace

Lease::Lease(std::shared_ptr<internal::HeldLease> held) : held_(std::move(held)) {}
Lease::Lease(Lease&&) noexcept = default;

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  if (held_ != nullptr) held_->Abandon();
  held_ = std::move(other.held_);
  return *this;
}

Lease::~Lease() {
  if (held_ != nullptr) held_->Abandon();
}

absl::StatusOr<Result> Lease::Execute(const Statement& statement) {
  if (held_ == nullptr) return MovedFrom();
  return held_->Run(statement);
}

absl::StatusOr<Summary> Lease::Query(const Statement& statement,
                                     absl::FunctionRef<absl::Status(const Row&)> each_row) {
  if (held_ == nullptr) return MovedFrom();
  return held_->Run(statement, [each_row](Row&& row) { return each_row(row); });
}

absl::StatusOr<ReleaseResult> Lease::Release() {
  if (held_ == nullptr) return MovedFrom();
  return held_->Release(v1::DISPOSITION_RETURN);
}

absl::StatusOr<ReleaseResult> Lease::Discard() {
  if (held_ == nullptr) return MovedFrom();
  return held_->Release(v1::DISPOSITION_DISCARD);
}

bool Lease::lost() const { return held_ == nullptr || held_->lost(); }

const std::string& Lease::lease_id() const { return GrantedTo(held_).lease_id(); }
const std::string& Lease::pool() const { return GrantedTo(held_).pool(); }
const std::string& Lease::fallback_for() const { return GrantedTo(held_).fallback_for(); }
const std::string& Lease::connection_id() const { return GrantedTo(held_).connection_id(); }
int32_t Lease::backend_pid() const { return GrantedTo(held_).backend_pid(); }
uint64_t Lease::fencing_token() const { return GrantedTo(held_).fencing_token(); }
std::chrono::nanoseconds Lease::waited() const { return internal::FromProto(GrantedTo(held_).waited()); }
const std::string& Lease::server_address() const { return GrantedTo(held_).server_address(); }
const std::string& Lease::gateway_address() const { return GrantedTo(held_).gateway_address(); }

std::chrono::nanoseconds Lease::ttl() const {
  return held_ == nullptr ? std::chrono::nanoseconds::zero() : held_->ttl();
}

}  // namespace pglessor

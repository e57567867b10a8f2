#include "server/core/lease.h"

#include <algorithm>
#include <utility>

#include "server/core/check.h"
#include "server/core/error.h"

namespace pglessor::core {

Lease::Lease(LeaseGrant grant)
    : grant_(std::move(grant)),
      ttl_(grant_.terms.ttl),
      term_(ttl_),
      expiry_(SaturatingAdd(grant_.acquired, ttl_)) {}

absl::StatusOr<StatementId> Lease::TakePermit(Time now) {
  if (!Alive(now)) return EndedError(end_reason_.value_or(EndReason::kExpired));
  if (permit_taken_) {
    return MakeError(absl::StatusCode::kAborted,
                     "another statement runs on this lease: one lease runs one statement at a time; "
                     "wait for its end, or acquire a second lease",
                     {.reason = reason::kLeaseBusy});
  }
  permit_taken_ = true;
  claimed_ = true;
  ++last_statement_.value;
  return last_statement_;
}

void Lease::ReturnPermit(StatementId statement) {
  if (statement == last_statement_) permit_taken_ = false;
}

absl::Status Lease::Renew(Time now, std::optional<Duration> ttl, Time latest) {
  if (!Alive(now)) return EndedError(end_reason_.value_or(EndReason::kExpired));
  ttl_ = ttl.value_or(ttl_);
  expiry_ = std::min(SaturatingAdd(now, ttl_), latest);
  term_ = expiry_ - now;
  claimed_ = true;
  return absl::OkStatus();
}

bool Lease::End(Time now, EndReason reason) {
  if (state_ != LeaseState::kActive) return false;
  if (reason == EndReason::kUnclaimed && claimed_ && now < expiry_) return false;
  end_reason_ = now < expiry_ ? reason : EndReason::kExpired;
  state_ = LeaseState::kEnding;
  return true;
}

void Lease::Fenced() {
  PGLESSOR_CHECK(state_ == LeaseState::kEnding, "a lease is fenced once, after its end");
  state_ = LeaseState::kEnded;
}

const char* EndReasonCode(EndReason reason) {
  switch (reason) {
    case EndReason::kReleased:
      return reason::kLeaseReleased;
    case EndReason::kExpired:
      return reason::kLeaseExpired;
    case EndReason::kRevoked:
      return reason::kLeaseRevoked;
    case EndReason::kPoolReset:
      return reason::kPoolReset;
    case EndReason::kConnectionLost:
      return reason::kConnectionLost;
    case EndReason::kDrained:
      return reason::kLeaseDrained;
    case EndReason::kUnclaimed:
      return reason::kLeaseUnclaimed;
  }
  PGLESSOR_CHECK(false, "every end reason has a code");
}

absl::Status EndedError(EndReason reason) {
  const char* message = "";
  switch (reason) {
    case EndReason::kReleased:
      message = "the lease was released by its holder; acquire another";
      break;
    case EndReason::kExpired:
      message =
          "the lease expired and its open transaction, if any, was rolled back; acquire another, with a "
          "longer ttl, or renew in time";
      break;
    case EndReason::kRevoked:
      message =
          "the lease was revoked by an operator and its open transaction, if any, was rolled back; "
          "acquire another";
      break;
    case EndReason::kPoolReset:
      message =
          "the pool was reset and the lease's open transaction, if any, was rolled back; acquire another";
      break;
    case EndReason::kConnectionLost:
      message =
          "the lease's connection died and its open transaction, if any, was rolled back; acquire another";
      break;
    case EndReason::kDrained:
      message =
          "the service shut down before the lease was released; its open transaction, if any, was rolled "
          "back; acquire another elsewhere";
      break;
    case EndReason::kUnclaimed:
      message = "the caller had gone before the lease reached it; acquire another";
      break;
  }
  return MakeError(absl::StatusCode::kFailedPrecondition, message, {.reason = EndReasonCode(reason)});
}

}  // namespace pglessor::core

#include "server/core/lease.h"

#include <algorithm>
#include <utility>

#include "server/core/check.h"
#include "server/core/error.h"

namespace pglessor::core {

Lease::Lease(LeaseGrant grant, const LeaseLimits& limits)
    : grant_(std::move(grant)),
      limits_(limits),
      ttl_(grant_.terms.ttl),
      term_(std::min(ttl_, limits_.max_lifetime)),
      expiry_(SaturatingAdd(grant_.acquired, term_)),
      idle_since_(grant_.acquired) {}

absl::StatusOr<StatementId> Lease::TakePermit(Time now) {
  if (!Alive(now)) return Ended();
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

void Lease::ReturnPermit(Time now, StatementId statement, TransactionState transaction) {
  if (statement != last_statement_ || !permit_taken_) return;
  permit_taken_ = false;
  idle_since_ = now;
  transaction_ = transaction;
}

Lease::Look Lease::LookAt(Time now) {
  Look look;
  if (!Alive(now)) return look;
  // True once `limit` from `since` is over; until then it is time to look again.
  const auto over = [&](Time since, Duration limit) {
    if (limit <= Duration::zero()) return false;
    const Time due = SaturatingAdd(since, limit);
    if (now >= due) return true;
    look.next = std::min(look.next, due);
    return false;
  };
  const Time since = permit_taken_ ? now : idle_since_;
  if (over(since, limits_.max_think_time)) {
    look.idle_too_long = "its holder ran no statement for max_think_time";
  }
  // Outside a transaction it is looked at as often, since one may begin at any time.
  const Time idle_inside = transaction_ == TransactionState::kOpen ? since : now;
  if (over(idle_inside, limits_.max_idle_in_transaction)) {
    look.idle_too_long = "its holder left a transaction idle for max_idle_in_transaction";
  }
  if (!leak_told_ && over(grant_.acquired, limits_.leak_warning)) {
    leak_told_ = true;
    look.leak_suspected = true;
  }
  return look;
}

absl::Status Lease::Renew(Time now, std::optional<Duration> ttl, Time latest) {
  if (!Alive(now)) return Ended();
  // Its drain is over, and whoever ends it is on the way.
  if (now >= latest) return EndedError(EndReason::kDrained);
  ttl_ = ttl.value_or(ttl_);
  Extend(now, latest);
  claimed_ = true;
  return absl::OkStatus();
}

bool Lease::RenewIfDue(Time now, Time latest) {
  const bool itself = grant_.terms.renewal == Renewal::kByItself;
  const bool is_due = itself && Alive(now) && now >= due();
  if (is_due) Extend(now, latest);
  return is_due;
}

void Lease::Extend(Time now, Time latest) {
  const Time own = std::min(SaturatingAdd(now, ttl_), SaturatingAdd(grant_.acquired, limits_.max_lifetime));
  expiry_ = std::min(own, latest);
  over_by_ = own <= latest ? EndReason::kExpired : EndReason::kDrained;
  term_ = expiry_ - now;
}

Time Lease::due() const {
  // As early as holders are told to renew: at a third of the term.
  return grant_.terms.renewal == Renewal::kByItself ? expiry_ - term_ / 3 * 2 : expiry_;
}

bool Lease::End(Time now, EndReason reason) {
  if (state_ != LeaseState::kActive) return false;
  if (reason == EndReason::kUnclaimed && claimed_ && now < expiry_) return false;
  end_reason_ = now < expiry_ ? reason : over_by_;
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
          "the lease was revoked, by an operator or because its holder idled for longer than the pool's "
          "max_think_time or max_idle_in_transaction, and its open transaction, if any, was rolled back; "
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
          "the service shut down, or the pool was removed, before the lease was released; its open "
          "transaction, if any, was rolled back; acquire another elsewhere";
      break;
    case EndReason::kUnclaimed:
      message = "the caller had gone before the lease reached it; acquire another";
      break;
  }
  return MakeError(absl::StatusCode::kFailedPrecondition, message, {.reason = EndReasonCode(reason)});
}

}  // namespace pglessor::core

// One lease: its terms, its life, its single permit. Plain state: no lock, no clock.
//
//            TakePermit/ReturnPermit, Renew
//                     ┌────┐
//     (granted) ──► kActive ──► kEnding ──► kEnded
//                         End        Fenced
//
// Invariants
//   1. At `now >= expiry` the lease is over, whatever the reaper has seen: every member that takes `now`
//      judges by that alone. It ends kExpired then, or kDrained where a drain is why it was not longer.
//   2. Whoever ends it first gives the end reason, and it never changes.
//   3. At most one statement has the permit, and none gets it once the lease is not active.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "server/core/clock.h"
#include "server/core/ids.h"
#include "server/core/priority.h"

namespace pglessor::core {

enum class LeaseState { kActive, kEnding, kEnded };

// Whether a transaction is open when a statement has ended.
enum class TransactionState { kNone, kOpen };

enum class EndReason {
  kReleased,        // by its holder
  kExpired,         // by time
  kRevoked,         // by an operator, or since its holder idled for longer than the pool allows
  kPoolReset,       // with its pool's generation
  kConnectionLost,  // its backend died
  kDrained,         // the service is shutting down, or its pool was removed
  kUnclaimed,       // its caller had gone before it had the answer
};

// Who moves a lease's end forward.
enum class Renewal {
  kByHolder,
  kByItself,  // it is bound to a call whose end ends it, and is renewed until then
};

// What the caller asked for and diagnosis shows. `ttl` is the effective one.
struct LeaseTerms {
  std::string tenant;
  std::string holder;
  Duration ttl{};
  Priority priority = Priority::kNormal;
  std::map<std::string, std::string> tags;
  bool has_request_id = false;  // a retry may still ask for it
  Renewal renewal = Renewal::kByHolder;
};

// What a lease is from its grant on.
struct LeaseGrant {
  LeaseCounter counter;
  std::string pool;
  std::string fallback_for;  // the pool that was asked for, if `pool` stands in for it; else empty
  LeaseTerms terms;
  ConnectionIndex connection;
  WallTime connection_opened{};
  int32_t backend_pid = 0;
  FencingToken fencing_token;
  Time acquired{};
  WallTime acquired_wall{};
  Duration waited{};
};

// How long a lease may last, and its holder idle. Zero = no limit, but for the first.
struct LeaseLimits {
  Duration max_lifetime{};             // from its acquisition: as far as renewals go
  Duration max_think_time{};           // without a statement that runs
  Duration max_idle_in_transaction{};  // the same inside a transaction
  Duration leak_warning{};             // held for so long, it is reported

  bool any() const {
    const Duration none = Duration::zero();
    return max_think_time > none || max_idle_in_transaction > none || leak_warning > none;
  }
};

// FAILED_PRECONDITION with the end reason, and what that means for the holder.
absl::Status EndedError(EndReason reason);

// The end reason's word in errors: "LEASE_EXPIRED".
const char* EndReasonCode(EndReason reason);

class Lease {
 public:
  Lease(LeaseGrant grant, const LeaseLimits& limits);

  const LeaseGrant& grant() const { return grant_; }
  LeaseState state() const { return state_; }
  std::optional<EndReason> end_reason() const { return end_reason_; }
  Time expiry() const { return expiry_; }
  // When somebody must look at it: its expiry, or before that its own renewal.
  Time due() const;
  // Of its present term: what was asked for, or less where its lifetime or a drain ends before.
  Duration ttl() const { return term_; }
  bool has_run_a_statement() const { return last_statement_.value > 0; }

  // The right to run one statement.
  // Fails with: the lease's end (see EndedError); ABORTED LEASE_BUSY.
  absl::StatusOr<StatementId> TakePermit(Time now);
  // Nothing if `statement` does not have the permit.
  void ReturnPermit(Time now, StatementId statement, TransactionState transaction);

  // What a look at it finds: a sentence on why its holder was idle for too long, and it is to be revoked;
  // whether it is to be reported as a suspected leak, which is said once; and when to look again.
  struct Look {
    const char* idle_too_long = nullptr;
    bool leak_suspected = false;
    Time next = Time::max();
  };
  Look LookAt(Time now);

  // Ends `ttl` from now (unset = the present ttl), never later than `latest` or its lifetime.
  // Fails with: the lease's end; where `latest` is over, as one that is kDrained. Never revives.
  absl::Status Renew(Time now, std::optional<Duration> ttl, Time latest);

  // Renews one that is alive and renews itself, if that is due; whether it did.
  bool RenewIfDue(Time now, Time latest);

  // Its holder has it for sure: he ran a statement, or renewed it.
  bool claimed() const { return claimed_; }

  // Active and not yet expired.
  bool Alive(Time now) const { return state_ == LeaseState::kActive && now < expiry_; }

  // True if this call ended it. An active lease whose time is over ends by that, whatever `reason` says
  // (invariant 1); kUnclaimed ends only one that was not claimed.
  bool End(Time now, EndReason reason);
  // The fence stands: kEnding → kEnded.
  void Fenced();

 private:
  void Extend(Time now, Time latest);
  absl::Status Ended() const { return EndedError(end_reason_.value_or(over_by_)); }

  const LeaseGrant grant_;
  const LeaseLimits limits_;
  LeaseState state_ = LeaseState::kActive;
  std::optional<EndReason> end_reason_;
  Duration ttl_;   // as asked for
  Duration term_;  // from the last grant or renewal to the expiry
  Time expiry_;
  EndReason over_by_ = EndReason::kExpired;  // how it ends at its expiry
  bool permit_taken_ = false;
  bool claimed_ = false;
  StatementId last_statement_;
  Time idle_since_;  // unless a statement runs
  TransactionState transaction_ = TransactionState::kNone;
  bool leak_told_ = false;
};

}  // namespace pglessor::core

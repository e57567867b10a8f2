// What the callers and the event stream say has happened: who waits, who has which lease until when.
//
// It is kept beside the core, not read from it: the checkers compare the one with the other.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

#include "server/core/acquire_request.h"
#include "server/core/clock.h"
#include "server/core/events.h"
#include "server/core/lease.h"
#include "server/core/options.h"

namespace pglessor::core::sim {

// One acquire: a single call, or all that carry its request_id. Its number is its holder's name, by which
// the events tell whose they are.
struct AcquireRecord {
  uint64_t number = 0;
  AcquireRequest request;
  // Of the place in the queue that it has now, or had last.
  uint64_t arrival = 0;
  Time since{};
  // A retry came just when its place, or the memory of its lease, was due to be forgotten: whether it is in
  // its old place nobody can say.
  bool uncertain = false;
  bool queues = true;      // its first call did
  Time until{};            // the latest of its calls' waits
  int32_t attached = 0;    // calls that are not over, and were not refused
  int32_t unanswered = 0;  // calls
  // With a request_id: since then nobody is attached, and nobody has its lease. Place or lease are kept a
  // while.
  std::optional<Time> forsaken;
  bool delivered = false;
  bool claimed = false;  // ran a statement, or renewed
  std::optional<LeaseCounter> lease;

  bool once() const { return !request.request_id.empty(); }
};

// One call of it.
struct CallRecord {
  uint64_t acquire = 0;
  Time waits_until{};
  Time deadline{};  // when it must have its answer
  bool attached = true;
  bool answered = false;
  bool granted = false;
};

struct LeaseRecord {
  uint64_t acquire = 0;
  std::string tenant;
  int32_t pid = 0;
  FencingToken token;
  Time granted{};
  Duration ttl{};
  Time expiry{};
  std::optional<EndReason> ended;  // and fenced
  Time ended_at{};
  bool end_asked =
      false;  // by its holder or an operator: it lives no more, though its fence may not stand yet

  bool AliveAt(Time now) const { return !ended && now < expiry; }
};

class Ledger {
 public:
  Ledger(const Clock& clock, const PoolOptions& options, Duration retention)
      : clock_(clock), retention_(retention), options_(options) {}

  // --- what callers do ---
  AcquireRecord& NewAcquire(AcquireRequest request);
  // A call begins; returns its number.
  uint64_t Called(uint64_t acquire, Duration wait);
  void Answered(uint64_t call, bool granted);
  void Over(uint64_t call, bool delivered);
  void Claimed(LeaseCounter lease);
  // `ttl` unset: the one that it had.
  void Renewed(LeaseCounter lease, std::optional<Duration> ttl);
  // By whoever is first: its holder, an operator, the pool.
  void EndAsked(LeaseCounter lease);

  // --- what events tell ---
  void OnEvent(const Event& event);

  // --- what operators do, before they do it ---
  void SetOptions(const PoolOptions& options) { options_ = options; }

  const PoolOptions& options() const { return options_; }
  const AcquireRecord& acquire(uint64_t number) const { return acquires_.at(number); }
  const CallRecord& call(uint64_t number) const { return calls_.at(number); }
  const LeaseRecord* Find(LeaseCounter lease) const;
  // Of events and answers that name one. Requires: it was granted.
  const LeaseRecord& lease(LeaseCounter counter) const { return leases_.at(counter); }
  const std::map<LeaseCounter, LeaseRecord>& leases() const { return leases_; }

  // Acquires that have a place in the queue, for certain.
  bool Waits(const AcquireRecord& record) const;
  // Its place has been given up for certain, since nobody came back for it.
  bool GivenUp(const AcquireRecord& record) const;
  // Those that wait, and those of which nobody can say.
  const std::set<uint64_t>& waiting() const { return waiting_; }
  // Calls without an answer, by deadline.
  const std::set<std::pair<Time, uint64_t>>& unanswered() const { return unanswered_; }
  // Leases that have not ended.
  const std::set<LeaseCounter>& living() const { return living_; }
  int32_t InUse(const std::string& tenant) const;
  int32_t Waiting(const std::string& tenant) const;
  TenantLimits LimitsOf(const std::string& tenant) const;
  // The lease is remembered: a retry of its acquire gets it, or its end.
  bool Remembers(LeaseCounter lease) const;

 private:
  AcquireRecord& Mutable(uint64_t number) { return acquires_.at(number); }
  void Granted(const Event& event);

  const Clock& clock_;
  const Duration retention_;
  PoolOptions options_;
  uint64_t arrivals_ = 0;
  std::map<uint64_t, AcquireRecord> acquires_;
  std::map<uint64_t, CallRecord> calls_;
  std::map<LeaseCounter, LeaseRecord> leases_;
  std::set<uint64_t> waiting_;
  std::set<std::pair<Time, uint64_t>> unanswered_;
  std::set<LeaseCounter> living_;
};

}  // namespace pglessor::core::sim

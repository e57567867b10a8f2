#include "tests/sim/ledger.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace pglessor::core::sim {
namespace {

// What is due may be done this much later.
constexpr Duration kTick = std::chrono::milliseconds(50);

}  // namespace

AcquireRecord& Ledger::NewAcquire(AcquireRequest request) {
  const uint64_t number = acquires_.size() + 1;
  request.holder = absl::StrCat(number);
  AcquireRecord& record = acquires_[number];
  record.number = number;
  record.request = std::move(request);
  return record;
}

uint64_t Ledger::Called(uint64_t acquire, Duration wait) {
  const Time now = clock_.Now();
  AcquireRecord& record = Mutable(acquire);
  const uint64_t number = calls_.size() + 1;
  CallRecord& call = calls_[number];
  call.acquire = acquire;
  call.waits_until = now + wait;
  // One that does not queue may have a connection opened for it.
  call.deadline = now + (wait > Duration::zero() ? wait : options_.connect_timeout);
  unanswered_.emplace(call.deadline, number);

  const bool has_lease = record.lease && Remembers(*record.lease);
  const bool has_place = waiting_.contains(acquire);
  if (!has_place && !has_lease) {
    record.arrival = ++arrivals_;
    record.since = now;
    record.uncertain = record.lease.has_value() && now < lease(*record.lease).ended_at + retention_ + kTick;
    record.queues = wait > Duration::zero();
    record.until = call.deadline;
    record.delivered = record.claimed = false;
    record.lease.reset();
    waiting_.insert(acquire);
  } else if (has_place) {
    record.uncertain = record.uncertain || (record.forsaken && !Waits(record));
    record.until = std::max(record.until, call.waits_until);
  }
  record.forsaken.reset();
  ++record.attached;
  ++record.unanswered;
  return number;
}

void Ledger::Answered(uint64_t number, bool granted) {
  const Time now = clock_.Now();
  CallRecord& call = calls_.at(number);
  call.answered = true;
  call.granted = granted;
  unanswered_.erase({call.deadline, number});
  AcquireRecord& record = Mutable(call.acquire);
  --record.unanswered;
  if (granted) return;
  if (std::exchange(call.attached, false)) --record.attached;
  if (record.unanswered > 0 || record.forsaken) return;
  if (record.once() && now >= call.waits_until && now < record.until) {
    // It waited no longer, but another that has gone would have.
    record.forsaken = now;
  } else {
    waiting_.erase(record.number);
  }
}

void Ledger::Over(uint64_t number, bool delivered) {
  CallRecord& call = calls_.at(number);
  AcquireRecord& record = Mutable(call.acquire);
  if (!std::exchange(call.attached, false)) return;
  --record.attached;
  record.delivered = record.delivered || (delivered && call.granted);
  const bool kept = record.once() || call.granted;
  if (kept && record.attached == 0 && !record.delivered) record.forsaken = clock_.Now();
}

void Ledger::Claimed(LeaseCounter lease) { Mutable(leases_.at(lease).acquire).claimed = true; }

void Ledger::Renewed(LeaseCounter counter, std::optional<Duration> ttl) {
  LeaseRecord& record = leases_.at(counter);
  if (ttl) record.ttl = std::clamp(*ttl, options_.min_ttl, options_.max_ttl);
  record.expiry = std::min(clock_.Now() + record.ttl, record.granted + options_.max_lease_lifetime);
  Claimed(counter);
}

void Ledger::EndAsked(LeaseCounter lease) { leases_.at(lease).end_asked = true; }

void Ledger::OnEvent(const Event& event) {
  switch (event.type) {
    case EventType::kLeaseGranted:
      return Granted(event);
    case EventType::kLeaseReleased:
    case EventType::kLeaseEnded: {
      LeaseRecord& record = leases_.at(*event.lease);
      record.ended = event.end_reason;
      record.ended_at = clock_.Now();
      living_.erase(*event.lease);
      return;
    }
    default:
      return;
  }
}

void Ledger::Granted(const Event& event) {
  uint64_t number = 0;
  if (!absl::SimpleAtoi(event.holder, &number) || !acquires_.contains(number)) return;
  AcquireRecord& acquire = Mutable(number);
  acquire.lease = event.lease;
  waiting_.erase(number);
  LeaseRecord& record = leases_[*event.lease];
  record.acquire = number;
  record.tenant = event.tenant;
  record.pid = event.backend_pid;
  record.token = event.fencing_token;
  record.granted = clock_.Now();
  record.ttl =
      std::clamp(acquire.request.ttl.value_or(options_.default_ttl), options_.min_ttl, options_.max_ttl);
  record.expiry = record.granted + record.ttl;
  living_.insert(*event.lease);
}

const LeaseRecord* Ledger::Find(LeaseCounter lease) const {
  const auto found = leases_.find(lease);
  return found == leases_.end() ? nullptr : &found->second;
}

bool Ledger::Waits(const AcquireRecord& record) const {
  if (!waiting_.contains(record.number) || record.uncertain) return false;
  if (!record.forsaken) return true;
  const Time now = clock_.Now();
  // While the database is away, a place is given up as soon as nothing can be opened within its time. Where
  // somebody waits, he is told; here nobody is.
  const Duration early = std::max(options_.max_open_backoff, options_.breaker_probe_interval);
  return record.queues && now + early < record.until && now < *record.forsaken + options_.unclaimed_timeout;
}

bool Ledger::GivenUp(const AcquireRecord& record) const {
  return record.forsaken && clock_.Now() > *record.forsaken + options_.unclaimed_timeout + kTick;
}

int32_t Ledger::InUse(const std::string& tenant) const {
  return static_cast<int32_t>(std::count_if(
      living_.begin(), living_.end(), [&](LeaseCounter counter) { return lease(counter).tenant == tenant; }));
}

int32_t Ledger::Waiting(const std::string& tenant) const {
  return static_cast<int32_t>(std::count_if(waiting_.begin(), waiting_.end(), [&](uint64_t number) {
    return acquire(number).request.tenant == tenant && Waits(acquire(number));
  }));
}

TenantLimits Ledger::LimitsOf(const std::string& tenant) const {
  const auto configured = options_.tenants.find(tenant);
  return configured == options_.tenants.end() ? TenantLimits{} : configured->second;
}

bool Ledger::Remembers(LeaseCounter counter) const {
  const LeaseRecord* const record = Find(counter);
  return record != nullptr && (!record->ended || clock_.Now() < record->ended_at + retention_);
}

}  // namespace pglessor::core::sim

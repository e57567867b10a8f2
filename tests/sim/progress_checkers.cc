#include "tests/sim/progress_checkers.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"

namespace pglessor::core::sim {
namespace {

constexpr Duration kWakeup = std::chrono::milliseconds(10);

Duration LongestBackoff(const PoolOptions& options) {
  return std::max(options.max_open_backoff, options.breaker_probe_interval) + kLate;
}

// Whether `holds` has held for longer than `most`, with `since` for its memory.
bool HeldFor(std::optional<Time>& since, bool holds, Time now, Duration most) {
  if (!holds) since.reset();
  if (holds && !since) since = now;
  return since && now - *since > most;
}

}  // namespace

void DeadlineChecker::AfterStep() {
  if (ledger().unanswered().empty()) return;
  const auto& [deadline, call] = *ledger().unanswered().begin();
  if (Now() > deadline + kLate)
    Violate("L1", absl::StrCat("call ", call, " has no answer, and its time is over"));
}

bool WakeupChecker::MayHaveOne(const std::string& tenant) const {
  const PoolOptions& options = ledger().options();
  const TenantLimits limits = ledger().LimitsOf(tenant);
  const int32_t has = ledger().InUse(tenant);
  if (limits.max_leases > 0 && has >= limits.max_leases) return false;
  int32_t kept_back = 0;
  for (const auto& [name, theirs] : options.tenants) {
    kept_back += std::max(0, theirs.guaranteed - ledger().InUse(name));
  }
  const int32_t left = options.max_connections - snapshot().in(SlotState::kInUse)-scene_.postgres.stuck();
  return has < limits.guaranteed || left > kept_back;
}

bool WakeupChecker::Fits(const PoolView::Row& row, const std::string& tenant) const {
  const TenantLimits limits = ledger().LimitsOf(tenant);
  const Backend* const backend = scene_.BackendOf(row);
  if (backend == nullptr || backend->role() != limits.role) return false;
  // Whose it was last is not judged: where anybody is isolated by connection, only what is new fits for sure.
  const PoolOptions& options = ledger().options();
  const bool apart = options.isolation == Isolation::kConnection ||
                     std::any_of(options.tenants.begin(), options.tenants.end(), [](const auto& entry) {
                       return entry.second.isolation == Isolation::kConnection;
                     });
  return !apart || row.slot.uses == 0;
}

void WakeupChecker::OnEvent(const Event& event) {
  // Each role backs off by itself, and an event does not say whose it is.
  const auto& tenants = ledger().options().tenants;
  const bool one_role = std::none_of(tenants.begin(), tenants.end(),
                                     [](const auto& entry) { return !entry.second.role.empty(); });
  if (event.type == EventType::kConnectionOpened && one_role) backed_off_ = false;
  if (event.type == EventType::kConnectionOpenFailed) backed_off_ = true;
}

void WakeupChecker::JudgeRefusal() const {
  if (!scene_.arrival || !scene_.arrival->at_the_pool || !scene_.grants || backed_off_) return;
  const AcquireRecord& refused = ledger().acquire(scene_.arrival->acquire);
  const absl::Status status = scene_.arrival->at_once.value_or(absl::OkStatus());
  if (!HasReason(status, reason::kNoIdleConnection) || !MayHaveOne(refused.request.tenant)) return;
  const bool line = std::any_of(ledger().waiting().begin(), ledger().waiting().end(), [&](uint64_t number) {
    const AcquireRecord& waiter = ledger().acquire(number);
    return waiter.queues || waiter.uncertain;
  });
  const PoolSnapshot& s = snapshot();
  if (!line && s.total + s.waiting < ledger().options().max_connections) {
    Violate("L4", absl::StrCat("acquire ", refused.number, " is refused beside room"));
  }
}

void WakeupChecker::AfterStep() {
  JudgeRefusal();
  const PoolSnapshot& s = snapshot();
  bool beside_room = false;
  for (const uint64_t number : ledger().waiting()) {
    const AcquireRecord& waiter = ledger().acquire(number);
    const std::string& tenant = waiter.request.tenant;
    if (!scene_.grants || !ledger().Waits(waiter) || !MayHaveOne(tenant)) continue;
    const auto& rows = scene_.view.connections;
    const bool idle = std::any_of(rows.begin(), rows.end(), [&](const PoolView::Row& row) {
      return row.slot.state == SlotState::kAvailable && Fits(row, tenant);
    });
    // One that is not known to live is probed first; that may be for this waiter, or for one before it.
    if (idle && scene_.postgres.probing(ledger().LimitsOf(tenant).role) == 0) {
      Violate("L4", absl::StrCat("acquire ", number, " waits beside an idle connection"));
    }
    beside_room = beside_room || (!idle && s.total < ledger().options().max_connections &&
                                  s.in(SlotState::kOpening) == 0 && s.in(SlotState::kCleaning) == 0);
  }
  const Duration most = backed_off_ ? LongestBackoff(ledger().options()) : kWakeup;
  if (HeldFor(beside_room_, beside_room, Now(), most)) {
    Violate("L4", "somebody waits beside room for a connection, and none is opened");
  }
}

void TransitChecker::AfterStep() {
  std::map<int32_t, Transit> transits;
  for (const PoolView::Row& row : scene_.view.connections) {
    bool in_transit = row.slot.state == SlotState::kCleaning || row.slot.state == SlotState::kRetiring;
    if (row.slot.state == SlotState::kInUse && row.lease) {
      const LeaseRecord* const lease = ledger().Find(*row.lease);
      in_transit = lease != nullptr && (!lease->AliveAt(Now()) || lease->end_asked);
    }
    if (!in_transit) continue;
    const bool put_out = scene_.IsPutOut(row);
    const auto before = transits_.find(row.backend_pid);
    const bool goes_on = before != transits_.end() && before->second.put_out == put_out;
    const Transit transit = goes_on ? before->second : Transit{Now(), put_out};
    transits.emplace(row.backend_pid, transit);
    const Duration most = put_out ? ledger().options().connect_timeout + kLate : kMost;
    if (Now() - transit.since > most) {
      Violate("L5", absl::StrCat("backend ", row.backend_pid, " is neither lent nor free, nor stuck, for ",
                                 Milliseconds(most), " ms"));
    }
  }
  transits_ = std::move(transits);
}

void ForsakenChecker::AfterStep() {
  for (const LeaseCounter counter : ledger().living()) {
    const AcquireRecord& acquire = ledger().acquire(ledger().lease(counter).acquire);
    if (!acquire.forsaken || acquire.claimed || acquire.delivered || acquire.lease != counter) continue;
    const Duration kept = acquire.once() ? ledger().options().unclaimed_timeout : Duration::zero();
    const Time since = *acquire.forsaken;
    if (Now() > since + kept + kLate + Backend::kFence) {
      Violate("L5", absl::StrCat("lease ", counter.value, " lives on, and nobody will ask for it"));
    }
  }
}

void BreakerChecker::OnEvent(const Event& event) {
  // Each role has a breaker; it is that of the pool's own that shows.
  if (event.type == EventType::kConnectionOpened) {
    const Backend* const backend = scene_.postgres.Find(event.backend_pid);
    opened_ = opened_ || (backend != nullptr && backend->role().empty());
  }
  failed_ = failed_ || event.type == EventType::kConnectionOpenFailed;
}

void BreakerChecker::AfterStep() {
  const PoolSnapshot& s = snapshot();
  if (opened_ && !failed_ && s.breaker != BreakerState::kClosed) {
    Violate("L6", "a connection was opened, and the breaker is not closed");
  }
  opened_ = failed_ = false;
  const PoolOptions& options = ledger().options();
  const int32_t lasting = s.in(SlotState::kAvailable) + s.in(SlotState::kInUse) + s.in(SlotState::kCleaning);
  const bool is_short = options.warmup == Warmup::kMinimum && !scene_.draining &&
                        s.in(SlotState::kOpening) == 0 && lasting < options.min_connections &&
                        s.total < options.max_connections;
  if (HeldFor(short_, is_short, Now(), LongestBackoff(options))) {
    Violate("L6", "the minimum is not open, and nothing is opened");
  }
}

}  // namespace pglessor::core::sim

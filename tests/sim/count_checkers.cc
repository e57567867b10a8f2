#include "tests/sim/count_checkers.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"

namespace pglessor::core::sim {
namespace {

// How often a pool looks whether something is due, at most.
constexpr Duration kTick = std::chrono::milliseconds(50);

}  // namespace

void BudgetChecker::AfterStep() {
  const int32_t backends = scene_.postgres.backends();
  const int32_t max = ledger().options().max_connections;
  allowed_ = std::max(max, allowed_);
  if (backends > allowed_) {
    Violate("S7", absl::StrCat("PostgreSQL has ", backends, " backends of ", max, " (",
                               scene_.postgres.stuck(), " of them stuck)"));
  }
  allowed_ = std::max(max, backends);
}

void MinimumChecker::OnEvent(const Event& event) {
  const bool replaced = event.reason == "the pool was reset" || event.reason == "an operator expired it";
  if (event.type == EventType::kConnectionRetired && !replaced) excused_ = true;
  if (event.type == EventType::kPoolUpdated || event.type == EventType::kConnectionStuck) excused_ = true;
  if (event.type != EventType::kConnectionOpenFailed) return;
  last_failure_ = Now();
  excused_ = true;
}

bool MinimumChecker::AtRest() const {
  const PoolSnapshot& s = snapshot();
  const PoolOptions& options = ledger().options();
  const Duration backoff = std::max(options.max_open_backoff, options.breaker_probe_interval);
  return s.in(SlotState::kOpening) + s.in(SlotState::kRetiring) + s.in(SlotState::kStuck) == 0 &&
         s.total >= options.min_connections && Now() > SaturatingAdd(last_failure_, backoff);
}

bool MinimumChecker::WaitedInVain() {
  std::map<int32_t, Time> put_out;
  bool in_vain = false;
  for (const PoolView::Row& row : scene_.view.connections) {
    if (!scene_.IsPutOut(row)) continue;
    const auto before = put_out_.find(row.backend_pid);
    const Time since = before == put_out_.end() ? Now() : before->second;
    put_out.emplace(row.backend_pid, since);
    in_vain = in_vain || Now() - since >= ledger().options().connect_timeout - kTick;
  }
  put_out_ = std::move(put_out);
  return in_vain;
}

void MinimumChecker::AfterStep() {
  // Where it is lazy, it may never have had the minimum.
  const bool judged = !scene_.draining && ledger().options().warmup == Warmup::kMinimum;
  excused_ = (excused_ && !AtRest()) || WaitedInVain() || !judged;
  const int32_t minimum = ledger().options().min_connections;
  if (!excused_ && snapshot().total < minimum) {
    Violate("S7", absl::StrCat("total ", snapshot().total, ", and the minimum is ", minimum));
  }
}

void SumChecker::AfterStep() {
  const PoolSnapshot& s = snapshot();
  const PoolCounters& c = s.counters;
  int32_t slots = 0;
  for (const int32_t in : s.slots_in) slots += in;
  int64_t ended = 0;
  for (const int64_t count : c.ended) ended += count;
  if (slots != s.total || s.total != static_cast<int32_t>(s.slots.size())) {
    Violate("S11", absl::StrCat(slots, " slots by state, ", s.slots.size(), " rows, and total is ", s.total));
  }
  if (c.acquires_requested != c.granted + c.timed_out + c.cancelled + c.rejected + s.waiting) {
    Violate("S11", "acquires requested are not the sum of what became of them");
  }
  if (c.granted != s.in(SlotState::kInUse) + ended) {
    Violate("S11",
            absl::StrCat(c.granted, " granted, ", s.in(SlotState::kInUse), " in use, ", ended, " ended"));
  }
  if (s.total != scene_.postgres.backends() || s.in(SlotState::kOpening) != scene_.postgres.opening() ||
      s.in(SlotState::kStuck) != scene_.postgres.stuck()) {
    Violate("S11", absl::StrCat("total ", s.total, ", opening ", s.in(SlotState::kOpening), ", stuck ",
                                s.in(SlotState::kStuck), ", and PostgreSQL has ", scene_.postgres.backends(),
                                ", ", scene_.postgres.opening(), ", ", scene_.postgres.stuck()));
  }
}

void QuotaChecker::OnEvent(const Event& event) {
  if (event.type == EventType::kLeaseGranted) OnGrant(event.tenant);
}

void QuotaChecker::OnGrant(const std::string& tenant) const {
  const TenantLimits limits = ledger().LimitsOf(tenant);
  const int32_t has = ledger().InUse(tenant);
  if (limits.max_leases > 0 && has >= limits.max_leases) {
    return Violate("S10",
                   absl::StrCat(tenant, " has ", has, " leases, which is its quota, and gets another"));
  }
  if (has < limits.guaranteed) return;
  int32_t kept_back = 0;
  for (const auto& [name, theirs] : ledger().options().tenants) {
    kept_back += std::max(0, theirs.guaranteed - ledger().InUse(name));
  }
  const int32_t left = ledger().options().max_connections - static_cast<int32_t>(ledger().living().size()) -
                       scene_.postgres.stuck();
  if (left <= kept_back) {
    Violate("S10", absl::StrCat(tenant, " gets one of ", left,
                                " connections, of which others are guaranteed ", kept_back));
  }
}

void QuotaChecker::AfterStep() {
  if (!scene_.arrival || !scene_.arrival->at_the_pool) return;
  const Calls::Arrival& arrival = *scene_.arrival;
  const std::string& tenant = ledger().acquire(arrival.acquire).request.tenant;
  const TenantLimits limits = ledger().LimitsOf(tenant);
  const absl::Status status = arrival.at_once.value_or(absl::OkStatus());
  if (HasReason(status, reason::kPermissionDenied) || HasReason(status, reason::kRateLimited)) return;
  CheckRate(tenant, limits);
  const bool refused = HasReason(status, reason::kTenantQuotaExceeded);
  const bool full = limits.max_leases > 0 && arrival.in_use + arrival.waiting >= limits.max_leases;
  if (full && !refused && status.ok()) {
    Violate("S10", absl::StrCat(tenant, " has or waits for ", arrival.in_use + arrival.waiting,
                                " leases, which is its quota, and may come in"));
  }
}

void QuotaChecker::CheckRate(const std::string& tenant, const TenantLimits& limits) {
  Admitted& admitted = admitted_[tenant];
  if (admitted.rate != limits.acquires_per_second || admitted.burst != limits.burst) {
    admitted = {limits.acquires_per_second, limits.burst};  // it begins anew
  }
  if (limits.acquires_per_second <= 0) return;
  const double burst = limits.burst > 0 ? limits.burst : std::max(1.0, limits.acquires_per_second);
  const double now = std::chrono::duration<double>(Now().time_since_epoch()).count();
  const auto level = [&] { return static_cast<double>(admitted.count) - admitted.rate * now; };
  admitted.least = std::min(admitted.least, level());
  ++admitted.count;
  if (level() - admitted.least > burst + 1e-6) {
    Violate("S10", absl::StrCat(tenant, " acquires more often than ", admitted.rate, " times a second"));
  }
}

}  // namespace pglessor::core::sim

#include "tests/sim/order_checker.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace pglessor::core::sim {

void OrderChecker::OnEvent(const Event& event) {
  if (event.type == EventType::kLeaseGranted) {
    Served served{event.fencing_token, 0};
    if (absl::SimpleAtoi(event.holder, &served.acquire)) served_.push_back(served);
  } else if (event.type == EventType::kLeaseReleased || event.type == EventType::kLeaseEnded) {
    ++given_back_[event.tenant];
  }
}

// Whoever left in this step without a lease is out of it; whoever still waits, or was served later, was
// there.
void OrderChecker::AfterStep() {
  if (!served_.empty()) {
    // What is told is not always told in the order in which it was decided; the tokens are.
    std::sort(served_.begin(), served_.end(),
              [](const Served& a, const Served& b) { return a.token < b.token; });
    std::vector<const AcquireRecord*> others;
    for (const uint64_t number : ledger().waiting()) {
      if (const AcquireRecord& waiter = ledger().acquire(number); ledger().Waits(waiter))
        others.push_back(&waiter);
    }
    for (size_t i = served_.size(); i-- > 0;) {
      const AcquireRecord& served = ledger().acquire(served_[i].acquire);
      for (const AcquireRecord* const other : others) Compare(served, *other);
      others.push_back(&served);
    }
    for (const Served& served : served_) {
      others.pop_back();
      CountTurn(ledger().acquire(served.acquire), others);
    }
  }
  served_.clear();
  given_back_.clear();
}

int OrderChecker::Standing(const AcquireRecord& acquire) const {
  const Duration step = ledger().options().age_step;
  const int64_t rises = step > Duration::zero() ? (Now() - acquire.since) / step : 0;
  return static_cast<int>(std::min<int64_t>(static_cast<int64_t>(Priority::kHigh),
                                            static_cast<int64_t>(acquire.request.priority) + rises));
}

bool OrderChecker::AnyFitsAll() const {
  const PoolOptions& options = ledger().options();
  if (options.isolation != Isolation::kSession) return false;
  return std::none_of(options.tenants.begin(), options.tenants.end(), [](const auto& entry) {
    const TenantLimits& limits = entry.second;
    return !limits.role.empty() || limits.guaranteed > 0 || limits.isolation == Isolation::kConnection;
  });
}

bool OrderChecker::HasRoom(const std::string& tenant) const {
  const TenantLimits limits = ledger().LimitsOf(tenant);
  const auto given_back = given_back_.find(tenant);
  // What came back in this step may have come after the grant.
  const int32_t had = ledger().InUse(tenant) + (given_back == given_back_.end() ? 0 : given_back->second);
  return limits.max_leases <= 0 || had < limits.max_leases;
}

void OrderChecker::Compare(const AcquireRecord& served, const AcquireRecord& other) const {
  if (served.uncertain || other.uncertain) return;
  const bool same_tenant = served.request.tenant == other.request.tenant;
  if (!same_tenant && (!AnyFitsAll() || !HasRoom(other.request.tenant))) return;
  const int standing = Standing(served);
  const int others = Standing(other);
  if (others > standing || (same_tenant && others == standing && other.arrival < served.arrival)) {
    Violate(others > standing ? "L3" : "L2",
            absl::StrCat("acquire ", served.number, " of standing ", standing, " is served, and acquire ",
                         other.number, " of standing ", others, " waits for longer"));
  }
}

void OrderChecker::CountTurn(const AcquireRecord& served, const std::vector<const AcquireRecord*>& others) {
  // A tenant whose weight has changed stands where its old one had put it.
  if (!first_options_) first_options_ = ledger().options();
  if (!AnyFitsAll() || *first_options_ != ledger().options()) return;
  if (served.uncertain) return turns_.clear();
  const std::string& winner = served.request.tenant;
  const int standing = Standing(served);
  std::set<std::string> in_line = {winner};
  for (const AcquireRecord* const other : others) {
    const std::string& tenant = other->request.tenant;
    if (!other->uncertain && Standing(*other) == standing && HasRoom(tenant)) in_line.insert(tenant);
  }
  std::erase_if(turns_, [&](const auto& entry) {
    const auto& [its, first, second] = entry.first;
    return its == standing && !(in_line.contains(first) && in_line.contains(second));
  });
  for (const std::string& rival : in_line) {
    if (rival == winner) continue;
    const bool is_first = winner < rival;
    const Rivals rivals(standing, is_first ? winner : rival, is_first ? rival : winner);
    std::pair<int32_t, int32_t>& turns = turns_[rivals];
    ++(is_first ? turns.first : turns.second);
    JudgeTurns(rivals, turns);
  }
}

void OrderChecker::JudgeTurns(const Rivals& rivals, const std::pair<int32_t, int32_t>& turns) const {
  const auto& [standing, first, second] = rivals;
  const double one = 1.0 / ledger().LimitsOf(first).weight;
  const double other = 1.0 / ledger().LimitsOf(second).weight;
  if (std::abs(turns.first * one - turns.second * other) > one + other + 1e-3) {
    Violate("L2", absl::StrCat("while ", first, " and ", second, " both wait in standing ", standing,
                               ", they are served ", turns.first, " and ", turns.second, " times"));
  }
}

}  // namespace pglessor::core::sim

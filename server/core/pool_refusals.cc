// What PoolState tells those that it does not serve.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"
#include "server/core/pool_state.h"

namespace pglessor::core {
namespace {

const char* NameOf(Priority priority) {
  switch (priority) {
    case Priority::kLow:
      return "low";
    case Priority::kNormal:
      return "normal";
    case Priority::kHigh:
      return "high";
  }
  return "unknown";
}

}  // namespace

absl::Status PoolState::Admission(Time now, const Waiter& waiter) {
  if (draining_) return DrainBegan();
  if (absl::Status why = tenants_.Admit(now, waiter.tenant, waiter.priority); !why.ok()) return why;
  const Breaker& breaker = RoleOf(waiter).breaker;
  if (!RoleOf(waiter).alive() && breaker.state(now) == BreakerState::kOpen) {
    if (absl::IsFailedPrecondition(breaker.failing())) return breaker.failing();
    return MakeError(
        absl::StatusCode::kUnavailable,
        absl::StrCat("the database has been out of reach for some time and is tried only now and "
                     "then: ",
                     breaker.failing().message()),
        {.reason = reason::kBreakerOpen,
         .metadata = {{"pool", options_.name}},
         .retry_after = breaker.RetryAfter(now)});
  }
  return absl::OkStatus();
}

Time PoolState::NoGrantBefore(Time now) const {
  Time earliest = Time::max();
  for (const Role& role : roles_) {
    if (role.waiting == 0) continue;
    const bool hopeless = !role.alive() && role.opening() == 0;
    earliest = std::min(earliest, hopeless ? SaturatingAdd(now, role.breaker.RetryAfter(now)) : now);
  }
  return earliest == Time::max() ? now : earliest;
}

bool PoolState::HasItsOwn(const Waiter& waiter) const {
  return !paused_ && !fencing_.empty() && tenants_[waiter.tenant].waiting == 0 && MayHave(waiter.tenant) &&
         FindAvailable(waiter.tenant).has_value();
}

absl::Status PoolState::NoPlace(Time now, const Waiter& waiter) const {
  if (queue_.size() >= options_.max_waiters) {
    return Exhausted(absl::StrCat("already ", queue_.size(),
                                  " callers wait for this pool, which is its limit; retry later"),
                     reason::kWaitQueueFull, absl::StrCat("max_waiters ", options_.max_waiters));
  }
  if (absl::Status why = Shed(now, waiter.priority); !why.ok()) return why;
  if (!waiter.queues && NothingAtOnce(now, waiter)) return NothingIdle();
  return absl::OkStatus();
}

absl::Status PoolState::Shed(Time now, Priority priority) const {
  if (options_.degrade_after <= Duration::zero() || queue_.empty()) return absl::OkStatus();
  if (now - queue_.oldest() < options_.degrade_after * static_cast<int>(priority)) return absl::OkStatus();
  return Exhausted(absl::StrCat("callers have waited for this pool so long that those of ", NameOf(priority),
                                " priority are not queued; retry later"),
                   reason::kWaitQueueFull,
                   absl::StrCat("degrade_after ", Milliseconds(options_.degrade_after), " ms"));
}

bool PoolState::NothingAtOnce(Time now, const Waiter& waiter) const {
  const Role& role = RoleOf(waiter);
  if (paused_ || !MayHave(waiter.tenant)) return true;
  // Those before it get what is idle first, once it is probed.
  const auto soon = static_cast<int32_t>(role.available.size()) + role.probing;
  if (soon > role.waiting && (role.probing > 0 || FindAvailable(waiter.tenant))) return false;
  if (!role.MayOpen(now)) return true;
  // Where openings have to wait for one another, it waits too, and so may others like it: that is no line. No
  // acquire fails because of an operator: what is being replaced counts as if it had been.
  const int32_t replaced = BeingReplaced();
  const bool behind_a_line = role.waiting - role.unqueued > role.coming() + replaced;
  return behind_a_line || Unopened() >= options_.max_connections - total_ + replaced;
}

int32_t PoolState::Unopened() const {
  int32_t unopened = 0;
  for (const Role& role : roles_) unopened += std::max(0, role.waiting - role.coming());
  return unopened;
}

int32_t PoolState::BeingReplaced() const {
  if (operations_.empty()) return 0;
  int32_t replaced = in(SlotState::kRetiring);
  for (const Role& role : roles_) replaced -= role.promised;
  return replaced;
}

absl::Status PoolState::WaitedInVain(absl::string_view tenant, Time since) {
  return WaitedInVain(roles_[tenants_[Find(tenant)].role], since, /*queues=*/true);
}

absl::Status PoolState::WaitedInVain(const Role& role, Time since, bool queues) const {
  const Breaker& breaker = role.breaker;
  const bool failing = !breaker.failing().ok();
  // No opening need have been tried: the slots of connections that died are taken until that is confirmed.
  const bool nothing_opened =
      (failing && breaker.last_failure() >= since) || (!role.alive() && breaker.last_success() < since);
  if (nothing_opened && !breaker.pressed_back()) {
    if (absl::IsFailedPrecondition(breaker.failing())) return breaker.failing();
    return MakeError(absl::StatusCode::kUnavailable,
                     absl::StrCat("no connection to the database could be opened meanwhile: ",
                                  failing ? breaker.failing().message()
                                          : "none of the pool's is alive, or yet confirmed gone"),
                     {.reason = reason::kDatabaseUnavailable, .retry_after = breaker.Backoff()});
  }
  if (!queues) return NothingIdle();
  return Exhausted(
      paused_ ? "an operator has paused the pool: nothing was granted for the whole wait; retry later"
              : "all of the pool's connections stayed in use for the whole wait; retry, wait "
                "longer, or raise max_connections",
      reason::kPoolExhausted);
}

absl::Status PoolState::NothingIdle() const {
  return Exhausted(
      "no connection is idle and none can be opened at once; wait_timeout 0 does not queue: "
      "give it a wait_timeout, or retry",
      reason::kNoIdleConnection);
}

absl::Status PoolState::DrainBegan() const {
  return MakeError(absl::StatusCode::kUnavailable,
                   removed_ ? "the pool was removed and grants no more leases; acquire from another one"
                            : "the service is draining and grants no more leases; acquire from another "
                              "replica",
                   {.reason = reason::kDraining});
}

absl::Status PoolState::Exhausted(absl::string_view message, const char* reason,
                                  const std::string& quota) const {
  ErrorDetail detail{.reason = reason,
                     .metadata = {{"pool", options_.name},
                                  {"in_use", absl::StrCat(in(SlotState::kInUse))},
                                  {"max", absl::StrCat(options_.max_connections)},
                                  {"waiting", absl::StrCat(queue_.size())}},
                     .retry_after = std::chrono::milliseconds(100)};
  if (!quota.empty()) detail.quotas = {{absl::StrCat("pool:", options_.name), quota}};
  return MakeError(absl::StatusCode::kResourceExhausted, message, detail);
}

}  // namespace pglessor::core

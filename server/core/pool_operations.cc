// What operators ask of a whole pool: PoolState's Reset, Expire and Renew.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"
#include "server/core/pool_state.h"

namespace pglessor::core {

using Kind = PoolOperation::Kind;

std::vector<ConnectionIndex> PoolState::Reset(Time now, bool force, PoolOperation::Done done,
                                              Actions& actions) {
  std::vector<ConnectionIndex> leased;
  // What a forced one does includes what a graceful one would.
  if (Join(Kind::kForcedReset, 0, done) || (!force && Join(Kind::kReset, 0, done))) return leased;
  PoolOperation& operation =
      Begin(now, force ? Kind::kForcedReset : Kind::kReset, 0, options_.min_connections, std::move(done));
  operation.report.generation = ++generation_;
  // Whatever made openings fail may be what this is to mend.
  for (Role& role : roles_) role.breaker.TryAtOnce();
  for (const uint32_t position : TakeAllAvailable()) {
    PutOut(now, slots_[position], RetireReason::kReset);
    ++operation.report.retired;
  }
  for (Slot& slot : slots_) {
    if (!slot.taken || slot.state == SlotState::kRetiring || slot.state == SlotState::kStuck) continue;
    Doom(slot, RetireReason::kReset);
    if (slot.state == SlotState::kInUse && force) {
      leased.push_back(slot.index);
    } else if (slot.state != SlotState::kOpening) {
      ++operation.report.retiring;
    }
  }
  operation.leased = leased;
  Conclude(now, actions);
  return leased;
}

std::vector<ConnectionIndex> PoolState::Expire(Time now, Duration older_than, bool force,
                                               PoolOperation::Done done, Actions& actions) {
  std::vector<ConnectionIndex> leased;
  const Kind kind = force ? Kind::kForcedExpire : Kind::kExpire;
  if (Join(kind, older_than.count(), done)) return leased;
  PoolOperation& operation = Begin(now, kind, older_than.count(), options_.min_connections, std::move(done));
  operation.report = WouldExpire(now, older_than, force);
  operation.report.leases_ended = 0;  // these two are counted as they happen
  operation.report.opened = 0;
  for (Role& role : roles_) {
    std::erase_if(role.available, [&](uint32_t position) {
      Slot& slot = slots_[position];
      if (now - slot.opened < older_than) return false;
      PutOut(now, slot, RetireReason::kExpired);
      return true;
    });
  }
  for (Slot& slot : slots_) {
    const bool back_later = slot.state == SlotState::kInUse || slot.state == SlotState::kCleaning;
    if (!slot.taken || !back_later || now - slot.opened < older_than) continue;
    Doom(slot, RetireReason::kExpired);
    if (slot.state == SlotState::kInUse && force) leased.push_back(slot.index);
  }
  operation.leased = leased;
  Conclude(now, actions);
  return leased;
}

PoolReport PoolState::WouldExpire(Time now, Duration older_than, bool force) const {
  PoolReport report;
  report.total = total_;
  for (const Slot& slot : slots_) {
    if (!slot.taken || now - slot.opened < older_than) continue;
    if (slot.state == SlotState::kAvailable) {
      ++report.retired;
    } else if (slot.state == SlotState::kInUse && force) {
      ++report.retired;
      ++report.leases_ended;
    } else if (slot.state == SlotState::kInUse || slot.state == SlotState::kCleaning) {
      ++report.retiring;
    }
  }
  report.opened = std::max(0, options_.min_connections - (Lasting() - report.retired));
  return report;
}

void PoolState::Renew(Time now, int32_t target, PoolOperation::Done done, Actions& actions) {
  target = std::min(target, options_.max_connections);
  if (Join(Kind::kRenew, target, done)) return;
  PoolOperation& operation = Begin(now, Kind::kRenew, target, target, std::move(done));
  for (const uint32_t position : TakeAllAvailable()) StartProbe(slots_[position], actions);
  operation.probes_awaited = probing_;
  Conclude(now, actions);
}

void PoolState::PutOut(Time now, Slot& slot, RetireReason reason) {
  Move(slot, SlotState::kRetiring);
  outgoing_.push_back({{RefOf(slot), reason}, SaturatingAdd(now, options_.connect_timeout)});
}

void PoolState::CloseOutgoing(Time now, Actions& actions) {
  // A pool that drains opens nothing that could be waited for.
  while (!outgoing_.empty() && (draining_ || now >= outgoing_.front().at_latest || CanSpareAnother())) {
    actions.closes.push_back(outgoing_.front().closing);
    outgoing_.pop_front();
  }
}

bool PoolState::CanSpareAnother() const {
  // One that is stuck is not reckoned with: when it goes, if ever, nobody can say.
  const int32_t being_closed = in(SlotState::kRetiring) - static_cast<int32_t>(outgoing_.size());
  const int32_t lacking = std::max(0, Wanted() - (total_ - being_closed - 1));
  return lacking + in(SlotState::kOpening) <= options_.max_concurrent_opens;
}

bool PoolState::Join(Kind kind, int64_t argument, PoolOperation::Done& done) {
  for (PoolOperation& operation : operations_) {
    if (operation.kind != kind || operation.argument != argument) continue;
    operation.done.push_back(std::move(done));
    return true;
  }
  return false;
}

PoolOperation& PoolState::Begin(Time now, Kind kind, int64_t argument, int32_t target,
                                PoolOperation::Done done) {
  PoolOperation& operation = operations_.emplace_back();
  operation.kind = kind;
  operation.argument = argument;
  operation.deadline = SaturatingAdd(now, options_.connect_timeout);
  operation.target = target;
  operation.done.push_back(std::move(done));
  return operation;
}

bool PoolState::IsDone(const PoolOperation& operation) const {
  if (operation.probes_awaited > 0 || !operation.leased.empty()) return false;
  const bool gave_up = operation.kind == Kind::kRenew && operation.report.failed > 0;
  const int32_t opening = in(SlotState::kOpening)-doomed_in_[static_cast<size_t>(SlotState::kOpening)];
  return Lasting() - opening >= operation.target || (gave_up && opening == 0);
}

void PoolState::FinishOperations(Time now, Actions& actions) {
  for (auto operation = operations_.begin(); operation != operations_.end();) {
    const bool done = IsDone(*operation);
    if (!done && now < operation->deadline && !draining_) {
      ++operation;
      continue;
    }
    operation->report.total = total_;
    // Of what Renew opened, some stands for what failed its probe.
    if (operation->kind == Kind::kRenew) {
      operation->report.opened = std::max(0, operation->report.opened - operation->report.replaced);
    }
    const bool late = !done && operation->Resets();
    actions.finished.push_back({std::move(*operation), late ? ResetLate() : absl::OkStatus()});
    operation = operations_.erase(operation);
  }
}

absl::Status PoolState::ResetLate() const {
  if (draining_) {
    return MakeError(absl::StatusCode::kUnavailable,
                     removed_ ? "the pool was removed and opens no more connections"
                              : "the service is draining and opens no more connections",
                     {.reason = reason::kDraining});
  }
  const absl::Status& failing = roles_.front().breaker.failing();
  return MakeError(absl::StatusCode::kUnavailable,
                   absl::StrCat("the generation was raised to ", generation_,
                                ", but the minimum of connections did not stand in time",
                                failing.ok() ? "" : ": ", failing.message(), "; the pool goes on refilling"),
                   {.reason = reason::kDatabaseUnavailable,
                    .metadata = {{"pool", options_.name}, {"generation", absl::StrCat(generation_)}}});
}

}  // namespace pglessor::core

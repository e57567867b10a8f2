#include "server/core/wait_queue.h"

#include <algorithm>

#include "server/core/check.h"

namespace pglessor::core {

void WaitQueue::Push(Waiter waiter) {
  const WaiterId id = waiter.id;
  deadlines_.emplace(waiter.deadline, id);
  if (!waiter.queues) unqueued_.insert(id);
  const Time rises = age_step_ > Duration::zero() ? SaturatingAdd(waiter.since, age_step_) : Time::max();
  auto entry = std::make_unique<Entry>(Entry{std::move(waiter), Priority::kNormal});
  entry->standing = entry->waiter.priority;
  Stand(*entry, rises);
  const bool added = waiters_.emplace(id, std::move(entry)).second;
  PGLESSOR_CHECK(added, "a waiter stands in the queue once");
}

void WaitQueue::Stand(Entry& entry, Time rises) {
  Level& level = LevelOf(entry.standing);
  std::unique_ptr<Line>& line = level.lines[entry.waiter.tenant];
  if (line == nullptr) line = std::make_unique<Line>();
  if (line->waiters.empty()) {
    line->turn = std::max(line->turn, level.served);
    line->order = ++last_order_;
    level.turns.emplace(std::pair(line->turn, line->order), entry.waiter.tenant);
  }
  line->waiters.insert(entry.waiter.id);
  entry.rises = entry.standing == Priority::kHigh ? Time::max() : rises;
  if (entry.rises != Time::max()) rises_.emplace(entry.rises, entry.waiter.id);
}

void WaitQueue::Leave(const Entry& entry) {
  Level& level = LevelOf(entry.standing);
  Line& line = *level.lines[entry.waiter.tenant];
  line.waiters.erase(entry.waiter.id);
  if (line.waiters.empty()) level.turns.erase({line.turn, line.order});
  if (entry.rises != Time::max()) rises_.erase({entry.rises, entry.waiter.id});
}

void WaitQueue::Rise(Time now) {
  while (!rises_.empty() && rises_.begin()->first <= now) {
    Entry& entry = *waiters_.find(rises_.begin()->second)->second;
    const Time next = SaturatingAdd(entry.rises, std::max(age_step_, Duration(1)));
    Leave(entry);
    entry.standing = static_cast<Priority>(static_cast<int>(entry.standing) + 1);
    Stand(entry, age_step_ > Duration::zero() ? next : Time::max());
  }
}

std::optional<WaiterId> WaitQueue::Next(Time now, absl::FunctionRef<bool(TenantId)> may) {
  Rise(now);
  for (size_t i = kPriorities; i-- > 0;) {
    for (const auto& [turn, tenant] : levels_[i].turns) {
      if (may(tenant)) return *levels_[i].lines.find(tenant)->second->waiters.begin();
    }
  }
  return std::nullopt;
}

void WaitQueue::Visit(Time now, absl::FunctionRef<bool(TenantId, size_t)> visit) {
  Rise(now);
  for (size_t i = kPriorities; i-- > 0;) {
    for (const auto& [turn, tenant] : levels_[i].turns) {
      if (!visit(tenant, levels_[i].lines.find(tenant)->second->waiters.size())) return;
    }
  }
}

Waiter WaitQueue::Serve(WaiterId id) {
  const Entry& entry = *waiters_.find(id)->second;
  const TenantId tenant = entry.waiter.tenant;
  Level& level = LevelOf(entry.standing);
  Line& line = *level.lines.find(tenant)->second;
  level.turns.erase({line.turn, line.order});
  // One that was passed over is still the first, but has saved up no more than that.
  level.served = std::max(level.served, line.turn);
  line.turn = level.served + std::max<uint64_t>(1, kTurn / static_cast<uint64_t>(WeightOf(tenant)));
  line.order = ++last_order_;
  level.turns.emplace(std::pair(line.turn, line.order), tenant);
  return Take(id);
}

std::optional<Waiter> WaitQueue::Remove(WaiterId id) {
  if (!waiters_.contains(id)) return std::nullopt;
  return Take(id);
}

void WaitQueue::Extend(WaiterId id, Time deadline) {
  const auto found = waiters_.find(id);
  if (found == waiters_.end() || found->second->waiter.deadline >= deadline) return;
  Time& had = found->second->waiter.deadline;
  deadlines_.erase({had, id});
  had = deadline;
  deadlines_.emplace(deadline, id);
}

std::optional<Waiter> WaitQueue::PopExpired(Time now) {
  if (deadlines_.empty() || deadlines_.begin()->first > now) return std::nullopt;
  return Take(deadlines_.begin()->second);
}

std::optional<Waiter> WaitQueue::PopOldest() {
  if (waiters_.empty()) return std::nullopt;
  return Take(waiters_.begin()->first);
}

std::optional<Waiter> WaitQueue::PopLastUnqueued(absl::FunctionRef<bool(TenantId)> among) {
  const auto last = std::find_if(unqueued_.rbegin(), unqueued_.rend(), [&](WaiterId id) {
    return among(waiters_.find(id)->second->waiter.tenant);
  });
  if (last == unqueued_.rend()) return std::nullopt;
  return Take(*last);
}

Waiter WaitQueue::Take(WaiterId id) {
  const auto found = waiters_.find(id);
  const std::unique_ptr<Entry> entry = std::move(found->second);
  waiters_.erase(found);
  Leave(*entry);
  deadlines_.erase({entry->waiter.deadline, id});
  if (!entry->waiter.queues) unqueued_.erase(id);
  return std::move(entry->waiter);
}

void WaitQueue::SetWeight(TenantId tenant, int32_t weight) {
  if (weight == 1) {
    weights_.erase(tenant);
  } else {
    weights_[tenant] = weight;
  }
}

int32_t WaitQueue::WeightOf(TenantId tenant) const {
  const auto weight = weights_.find(tenant);
  return weight == weights_.end() ? 1 : weight->second;
}

void WaitQueue::Forget(TenantId tenant) {
  weights_.erase(tenant);
  for (Level& level : levels_) {
    const auto line = level.lines.find(tenant);
    if (line == level.lines.end()) continue;
    PGLESSOR_CHECK(line->second->waiters.empty(), "a tenant that waits is not forgotten");
    level.lines.erase(line);
  }
}

}  // namespace pglessor::core

// A PoolState with its world: what it asked for and has not got yet, what it gave and to whom.
// After every operation the invariants of pool_state.h are checked.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "server/core/pool_state.h"
#include "tests/support/answer.h"

namespace pglessor::core {

class PoolStateDriver {
 public:
  struct Refused {
    WaiterId waiter;
    absl::Status why;
  };

  explicit PoolStateDriver(const PoolOptions& options) : state_(options), options_(options) {}

  // --- the operations, each with what follows ---
  WaiterId Acquire(Duration wait = std::chrono::seconds(30)) { return AcquireAs("default", wait); }
  WaiterId AcquireAs(const std::string& tenant, Duration wait = std::chrono::seconds(30),
                     Priority priority = Priority::kNormal) {
    WaiterId id;
    newcomer_alone_ = waiting_.empty();
    Do([&](Actions& actions) {
      id = state_.Acquire(now, {.tenant = tenant, .priority = priority, .wait = wait, .done = nullptr},
                          actions);
      waiting_.insert(id);
      newcomer_ = id;
    });
    return id;
  }
  void Cancel(WaiterId id) {
    Do([&](Actions& actions) { state_.Cancel(id, actions); });
  }
  void Regret(SlotRef slot) {
    Do([&](Actions& actions) {
      auto held = held_.extract(slot.index);
      waiting_.insert(held.mapped().waiter.id);
      regretted_.insert(held.mapped().waiter.id);
      state_.Regret(now, std::move(held.mapped()), actions);
    });
  }
  void Return(SlotRef slot, EndReason reason = EndReason::kReleased) {
    Do([&](Actions& actions) {
      held_.erase(slot.index);
      state_.Return(now, slot, reason, actions);
    });
  }
  void BeginClean(SlotRef slot, EndReason reason = EndReason::kReleased) {
    held_.erase(slot.index);
    cleaning.push_back(slot);
    Do([&](Actions& actions) { state_.BeginClean(now, slot, reason, actions); });
  }
  void Discard(SlotRef slot, EndReason reason = EndReason::kReleased) {
    Do([&](Actions& actions) {
      held_.erase(slot.index);
      state_.Discard(now, slot, reason, actions);
    });
  }
  void Opened(SlotRef slot) {
    std::erase(opening, slot);
    open.insert(slot.index);
    Do([&](Actions& actions) { state_.Opened(now, slot, actions); });
  }
  void OpenFailed(SlotRef slot, const absl::Status& why = absl::UnavailableError("refused")) {
    std::erase(opening, slot);
    Do([&](Actions& actions) { state_.OpenFailed(now, slot, why, actions); });
  }
  void Cleaned(SlotRef slot) {
    std::erase(cleaning, slot);
    Do([&](Actions& actions) { state_.Cleaned(now, slot, actions); });
  }
  void Retire(SlotRef slot) {
    std::erase(cleaning, slot);
    Do([&](Actions& actions) { state_.Retire(now, slot, actions); });
  }
  void Probed(SlotRef slot, bool sound = true) {
    std::erase(probing, slot);
    Do([&](Actions& actions) { state_.Probed(now, slot, sound, actions); });
  }
  std::vector<ConnectionIndex> Reset(bool force, test::Answer<absl::StatusOr<PoolReport>> answer = {}) {
    std::vector<ConnectionIndex> leased;
    Do([&](Actions& actions) { leased = state_.Reset(now, force, answer.Callback(), actions); });
    return leased;
  }
  std::vector<ConnectionIndex> Expire(Duration older_than, bool force,
                                      test::Answer<absl::StatusOr<PoolReport>> answer = {}) {
    std::vector<ConnectionIndex> leased;
    Do([&](Actions& actions) { leased = state_.Expire(now, older_than, force, answer.Callback(), actions); });
    return leased;
  }
  void Renew(int32_t target, test::Answer<absl::StatusOr<PoolReport>> answer = {}) {
    Do([&](Actions& actions) { state_.Renew(now, target, answer.Callback(), actions); });
  }
  void Lost(SlotRef slot) {
    Do([&](Actions& actions) { state_.Lost(now, slot, actions); });
  }
  void Stuck(SlotRef slot) {
    state_.Stuck(slot);
    Check();
  }
  void Gone(SlotRef slot) {
    std::erase(closing, slot);
    open.erase(slot.index);
    Do([&](Actions& actions) { state_.Gone(now, slot, actions); });
  }
  void AddBlock(FencingSource::Block block) {
    if (block.first >= tokens_end_) {
      tokens_end_ = block.first + block.count;
      tokens_left_ = block.count;
    }
    Do([&](Actions& actions) { state_.AddFencingBlock(now, block, actions); });
  }
  bool Pause() { return state_.Pause(); }
  void Resume() {
    Do([&](Actions& actions) { state_.Resume(now, actions); });
  }
  void Reconfigure(const PoolOptions& options) {
    Do([&](Actions& actions) {
      state_.Reconfigure(now, options, actions);
      highest_max_ = std::max({options.max_connections, highest_max_, state_.total()});
      options_ = options;
    });
  }
  void Tick() {
    Do([&](Actions& actions) { state_.Tick(now, actions); });
  }
  void Drain() {
    Do([&](Actions& actions) { state_.Drain(actions); });
  }
  void CloseAll() {
    Do([&](Actions& actions) { state_.CloseAll(now, actions); });
  }

  // --- the same for as many as there are ---
  // Opens the minimum, with a fencing block that lasts.
  void Start() {
    AddBlock({1 << 20, 1 << 20});
    Tick();
    OpenAll();
  }
  void OpenAll() {
    while (!opening.empty()) Opened(opening.front());
  }

  PoolSnapshot Snapshot() const { return state_.Snapshot(now); }
  int32_t In(SlotState state) const { return Snapshot().in(state); }
  PoolCounters Counters() const { return Snapshot().counters; }
  int64_t Ended(EndReason reason) const { return Counters().ended[static_cast<size_t>(reason)]; }
  bool Waits(WaiterId id) const { return waiting_.contains(id); }
  const std::set<WaiterId>& waiting() const { return waiting_; }
  // The slot that was granted to it, if it still has it.
  std::optional<SlotRef> SlotOf(WaiterId id) const {
    for (const auto& [unused, grant] : held_) {
      if (grant.waiter.id == id) return grant.slot.slot;
    }
    return std::nullopt;
  }
  // All that are lent, by age.
  std::vector<SlotRef> Lent() const {
    std::vector<SlotRef> lent;
    for (const auto& [unused, grant] : held_) lent.push_back(grant.slot.slot);
    return lent;
  }

  PoolState& state() { return state_; }

  Time now{std::chrono::hours(1)};
  std::deque<SlotRef> opening;
  std::deque<SlotRef> closing;
  std::deque<SlotRef> cleaning;
  std::deque<SlotRef> probing;
  std::map<ConnectionIndex, SlotRef> slots;  // all that there ever were
  std::set<ConnectionIndex> open;            // known to be there, in whatever state
  std::vector<std::pair<WaiterId, SlotGrant>> grants;
  std::vector<Refused> refusals;
  int blocks_asked = 0;
  std::map<RetireReason, int> retired;  // how many, by reason
  std::map<ConnectionIndex, std::string> roles;
  std::vector<BreakerState> breaker;
  bool in_order = true;  // one tenant, one priority: who came first is served first

 private:
  template <typename Step>
  void Do(Step step) {
    Actions actions;
    step(actions);
    Absorb(std::move(actions));
    newcomer_alone_ = true;
    Check();
  }

  void Absorb(Actions actions) {
    for (Actions::Refusal& refusal : actions.refusals) {
      EXPECT_FALSE(refusal.why.ok());
      EXPECT_EQ(waiting_.erase(refusal.waiter.id), 1U) << "refused who did not wait";
      refusals.push_back({refusal.waiter.id, std::move(refusal.why)});
    }
    for (Actions::Grant& grant : actions.grants) {
      const WaiterId id = grant.waiter.id;
      // Invariant 4.
      EXPECT_TRUE(!in_order || newcomer_alone_ || id != newcomer_)
          << "a newcomer was served before those that wait";
      // Among tenants and priorities, wait_queue_test says who is first.
      if (in_order) {
        EXPECT_EQ(waiting_.empty() ? WaiterId{} : *waiting_.begin(), id) << "overtaken";
      }
      waiting_.erase(id);
      // Invariant 5.
      EXPECT_GT(grant.slot.fencing_token, last_token_);
      last_token_ = grant.slot.fencing_token;
      EXPECT_GT(tokens_left_--, 0U) << "a token that no block had";
      EXPECT_TRUE(open.contains(grant.slot.slot.index)) << "a grant of what is not open";
      EXPECT_EQ(grant.slot.at, now);
      EXPECT_EQ(grant.slot.waited, now - grant.waiter.since);
      grants.emplace_back(id, grant.slot);
      EXPECT_TRUE(held_.emplace(grant.slot.slot.index, std::move(grant)).second) << "lent twice";
    }
    for (const auto& [slot, generation, role, on_demand] : actions.opens) {
      EXPECT_GT(slot.index, last_opened_) << "an index came again";
      last_opened_ = slot.index;
      slots.emplace(slot.index, slot);
      opening.push_back(slot);
      roles[slot.index] = role;
    }
    for (const auto& [slot, reason] : actions.closes) {
      closing.push_back(slot);
      retired[reason]++;
    }
    for (const SlotRef slot : actions.probes) probing.push_back(slot);
    for (auto& [operation, status] : actions.finished) {
      for (PoolOperation::Done& done : operation.done) {
        if (status.ok()) {
          done(operation.report);
        } else {
          done(status);
        }
        operation.report.coalesced = true;
      }
    }
    if (actions.take_fencing_block) ++blocks_asked;
    if (actions.breaker) breaker.push_back(*actions.breaker);
  }

  void Check() {
    const PoolSnapshot s = Snapshot();
    const PoolCounters& c = s.counters;
    // Invariant 1, by the state's own numbers and by ours.
    int32_t sum = 0;
    for (const int32_t in : s.slots_in) sum += in;
    EXPECT_EQ(s.total, sum);
    EXPECT_LE(s.total, std::max(options_.max_connections, highest_max_));
    EXPECT_EQ(s.in(SlotState::kOpening), static_cast<int32_t>(opening.size()));
    EXPECT_EQ(s.in(SlotState::kInUse), static_cast<int32_t>(held_.size()));
    EXPECT_EQ(s.in(SlotState::kCleaning), static_cast<int32_t>(cleaning.size() + probing.size()));
    // Some wait for those that take their places.
    EXPECT_GE(s.in(SlotState::kRetiring) + s.in(SlotState::kStuck), static_cast<int32_t>(closing.size()));
    EXPECT_EQ(s.total, static_cast<int32_t>(open.size() + opening.size()));
    EXPECT_EQ(s.total, static_cast<int32_t>(s.slots.size()));
    EXPECT_LE(s.in(SlotState::kOpening), options_.max_concurrent_opens);
    // L4: nobody waits beside an idle connection that he may have; where it is to be probed first, one is
    // for each that waits.
    if (in_order && !s.paused && !waiting_.empty() && s.in(SlotState::kAvailable) > 0) {
      EXPECT_TRUE(tokens_left_ == 0U || probing.size() >= waiting_.size()) << "idle beside a waiter";
    }
    // Invariant 2.
    EXPECT_EQ(c.acquires_requested, c.granted + c.timed_out + c.cancelled + c.rejected + s.waiting);
    EXPECT_EQ(c.timed_out + c.cancelled + c.rejected, static_cast<int64_t>(refusals.size()));
    EXPECT_EQ(s.waiting, static_cast<int32_t>(waiting_.size()));
    EXPECT_EQ(c.granted, static_cast<int64_t>(grants.size() - regretted_.size()));
    int32_t tenants_in_use = 0;
    int32_t tenants_waiting = 0;
    for (const PoolSnapshot::TenantRow& row : s.tenants) {
      tenants_in_use += row.in_use;
      tenants_waiting += row.waiting;
      EXPECT_TRUE(row.max_leases == 0 || row.in_use <= row.max_leases) << row.name;
    }
    EXPECT_EQ(tenants_in_use, s.in(SlotState::kInUse));
    EXPECT_EQ(tenants_waiting, s.waiting);
    // Invariant 3.
    int64_t ended = 0;
    for (const int64_t count : c.ended) ended += count;
    EXPECT_EQ(c.granted, s.in(SlotState::kInUse) + ended);
    EXPECT_EQ(c.connections_opened - c.connections_closed, static_cast<int64_t>(open.size()));
  }

  PoolState state_;
  PoolOptions options_;
  int32_t highest_max_ = 0;  // that an update may have left the total at
  std::set<WaiterId> waiting_;
  std::multiset<WaiterId> regretted_;
  std::map<ConnectionIndex, Actions::Grant> held_;
  FencingToken last_token_;
  uint64_t tokens_end_ = 0;
  uint64_t tokens_left_ = 0;
  ConnectionIndex last_opened_;
  bool newcomer_alone_ = true;
  WaiterId newcomer_;
};

}  // namespace pglessor::core

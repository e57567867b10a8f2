#include "tests/sim/world.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/sim/count_checkers.h"
#include "tests/sim/fit_checker.h"
#include "tests/sim/lending_checkers.h"
#include "tests/sim/order_checker.h"
#include "tests/sim/progress_checkers.h"

namespace pglessor::core::sim {

using namespace std::chrono_literals;

World::World(uint64_t seed)
    : stage_(seed),
      scenario_(DrawScenario(stage_.random)),
      lessor_({{"replica", 7}, "10.0.0.1:7432", scenario_.leases}, stage_.clock, key_, events_),
      ledger_(stage_.clock, scenario_.pool, scenario_.leases.ended_retention),
      operator_(stage_, ledger_, lessor_, scenario_.between_operators),
      disasters_(stage_, postgres_, fencing_, scenario_.between_disasters),
      scene_{stage_, ledger_, postgres_} {
  events_.AddSleeping(*this);
  events_.WakeSink(*this);
  for (int32_t i = 0; i < scenario_.callers; ++i) {
    callers_.push_back(
        std::make_unique<Caller>(stage_, ledger_, calls_, absl::StrCat("caller ", i), scenario_.tenants));
  }
  checkers_.push_back(std::make_unique<ExclusiveChecker>(scene_));
  checkers_.push_back(std::make_unique<CleanChecker>(scene_));
  checkers_.push_back(std::make_unique<FitChecker>(scene_));
  checkers_.push_back(std::make_unique<FencingChecker>(scene_));
  checkers_.push_back(std::make_unique<OnceChecker>(scene_));
  checkers_.push_back(std::make_unique<TermChecker>(scene_));
  checkers_.push_back(std::make_unique<BudgetChecker>(scene_));
  checkers_.push_back(std::make_unique<MinimumChecker>(scene_));
  checkers_.push_back(std::make_unique<SumChecker>(scene_));
  checkers_.push_back(std::make_unique<QuotaChecker>(scene_));
  checkers_.push_back(std::make_unique<OrderChecker>(scene_));
  checkers_.push_back(std::make_unique<DeadlineChecker>(scene_));
  checkers_.push_back(std::make_unique<WakeupChecker>(scene_));
  checkers_.push_back(std::make_unique<TransitChecker>(scene_));
  checkers_.push_back(std::make_unique<ForsakenChecker>(scene_));
  checkers_.push_back(std::make_unique<BreakerChecker>(scene_));
  postgres_.SetTrouble(scenario_.trouble);
}

void World::OnEvent(const Event& event) {
  if (event.type == EventType::kLeaseGranted) {
    stage_.history.Note(absl::StrCat("lease ", event.lease->value, " of acquire ", event.holder,
                                     " is granted backend ", event.backend_pid));
  } else if (event.type == EventType::kLeaseReleased || event.type == EventType::kLeaseEnded) {
    stage_.history.Note(
        absl::StrCat("lease ", event.lease->value, " has ended: ", EndReasonCode(*event.end_reason)));
  } else if (event.type == EventType::kConnectionRetired || event.type == EventType::kConnectionStuck) {
    stage_.history.Note(
        absl::StrCat("backend ", event.backend_pid, " is ",
                     event.type == EventType::kConnectionStuck ? "stuck" : "retired: ", event.reason));
  } else if (event.type == EventType::kConnectionOpenFailed) {
    stage_.history.Note(absl::StrCat("an opening fails: ", event.reason));
  }
  for (const auto& checker : checkers_) checker->OnEvent(event);
  ledger_.OnEvent(event);
}

void World::Run() {
  stage_.history.Note(Describe(scenario_.pool));
  lessor_.AddPool(scenario_.pool, postgres_, fencing_);
  reaper_.Start();
  for (const auto& caller : callers_) caller->Start();
  operator_.Start();
  disasters_.Start();
  RunFor(scenario_.length);
  ComeToRest();
  ServeEachTenant();
  CloseDown();
}

void World::RunFor(Duration span) {
  const Time end = stage_.Now() + span;
  while (!history().violated() && stage_.executor.RunNext(end)) AfterStep();
}

void World::AfterStep() {
  stage_.history.NextStep();
  scene_.view = std::move(lessor_.Stats("")->front());
  scene_.arrival = calls_.TakeArrival();
  scene_.grants = fencing_.given() && !operator_.paused() && !scene_.draining;
  for (const auto& checker : checkers_) checker->AfterStep();
  // The fakes watch over what they see themselves.
  if (testing::Test::HasFailure()) stage_.history.Violate("fake", "see above");
}

void World::ComeToRest() {
  for (const auto& caller : callers_) caller->Retire();
  operator_.Retire();
  disasters_.Retire();
  const PoolOptions& options = ledger_.options();
  RunFor(options.max_ttl + options.unclaimed_timeout + options.connect_timeout + 6s);
  if (history().violated()) return;
  const PoolSnapshot& s = scene_.view.snapshot;
  const auto expect = [this](bool holds, absl::string_view what) {
    if (!holds) stage_.history.Violate("end", what);
  };
  expect(ledger_.unanswered().empty(), "somebody still waits for the answer of an acquire");
  expect(ledger_.living().empty(), "a lease is left");
  expect(s.waiting == 0, "somebody is left in the queue");
  expect(calls_.owed() == 0, "a release or a statement has never been answered");
  expect(operator_.owed() == 0, "an operator has never been answered");
  expect(s.in(SlotState::kInUse) == 0, "a connection is left in use");
  expect(s.in(SlotState::kStuck) == 0, "a connection is left stuck");
  expect(s.total >= options.min_connections || options.warmup == Warmup::kLazy, "the minimum is not open");
}

void World::ServeEachTenant() {
  for (const std::string& tenant : scenario_.tenants) {
    if (history().violated()) return;
    // One whose connections are all guaranteed to others is right to wait.
    int32_t others = 0;
    for (const auto& [name, limits] : ledger_.options().tenants)
      others += name == tenant ? 0 : limits.guaranteed;
    if (others >= ledger_.options().max_connections) continue;
    AcquireRequest request;
    request.tenant = tenant;
    const uint64_t acquire = ledger_.NewAcquire(request).number;
    const uint64_t call = calls_.Acquire(acquire, 1s, [](uint64_t, bool) {});
    RunFor(1s + 100ms);
    if (history().violated()) return;
    if (!ledger_.call(call).granted) {
      stage_.history.Violate("end", absl::StrCat(tenant, " asks alone, and is not served"));
      return;
    }
    calls_.Over(call, /*delivered=*/true);
    calls_.Release(*ledger_.acquire(acquire).lease, Disposition::kReturn);
    RunFor(1s);
  }
}

void World::CloseDown() {
  if (history().violated()) return;
  stage_.history.Note("drain");
  scene_.draining = true;
  lessor_.Drain();
  lessor_.CloseAll();
  RunFor(1s);
  if (history().violated()) return;
  if (!lessor_.Empty() || postgres_.backends() != 0) stage_.history.Violate("L7", "a connection is left");
}

}  // namespace pglessor::core::sim

#include "server/core/pool.h"

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/answer.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_connector.h"
#include "tests/support/fake_fencing_source.h"
#include "tests/support/manual_executor.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::StatusIs;
using testing::ElementsAre;
using testing::IsEmpty;

class PoolTest : public testing::Test {
 protected:
  using GrantAnswer = test::Answer<absl::StatusOr<Granted>>;

  void Start(int32_t min, int32_t max) {
    options_.min_connections = min;
    options_.max_connections = max;
    pool_.emplace(options_, Pool::Surroundings{clock_, events_}, connector_, fencing_,
                  [this](LeaseCounter lease) { lost_leases_.push_back(lease); });
    pool_->Start();
    executor_.RunDue();
  }

  GrantAnswer Acquire(Duration wait = 30s) {
    GrantAnswer answer;
    last_waiter_ = pool_->Acquire({.wait = wait, .done = answer.Callback()});
    return answer;
  }

  static SlotRef SlotOf(const GrantAnswer& answer) { return (*answer)->slot.slot; }
  int32_t In(SlotState state) { return pool_->View().snapshot.in(state); }

  test::FakeClock clock_;
  test::ManualExecutor executor_{clock_};
  test::FakeConnector connector_{executor_};
  test::FakeFencingSource fencing_{executor_};
  Events events_;
  PoolOptions options_;
  std::optional<Pool> pool_;
  std::vector<LeaseCounter> lost_leases_;
  WaiterId last_waiter_;
};

TEST_F(PoolTest, OpensTheMinimumAtTheStart) {
  Start(3, 5);
  EXPECT_EQ(In(SlotState::kAvailable), 3);
  EXPECT_EQ(connector_.backends(), 3);
}

TEST_F(PoolTest, GrantsWhatIsIdleInsideTheCall) {
  Start(1, 1);
  const auto answer = Acquire();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->connection, connector_.connections()[0]);
  EXPECT_EQ((*answer)->slot.waited, 0s);
}

TEST_F(PoolTest, AsksForAFencingBlockBeforeItGrants) {
  fencing_.Hold();
  Start(1, 1);
  const auto answer = Acquire();
  executor_.RunDue();
  EXPECT_FALSE(answer.here());
  fencing_.GiveNext();
  executor_.RunDue();
  ASSERT_TRUE(answer.here());
  EXPECT_GE((*answer)->slot.fencing_token.value, test::FakeFencingSource::kBlock);
}

TEST_F(PoolTest, AsksForAnotherBlockWhereOneIsNotAboveTheLast) {
  Start(1, 1);
  EXPECT_EQ(fencing_.asked(), 1);
  fencing_.Give({5, 100});
  executor_.RunDue();
  EXPECT_EQ(fencing_.asked(), 2);
}

TEST_F(PoolTest, HandsAReturnedConnectionStraightToTheFirstWaiter) {
  Start(1, 1);
  const auto holder = Acquire();
  const auto first = Acquire();
  const auto second = Acquire();
  pool_->Return(SlotOf(holder), EndReason::kReleased);
  ASSERT_TRUE(first.here());
  EXPECT_FALSE(second.here());
  EXPECT_EQ((*first)->connection, (*holder)->connection);
}

TEST_F(PoolTest, AnswersACancelledWaiterOnceAndKeepsItsOpening) {
  Start(0, 1);
  connector_.HoldOpens();
  const auto answer = Acquire();
  pool_->Cancel(last_waiter_);
  pool_->Cancel(last_waiter_);
  ASSERT_TRUE(answer.here());
  EXPECT_THAT(*answer, StatusIs(absl::StatusCode::kCancelled));
  connector_.CompleteOpen();
  executor_.RunDue();
  EXPECT_EQ(In(SlotState::kAvailable), 1);
}

TEST_F(PoolTest, ReservesTheSlotBeforeItOpens) {
  Start(0, 2);
  connector_.HoldOpens();
  for (int i = 0; i < 5; ++i) Acquire();
  EXPECT_EQ(connector_.opening(), 2);
  EXPECT_EQ(pool_->View().snapshot.total, 2);
  connector_.FailOpen(absl::UnavailableError("refused"));
  executor_.RunDue();
  EXPECT_EQ(pool_->View().snapshot.total, 1);
  EXPECT_EQ(connector_.opening(), 1) << "it backs off";
}

TEST_F(PoolTest, TriesAgainAfterItsBackoff) {
  Start(0, 1);
  connector_.FailOpens(absl::UnavailableError("refused"));
  const auto answer = Acquire();
  executor_.RunDue();
  EXPECT_EQ(connector_.opens_asked(), 1);
  connector_.FailOpens(absl::OkStatus());
  clock_.Advance(50ms);
  pool_->Tick();
  executor_.RunDue();
  EXPECT_EQ(connector_.opens_asked(), 2);
  EXPECT_TRUE(answer.here());
}

TEST_F(PoolTest, NeverHandsOutAnIdleConnectionThatHasDied) {
  Start(1, 1);
  connector_.connections()[0]->Die();  // and the news of it is not here yet
  const auto answer = Acquire();
  EXPECT_FALSE(answer.here());
  executor_.RunDue();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->connection, connector_.connections()[1]);
  EXPECT_TRUE(connector_.connections()[0]->gone());
  EXPECT_EQ(pool_->View().snapshot.counters.granted, 1);
}

TEST_F(PoolTest, GoesThroughDeadConnectionsToALiveOne) {
  Start(3, 3);
  connector_.connections()[2]->Die();
  connector_.connections()[1]->Die();
  const auto answer = Acquire();
  ASSERT_TRUE(answer.here());
  EXPECT_EQ((*answer)->connection, connector_.connections()[0]);
  executor_.RunDue();
  EXPECT_EQ(In(SlotState::kAvailable), 2) << "the dead are replaced";
}

TEST_F(PoolTest, ReplacesAnIdleConnectionThatDied) {
  Start(2, 2);
  connector_.connections()[0]->Die();
  executor_.RunDue();
  EXPECT_EQ(In(SlotState::kAvailable), 2);
  EXPECT_EQ(connector_.connections().size(), 3U);
  EXPECT_EQ(connector_.peak(), 2) << "the next is opened once the dead one has gone";
  EXPECT_THAT(lost_leases_, IsEmpty());
}

TEST_F(PoolTest, TellsWhoseLeaseLostItsConnection) {
  Start(2, 2);
  const auto answer = Acquire();
  pool_->Bind(SlotOf(answer).index, {42});
  connector_.WithPid((*answer)->connection->backend_pid())->Die();
  EXPECT_THAT(lost_leases_, IsEmpty());
  executor_.RunDue();
  EXPECT_THAT(lost_leases_, ElementsAre(LeaseCounter{42}));
  EXPECT_EQ(In(SlotState::kInUse), 1) << "its end is the lease's to bring";
}

TEST_F(PoolTest, TellsNoLeaseThatGaveTheConnectionBack) {
  Start(1, 1);
  const auto answer = Acquire();
  pool_->Bind(SlotOf(answer).index, {42});
  pool_->Return(SlotOf(answer), EndReason::kReleased);
  connector_.connections()[0]->Die();
  executor_.RunDue();
  EXPECT_THAT(lost_leases_, IsEmpty());
}

TEST_F(PoolTest, RetiresWhatDidNotComeClean) {
  Start(1, 1);
  const auto answer = Acquire();
  pool_->BeginClean(SlotOf(answer), EndReason::kReleased);
  pool_->Cleaned(SlotOf(answer), absl::UnavailableError("it hangs"));
  EXPECT_TRUE(connector_.connections()[0]->closing());
  executor_.RunDue();
  EXPECT_EQ(In(SlotState::kAvailable), 1);
  EXPECT_EQ(connector_.connections().size(), 2U);
}

TEST_F(PoolTest, KeepsTheSlotOfAStuckConnection) {
  Start(1, 1);
  const auto answer = Acquire();
  connector_.connections()[0]->HoldClosings();
  pool_->Discard(SlotOf(answer), EndReason::kReleased);
  executor_.RunDue();
  EXPECT_EQ(In(SlotState::kRetiring), 1);
  connector_.connections()[0]->ReportStuck();
  executor_.RunDue();
  EXPECT_EQ(In(SlotState::kStuck), 1);
  EXPECT_EQ(connector_.opens_asked(), 1);
  connector_.connections()[0]->ReleaseClosings();
  executor_.RunDue();
  EXPECT_EQ(In(SlotState::kStuck), 0);
  EXPECT_EQ(In(SlotState::kAvailable), 1);
}

TEST_F(PoolTest, CompletesWithNoLockHeld) {
  Start(1, 1);
  int granted = 0;
  pool_->Acquire({.wait = 30s, .done = [&](const absl::StatusOr<Granted>& grant) {
                    ++granted;
                    EXPECT_EQ(pool_->View().snapshot.in(SlotState::kInUse), 1);
                    pool_->Return(grant->slot.slot, EndReason::kReleased);
                    pool_->Acquire({.wait = 30s, .done = [&](const absl::StatusOr<Granted>&) { ++granted; }});
                  }});
  EXPECT_EQ(granted, 2);
}

TEST_F(PoolTest, ClosesAllAndIsEmpty) {
  Start(2, 2);
  const auto answer = Acquire();
  pool_->Drain();
  EXPECT_FALSE(pool_->Empty());
  pool_->CloseAll();
  executor_.RunDue();
  EXPECT_FALSE(pool_->Empty());
  pool_->Discard(SlotOf(answer), EndReason::kDrained);
  executor_.RunDue();
  EXPECT_TRUE(pool_->Empty());
  EXPECT_EQ(connector_.backends(), 0);
}

TEST_F(PoolTest, ShowsItsConnectionsOldestFirst) {
  Start(2, 3);
  clock_.Advance(5s);
  connector_.HoldOpens();
  const auto one = Acquire();
  const auto two = Acquire();
  const auto waiting = Acquire();
  executor_.RunDue();  // they are probed first
  pool_->Bind(SlotOf(one).index, {42});
  const PoolView view = pool_->View();
  ASSERT_EQ(view.connections.size(), 3U);
  EXPECT_EQ(view.uptime, 5s);
  for (size_t i = 0; i < 2; ++i) {
    const PoolView::Row& row = view.connections[i];
    EXPECT_EQ(row.slot.index.value, i + 1);
    EXPECT_EQ(row.id, FormatConnectionId(row.slot.index, row.opened_wall));
    EXPECT_EQ(row.opened, clock_.Now() - 5s);
    EXPECT_EQ(row.backend_pid, connector_.connections()[i]->backend_pid());
    EXPECT_EQ(row.lease.has_value(), row.slot.index == SlotOf(one).index);
  }
  EXPECT_EQ(view.connections[2].slot.state, SlotState::kOpening);
  EXPECT_EQ(view.connections[2].id, "");
}

}  // namespace
}  // namespace pglessor::core

// What happens when backends die.
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/lessor.h"
#include "tests/core/lessor_fixture.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;
using test::StatusIs;

using LessorLossTest = LessorTest;

TEST_F(LessorLossTest, EndsTheLeaseAndReplacesTheConnection) {
  for (const bool used : {false, true}) {
    if (!used) StartPool({.min_connections = 2, .max_connections = 2});
    const LeaseView lease = Granted(Acquire());
    const LeaseView neighbour = Granted(Acquire());
    if (used) Execute(lease.grant.counter, "SELECT 1");
    ConnectionOf(lease)->Die();
    executor_.RunDue();
    EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason("CONNECTION_LOST"));
    EXPECT_THAT(*Release(lease.grant.counter), HasReason("CONNECTION_LOST"));
    EXPECT_EQ(Ended(EndReason::kConnectionLost), used ? 2 : 1);
    EXPECT_TRUE(ConnectionOf(lease)->gone());
    EXPECT_EQ(In(SlotState::kAvailable), 1) << "replaced";
    EXPECT_THAT(lessor_->Renew(neighbour.grant.counter, std::nullopt), IsOk()) << "neighbours are fine";
    Release(neighbour.grant.counter);
  }
  EXPECT_EQ(connector_.peak(), 2);
}

TEST_F(LessorLossTest, ServesAWaiterFromTheReplacement) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView lease = Granted(Acquire());
  const auto waiting = Acquire();
  ConnectionOf(lease)->Die();
  executor_.RunDue();
  EXPECT_NE(Granted(waiting).grant.backend_pid, lease.grant.backend_pid);
}

TEST_F(LessorLossTest, TellsARunningStatementWhatIsKnown) {
  struct Case {
    bool in_transaction;
    const char* sql;
    const char* reason;
  };
  StartPool({.min_connections = 1, .max_connections = 1});
  for (const Case& c :
       {Case{false, "INSERT", "COMMIT_OUTCOME_UNKNOWN"}, Case{true, "INSERT", "CONNECTION_LOST"},
        Case{true, "COMMIT", "COMMIT_OUTCOME_UNKNOWN"}}) {
    const LeaseView lease = Granted(Acquire());
    if (c.in_transaction) Execute(lease.grant.counter, "BEGIN");
    ConnectionOf(lease)->HoldStatements();
    const auto sink = Execute(lease.grant.counter, c.sql);
    ConnectionOf(lease)->Die();
    executor_.RunDue();
    ASSERT_TRUE(sink->ended());
    EXPECT_THAT(sink->end().error, HasReason(c.reason)) << c.sql;
  }
}

TEST_F(LessorLossTest, SaysThatAStatementWasNeverSent) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView lease = Granted(Acquire());
  ConnectionOf(lease)->Die();
  const auto sink = Execute(lease.grant.counter, "INSERT");  // before the news is here
  ASSERT_TRUE(sink->ended());
  EXPECT_THAT(sink->end().error, StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(sink->end().error, HasReason("CONNECTION_LOST"));
}

TEST_F(LessorLossTest, ReleasedBeforeTheNewsCameIsNotLentAgain) {
  for (const bool used : {false, true}) {
    if (!used) StartPool({.min_connections = 1, .max_connections = 1});
    const LeaseView lease = Granted(Acquire());
    if (used) Execute(lease.grant.counter, "SELECT 1");
    ConnectionOf(lease)->Die();
    const auto released = Release(lease.grant.counter);
    EXPECT_THAT(*released, IsOk()) << "he ended it first";
    EXPECT_TRUE(ConnectionOf(lease)->gone());
    EXPECT_EQ(In(SlotState::kAvailable), 1);
    EXPECT_EQ(Ended(EndReason::kConnectionLost), 0);
  }
}

TEST_F(LessorLossTest, NeverHandsOutAnIdleConnectionThatHasDied) {
  StartPool({.min_connections = 3, .max_connections = 3});
  for (const auto& connection : connector_.connections()) connection->Die();
  std::vector<AcquireAnswer> answers(3);
  for (auto& answer : answers) lessor_->Acquire({}, answer.Callback());
  for (const auto& answer : answers) EXPECT_FALSE(answer.here());
  executor_.RunDue();
  for (const auto& answer : answers) EXPECT_FALSE(ConnectionOf(Granted(answer))->lost());
  EXPECT_EQ(connector_.peak(), 3);
  EXPECT_EQ(Snapshot().counters.granted, 3);
}

// The wall clock is read while a grant is made into a lease, with no lock held: whatever happens at that
// instant happens between the two.
class ClockWithAnInstant : public Clock {
 public:
  explicit ClockWithAnInstant(const Clock& clock) : clock_(clock) {}
  Time Now() const override { return clock_.Now(); }
  WallTime WallNow() const override {
    if (at_instant) std::exchange(at_instant, nullptr)();
    return clock_.WallNow();
  }

  mutable absl::AnyInvocable<void()> at_instant;

 private:
  const Clock& clock_;
};

TEST_F(LessorLossTest, EndsALeaseWhoseConnectionDiedBeforeTheLeaseHadAName) {
  ClockWithAnInstant clock(clock_);
  lessor_ = std::make_unique<Lessor>(options_, clock, key_, events_);
  StartPool({.min_connections = 1, .max_connections = 1});
  clock.at_instant = [this] {
    connector_.connections()[0]->Die();
    executor_.RunDue();  // the news comes, and there is no lease to tell
    EXPECT_EQ(InUse(), 1);
  };
  const LeaseView lease = Granted(Acquire());
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason("CONNECTION_LOST"));
  EXPECT_TRUE(connector_.connections()[0]->gone());
  EXPECT_EQ(In(SlotState::kAvailable), 1);
  lessor_.reset();
}

TEST_F(LessorLossTest, EndsALeaseWhoseConnectionDiedAsItWasGranted) {
  StartPool({.min_connections = 1, .max_connections = 1});
  AcquireAnswer answer;
  lessor_->Acquire({}, [&, callback = answer.Callback()](absl::StatusOr<LeaseView> lease) mutable {
    connector_.WithPid(lease->grant.backend_pid)->Die();
    callback(std::move(lease));
  });
  executor_.RunDue();
  EXPECT_THAT(lessor_->Renew(Granted(answer).grant.counter, std::nullopt), HasReason("CONNECTION_LOST"));
  EXPECT_EQ(In(SlotState::kAvailable), 1);
}

TEST_F(LessorLossTest, ReplacesAConnectionThatDiedWhileItWasCleaned) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView lease = Granted(Acquire());
  Execute(lease.grant.counter, "SELECT 1");
  ConnectionOf(lease)->HoldCleanings();
  Release(lease.grant.counter);
  ConnectionOf(lease)->Die();
  executor_.RunDue();
  EXPECT_EQ(In(SlotState::kCleaning), 1);
  ConnectionOf(lease)->ReleaseCleanings();
  executor_.RunDue();
  EXPECT_TRUE(ConnectionOf(lease)->gone());
  EXPECT_EQ(In(SlotState::kAvailable), 1);
}

TEST_F(LessorLossTest, ComesBackWhenTheDatabaseDoes) {
  StartPool({.min_connections = 3, .max_connections = 3});
  connector_.FailOpens(absl::UnavailableError("the database system is starting up"));
  for (const auto& connection : connector_.connections()) connection->Die();
  executor_.RunDue();
  EXPECT_EQ(Snapshot().total, 0);
  const auto waiting = Acquire(WithWait(30s));
  for (int i = 0; i < 200; ++i) {
    clock_.Advance(50ms);
    lessor_->Tick();
    executor_.RunDue();
  }
  EXPECT_LT(connector_.opens_asked(), 50) << "no storm";
  connector_.FailOpens(absl::OkStatus());
  clock_.Advance(2s);
  lessor_->Tick();
  executor_.RunDue();
  EXPECT_TRUE(waiting.here());
  EXPECT_EQ(Snapshot().total, 3);
}

}  // namespace
}  // namespace pglessor::core

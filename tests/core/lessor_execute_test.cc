#include <chrono>
#include <memory>
#include <optional>
#include <utility>

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
using test::MetadataOf;
using test::RecordingSink;
using test::StatusIs;
using testing::ElementsAre;
using How = StatementEnd::How;

class LessorExecuteTest : public LessorTest {
 protected:
  LessorExecuteTest() {
    StartPool({.min_connections = 1, .max_connections = 1});
    lease_ = Granted(Acquire(WithTtl(10s)));
    connection_ = ConnectionOf(lease_);
  }

  LeaseCounter id() const { return lease_.grant.counter; }

  LeaseView lease_;
  std::shared_ptr<test::FakeConnection> connection_;
};

TEST_F(LessorExecuteTest, RunsAStatementOnTheLeasesConnection) {
  const auto sink = Execute(id(), "SELECT 1");
  ASSERT_TRUE(sink->ended());
  EXPECT_EQ(sink->end().how, How::kDone);
  EXPECT_EQ(sink->end().command_tag, "OK");
  EXPECT_THAT(connection_->statements(), ElementsAre("SELECT 1"));
}

TEST_F(LessorExecuteTest, RunsOneStatementAtATime) {
  connection_->HoldStatements();
  const auto first = Execute(id(), "SELECT 1");
  const auto refused = std::make_shared<RecordingSink>();
  const auto second = lessor_->Execute(id(), {}, refused);
  EXPECT_THAT(second.status(), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(second.status(), HasReason("LEASE_BUSY"));
  connection_->FinishStatement();
  executor_.RunDue();
  EXPECT_TRUE(first->ended());
  EXPECT_FALSE(refused->ended()) << "who was refused is not called";
  const auto third = Execute(id(), "SELECT 3");
  connection_->FinishStatement();
  executor_.RunDue();
  EXPECT_TRUE(third->ended());
}

TEST_F(LessorExecuteTest, ReturnsThePermitBeforeTheHolderHearsOfTheEnd) {
  const auto next = std::make_shared<RecordingSink>();
  absl::Status started = absl::UnknownError("not tried");
  const auto first =
      std::make_shared<RecordingSink>([&] { started = lessor_->Execute(id(), {}, next).status(); });
  ASSERT_THAT(lessor_->Execute(id(), {}, first).status(), IsOk());
  executor_.RunDue();
  EXPECT_THAT(started, IsOk());
  EXPECT_TRUE(next->ended());
}

TEST_F(LessorExecuteTest, ReturnsThePermitHoweverTheStatementEnds) {
  connection_->HoldStatements();
  const auto cancelled = std::make_shared<RecordingSink>();
  const auto running = lessor_->Execute(id(), {}, cancelled);
  ASSERT_THAT(running.status(), IsOk());
  executor_.RunDue();
  running->Cancel();
  executor_.RunDue();
  ASSERT_TRUE(cancelled->ended());
  EXPECT_EQ(cancelled->end().how, How::kFailed);
  EXPECT_THAT(cancelled->end().error, HasReason("SQL_ERROR"));
  EXPECT_THAT(lessor_->Execute(id(), {}, std::make_shared<RecordingSink>()).status(), IsOk());
}

// S13.
TEST_F(LessorExecuteTest, ALateCancelHitsNoOtherStatement) {
  const auto first = lessor_->Execute(id(), {}, std::make_shared<RecordingSink>());
  executor_.RunDue();
  connection_->HoldStatements();
  const auto second = Execute(id(), "SELECT 2");
  first->Cancel();
  executor_.RunDue();
  EXPECT_FALSE(second->ended());
  EXPECT_EQ(connection_->cancels(), 0);
}

TEST_F(LessorExecuteTest, IsRefusedAtTheVeryInstantOfExpiry) {
  clock_.Advance(10s);
  const auto refused = lessor_->Execute(id(), {}, std::make_shared<RecordingSink>());
  EXPECT_THAT(refused.status(), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(refused.status(), HasReason("LEASE_EXPIRED"));
}

// S8.
TEST_F(LessorExecuteTest, IsRefusedOnceTheLeaseHasEnded) {
  Release(id());
  EXPECT_THAT(lessor_->Execute(id(), {}, std::make_shared<RecordingSink>()).status(),
              HasReason("LEASE_RELEASED"));
  executor_.RunDue();
  EXPECT_TRUE(connection_->statements().empty());
}

TEST_F(LessorExecuteTest, IsFencedOffWhenItsLeaseEndsUnderIt) {
  connection_->HoldStatements();
  const auto sink = Execute(id(), "UPDATE t SET x = 1");
  clock_.Advance(10s);
  lessor_->Tick();
  executor_.RunDue();
  ASSERT_TRUE(sink->ended());
  EXPECT_EQ(sink->end().how, How::kFenced);
  EXPECT_THAT(sink->end().error, StatusIs(absl::StatusCode::kUnknown));
  EXPECT_THAT(sink->end().error, HasReason("COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(MetadataOf(sink->end().error, "lease_reason"), "LEASE_EXPIRED");
}

TEST_F(LessorExecuteTest, IsRolledBackWithItsTransactionWhenItsLeaseEnds) {
  Execute(id(), "BEGIN");
  connection_->HoldStatements();
  const auto sink = Execute(id(), "UPDATE t SET x = 1");
  Expire(id(), EndReason::kRevoked);
  ASSERT_TRUE(sink->ended());
  EXPECT_THAT(sink->end().error, HasReason("LEASE_REVOKED"));
}

// S12.
TEST_F(LessorExecuteTest, NeverClaimsToKnowHowACommitWent) {
  Execute(id(), "BEGIN");
  connection_->HoldStatements();
  const auto sink = Execute(id(), "/* end it */ commit");
  Expire(id(), EndReason::kRevoked);
  ASSERT_TRUE(sink->ended());
  EXPECT_THAT(sink->end().error, HasReason("COMMIT_OUTCOME_UNKNOWN"));
}

// It took its permit in time, and the lease ended before it was on the strand.
TEST_F(LessorExecuteTest, IsNotSentBehindTheFence) {
  const auto late = std::make_shared<RecordingSink>();
  const auto waiting = Acquire();
  ReleaseAnswer released;
  lessor_->Release(id(), Disposition::kReturn, released.Callback());
  EXPECT_TRUE(released.here()) << "untouched: the fence stands at once";
  EXPECT_THAT(lessor_->Execute(id(), Sql("SELECT 1"), late).status(), HasReason("LEASE_RELEASED"));

  // On the next holder's lease, with the permit taken first.
  const LeaseCounter next = Granted(waiting).grant.counter;
  ConnectionOf(Granted(waiting))->HoldFences();
  Execute(next, "SELECT 2");
  Release(next);
  const auto refused = lessor_->Execute(next, {}, std::make_shared<RecordingSink>());
  EXPECT_THAT(refused.status(), HasReason("LEASE_RELEASED"));
  ConnectionOf(Granted(waiting))->ReleaseFences();
  executor_.RunDue();
  EXPECT_THAT(connection_->statements(), ElementsAre("SELECT 2"));
}

TEST_F(LessorExecuteTest, RunningDoesNotKeepRenewalWaiting) {
  connection_->HoldStatements();
  Execute(id(), "SELECT pg_sleep(9)");
  EXPECT_THAT(lessor_->Renew(id(), std::nullopt), IsOk());
}

TEST_F(LessorExecuteTest, DoesNotRenew) {
  clock_.Advance(9s);
  Execute(id(), "SELECT 1");
  clock_.Advance(1s);
  EXPECT_THAT(lessor_->Renew(id(), std::nullopt), HasReason("LEASE_EXPIRED"));
}

TEST_F(LessorExecuteTest, PassesColumnsAndRowsOn) {
  // The sink that the connection is given is not the holder's own.
  struct Rows : core::Connection {
    int32_t backend_pid() const override { return 1; }
    bool lost() const override { return false; }
    void Execute(StatementKey, Statement, std::shared_ptr<StatementSink> sink) override {
      sink->OnColumns({{"a", 25, "text"}});
      const Field fields[] = {"x", std::nullopt};
      EXPECT_EQ(sink->OnRow(fields), StatementSink::Flow::kContinue);
      sink->OnEnd({});
    }
    void Cancel(StatementKey) override {}
    void ResumeRows(StatementKey) override {}
    void Clean(LeaseCounter, absl::AnyInvocable<void(FenceReport)>,
               absl::AnyInvocable<void(CleanReport)>) override {}
    void Fence(LeaseCounter, absl::AnyInvocable<void(FenceReport)>) override {}
    void Probe(absl::AnyInvocable<void(CleanReport)>) override {}
    void Cut() override {}
    void Close(CloseCallbacks) override {}
  };
  struct OneConnector : Connector {
    void Open(const OpenRequest&, Opened opened, core::Connection::Callback) override {
      opened(std::shared_ptr<core::Connection>(std::make_shared<Rows>()));
    }
  } connector;
  test::FakeFencingSource fencing(executor_);
  Lessor lessor(options_, clock_, key_, events_);
  lessor.AddPool({.min_connections = 1, .max_connections = 1}, connector, fencing);
  executor_.RunDue();
  AcquireAnswer lease;
  lessor.Acquire({}, lease.Callback());
  const auto sink = std::make_shared<RecordingSink>();
  ASSERT_THAT(lessor.Execute(Granted(lease).grant.counter, {}, sink).status(), IsOk());
  ASSERT_TRUE(sink->ended());
  EXPECT_EQ(sink->columns().at(0).name, "a");
  EXPECT_THAT(sink->rows(), ElementsAre(ElementsAre("x", "NULL")));
}

}  // namespace
}  // namespace pglessor::core

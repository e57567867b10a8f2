// A lease's end: what of its holder still reaches PostgreSQL, and what of its cancels reaches the next.
#include <chrono>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/postgres/session_support.h"
#include "tests/support/status_matchers.h"

namespace pglessor::postgres {
namespace {

using namespace std::chrono_literals;
using core::StatementEnd;
using embedded::Eventually;
using test::MetadataOf;
using test::StatusIs;

// Ends neither by itself nor by a cancel.
constexpr char kDeafStatement[] =
    "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; "
    "END $$";

class SessionFenceTest : public SessionTest {
 protected:
  static void SetUpTestSuite() {
    Observer observer(TheServer());
    observer.Query("CREATE TABLE fence_witness (n int)");
    observer.Query("GRANT ALL ON fence_witness TO app");
  }
  void SetUp() override { observer_.Query("TRUNCATE fence_witness"); }

  std::string Written() { return observer_.Query("SELECT count(*) FROM fence_witness"); }
};

constexpr char kWrite[] = "INSERT INTO fence_witness VALUES (1)";

// --- statements that come too late ---------------------------------------------------------------

TEST_F(SessionFenceTest, DoesNotSendAStatementOfAFencedLease) {
  LeasedSession session(edge_);
  const core::StatementKey late = session.NextKey();
  session.Fence();
  const auto sink = session.Start(late, Sql(kWrite));
  ASSERT_TRUE(Ended(sink));
  EXPECT_EQ(sink->end().how, StatementEnd::How::kFenced);
  EXPECT_FALSE(sink->end().sent);
  EXPECT_EQ(Written(), "0");
}

TEST_F(SessionFenceTest, DoesNotSendAStatementOfAFencedLeaseOnceTheNextHasBegun) {
  LeasedSession session(edge_);
  const core::StatementKey late = session.NextKey();
  ASSERT_TRUE(session.Clean().ok());
  session.MustRun({"BEGIN"});
  const auto sink = session.Start(late, Sql(kWrite));
  ASSERT_TRUE(Ended(sink));
  EXPECT_EQ(sink->end().how, StatementEnd::How::kFenced);
  EXPECT_FALSE(sink->end().sent);
  EXPECT_TRUE(session.Run("COMMIT")->end().error.ok());
  EXPECT_EQ(Written(), "0");
}

TEST_F(SessionFenceTest, DoesNotSendOneOfALeaseBeforeThat) {
  LeasedSession session(edge_);
  const core::StatementKey late = session.NextKey();
  ASSERT_TRUE(session.Clean().ok());
  ASSERT_TRUE(session.Clean().ok());
  const auto sink = session.Start(late, Sql(kWrite));
  ASSERT_TRUE(Ended(sink));
  EXPECT_EQ(sink->end().how, StatementEnd::How::kFenced);
  EXPECT_EQ(Written(), "0");
}

TEST_F(SessionFenceTest, TakesACancelOfAnEndedStatementForNothing) {
  LeasedSession session(edge_);
  const core::StatementKey key = session.NextKey();
  ASSERT_TRUE(Ended(session.Start(key, Sql("SELECT 1"))));
  ASSERT_TRUE(session.Clean().ok());
  const auto sink = session.Start("SELECT pg_sleep(0.05)");
  session.connection().Cancel(key);
  session.connection().ResumeRows(key);
  ASSERT_TRUE(Ended(sink));
  EXPECT_EQ(sink->end().how, StatementEnd::How::kDone) << sink->end().error;
}

// --- statements that run -------------------------------------------------------------------------

TEST_F(SessionFenceTest, EndsARunningStatementAndTellsThatItWasSent) {
  LeasedSession session(edge_);
  const auto sink = session.Start("SELECT pg_sleep(600)");
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  EXPECT_TRUE(session.Clean().ok());
  ASSERT_TRUE(sink->ended());
  EXPECT_EQ(sink->end().how, StatementEnd::How::kFenced);
  EXPECT_TRUE(sink->end().sent);
  EXPECT_FALSE(sink->end().was_in_transaction);
  EXPECT_EQ(session.Value("SELECT 1"), "1");
}

TEST_F(SessionFenceTest, EndsARunningStatementQuicklyEvenInATransaction) {
  LeasedSession session(edge_);
  session.MustRun({"BEGIN", kWrite});
  const auto sink = session.Start("SELECT pg_sleep(600)");
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  bool was_open = false;
  EXPECT_TRUE(session.Clean(was_open).ok());
  EXPECT_TRUE(was_open);
  EXPECT_TRUE(sink->end().was_in_transaction);
  EXPECT_FALSE(session.Run("SELECT 1")->end().in_transaction);
  EXPECT_EQ(Written(), "0");
}

TEST_F(SessionFenceTest, GivesUpOnAStatementThatHearsNoCancelAndClosesIt) {
  LeasedSession session(edge_);
  const std::string identity = observer_.Identity(session.pid());
  session.Start(kDeafStatement);
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  EXPECT_THAT(session.Clean(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  const auto closing = session.Close();
  EXPECT_TRUE(Eventually([&] { return closing->gone == 1; }, kPatience));
  EXPECT_FALSE(observer_.Sees(identity));
}

TEST_F(SessionFenceTest, ClosesWhatWasOnlyFencedWhileItRuns) {
  LeasedSession session(edge_);
  const std::string identity = observer_.Identity(session.pid());
  const auto sink = session.Start(kDeafStatement);
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  session.Fence();
  EXPECT_TRUE(sink->ended());
  const auto closing = session.Close();
  EXPECT_TRUE(Eventually([&] { return closing->gone == 1; }, kPatience));
  EXPECT_FALSE(observer_.Sees(identity));
  EXPECT_EQ(session.losses(), 0);
}

TEST_F(SessionFenceTest, DoesNotFinishTheSendingOfAHalfSentStatement) {
  LeasedSession session(edge_);
  const std::string identity = observer_.Identity(session.pid());
  StoppedBackend stopped(TheServer(), session.pid());
  const auto sink = session.Start(session.NextKey(), Sql("INSERT INTO fence_witness SELECT length($1::text)",
                                                         {std::string(64 << 20, 'x')}));
  test::Answer<core::Connection::FenceReport> fenced;
  test::Answer<core::Connection::CleanReport> cleaned;
  session.connection().Clean(session.lease(), fenced.Callback(), cleaned.Callback());
  ASSERT_TRUE(Eventually([&] { return fenced.here(); }, kPatience));
  stopped.Continue();  // PostgreSQL would now read whatever else is sent
  ASSERT_TRUE(Eventually([&] { return cleaned.here(); }, kPatience));
  EXPECT_FALSE(cleaned->ok());
  EXPECT_EQ(sink->end().how, StatementEnd::How::kFenced);
  EXPECT_TRUE(sink->end().sent);
  const auto closing = session.Close();
  EXPECT_TRUE(Eventually([&] { return closing->gone == 1; }, kPatience));
  EXPECT_FALSE(observer_.Sees(identity));
  EXPECT_EQ(Written(), "0");
}

// --- cancels -------------------------------------------------------------------------------------

TEST_F(SessionFenceTest, CancelsARunningStatementAndTheSessionLivesOn) {
  LeasedSession session(edge_);
  session.MustRun({"BEGIN"});
  const core::StatementKey key = session.NextKey();
  const auto sink = session.Start(key, Sql("SELECT pg_sleep(600)"));
  session.connection().Cancel(key);
  ASSERT_TRUE(Ended(sink));
  EXPECT_EQ(sink->end().how, StatementEnd::How::kFailed);
  EXPECT_THAT(sink->end().error, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(MetadataOf(sink->end().error, "sqlstate"), "57014");
  EXPECT_TRUE(sink->end().in_transaction);
  EXPECT_EQ(session.Value("SELECT 1"), "ERROR 25P02");
  session.MustRun({"ROLLBACK"});
}

TEST_F(SessionFenceTest, AsksAgainWhereOneCancelWasNotHeard) {
  LeasedSession session(edge_);
  const core::StatementKey key = session.NextKey();
  const auto sink = session.Start(key, Sql("DO $$ BEGIN FOR i IN 1..3 LOOP BEGIN PERFORM pg_sleep(600); "
                                           "EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$"));
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  session.connection().Cancel(key);
  ASSERT_TRUE(Ended(sink));
  EXPECT_EQ(sink->end().how, StatementEnd::How::kDone);  // it swallowed all three
}

// A cancel that comes as the statement ends must hit neither the same lease's next statement ...
TEST_F(SessionFenceTest, AHundredCancelsThatRaceWithTheEndHitNoLaterStatementOfTheLease) {
  LeasedSession session(edge_);
  int cancelled = 0;
  for (int i = 0; i < 100; ++i) {
    const core::StatementKey key = session.NextKey();
    const auto sink = session.Start(key, Sql(absl::StrCat("SELECT pg_sleep(", i % 20, " * 0.0001)")));
    session.connection().Cancel(key);
    ASSERT_TRUE(Ended(sink));
    cancelled += sink->end().error.ok() ? 0 : 1;
    const auto next = session.Run("SELECT pg_sleep(0.001)");
    ASSERT_EQ(next->end().how, StatementEnd::How::kDone) << i << ": " << next->end().error;
  }
  RecordProperty("cancelled", cancelled);
}

// ... nor the cleaning or the next lease's statement.
TEST_F(SessionFenceTest, AHundredCancelsThatRaceWithTheEndHitNoLaterLease) {
  LeasedSession session(edge_);
  for (int i = 0; i < 100; ++i) {
    const core::StatementKey key = session.NextKey();
    const auto sink = session.Start(key, Sql(absl::StrCat("SELECT pg_sleep(", i % 20, " * 0.0001)")));
    session.connection().Cancel(key);
    if (i % 2 == 0) {
      ASSERT_TRUE(Ended(sink));
    }
    const auto report = session.Clean();
    ASSERT_TRUE(report.ok()) << i << ": " << report;
    const auto next = session.Run("SELECT pg_sleep(0.001)");
    ASSERT_EQ(next->end().how, StatementEnd::How::kDone) << i << ": " << next->end().error;
  }
}

// A statement that is answered while the answer to its cancel is missing: PostgreSQL's control backend stands
// still. Nobody may be told, and nothing sent, before the cancel's own time (500 ms) is over.
class UnansweredCancelTest : public SessionFenceTest {
 protected:
  void SetUp() override {
    // It answers, so the youngest control connection is this edge's, and not the last test's.
    test::Answer<absl::Status> control_answers;
    edge_.loop().Post([this, answer = control_answers.Callback()]() mutable {
      edge_.control().Cancel({}, std::move(answer));
    });
    ASSERT_TRUE(Eventually([&] { return control_answers.here(); }, kPatience));
    ASSERT_TRUE(control_answers->ok()) << *control_answers;
    control_.emplace(TheServer(), observer_.ControlPid());
    test::Answer<bool> asked;
    // From the loop, so that the cancel comes right behind its statement.
    edge_.loop().Post([this, answer = asked.Callback()] {
      sink_ = session_.Start(key_, Sql(kShortStatement));
      session_.connection().Cancel(key_);
      asked_at_ = std::chrono::steady_clock::now();
      answer(true);
    });
    ASSERT_TRUE(Eventually([&] { return asked.here(); }, kPatience));
  }
  // Waits until PostgreSQL has done the statement; then what it did last.
  std::string AfterTheStatement() {
    std::string activity;
    Eventually(
        [&] {
          activity = observer_.Activity(session_.pid());
          return activity == absl::StrCat("idle: ", kShortStatement) || activity.ends_with("DISCARD ALL");
        },
        kPatience);
    return activity;
  }
  // Whatever was looked at before this.
  bool WasInTime() const { return std::chrono::steady_clock::now() - asked_at_ < 400ms; }

  static constexpr char kShortStatement[] = "SELECT pg_sleep(0.05)";

  LeasedSession session_{edge_};
  const core::StatementKey key_ = session_.NextKey();
  LeasedSession::Sink sink_;
  std::optional<StoppedBackend> control_;
  std::chrono::steady_clock::time_point asked_at_;
};

TEST_F(UnansweredCancelTest, KeepsTheStatementsEndBack) {
  AfterTheStatement();
  const bool ended = sink_->ended();
  if (WasInTime()) {
    EXPECT_FALSE(ended);
  }
  control_->Continue();
  ASSERT_TRUE(Ended(sink_));
  EXPECT_EQ(session_.Value("SELECT 7"), "7");
}

TEST_F(UnansweredCancelTest, KeepsTheCleaningBack) {
  test::Answer<core::Connection::FenceReport> fenced;
  test::Answer<core::Connection::CleanReport> cleaned;
  session_.connection().Clean(session_.lease(), fenced.Callback(), cleaned.Callback());
  const std::string activity = AfterTheStatement();
  const bool done = cleaned.here();
  if (WasInTime()) {
    EXPECT_FALSE(done);
    EXPECT_EQ(activity, absl::StrCat("idle: ", kShortStatement));
  }
  control_->Continue();
  ASSERT_TRUE(Eventually([&] { return cleaned.here(); }, kPatience));
}

TEST_F(UnansweredCancelTest, LeavesASessionThatIsNotLentAgain) {
  ASSERT_TRUE(Ended(sink_));  // once the cancel's own time is over
  EXPECT_EQ(sink_->end().how, StatementEnd::How::kDone);
  EXPECT_FALSE(session_.Clean().ok());
}

}  // namespace
}  // namespace pglessor::postgres

// The end of a connection: by us, or by PostgreSQL.
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/postgres/session_support.h"
#include "tests/support/status_matchers.h"

namespace pglessor::postgres {
namespace {

using core::StatementEnd;
using embedded::Eventually;
using test::StatusIs;

class SessionCloseTest : public SessionTest {
 protected:
  void Terminate(int32_t pid) {
    EXPECT_EQ(observer_.Query(absl::StrCat("SELECT pg_terminate_backend(", pid, ")")), "t");
  }
  // To the sessions' database, asked from another one; those that are open stay. Empty if it worked.
  static std::string AllowConnections(bool allowed) {
    std::string elsewhere = TheServer().control_dsn();
    elsewhere.replace(elsewhere.find("dbname=app"), 10, "dbname=postgres");
    return embedded::Query(elsewhere,
                           absl::StrCat("ALTER DATABASE app ALLOW_CONNECTIONS ", allowed ? "true" : "false"));
  }
  static bool Gone(const LeasedSession::Closing& closing) {
    return Eventually([&] { return closing.gone == 1; }, kPatience);
  }
};

// --- by us ---------------------------------------------------------------------------------------

TEST_F(SessionCloseTest, OfAnIdleOneIsToldWhenItsBackendHasGone) {
  LeasedSession session(edge_);
  const std::string identity = observer_.Identity(session.pid());
  ASSERT_TRUE(observer_.Sees(identity));
  const auto closing = session.Close();
  ASSERT_TRUE(Gone(*closing));
  EXPECT_FALSE(observer_.Sees(identity));
  EXPECT_EQ(session.losses(), 0) << "our own close is no loss";
}

TEST_F(SessionCloseTest, OfOneInATransactionRollsItBack) {
  observer_.Query("CREATE TABLE IF NOT EXISTS close_witness (n int)");
  observer_.Query("GRANT ALL ON close_witness TO app");
  LeasedSession session(edge_);
  session.MustRun({"BEGIN", "INSERT INTO close_witness VALUES (1)"});
  session.Fence();
  ASSERT_TRUE(Gone(*session.Close()));
  EXPECT_EQ(observer_.Query("SELECT count(*) FROM close_witness"), "0");
}

TEST_F(SessionCloseTest, OfOneWhoseBackendDoesNotGoIsToldAsStuckAndLaterAsGone) {
  LeasedSession session(edge_);
  const std::string identity = observer_.Identity(session.pid());
  StoppedBackend stopped(TheServer(), session.pid());
  const auto closing = session.Close();
  ASSERT_TRUE(Eventually([&] { return closing->stuck == 1; }, kPatience));
  EXPECT_EQ(closing->gone, 0);
  EXPECT_TRUE(observer_.Sees(identity));
  stopped.Continue();
  ASSERT_TRUE(Gone(*closing));
  EXPECT_FALSE(observer_.Sees(identity));
  EXPECT_EQ(closing->stuck, 1);
}

TEST_F(SessionCloseTest, OfARunningOneWhoseBackendDoesNotGoIsToldAsStuckAndLaterAsGone) {
  LeasedSession session(edge_);
  session.Start("SELECT pg_sleep(600)");
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  session.Fence();
  StoppedBackend stopped(TheServer(), session.pid());
  const auto closing = session.Close();
  ASSERT_TRUE(Eventually([&] { return closing->stuck == 1; }, kPatience));
  EXPECT_EQ(closing->gone, 0);
  stopped.Continue();
  EXPECT_TRUE(Gone(*closing));
}

// A PostgreSQL as it is by default does not notice by itself that its client has gone: the slot would be
// stuck for as long as the statement likes to run.
TEST_F(SessionCloseTest, TerminatesOnceItCanWhatItCouldNotTerminateAtFirst) {
  LeasedSession session(edge_);
  session.Start("SELECT pg_sleep(600)");
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  session.Fence();
  // It may still be on its way back from the test before.
  ASSERT_TRUE(Eventually([&] { return observer_.ControlPid() != 0; }, kPatience));
  // The control connection is away, and cannot come back yet.
  ASSERT_EQ(AllowConnections(false), "");
  Terminate(observer_.ControlPid());
  ASSERT_TRUE(Eventually([&] { return observer_.ControlPid() == 0; }, kPatience));
  const auto closing = session.Close();
  EXPECT_TRUE(Eventually([&] { return closing->stuck == 1; }, kPatience));
  ASSERT_EQ(AllowConnections(true), "");
  EXPECT_TRUE(Eventually([&] { return observer_.ControlPid() != 0; }, kPatience));
  EXPECT_TRUE(Gone(*closing)) << observer_.Activity(session.pid());
}

// --- by PostgreSQL -------------------------------------------------------------------------------

TEST_F(SessionCloseTest, AnIdleBackendsDeathIsToldOnce) {
  LeasedSession session(edge_);
  EXPECT_FALSE(session.connection().lost());
  Terminate(session.pid());
  ASSERT_TRUE(Eventually([&] { return session.losses() == 1; }, kPatience));
  EXPECT_TRUE(session.connection().lost());
  const auto sink = session.Run("SELECT 1");
  EXPECT_EQ(sink->end().how, StatementEnd::How::kConnectionLost);
  EXPECT_FALSE(sink->end().sent);
  EXPECT_THAT(session.Clean(), StatusIs(absl::StatusCode::kUnavailable));
  ASSERT_TRUE(Gone(*session.Close()));
  EXPECT_EQ(session.losses(), 1);
}

TEST_F(SessionCloseTest, ARunningBackendsDeathEndsItsStatement) {
  LeasedSession session(edge_);
  const auto sink = session.Start("SELECT pg_sleep(600)");
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  Terminate(session.pid());
  ASSERT_TRUE(Ended(sink));
  EXPECT_EQ(sink->end().how, StatementEnd::How::kConnectionLost);
  EXPECT_TRUE(sink->end().sent);
  EXPECT_FALSE(sink->end().was_in_transaction);
  EXPECT_EQ(session.losses(), 1) << "the loss is told before the statement's end";
}

TEST_F(SessionCloseTest, DeathInATransactionIsToldAsSuch) {
  LeasedSession session(edge_);
  session.MustRun({"BEGIN"});
  const auto sink = session.Start("SELECT pg_sleep(600)");
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  Terminate(session.pid());
  ASSERT_TRUE(Ended(sink));
  EXPECT_EQ(sink->end().how, StatementEnd::How::kConnectionLost);
  EXPECT_TRUE(sink->end().was_in_transaction);
}

TEST_F(SessionCloseTest, AStatementThatEndsItsOwnBackendIsALoss) {
  LeasedSession session(edge_);
  const auto sink = session.Run("SELECT pg_terminate_backend(pg_backend_pid())");
  EXPECT_EQ(sink->end().how, StatementEnd::How::kConnectionLost);
  EXPECT_EQ(session.losses(), 1);
}

TEST_F(SessionCloseTest, ABackendThatDiesWhileItIsClosedIsGoneAndNotLost) {
  LeasedSession session(edge_);
  session.Start("SELECT pg_sleep(600)");
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  session.Fence();
  const auto closing = session.Close();
  test::Answer<bool> is_closing;  // the loop has come past it
  edge_.loop().Post([answer = is_closing.Callback()] { answer(true); });
  ASSERT_TRUE(Eventually([&] { return is_closing.here(); }, kPatience));
  observer_.Query(absl::StrCat("SELECT pg_terminate_backend(", session.pid(), ")"));
  ASSERT_TRUE(Gone(*closing));
  EXPECT_EQ(session.losses(), 0);
}

TEST_F(SessionCloseTest, ABackendThatDiesWhileItIsCleanedIsNotLentAgain) {
  LeasedSession session(edge_);
  session.Start("SELECT pg_sleep(600)");
  ASSERT_TRUE(observer_.SeesSleep(session.pid()));
  Terminate(session.pid());
  EXPECT_FALSE(session.Clean().ok());
  EXPECT_TRUE(Gone(*session.Close()));
}

}  // namespace
}  // namespace pglessor::postgres

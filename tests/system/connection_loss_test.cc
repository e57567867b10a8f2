// A leased backend that dies: what its holder is told depends on whether his statement may have committed.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;

class ConnectionLossTest : public SystemTest {
 protected:
  void SetUp() override { Serve(2, 3); }

  // The loss is known to pglessor.
  bool AwaitLost(int leases) {
    return Eventually([&] { return client().Stats().counters().lost() == leases; });
  }

  // One that sleeps on the lease, its backend terminated.
  Result Terminated(const Held& held, const std::string& sql) {
    const auto running = StartExecute(client(), Statement(held.token, sql));
    EXPECT_TRUE(observer().AwaitAsleep(held.lease.backend_pid()));
    observer().Terminate(held.lease.backend_pid());
    return running->Get();
  }
};

TEST_F(ConnectionLossTest, OfAnIdleLeaseEndsIt) {
  const Held held = Acquire();
  const Held neighbour = Acquire();
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
  observer().Terminate(held.lease.backend_pid());
  ASSERT_TRUE(AwaitLost(1));
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"),
              FailsWith(StatusCode::FAILED_PRECONDITION, "CONNECTION_LOST"));
  EXPECT_THAT(client().Renew(held.token), FailsWith(StatusCode::FAILED_PRECONDITION, "CONNECTION_LOST"));
  EXPECT_THAT(client().Release(held.token), FailsWith(StatusCode::FAILED_PRECONDITION, "CONNECTION_LOST"));
  EXPECT_THAT(client().Execute(neighbour.token, "SELECT 1"), IsOk());
  EXPECT_THAT(client().Release(neighbour.token), IsOk());
  EXPECT_TRUE(AwaitRest());
}

TEST_F(ConnectionLossTest, DuringAStatementOutsideATransactionItsOutcomeIsUnknown) {
  const Held held = Acquire();
  const Result cut = Terminated(held, "SELECT pg_sleep(600)");
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "CONNECTION_LOST");
  EXPECT_TRUE(AwaitLost(1));
  EXPECT_TRUE(AwaitRest());
}

TEST_F(ConnectionLossTest, InsideATransactionItHasNotHappened) {
  database().MakeTable("deeds", "deed text");
  const Held held = Acquire();
  EXPECT_THAT(client().Execute(held.token, "BEGIN"), IsOk());
  EXPECT_THAT(client().Execute(held.token, "INSERT INTO deeds VALUES ('unfinished')"), IsOk());
  EXPECT_THAT(Terminated(held, "SELECT pg_sleep(600)"), FailsWith(StatusCode::ABORTED, "CONNECTION_LOST"));
  EXPECT_TRUE(AwaitLost(1));
  EXPECT_TRUE(AwaitRest());
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
}

TEST_F(ConnectionLossTest, InsideATransactionWithAStatementThatMayEndItTheOutcomeIsUnknown) {
  const Held held = Acquire();
  EXPECT_THAT(client().Execute(held.token, "BEGIN"), IsOk());
  EXPECT_THAT(Terminated(held, "DO $$ BEGIN PERFORM pg_sleep(600); END $$"),
              FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
}

TEST_F(ConnectionLossTest, ByTheHoldersOwnHandIsNoSqlError) {
  const Held held = Acquire();
  EXPECT_THAT(client().Execute(held.token, "SELECT pg_terminate_backend(pg_backend_pid())"),
              FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_TRUE(AwaitLost(1));
  EXPECT_TRUE(AwaitRest());
}

TEST_F(ConnectionLossTest, OfAnIdleConnectionIsNobodysBusiness) {
  ASSERT_TRUE(AwaitRest());
  const v1::PoolStats stats = client().Stats();
  ASSERT_EQ(stats.connections_size(), 2);
  for (const v1::ConnectionStats& connection : stats.connections()) {
    observer().Terminate(connection.backend_pid());
  }
  EXPECT_TRUE(Eventually([&] { return client().Stats().counters().connections_closed() == 2; }));
  EXPECT_TRUE(AwaitRest());
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(client().Execute(Acquire().token, "SELECT 1"), IsOk());
  }
  EXPECT_EQ(client().Stats().counters().lost(), 0);
}

TEST_F(ConnectionLossTest, TheControlConnectionComesBack) {
  const int before =
      observer().Count("SELECT pid FROM pg_stat_activity WHERE application_name = 'pglessor-control'");
  observer().Terminate(before);
  EXPECT_TRUE(Eventually([&] {
    return observer().Count(
               "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
               "'pglessor-control' AND state = 'idle'") == 1;
  }));
  const Held held = Acquire();
  EXPECT_EQ(Terminated(held, "SELECT pg_sleep(600)").reason, "COMMIT_OUTCOME_UNKNOWN");
  EXPECT_TRUE(AwaitRest()) << "its slot is free only once the control connection has seen it gone";
}

}  // namespace
}  // namespace pglessor::system

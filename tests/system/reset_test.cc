// Reset over gRPC: idle, under load, and under a running statement.
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/load.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using testing::AnyOf;
using testing::Each;
using testing::IsEmpty;

class ResetTest : public SystemTest {
 protected:
  static constexpr int kMin = 10, kMax = 20, kCallers = 30, kTimes = 6;

  // `disturb` again and again while callers loop, and what they were told.
  template <typename Disturb>
  Load::Report UnderLoad(const Disturb& disturb) {
    database().MakeTable("deeds", "deed text");
    Serve(kMin, kMax);
    FencingHistory fencing;
    Load load(server().address(), kCallers, "deeds", fencing);
    EXPECT_TRUE(load.AwaitRounds(kCallers));
    Watch watch(server().address(), control_dsn());
    for (int time = 0; time < kTimes; ++time) {
      disturb();
      EXPECT_TRUE(load.AwaitRounds(kCallers));
    }
    Load::Report report = load.Stop();
    const Watch::Extremes extremes = watch.Stop();
    EXPECT_GT(extremes.samples, 0);
    EXPECT_GE(extremes.least_total, kMin);
    EXPECT_LE(extremes.most_total, kMax);
    EXPECT_LE(extremes.most_backends, kMax);
    EXPECT_THAT(report.acquires, IsEmpty());
    fencing.Check();
    EXPECT_TRUE(Eventually([&] {
      const v1::PoolStats stats = client().Stats();
      return stats.available() == stats.total() && stats.total() >= kMin;
    }));
    return report;
  }

  Load::Report ResetUnderLoad(v1::ResetMode mode) {
    uint64_t generation = 0;
    Load::Report report = UnderLoad([&] {
      const uint64_t before = client().Stats().generation();
      const auto done = client().Reset(mode);
      EXPECT_THAT(done, IsOk());
      generation = done.response.generation();
      EXPECT_EQ(generation, before + 1);
      EXPECT_FALSE(done.response.coalesced());
      EXPECT_GE(done.response.total(), kMin);
      EXPECT_LE(done.response.total(), kMax);
    });
    // None of an old generation is left.
    const v1::PoolStats stats = client().Stats();
    EXPECT_EQ(stats.generation(), generation);
    for (const v1::ConnectionStats& connection : stats.connections()) {
      EXPECT_EQ(connection.generation(), generation);
    }
    return report;
  }
};

TEST_F(ResetTest, GracefulUnderLoadFailsNobody) {
  const Load::Report report = ResetUnderLoad(v1::RESET_MODE_GRACEFUL);
  EXPECT_THAT(report.statements, IsEmpty());
  EXPECT_THAT(report.releases, IsEmpty());
}

TEST_F(ResetTest, ForcedUnderLoadFailsNoAcquire) {
  const Load::Report report = ResetUnderLoad(v1::RESET_MODE_FORCE);
  EXPECT_THAT(report.statements, Each(AnyOf(FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"),
                                            FailsWith(StatusCode::FAILED_PRECONDITION, "POOL_RESET"))));
  EXPECT_THAT(report.releases, Each(FailsWith(StatusCode::FAILED_PRECONDITION, "POOL_RESET")));
  EXPECT_GT(client().Stats().counters().reset(), 0) << "some lease was held at some reset";
}

TEST_F(ResetTest, NorDoesRetiringAllConnections) {
  v1::ExpireRequest all;
  all.mutable_connections()->set_pool("default");
  *all.mutable_connections()->mutable_older_than() = Span(std::chrono::seconds(0));
  v1::RenewRequest renew;
  renew.mutable_pool()->set_pool("default");
  const Load::Report report = UnderLoad([&] {
    EXPECT_THAT(client().Expire(all), IsOk());
    EXPECT_THAT(client().Renew(renew), IsOk());
  });
  EXPECT_THAT(report.statements, IsEmpty());
  EXPECT_THAT(report.releases, IsEmpty());
  EXPECT_GE(client().Stats().counters().connections_closed(), kMin);
}

TEST_F(ResetTest, AnIdlePoolIsReplaced) {
  Serve(3, 5);
  const v1::PoolStats before = client().Stats();
  const auto reset = client().Reset(v1::RESET_MODE_UNSPECIFIED);
  ASSERT_THAT(reset, IsOk());
  EXPECT_EQ(reset.response.generation(), before.generation() + 1);
  EXPECT_EQ(reset.response.connections_closed(), 3);
  EXPECT_EQ(reset.response.connections_retiring(), 0);
  EXPECT_EQ(reset.response.connections_opened(), 3);
  EXPECT_EQ(reset.response.leases_revoked(), 0);
  EXPECT_GE(reset.response.total(), 3);
  EXPECT_TRUE(AwaitRest());
  for (const v1::ConnectionStats& old : before.connections()) {
    EXPECT_TRUE(observer().AwaitGone(old.backend_pid()));
  }
}

// Whoever joined one that was under way has its generation; every generation is one caller's own.
TEST_F(ResetTest, ManyAtOnceShareGenerations) {
  Serve(4, 8);
  constexpr int kAtOnce = 8, kTimes = 10;
  const uint64_t before = client().Stats().generation();
  std::mutex mutex;
  std::set<uint64_t> all, own;
  std::vector<std::thread> callers;
  for (int i = 0; i < kAtOnce; ++i) {
    callers.emplace_back([&] {
      for (int time = 0; time < kTimes; ++time) {
        const auto reset = client().Reset(v1::RESET_MODE_GRACEFUL);
        EXPECT_THAT(reset, IsOk());
        const std::lock_guard lock(mutex);
        all.insert(reset.response.generation());
        if (!reset.response.coalesced()) {
          EXPECT_TRUE(own.insert(reset.response.generation()).second) << "two callers' own";
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(all, own);
  EXPECT_EQ(client().Stats().generation(), before + own.size());
  EXPECT_TRUE(AwaitRest());
}

TEST_F(ResetTest, GracefulLeavesALeaseItsConnectionUntilItsRelease) {
  Serve(1, 1);
  const Held held = Acquire();
  EXPECT_THAT(client().Execute(held.token, "BEGIN"), IsOk());
  const auto reset = client().Reset(v1::RESET_MODE_GRACEFUL);
  ASSERT_THAT(reset, IsOk());
  EXPECT_EQ(reset.response.connections_closed(), 0);
  EXPECT_EQ(reset.response.connections_retiring(), 1);
  EXPECT_EQ(reset.response.leases_revoked(), 0);
  EXPECT_EQ(client().Execute(held.token, "SELECT pg_backend_pid()").Value(),
            "int_value: " + std::to_string(held.lease.backend_pid()));
  EXPECT_THAT(client().Execute(held.token, "COMMIT"), IsOk());
  EXPECT_THAT(client().Renew(held.token), IsOk());
  EXPECT_THAT(client().Release(held.token), IsOk());
  const Held next = Acquire();
  EXPECT_NE(next.lease.connection_id(), held.lease.connection_id());
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
}

// The observer's lock keeps it running until the Reset has been answered.
TEST_F(ResetTest, GracefulLetsARunningStatementFinish) {
  Serve(1, 1);
  const Held held = Acquire();
  observer().Run("SELECT pg_advisory_lock(4713)");
  const auto statement =
      StartExecute(client(), Statement(held.token, "SELECT 7 FROM pg_advisory_lock_shared(4713)"));
  EXPECT_TRUE(observer().AwaitRunning(held.lease.backend_pid(), "pg_advisory_lock_shared"));
  EXPECT_THAT(client().Reset(v1::RESET_MODE_GRACEFUL), IsOk());
  EXPECT_FALSE(statement->Done());
  observer().Run("SELECT pg_advisory_unlock(4713)");
  EXPECT_EQ(statement->Get().Value(), "int_value: 7");
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
}

TEST_F(ResetTest, ForcedCutsAStatementOutsideATransaction) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto sleep = StartExecute(client(), Statement(held.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(held.lease.backend_pid()));
  const auto waiter = StartAcquire(client());
  ASSERT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));

  const auto reset = client().Reset(v1::RESET_MODE_FORCE);
  ASSERT_THAT(reset, IsOk());
  EXPECT_EQ(reset.response.leases_revoked(), 1);
  const Result cut = sleep->Get();
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "POOL_RESET");

  const auto next = waiter->Get();
  ASSERT_THAT(next, IsOk()) << "its place is kept";
  EXPECT_NE(next.response.lease().connection_id(), held.lease.connection_id());
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
  EXPECT_EQ(client().Stats().counters().reset(), 1);
}

TEST_F(ResetTest, ForcedRollsATransactionBackAndTheOldTokenSaysWhy) {
  database().MakeTable("deeds", "deed text");
  Serve(1, 1);
  const Held held = Acquire();
  EXPECT_THAT(client().Execute(held.token, "BEGIN"), IsOk());
  EXPECT_THAT(client().Execute(held.token, "INSERT INTO deeds VALUES ('unfinished')"), IsOk());
  const auto sleep = StartExecute(client(), Statement(held.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(held.lease.backend_pid()));
  ASSERT_THAT(client().Reset(v1::RESET_MODE_FORCE), IsOk());

  const auto pool_reset = FailsWith(StatusCode::FAILED_PRECONDITION, "POOL_RESET");
  EXPECT_THAT(sleep->Get(), pool_reset);
  EXPECT_THAT(client().Execute(held.token, "COMMIT"), pool_reset);
  EXPECT_THAT(client().Renew(held.token), pool_reset);
  EXPECT_THAT(client().Release(held.token), pool_reset);
  EXPECT_EQ(client().Expire(held.token).response.leases_ended(), 0);
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
  EXPECT_TRUE(AwaitRest());
}

}  // namespace
}  // namespace pglessor::system

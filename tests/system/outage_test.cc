// PostgreSQL goes away under load and comes back: callers wait, and are told the truth about their
// statements.
#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/load.h"
#include "tests/system/support/own_postgres.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using testing::AnyOf;
using testing::Each;
using testing::IsEmpty;
using Shutdown = OwnPostgres::Shutdown;

constexpr int kMin = 4, kMax = 8, kCallers = 24, kFewCallers = 5;
// So that every caller has had several rounds.
constexpr int kRounds = 10 * kCallers;

class OutageTest : public SystemTest {
 protected:
  void SetUp() override {
    postgres_ = std::make_unique<OwnPostgres>();
    observer().Run("CREATE TABLE deeds (deed text); ALTER TABLE deeds OWNER TO app");
  }

  OwnPostgres& postgres() { return *postgres_; }
  Observer& observer() override { return postgres_->observer(); }
  std::string dsn() override { return postgres_->dsn(); }
  std::string control_dsn() override { return postgres_->control_dsn(); }

  // Under load, with the outage that `outage` makes and ends: where all connections are lent, their places
  // stay taken while PostgreSQL is away; where there is room, openings are tried and fail.
  template <typename Outage>
  void Endures(const Outage& outage) {
    for (const int callers : {kCallers, kFewCallers}) {
      SCOPED_TRACE(absl::StrCat(callers, " callers"));
      EnduresWith(callers, outage);
      client_.reset();  // an open connection would delay the end
      ASSERT_EQ(server().End(), 0);
    }
  }

  template <typename Outage>
  void EnduresWith(int callers, const Outage& outage) {
    Serve(kMin, kMax);
    Load load(server().address(), callers, "deeds", fencing_);
    Watch watch(server().address(), control_dsn());
    ASSERT_TRUE(load.AwaitRounds(kRounds));
    outage();
    EXPECT_TRUE(load.AwaitRounds(kRounds)) << "it goes on";
    const Load::Report report = load.Stop();
    const Watch::Extremes extremes = watch.Stop();

    EXPECT_THAT(report.acquires, IsEmpty());
    EXPECT_THAT(report.statements, Each(SaysThatItWasCut()));
    EXPECT_THAT(report.statements, testing::Not(IsEmpty())) << "there was an outage";
    EXPECT_THAT(report.releases, Each(FailsWith(StatusCode::FAILED_PRECONDITION, "CONNECTION_LOST")));
    EXPECT_GT(extremes.samples, 0);
    EXPECT_LE(extremes.most_backends, kMax);
    EXPECT_LE(extremes.most_total, kMax);
    fencing_.Check();
    ExpectTold(report);
    ExpectWhole();
  }

  static testing::Matcher<const Outcome&> SaysThatItWasCut() {
    return AnyOf(FailsWith(StatusCode::ABORTED, "CONNECTION_LOST"),
                 FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"),
                 FailsWith(StatusCode::FAILED_PRECONDITION, "CONNECTION_LOST"));
  }

  // The table has what was said to be written, once, and nothing that was said not to be.
  void ExpectTold(const Load::Report& report) {
    std::map<std::string, int> rows;
    for (const auto& row : observer().Rows("SELECT deed FROM deeds")) ++rows[row.front()];
    for (const auto& [row, times] : rows) EXPECT_EQ(times, 1) << row;
    for (const std::string& row : report.written) EXPECT_EQ(rows.count(row), 1U) << row << " is lost";
    for (const std::string& row : report.unwritten) {
      EXPECT_EQ(rows.count(row), 0U) << row << " was said not to have happened";
    }
  }

  void ExpectWhole() {
    EXPECT_TRUE(Eventually([&] {
      const v1::PoolStats stats = client().Stats();
      return stats.available() == stats.total() && stats.total() >= kMin && stats.waiting() == 0;
    })) << client().Stats().ShortDebugString();
    const v1::PoolStats stats = client().Stats();
    EXPECT_EQ(stats.stuck(), 0);
    std::set<int> known;
    for (const v1::ConnectionStats& connection : stats.connections()) known.insert(connection.backend_pid());
    std::set<int> actual;
    for (const auto& row : observer().Rows("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")) {
      actual.insert(std::stoi(row.front()));
    }
    EXPECT_EQ(known, actual);
  }

  std::unique_ptr<OwnPostgres> postgres_;
  FencingHistory fencing_;
};

TEST_F(OutageTest, ABackendKilledTakesAllDownAndNoAcquireFails) {
  Endures([&] {
    const int victim = observer().Count("SELECT min(pid) FROM pg_stat_activity WHERE usename = 'app'");
    postgres().KillBackend(victim);
  });
}

TEST_F(OutageTest, AFastRestartFailsNoAcquire) {
  Endures([&] {
    postgres().Stop(Shutdown::kFast);
    postgres().Start();
  });
}

TEST_F(OutageTest, AnImmediateRestartFailsNoAcquire) {
  Endures([&] {
    postgres().Stop(Shutdown::kImmediate);
    postgres().Start();
  });
}

TEST_F(OutageTest, FencingTokensRiseThroughCrashesOfPostgresAndOfPglessor) {
  for (int start = 0; start < 3; ++start) {
    Serve(kMin, kMax);
    Load load(server().address(), kCallers, "deeds", fencing_, Load::Outlives::kServer);
    ASSERT_TRUE(load.AwaitRounds(kRounds));
    if (start == 1) {
      postgres().Stop(Shutdown::kImmediate);
      postgres().Start();
      ASSERT_TRUE(load.AwaitRounds(kRounds));
    }
    server().Kill();
    const Load::Report report = load.Stop();
    EXPECT_THAT(report.acquires, IsEmpty());
    ExpectTold(report);
  }
  EXPECT_GE(fencing_.size(), 4U * kRounds);
  fencing_.Check();
  Serve(kMin, kMax);
  ExpectWhole();
}

// Whether there is room for an opening, which fails, or all places are taken by connections that died and
// whose end nobody can confirm.
TEST_F(OutageTest, AWaiterWhoseWaitIsOverIsToldThatTheDatabaseIsAway) {
  for (const int max : {1, 2}) {
    SCOPED_TRACE(max);
    Serve(1, max);
    postgres().Stop(Shutdown::kFast);
    v1::AcquireRequest request;
    *request.mutable_wait_timeout() = Span(std::chrono::milliseconds(500));
    const auto vain = client().Acquire(request);
    EXPECT_THAT(vain, FailsWith(StatusCode::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
    EXPECT_TRUE(vain.retry_after.has_value());
    const auto waiter = StartAcquire(client());
    EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
    postgres().Start();
    EXPECT_THAT(waiter->Get(), IsOk()) << "one that waits longer is served";
    server().Kill();
  }
}

TEST_F(OutageTest, AResetWhileTheDatabaseIsAwayRaisesTheGenerationAndRefillsLater) {
  Serve(2, 3);
  const uint64_t before = client().Stats().generation();
  postgres().Stop(Shutdown::kFast);
  const auto reset = client().Reset(v1::RESET_MODE_GRACEFUL);
  EXPECT_THAT(reset, FailsWith(StatusCode::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
  EXPECT_EQ(reset.Metadata("generation"), absl::StrCat(before + 1));
  EXPECT_EQ(client().Stats().generation(), before + 1) << "it stays raised";
  postgres().Start();
  EXPECT_TRUE(AwaitRest());
  const v1::PoolStats stats = client().Stats();
  for (const v1::ConnectionStats& connection : stats.connections()) {
    EXPECT_EQ(connection.generation(), before + 1);
  }
}

// The postmaster is stopped, so that the first is under way when the second comes.
TEST_F(OutageTest, TwoResetsAtOnceAreOne) {
  Serve(2, 3);
  const uint64_t before = client().Stats().generation();
  ASSERT_TRUE(postgres().Freeze());
  using BackgroundReset = Background<Answer<v1::ResetResponse>>;
  const auto start = [&] {
    return std::make_unique<BackgroundReset>(
        [&](grpc::ClientContext*) { return client().Reset(v1::RESET_MODE_GRACEFUL); });
  };
  const auto first = start();
  EXPECT_TRUE(Eventually([&] { return client().Stats().generation() == before + 1; }));
  const auto second = start();
  EXPECT_TRUE(Eventually([&] { return client().StatsOf({}).response.server().open_calls() == 3; }));
  postgres().Thaw();
  const auto one = first->Get(), other = second->Get();
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(other, IsOk());
  EXPECT_FALSE(one.response.coalesced());
  EXPECT_TRUE(other.response.coalesced());
  EXPECT_EQ(one.response.generation(), before + 1);
  EXPECT_EQ(other.response.generation(), before + 1);
  EXPECT_EQ(one.response.connections_closed(), 2);
  EXPECT_EQ(one.response.connections_opened(), 2);
  EXPECT_EQ(client().Stats().generation(), before + 1);
  EXPECT_TRUE(AwaitRest());
}

}  // namespace
}  // namespace pglessor::system

// A lease from its grant to its end, as its holder sees it.
#include <chrono>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Pair;

class LeaseLifeTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 2); }
};

TEST_F(LeaseLifeTest, FromAcquireToTheRefusalAfterRelease) {
  database().MakeTable("deeds", "deed text");
  const Held held = Acquire();

  EXPECT_EQ(client().Execute(held.token, "SELECT 1").Value(), "int_value: 1");
  const Result inserted = client().Execute(held.token, "INSERT INTO deeds VALUES ($1)", {Text("committed")});
  ASSERT_THAT(inserted, IsOk());
  EXPECT_EQ(inserted.summary.command_tag(), "INSERT 0 1");
  EXPECT_EQ(inserted.summary.rows_affected(), 1);
  EXPECT_FALSE(inserted.summary.in_transaction());

  const Result begun = client().Execute(held.token, "BEGIN");
  ASSERT_THAT(begun, IsOk());
  EXPECT_TRUE(begun.summary.in_transaction());
  const Result unfinished =
      client().Execute(held.token, "INSERT INTO deeds VALUES ($1)", {Text("unfinished")});
  ASSERT_THAT(unfinished, IsOk());
  EXPECT_TRUE(unfinished.summary.in_transaction());

  const auto renewed = client().Renew(held.token);
  ASSERT_THAT(renewed, IsOk());
  EXPECT_EQ(renewed.response.lease().lease_id(), held.lease.lease_id());

  const auto released = client().Release(held.token);
  ASSERT_THAT(released, IsOk());
  EXPECT_FALSE(released.response.already_released());
  EXPECT_TRUE(released.response.rolled_back());
  EXPECT_EQ(released.response.lease().end_reason(), v1::END_REASON_RELEASED);

  const auto again = client().Release(held.token);
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again.response.already_released());

  EXPECT_THAT(client().Execute(held.token, "SELECT 1"),
              FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_RELEASED"));
  EXPECT_THAT(client().Renew(held.token), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_RELEASED"));
  EXPECT_THAT(observer().Rows("SELECT deed FROM deeds"), ElementsAre(ElementsAre("committed")));
  EXPECT_EQ(client().Stats().counters().released(), 1);
}

TEST_F(LeaseLifeTest, AcquireSaysAllThatTheHolderNeeds) {
  v1::AcquireRequest request = AcquireFor(seconds(6));
  request.set_tenant("billing");
  request.set_holder("billing-7f9c/charge");
  request.set_priority(v1::PRIORITY_HIGH);
  (*request.mutable_tags())["job"] = "nightly";
  const Held held = Acquire(request);
  const v1::Lease& lease = held.lease;

  EXPECT_NE(held.token, "");
  EXPECT_NE(lease.lease_id(), "");
  EXPECT_EQ(held.token.find(lease.lease_id()), std::string::npos);
  EXPECT_EQ(lease.pool(), "default");
  EXPECT_EQ(lease.tenant(), "billing");
  EXPECT_EQ(lease.holder(), "billing-7f9c/charge");
  EXPECT_EQ(lease.state(), v1::LEASE_STATE_ACTIVE);
  EXPECT_EQ(lease.end_reason(), v1::END_REASON_UNSPECIFIED);
  EXPECT_THAT(lease.connection_id(), MatchesRegex("conn_1_[0-9]{19}"));
  EXPECT_GT(lease.fencing_token(), 0U);
  EXPECT_EQ(Nanoseconds(lease.ttl()), seconds(6));
  EXPECT_EQ(Nanoseconds(lease.renew_after()), seconds(2));
  EXPECT_EQ(lease.priority(), v1::PRIORITY_HIGH);
  EXPECT_THAT(lease.tags(), ElementsAre(Pair("job", "nightly")));
  EXPECT_EQ(lease.server_address(), server().address());
  EXPECT_EQ(lease.gateway_address(), "");
  const nanoseconds shown = Nanoseconds(lease.expire_time()) - Nanoseconds(lease.acquire_time());
  EXPECT_NEAR(static_cast<double>(shown.count()), 6e9, 1e8);
  EXPECT_EQ(client().Execute(held.token, "SELECT pg_backend_pid()").Value(),
            "int_value: " + std::to_string(lease.backend_pid()));
}

TEST_F(LeaseLifeTest, WhatIsNotAskedForHasItsDefault) {
  const v1::Lease lease = Acquire().lease;
  EXPECT_EQ(lease.tenant(), "default");
  EXPECT_EQ(lease.priority(), v1::PRIORITY_NORMAL);
  EXPECT_EQ(Nanoseconds(lease.ttl()), seconds(30));
  EXPECT_THAT(lease.tags(), IsEmpty());
}

TEST_F(LeaseLifeTest, StatsShowTheLeaseOnItsConnection) {
  const Held held = Acquire();
  const v1::PoolStats stats = client().Stats();
  ASSERT_EQ(stats.connections_size(), 1);
  EXPECT_EQ(stats.connections(0).id(), held.lease.connection_id());
  EXPECT_EQ(stats.connections(0).backend_pid(), held.lease.backend_pid());
  EXPECT_EQ(stats.connections(0).lease_id(), held.lease.lease_id());
  EXPECT_TRUE(stats.connections(0).in_use());
  EXPECT_EQ(stats.connections(0).uses(), 1);
  EXPECT_THAT(stats.ShortDebugString(), testing::Not(testing::HasSubstr(held.token)));

  v1::StatsRequest request;
  request.set_omit_connections(true);
  EXPECT_EQ(client().StatsOf(request).response.pools(0).connections_size(), 0);
}

TEST_F(LeaseLifeTest, ATtlBeyondTheBoundsIsMovedToThem) {
  const Held held = Acquire(AcquireFor(hours(2)));
  EXPECT_EQ(Nanoseconds(held.lease.ttl()), hours(1));
  v1::RenewRequest renew;
  renew.set_lease_token(held.token);
  *renew.mutable_ttl() = Span(hours(99));
  EXPECT_EQ(Nanoseconds(client().Renew(renew).response.lease().ttl()), hours(1));
  EXPECT_EQ(Nanoseconds(Acquire(AcquireFor(milliseconds(1))).lease.ttl()), milliseconds(100));
}

TEST_F(LeaseLifeTest, RenewMovesTheEndToTtlFromNow) {
  const Held held = Acquire(AcquireFor(seconds(10)));
  v1::RenewRequest renew;
  renew.set_lease_token(held.token);
  *renew.mutable_ttl() = Span(seconds(600));
  const auto longer = client().Renew(renew);
  ASSERT_THAT(longer, IsOk());
  EXPECT_EQ(Nanoseconds(longer.response.lease().ttl()), seconds(600));
  EXPECT_GT(Nanoseconds(longer.response.lease().expire_time()),
            Nanoseconds(held.lease.acquire_time()) + seconds(599));
  const auto same = client().Renew(held.token);
  EXPECT_EQ(Nanoseconds(same.response.lease().ttl()), seconds(600)) << "unset keeps the present one";
}

TEST_F(LeaseLifeTest, RenewDoesNotWaitForAStatement) {
  const Held held = Acquire();
  const auto sleep = StartExecute(client(), Statement(held.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(held.lease.backend_pid()));
  EXPECT_THAT(client().Renew(held.token), IsOk());
  EXPECT_FALSE(sleep->Done());
  sleep->Cancel();
}

TEST_F(LeaseLifeTest, FencingTokensRiseWithEachGrantAndAcrossARestart) {
  uint64_t last = 0;
  for (int start = 0; start < 2; ++start) {
    for (int grant = 0; grant < 3; ++grant) {
      const Held held = Acquire();
      EXPECT_GT(held.lease.fencing_token(), last);
      last = held.lease.fencing_token();
      EXPECT_THAT(client().Release(held.token), IsOk());
    }
    server().Kill();
    Serve(1, 2);
  }
}

TEST_F(LeaseLifeTest, ATokenOfAnEarlierStartIsUnknown) {
  const Held held = Acquire();
  server().Kill();
  Serve(1, 2);
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), FailsWith(StatusCode::NOT_FOUND, "LEASE_NOT_FOUND"));
}

TEST_F(LeaseLifeTest, DiscardClosesTheConnection) {
  const Held held = Acquire();
  v1::ReleaseRequest release;
  release.set_lease_token(held.token);
  release.set_disposition(v1::DISPOSITION_DISCARD);
  EXPECT_THAT(client().Release(release), IsOk());
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
  EXPECT_TRUE(AwaitRest());
  EXPECT_EQ(client().Stats().counters().connections_closed(), 1);
}

TEST_F(LeaseLifeTest, ReleaseCancelsWhatStillRuns) {
  const Held held = Acquire();
  const auto sleep = StartExecute(client(), Statement(held.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(held.lease.backend_pid()));
  EXPECT_THAT(client().Release(held.token), IsOk());
  const Result cut = sleep->Get();
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "LEASE_RELEASED");
  EXPECT_TRUE(AwaitRest());
}

TEST_F(LeaseLifeTest, ExpireByTokenEndsItOnce) {
  const Held held = Acquire();
  const auto expired = client().Expire(held.token);
  ASSERT_THAT(expired, IsOk());
  EXPECT_EQ(expired.response.leases_ended(), 1);
  EXPECT_THAT(expired.response.lease_ids(), ElementsAre(held.lease.lease_id()));

  const auto again = client().Expire(held.token);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again.response.leases_ended(), 0);
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"),
              FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_EXPIRED"));
  EXPECT_THAT(client().Release(held.token), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_EXPIRED"));
  EXPECT_EQ(client().Stats().counters().expired(), 1);
}

TEST_F(LeaseLifeTest, ExpireByIdRevokesAndCancelsWhatRuns) {
  database().MakeTable("deeds", "deed text");
  const Held held = Acquire();
  EXPECT_THAT(client().Execute(held.token, "BEGIN"), IsOk());
  EXPECT_THAT(client().Execute(held.token, "INSERT INTO deeds VALUES ('unfinished')"), IsOk());
  const auto sleep = StartExecute(client(), Statement(held.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(held.lease.backend_pid()));

  v1::ExpireRequest expire;
  expire.set_lease_id(held.lease.lease_id());
  expire.set_reason("the operator's test");
  EXPECT_EQ(client().Expire(expire).response.leases_ended(), 1);
  EXPECT_THAT(sleep->Get(), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_REVOKED"));
  EXPECT_THAT(client().Renew(held.token), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_REVOKED"));
  EXPECT_EQ(client().Expire(expire).response.leases_ended(), 0);
  EXPECT_TRUE(AwaitRest());
  EXPECT_EQ(client().Stats().counters().revoked(), 1);
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
}

TEST_F(LeaseLifeTest, TheNextHolderFindsNothingOfTheLast) {
  const Held first = Acquire();
  for (const char* sql :
       {"CREATE TEMP TABLE remains (x int)", "SET work_mem = '77MB'", "SET search_path = pg_catalog",
        "SET TIME ZONE 'Asia/Tokyo'", "SELECT pg_advisory_lock(4711)", "PREPARE remains AS SELECT 1",
        "DECLARE remains CURSOR WITH HOLD FOR SELECT 1", "BEGIN"}) {
    EXPECT_THAT(client().Execute(first.token, sql), IsOk()) << sql;
  }
  EXPECT_THAT(client().Release(first.token), IsOk());
  ASSERT_TRUE(AwaitRest());
  const Held second = Acquire();
  ASSERT_EQ(second.lease.backend_pid(), first.lease.backend_pid());

  const std::pair<const char*, const char*> expected[] = {
      {"SELECT to_regclass('pg_temp.remains') IS NULL", "bool_value: true"},
      {"SELECT current_setting('work_mem') <> '77MB'", "bool_value: true"},
      {"SHOW search_path", "text_value: \"\\\"$user\\\", public\""},
      {"SELECT current_setting('TimeZone') <> 'Asia/Tokyo'", "bool_value: true"},
      {"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "int_value: 0"},
      {"SELECT count(*) FROM pg_prepared_statements WHERE name <> ''", "int_value: 0"},
      {"SELECT count(*) FROM pg_cursors WHERE name <> ''", "int_value: 0"},
  };
  for (const auto& [sql, value] : expected) {
    const Result found = client().Execute(second.token, sql);
    EXPECT_EQ(found.Value(), value) << sql;
    EXPECT_FALSE(found.summary.in_transaction()) << sql;
  }
}

}  // namespace
}  // namespace pglessor::system

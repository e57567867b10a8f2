// What the pool that this one re-implements did, or claimed to do, by behaviour: over gRPC, on a real
// PostgreSQL.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/barrier.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::Each;
using testing::SizeIs;

constexpr int kMin = 10, kMax = 20;
constexpr char kAuthorized[] = "connection authorized: user=app";

class PoolBehaviourTest : public SystemTest {
 protected:
  template <typename Request, typename Response>
  Answer<Response> Call(grpc::Status (v1::LeaseService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                       Response*),
                        const Request& request) {
    const Client::Context context = Client::NewContext();
    Response response;
    const Outcome outcome = OutcomeOf((client().leases().*method)(context.get(), request, &response));
    return {{outcome}, response};
  }
  Answer<v1::ResetResponse> Reset(v1::ResetMode mode) {
    v1::ResetRequest request;
    request.set_pool("default");
    request.set_mode(mode);
    return Call(&v1::LeaseService::Stub::Reset, request);
  }
  // Opens connections up to the maximum.
  void Grow() {
    v1::RenewRequest request;
    request.mutable_pool()->set_pool("default");
    const auto grown = Call(&v1::LeaseService::Stub::Renew, request);
    ASSERT_THAT(grown, IsOk());
    ASSERT_EQ(grown.response.pool().total(), kMax);
  }
  int LeasedBackends() {
    return observer().Count("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'");
  }
};

template <typename Work>
void InThreads(int count, Work work) {
  auto* const barrier = new absl::Barrier(count);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      if (barrier->Block()) delete barrier;  // whoever leaves it last
      work(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(PoolBehaviourTest, AHundredFirstCallsMakeOnePoolOfTheMinimum) {
  const int before = database().LogLines(kAuthorized);
  Serve(kMin, kMax);
  InThreads(100, [&](int) { EXPECT_EQ(client().Stats().total(), kMin); });
  EXPECT_EQ(database().LogLines(kAuthorized) - before, kMin);
}

TEST_F(PoolBehaviourTest, AHundredThreadsSeeTheSameOne) {
  Serve(kMin, kMax);
  std::vector<std::string> seen(100);
  InThreads(100, [&](int i) {
    const auto stats = client().StatsOf({});
    ASSERT_THAT(stats, IsOk());
    ASSERT_THAT(stats.response.pools(), SizeIs(1));
    const v1::ServerInfo& server = stats.response.server();
    seen[i] = absl::StrCat(server.pid(), " ", server.start_time().DebugString(),
                           stats.response.pools(0).pool(), " ", stats.response.pools(0).generation());
  });
  EXPECT_THAT(seen, Each(seen.front()));
}

TEST_F(PoolBehaviourTest, HasTheMinimumAfterItsStart) {
  Serve(kMin, kMax);
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.available(), kMin);
  EXPECT_EQ(stats.min_connections(), kMin);
  EXPECT_EQ(stats.max_connections(), kMax);
  EXPECT_THAT(stats.connections(), SizeIs(kMin));
  EXPECT_EQ(LeasedBackends(), kMin);
}

TEST_F(PoolBehaviourTest, StatsShowWhatIsLentAndWhatIsNot) {
  Serve(kMin, kMax);
  const Held held = Acquire();
  v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.in_use(), 1);
  EXPECT_EQ(stats.available(), kMin - 1);
  const auto lent = std::find_if(stats.connections().begin(), stats.connections().end(),
                                 [](const v1::ConnectionStats& connection) { return connection.in_use(); });
  ASSERT_NE(lent, stats.connections().end());
  EXPECT_EQ(lent->id(), held.lease.connection_id());
  EXPECT_EQ(lent->lease_id(), held.lease.lease_id());
  EXPECT_EQ(lent->backend_pid(), held.lease.backend_pid());
  EXPECT_EQ(lent->uses(), 1);
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_TRUE(AwaitRest());
  stats = client().Stats();
  EXPECT_EQ(stats.in_use(), 0);
  EXPECT_EQ(stats.available(), kMin);
  EXPECT_EQ(stats.wait().count(), 1);
  EXPECT_EQ(stats.hold().count(), 1);
  EXPECT_GT(Nanoseconds(stats.hold().max()).count(), 0);
}

TEST_F(PoolBehaviourTest, FiftyCallersAreServedByExactlyTenFurtherConnections) {
  constexpr int kCallers = 50;
  Serve(kMin, kMax);
  ASSERT_TRUE(AwaitRest());
  const int authorized_before = database().LogLines(kAuthorized);
  const int received_before = database().LogLines("connection received");

  // Whoever has a lease holds it until everybody has asked.
  absl::Notification all_have_asked;
  std::vector<int> served(kCallers);
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      const Answer<v1::AcquireResponse> held = client().Acquire();
      all_have_asked.WaitForNotification();
      EXPECT_THAT(held, IsOk());
      const std::string& token = held.response.lease_token();
      EXPECT_THAT(client().Execute(token, "SELECT pg_sleep(0.01)"), IsOk());
      EXPECT_EQ(client().Execute(token, "SELECT $1::int8", {Int(i)}).Value(), absl::StrCat("int_value: ", i));
      EXPECT_THAT(client().Release(token), IsOk());
      served[i] = held.ok() ? 1 : 0;
    });
  }
  EXPECT_TRUE(Eventually([&] {
    const v1::PoolStats stats = client().Stats();
    return stats.in_use() == kMax && stats.waiting() == kCallers - kMax;
  }));
  all_have_asked.Notify();
  for (std::thread& caller : callers) caller.join();

  EXPECT_THAT(served, Each(1));
  EXPECT_EQ(database().LogLines(kAuthorized) - authorized_before, kMax - kMin);
  EXPECT_EQ(database().LogLines("connection received") - received_before, kMax - kMin);
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.counters().granted(), kCallers);
  EXPECT_EQ(stats.counters().released(), kCallers);
  EXPECT_EQ(stats.counters().connections_opened(), kMax);
  EXPECT_EQ(stats.counters().connections_closed(), 0);
  EXPECT_EQ(stats.total(), kMax);
}

TEST_F(PoolBehaviourTest, ExpireLeavesTheYoungAlone) {
  Serve(kMin, kMax);
  Grow();
  v1::ExpireRequest request;
  request.mutable_connections()->set_pool("default");
  const auto expired = client().Expire(request);
  ASSERT_THAT(expired, IsOk());
  EXPECT_EQ(expired.response.connections_retired(), 0);
  EXPECT_EQ(client().Stats().total(), kMax);
}

TEST_F(PoolBehaviourTest, ExpireOfTheOldKeepsTheMinimum) {
  Serve(kMin, kMax);
  Grow();
  v1::ExpireRequest request;
  request.mutable_connections()->set_pool("default");
  *request.mutable_connections()->mutable_older_than() = Span(milliseconds(0));
  std::atomic<bool> done{false};
  std::thread watcher([&] {
    while (!done) EXPECT_GE(client().Stats().total(), kMin);
  });
  const auto expired = client().Expire(request);
  done = true;
  watcher.join();
  ASSERT_THAT(expired, IsOk());
  EXPECT_EQ(expired.response.connections_retired(), kMax);
  EXPECT_EQ(expired.response.connections_opened(), kMin);
  EXPECT_TRUE(AwaitRest());
}

TEST_F(PoolBehaviourTest, TwentyOfTwentyFiveAreServedAndFiveAreToldThatItIsFull) {
  // All open from the start: how many open within 100 ms is the machine's affair.
  Serve(kMax, kMax);
  std::atomic<bool> done{false};
  int most = 0;
  std::thread watcher([&] {
    while (!done) most = std::max(most, LeasedBackends());
  });
  v1::AcquireRequest request;
  *request.mutable_wait_timeout() = Span(milliseconds(100));
  absl::Notification all_answered;
  std::atomic<int> served{0}, exhausted{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < kMax + 5; ++i) {
    callers.emplace_back([&] {
      const auto held = client().Acquire(request);
      if (held.ok()) {
        ++served;
        all_answered.WaitForNotification();
        EXPECT_THAT(client().Release(held.response.lease_token()), IsOk());
      } else {
        EXPECT_THAT(held, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "POOL_EXHAUSTED"));
        ++exhausted;
      }
    });
  }
  EXPECT_TRUE(Eventually([&] { return served + exhausted == kMax + 5; }));
  all_answered.Notify();
  for (std::thread& caller : callers) caller.join();
  done = true;
  watcher.join();
  EXPECT_EQ(served, kMax);
  EXPECT_EQ(exhausted, 5);
  EXPECT_LE(most, kMax);
}

TEST_F(PoolBehaviourTest, AForcedResetEndsLeasesAndBeginsAnew) {
  Serve(kMin, kMax);
  const Held old = Acquire();
  int last_index = 0;
  const v1::PoolStats before = client().Stats();
  for (const v1::ConnectionStats& connection : before.connections()) {
    last_index = std::max(last_index, std::stoi(connection.id().substr(5)));
  }
  const auto reset = Reset(v1::RESET_MODE_FORCE);
  ASSERT_THAT(reset, IsOk());
  EXPECT_EQ(reset.response.generation(), 2U);
  EXPECT_EQ(reset.response.leases_revoked(), 1);
  EXPECT_EQ(reset.response.connections_closed(), kMin - 1);
  EXPECT_EQ(reset.response.connections_opened(), kMin);
  EXPECT_THAT(client().Release(old.token), FailsWith(StatusCode::FAILED_PRECONDITION, "POOL_RESET"));
  const Held next = Acquire();
  EXPECT_THAT(client().Execute(next.token, "SELECT 1"), IsOk());
  EXPECT_THAT(client().Release(next.token), IsOk());
  EXPECT_TRUE(AwaitRest());
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.generation(), 2U);
  for (const v1::ConnectionStats& connection : stats.connections()) {
    EXPECT_GT(std::stoi(connection.id().substr(5)), last_index);
    EXPECT_EQ(connection.generation(), 2U);
  }
}

TEST_F(PoolBehaviourTest, ATerminatedBackendIsNeverHandedOut) {
  Serve(kMin, kMax);
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(AwaitRest());
    const v1::PoolStats before = client().Stats();
    std::set<int> dead;
    for (int i = 0; i < kMin / 2; ++i) dead.insert(before.connections(i).backend_pid());
    for (const int pid : dead) observer().Terminate(pid);
    // Nobody has to stumble over them: the pool sees their sockets end.
    ASSERT_TRUE(Eventually([&] {
      const v1::PoolStats stats = client().Stats();
      return stats.available() == kMin &&
             std::none_of(stats.connections().begin(), stats.connections().end(),
                          [&](const auto& connection) { return dead.contains(connection.backend_pid()); });
    }));
    std::vector<Held> held;
    for (int i = 0; i < kMin; ++i) {
      held.push_back(Acquire());
      EXPECT_FALSE(dead.contains(held.back().lease.backend_pid()));
      EXPECT_THAT(client().Execute(held.back().token, "SELECT 1"), IsOk());
    }
    for (const Held& lease : held) EXPECT_THAT(client().Release(lease.token), IsOk());
  }
}

}  // namespace
}  // namespace pglessor::system

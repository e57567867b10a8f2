// Leases that are taken away, and servers that do not answer.
#include <chrono>
#include <csignal>
#include <future>
#include <sstream>

#include "client/internal/time.h"
#include "tests/client/support/client_fixture.h"
#include "tests/system/support/process.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using internal::BootNow;
using internal::Time;
using std::chrono::milliseconds;
using std::chrono::seconds;
using system::Eventually;

class ClientLoss : public ClientFixture {};

TEST_F(ClientLoss, OfAServerThatStoppedIsKnownByTheTtlFromTheSend) {
  constexpr milliseconds kTtl(600);
  const Time before = BootNow();
  Lease lease = AcquireFor(kTtl);
  ASSERT_TRUE(server().process().Freeze());
  const Time stopped = BootNow();  // nothing that was sent later was granted
  Time seen;                       // when it was last seen alive
  ASSERT_TRUE(Eventually([&] {
    const Time now = BootNow();
    if (!lease.lost()) seen = now;
    return lease.lost();
  }));
  EXPECT_LE(seen, stopped + kTtl);
  EXPECT_GE(BootNow(), before + kTtl);
  EXPECT_THAT(lease.Execute("SELECT 1"), FailsWith(StatusCode::kFailedPrecondition, "LEASE_EXPIRED"));
  server().process().Thaw();
}

TEST_F(ClientLoss, IsNotTakenBackWhenTheServerGoesOn) {
  const Lease lease = AcquireFor(milliseconds(300));
  ASSERT_TRUE(server().process().Freeze());
  ASSERT_TRUE(Eventually([&] { return lease.lost(); }));
  server().process().Thaw();
  ASSERT_TRUE(Eventually([&] { return client().Stats().counters().expired() == 1; }));
  EXPECT_TRUE(lease.lost());
}

TEST_F(ClientLoss, CutsOffTheStatementThatRuns) {
  Lease lease = AcquireFor(milliseconds(500));
  auto running = std::async(std::launch::async, [&] { return lease.Execute("SELECT pg_sleep(600)"); });
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  ASSERT_TRUE(server().process().Freeze());
  const Time stopped = BootNow();
  EXPECT_THAT(running.get(), FailsWith(StatusCode::kUnknown, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_LT(BootNow(), stopped + seconds(10)) << "the connection's own keepalive takes 15 s";
  EXPECT_TRUE(lease.lost());
  server().process().Thaw();
}

TEST_F(ClientLoss, AShortPauseOfTheServerIsSurvived) {
  const Lease lease = AcquireFor(seconds(6));  // to be renewed after two, while the server stands
  const Time begin = BootNow();
  ASSERT_TRUE(server().process().Freeze());
  ASSERT_TRUE(Eventually([&] { return BootNow() > begin + milliseconds(2500); }));
  server().process().Thaw();
  ASSERT_TRUE(Eventually([&] { return BootNow() > begin + milliseconds(6500); }));
  EXPECT_FALSE(lease.lost());
  EXPECT_EQ(client().Stats().in_use(), 1);
}

TEST_F(ClientLoss, ByAnOperatorIsFoundByTheNextRenewal) {
  Lease lease = AcquireFor(seconds(6));
  v1::ExpireRequest request;
  request.set_lease_id(lease.lease_id());
  ASSERT_TRUE(client().Expire(request).ok());
  EXPECT_FALSE(lease.lost());
  ASSERT_TRUE(Eventually([&] { return lease.lost(); }));
  EXPECT_THAT(lease.Execute("SELECT 1"), FailsWith(StatusCode::kFailedPrecondition, "LEASE_REVOKED"))
      << "and not its ttl";
}

TEST_F(ClientLoss, ByAnOperatorIsFoundByTheNextStatementWithItsReason) {
  Lease lease = Acquire();
  v1::ExpireRequest request;
  request.set_lease_id(lease.lease_id());
  ASSERT_TRUE(client().Expire(request).ok());
  EXPECT_FALSE(lease.lost()) << "nobody has told it yet";
  EXPECT_THAT(lease.Execute("SELECT 1"), FailsWith(StatusCode::kFailedPrecondition, "LEASE_REVOKED"));
  EXPECT_TRUE(lease.lost());
  EXPECT_THAT(lease.Release(), FailsWith(StatusCode::kFailedPrecondition, "LEASE_REVOKED"));
}

TEST_F(ClientLoss, OfTheConnectionToPostgresIsFoundByTheStatement) {
  Lease lease = Acquire();
  observer().Terminate(lease.backend_pid());
  ASSERT_TRUE(observer().AwaitGone(lease.backend_pid()));
  EXPECT_FALSE(lease.Execute("SELECT 1").ok());
  EXPECT_TRUE(lease.lost());
}

TEST_F(ClientLoss, OfAKilledServerLeavesTheRunningStatementsOutcomeUnknown) {
  Lease lease = AcquireFor(seconds(2));
  auto running = std::async(std::launch::async, [&] { return lease.Execute("SELECT pg_sleep(600)"); });
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  server().Kill();
  EXPECT_THAT(running.get(), FailsWith(StatusCode::kUnknown, "COMMIT_OUTCOME_UNKNOWN"));
  observer().Terminate(lease.backend_pid());
}

TEST_F(ClientLoss, OfTheHoldersProcessFreesItsConnectionAtTtl) {
  constexpr milliseconds kTtl(700);
  database().MakeTable("deeds", "deed text");
  system::Process holder({PGLESSOR_CLIENT_HOLDER, {server().address(), std::to_string(kTtl.count())}});
  std::istringstream line(holder.FirstLine().value_or(""));
  int backend = 0;
  ASSERT_TRUE(line >> backend) << holder.Log();
  holder.Signal(SIGKILL);
  const Time killed = BootNow();
  EXPECT_EQ(holder.AwaitEnd(), -SIGKILL);
  Lease next = Acquire();
  EXPECT_LE(BootNow(), killed + kTtl + milliseconds(1500));  // the contract's grace
  EXPECT_EQ(next.backend_pid(), backend);
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
  EXPECT_EQ(client().Stats().counters().expired(), 1);
}

}  // namespace
}  // namespace pglessor

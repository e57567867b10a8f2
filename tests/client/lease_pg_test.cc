// A lease from its acquire to its end.
#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"

#include "tests/client/support/client_fixture.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using system::Eventually;

class ClientLease : public ClientFixture {};

TEST_F(ClientLease, IsWhatTheServerGranted) {
  const Lease lease = AcquireFor(seconds(20));
  EXPECT_FALSE(lease.lost());
  EXPECT_NE(lease.lease_id(), "");
  EXPECT_EQ(lease.pool(), "default");
  EXPECT_TRUE(absl::StartsWith(lease.connection_id(), "conn_"));
  EXPECT_GT(lease.fencing_token(), 0U);
  EXPECT_EQ(lease.ttl(), seconds(20));
  EXPECT_EQ(lease.server_address(), server().address());
  EXPECT_EQ(observer().Activity(lease.backend_pid(), "usename"), "app");
}

TEST_F(ClientLease, FencingTokensRiseWithEveryGrant) {
  uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    Lease lease = Acquire();
    EXPECT_GT(lease.fencing_token(), last);
    last = lease.fencing_token();
    EXPECT_THAT(lease.Release(), IsOk());
  }
}

TEST_F(ClientLease, IsReleasedWhenItGoesOutOfScope) {
  std::optional<Lease> lease = Acquire();
  EXPECT_EQ(client().Stats().in_use(), 1);
  lease.reset();
  EXPECT_TRUE(Eventually([&] { return client().Stats().counters().released() == 1; }));
}

TEST_F(ClientLease, IsReleasedWithoutBlockingOnAServerThatDoesNotAnswer) {
  std::optional<Lease> lease = Acquire();
  ASSERT_TRUE(server().process().Freeze());
  const auto begin = steady_clock::now();
  lease.reset();
  EXPECT_LT(steady_clock::now() - begin, seconds(1)) << "a blocking call would take call_timeout, 5 s";
  server().process().Thaw();
  EXPECT_TRUE(Eventually([&] { return client().Stats().counters().released() == 1; }));
}

TEST_F(ClientLease, ReleaseTellsWhetherATransactionWasOpen) {
  Lease lease = Acquire();
  ASSERT_THAT(lease.Execute("BEGIN"), IsOk());
  const absl::StatusOr<ReleaseResult> released = lease.Release();
  ASSERT_THAT(released, IsOk());
  EXPECT_TRUE(released->rolled_back);
  EXPECT_FALSE(released->already_released);
}

TEST_F(ClientLease, ReleasingTwiceIsNoError) {
  Lease lease = Acquire();
  ASSERT_THAT(lease.Release(), IsOk());
  const absl::StatusOr<ReleaseResult> again = lease.Release();
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->already_released);
}

TEST_F(ClientLease, IsLostOnceItWasReleased) {
  Lease lease = Acquire();
  ASSERT_THAT(lease.Release(), IsOk());
  EXPECT_TRUE(lease.lost());
  EXPECT_THAT(lease.Execute("SELECT 1"), FailsWith(StatusCode::kFailedPrecondition, "LEASE_RELEASED"));
}

TEST_F(ClientLease, DiscardedTakesItsConnectionWithIt) {
  Lease lease = Acquire();
  const int backend = lease.backend_pid();
  ASSERT_THAT(lease.Discard(), IsOk());
  EXPECT_TRUE(observer().AwaitGone(backend));
}

TEST_F(ClientLease, MovesWithItsHold) {
  Lease lease = Acquire();
  Lease moved = std::move(lease);
  EXPECT_FALSE(moved.lost());
  EXPECT_THAT(moved.Execute("SELECT 1"), IsOk());
}

TEST_F(ClientLease, AMovedFromOneIsHarmless) {
  Lease lease = Acquire();
  const Lease moved = std::move(lease);
  // NOLINTBEGIN(bugprone-use-after-move)
  EXPECT_TRUE(lease.lost());
  EXPECT_EQ(lease.lease_id(), "");
  EXPECT_EQ(lease.fencing_token(), 0U);
  EXPECT_EQ(lease.ttl(), milliseconds(0));
  EXPECT_THAT(lease.Execute("SELECT 1"), FailsWith(StatusCode::kFailedPrecondition, ""));
  EXPECT_THAT(lease.Release(), FailsWith(StatusCode::kFailedPrecondition, ""));
  EXPECT_THAT(lease.Discard(), FailsWith(StatusCode::kFailedPrecondition, ""));
  // NOLINTEND(bugprone-use-after-move)
  EXPECT_EQ(client().Stats().in_use(), 1) << "the one that it was moved to";
}

class ClientLeases : public ClientFixture {
 protected:
  void SetUp() override { Start(2, 2); }
};

TEST_F(ClientLeases, AssigningReleasesTheOneBefore) {
  Lease one = Acquire();
  one = Acquire();
  EXPECT_TRUE(Eventually([&] { return client().Stats().counters().released() == 1; }));
  EXPECT_FALSE(one.lost());
}

TEST_F(ClientLease, IsRenewedBeyondItsTtl) {
  Lease lease = AcquireFor(milliseconds(300));
  ASSERT_THAT(lease.Execute("SELECT 1"), IsOk());
  // By PostgreSQL's clock, from that statement on.
  const std::string idle =
      "SELECT (now() - state_change > interval '1.5 s')::int FROM pg_stat_activity WHERE pid = " +
      std::to_string(lease.backend_pid());
  ASSERT_TRUE(Eventually([&] { return observer().Value(idle) == "1"; }));
  EXPECT_FALSE(lease.lost());
  EXPECT_EQ(client().Stats().in_use(), 1);
  EXPECT_EQ(client().Stats().counters().expired(), 0);
}

TEST_F(ClientLease, ThatWasWaitedForLongerThanItsTtlIsNotLostOnArrival) {
  std::optional<Lease> first = Acquire();
  // Frees the connection, once the second has waited for three times its ttl.
  std::thread holder([&] {
    EXPECT_TRUE(
        Eventually([&] { return system::Nanoseconds(client().Stats().oldest_wait()) > milliseconds(300); }));
    first.reset();
  });
  const Lease second = AcquireFor(milliseconds(100));
  const bool lost = second.lost();
  holder.join();
  EXPECT_FALSE(lost);
  EXPECT_GE(second.waited(), milliseconds(300));
}

TEST_F(ClientLease, OfADestroyedClientIsLostAndReleased) {
  Lease lease = Acquire();
  client_under_test_.reset();
  EXPECT_TRUE(lease.lost());
  EXPECT_EQ(client().Stats().counters().released(), 1) << "the destructor waits for it";
  EXPECT_THAT(lease.Execute("SELECT 1"), FailsWith(StatusCode::kFailedPrecondition, "LEASE_RELEASED"));
}

TEST_F(ClientLease, TakesItsDefaultsFromTheClient) {
  absl::StatusOr<Client> other =
      Client::Create({.address = server().address(), .acquire = {.ttl = seconds(7)}});
  ASSERT_THAT(other, IsOk());
  absl::StatusOr<Lease> lease = other->Acquire();
  ASSERT_THAT(lease, IsOk());
  EXPECT_EQ(lease->ttl(), seconds(7));
}

}  // namespace
}  // namespace pglessor

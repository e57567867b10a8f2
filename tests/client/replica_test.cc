// What the client asks of which server, and when: against servers whose answers the test decides.
#include <chrono>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "client/internal/convert.h"
#include "client/internal/time.h"
#include "pglessor/client.h"
#include "pglessor/error.h"
#include "tests/client/support/fake_replica.h"
#include "tests/system/support/eventually.h"

namespace pglessor {
namespace {

using internal::BootNow;
using internal::Time;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using system::Eventually;

v1::Lease LeaseOf(std::chrono::nanoseconds ttl, std::chrono::nanoseconds renew_after) {
  v1::Lease lease;
  *lease.mutable_ttl() = internal::ToProto(ttl);
  *lease.mutable_renew_after() = internal::ToProto(renew_after);
  return lease;
}

class ClientReplica : public testing::Test {
 protected:
  ClientReplica() : client_(*Client::Create({.address = home_.address()})) {}

  FakeReplica home_;
  Client client_;
};

TEST_F(ClientReplica, ALeaseIsTrustedFromTheSendOfItsAcquireNotFromTheAnswer) {
  constexpr milliseconds kTtl(600);
  home_.lease = LeaseOf(kTtl, hours(1));
  Time arrived;
  home_.on_acquire = [&](const auto&) {
    arrived = BootNow();
    Eventually([&] { return BootNow() >= arrived + milliseconds(300); });
  };
  const absl::StatusOr<Lease> lease = client_.Acquire();
  ASSERT_TRUE(lease.ok()) << lease.status();
  Time seen;  // when it was last seen alive
  ASSERT_TRUE(Eventually([&] {
    const Time now = BootNow();
    if (!lease->lost()) seen = now;
    return lease->lost();
  }));
  EXPECT_LT(seen, arrived + kTtl);
}

TEST_F(ClientReplica, TheTimeThatAnAcquireWaitedDoesNotCount) {
  constexpr milliseconds kTtl(100);
  home_.lease = LeaseOf(kTtl, hours(1));
  *home_.lease.mutable_waited() = internal::ToProto(seconds(60));  // far more than it was, to be sure
  home_.on_acquire = [&](const auto&) {
    const Time arrived = BootNow();
    Eventually([&] { return BootNow() >= arrived + 2 * kTtl; });
  };
  const absl::StatusOr<Lease> lease = client_.Acquire();
  ASSERT_TRUE(lease.ok()) << lease.status();
  EXPECT_FALSE(lease->lost());
}

TEST_F(ClientReplica, ARenewalThatFailsIsTriedAgain) {
  home_.lease = LeaseOf(seconds(60), milliseconds(20));
  home_.on_renew = [](int count) {
    return count < 4 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "not now") : grpc::Status::OK;
  };
  const absl::StatusOr<Lease> lease = client_.Acquire();
  ASSERT_TRUE(lease.ok()) << lease.status();
  EXPECT_TRUE(Eventually([&] { return home_.renewals > 5; }));
  EXPECT_FALSE(lease->lost());
}

TEST_F(ClientReplica, ARenewalThatIsRefusedMeansTheLoss) {
  home_.lease = LeaseOf(seconds(60), milliseconds(20));
  home_.on_renew = [](int) { return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "revoked"); };
  absl::StatusOr<Lease> lease = client_.Acquire();
  ASSERT_TRUE(lease.ok()) << lease.status();
  EXPECT_TRUE(Eventually([&] { return lease->lost(); }));
  EXPECT_EQ(lease->Execute("SELECT 1").status().message(), "revoked");
  EXPECT_EQ(home_.statements, 0) << "a lost lease asks nothing";
  EXPECT_EQ(home_.renewals, 1);
}

TEST_F(ClientReplica, CallsOnALeaseGoToTheServerThatItNames) {
  FakeReplica other;
  home_.lease = LeaseOf(seconds(60), milliseconds(20));
  home_.lease.set_server_address(other.address());
  other.lease = home_.lease;
  {
    absl::StatusOr<Lease> lease = client_.Acquire();
    ASSERT_TRUE(lease.ok()) << lease.status();
    EXPECT_TRUE(lease->Execute("SELECT 1").ok());
    EXPECT_TRUE(Eventually([&] { return other.renewals > 1; }));
  }
  EXPECT_TRUE(Eventually([&] { return other.releases == 1; }));
  EXPECT_EQ(other.statements, 1);
  EXPECT_EQ(other.acquires, 0);
  EXPECT_EQ(home_.statements + home_.renewals + home_.releases, 0);
}

TEST_F(ClientReplica, ARepeatedAcquireIsRenewedBeforeItIsTrusted) {
  home_.lease = LeaseOf(seconds(60), hours(1));
  const absl::StatusOr<Lease> lease = client_.Acquire({.request_id = "7c9e6679-7425-40de-944b-e07fc1f90ae7"});
  ASSERT_TRUE(lease.ok()) << lease.status();
  EXPECT_EQ(home_.renewals, 1) << "it may have been granted to an earlier attempt";
}

TEST_F(ClientReplica, ALeaseThatIsOverByTimeIsNotReleasedAnew) {
  home_.lease = LeaseOf(milliseconds(50), hours(1));
  {
    const absl::StatusOr<Lease> lease = client_.Acquire();
    ASSERT_TRUE(lease.ok()) << lease.status();
    ASSERT_TRUE(Eventually([&] { return lease->lost(); }));
  }
  { const Client ended = std::move(client_); }  // whose end waits for all that was handed to it
  EXPECT_EQ(home_.releases, 0);
}

TEST(ClientSessionStream, ThatEndsWellBeforeItsAnswersHasFailed) {
  FakeReplica server;
  absl::StatusOr<Client> client = Client::Create({.address = server.address()});
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE(absl::IsUnavailable(client->NewSession()->Acquire()));
  const absl::StatusOr<Result> cut = client->NewSession()->Execute("SELECT 1");
  EXPECT_EQ(ErrorReason(cut.status()), "COMMIT_OUTCOME_UNKNOWN");
  EXPECT_TRUE(absl::IsUnavailable(client->NewSession()->Release().status()));
}

}  // namespace
}  // namespace pglessor

// SIGTERM: no new leases, the old ones have their time, and nothing is left.
#include <csignal>
#include <string>

#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using grpc::health::v1::HealthCheckResponse;

class DrainTest : public SystemTest {
 protected:
  void Sigterm() { server().process().Signal(SIGTERM); }

  // Refused for the drain, and for nothing else.
  bool AwaitDraining() {
    return Eventually([&] { return client().Acquire(AtOnce()).reason == "DRAINING"; });
  }

  static v1::AcquireRequest AtOnce() {
    v1::AcquireRequest request;
    *request.mutable_wait_timeout() = Span(std::chrono::seconds(0));
    return request;
  }

  bool NotServing() {
    const Client::Context context = Client::NewContext();
    HealthCheckResponse response;
    const auto health = grpc::health::v1::Health::NewStub(client().channel());
    return health->Check(context.get(), {}, &response).ok() &&
           response.status() == HealthCheckResponse::NOT_SERVING;
  }
};

TEST_F(DrainTest, RefusesNewLeasesAndLetsTheOldOnesFinish) {
  Serve(1, 1, {"--drain-timeout=1h"});
  database().MakeTable("deeds", "deed text");
  const Held held = Acquire();
  const auto waiter = StartAcquire(client());
  ASSERT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));

  Sigterm();
  EXPECT_THAT(waiter->Get(), FailsWith(StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_THAT(client().Acquire(), FailsWith(StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_TRUE(NotServing());
  EXPECT_THAT(client().Execute(held.token, "INSERT INTO deeds VALUES ('last')"), IsOk());
  EXPECT_THAT(client().Renew(held.token), IsOk());
  EXPECT_EQ(client().Stats().counters().rejected(), 2);
  EXPECT_THAT(client().Release(held.token), IsOk());

  EXPECT_EQ(server().process().AwaitEnd(), 0);
  EXPECT_EQ(observer().PglessorBackends(), 0);
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 1);
}

TEST_F(DrainTest, WithoutLeasesItEndsAtOnce) {
  Serve(3, 5, {"--drain-timeout=1h"});
  Sigterm();
  EXPECT_EQ(server().process().AwaitEnd(), 0);
  EXPECT_EQ(observer().PglessorBackends(), 0);
}

TEST_F(DrainTest, AtItsTimeoutLeasesEndDrained) {
  Serve(2, 2, {"--drain-timeout=300ms"});
  const Held outside = Acquire();
  const Held inside = Acquire();
  EXPECT_THAT(client().Execute(inside.token, "BEGIN"), IsOk());
  const auto unknown = StartExecute(client(), Statement(outside.token, "SELECT pg_sleep(600)"));
  const auto not_done = StartExecute(client(), Statement(inside.token, "SELECT pg_sleep(600)"));
  for (const Held* held : {&outside, &inside}) {
    ASSERT_TRUE(observer().AwaitAsleep(held->lease.backend_pid()));
  }
  Sigterm();
  const Result cut = unknown->Get();
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "LEASE_DRAINED");
  EXPECT_THAT(not_done->Get(), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_DRAINED"));
  EXPECT_EQ(server().process().AwaitEnd(), 0);
  EXPECT_EQ(observer().PglessorBackends(), 0);
}

TEST_F(DrainTest, ASecondSignalEndsItAtOnce) {
  Serve(1, 1, {"--drain-timeout=1h"});
  const Held held = Acquire();
  Sigterm();
  ASSERT_TRUE(AwaitDraining());
  Sigterm();
  EXPECT_EQ(server().process().AwaitEnd(), 1);
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
}

TEST_F(DrainTest, SigintDrainsToo) {
  Serve(1, 1);
  server().process().Signal(SIGINT);
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST_F(DrainTest, AKilledServersBackendsAreGoneAndItsPlaceIsFree) {
  Serve(2, 2);
  const Held held = Acquire();
  const auto sleep = StartExecute(client(), Statement(held.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(held.lease.backend_pid()));
  server().Kill();
  EXPECT_FALSE(sleep->Get().ok());
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
  Serve(2, 2);
  EXPECT_TRUE(AwaitRest());
}

}  // namespace
}  // namespace pglessor::system

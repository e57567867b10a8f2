// Drain over gRPC: what SIGTERM does, asked for by an operator.
#include <chrono>
#include <csignal>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/operators.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using testing::ElementsAre;

class DrainCallTest : public SystemTest {
 protected:
  Operators operators() { return Operators(client()); }

  // How far from now, by the wall clock of this machine, which is the server's too.
  static nanoseconds FromNow(const google::protobuf::Timestamp& time) {
    return Nanoseconds(time) - std::chrono::system_clock::now().time_since_epoch();
  }
  bool NotServing() {
    const Client::Context context = Client::NewContext();
    grpc::health::v1::HealthCheckResponse response;
    const auto health = grpc::health::v1::Health::NewStub(client().channel());
    return health->Check(context.get(), {}, &response).ok() &&
           response.status() == grpc::health::v1::HealthCheckResponse::NOT_SERVING;
  }
};

TEST_F(DrainCallTest, AnswersAtOnceAndStandsThen) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto waiter = StartAcquire(client());
  ASSERT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));

  const auto drain = operators().Drain(hours(1));
  ASSERT_THAT(drain, IsOk());
  EXPECT_EQ(drain.response.leases(), 1);
  EXPECT_LE(FromNow(drain.response.deadline_time()), hours(1));
  EXPECT_GT(FromNow(drain.response.deadline_time()), hours(1) - minutes(1));
  EXPECT_THAT(client().Acquire(), FailsWith(StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_THAT(waiter->Get(), FailsWith(StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_TRUE(NotServing());
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
  EXPECT_THAT(client().Renew(held.token), IsOk());
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_EQ(server().process().AwaitEnd(), 0);
  EXPECT_EQ(observer().PglessorBackends(), 0);
}

TEST_F(DrainCallTest, ASecondOneKeepsTheFirstDeadline) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto first = operators().Drain(hours(1));
  const auto second = operators().Drain(seconds(0));
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(Nanoseconds(second.response.deadline_time()), Nanoseconds(first.response.deadline_time()));
  EXPECT_EQ(second.response.leases(), 1);
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST_F(DrainCallTest, NoLeaseIsRenewedPastItsDeadline) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto drain = operators().Drain(minutes(5));
  v1::RenewRequest renew;
  renew.set_lease_token(held.token);
  *renew.mutable_ttl() = Span(minutes(30));
  const auto renewed = client().Renew(renew);
  ASSERT_THAT(renewed, IsOk());
  EXPECT_LE(Nanoseconds(renewed.response.lease().ttl()), minutes(5));
  EXPECT_THAT(client().Release(held.token), IsOk());
}

TEST_F(DrainCallTest, WithATimeoutOfZeroLeasesEndAtOnce) {
  Serve(1, 1, {"--drain-timeout=1h"});
  const Held held = Acquire();
  const auto statement = StartExecute(client(), Statement(held.token, "SELECT pg_sleep(600)"));
  ASSERT_TRUE(observer().AwaitAsleep(held.lease.backend_pid()));
  EXPECT_THAT(operators().Drain(seconds(0)), IsOk());
  EXPECT_EQ(statement->Get().Metadata("lease_reason"), "LEASE_DRAINED");
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST_F(DrainCallTest, WithoutATimeoutTheServersOwnCounts) {
  Serve(1, 1, {"--drain-timeout=2h"});
  const Held held = Acquire();
  const auto drain = operators().Drain();
  EXPECT_LE(FromNow(drain.response.deadline_time()), hours(2));
  EXPECT_GT(FromNow(drain.response.deadline_time()), hours(2) - minutes(1));
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST_F(DrainCallTest, BadTimeoutsAreRefusedAndNothingDrains) {
  Serve(1, 1);
  const std::pair<int64_t, int32_t> bad[] = {
      {-1, 0}, {0, -1}, {1, -1}, {0, 1'000'000'000}, {std::numeric_limits<int64_t>::max(), 0}};
  for (const auto& [whole, nanos] : bad) {
    v1::DrainRequest request;
    request.mutable_timeout()->set_seconds(whole);
    request.mutable_timeout()->set_nanos(nanos);
    const auto refused = operators().Drain(request);
    EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID")) << whole << "." << nanos;
    EXPECT_THAT(refused.fields, ElementsAre("timeout"));
  }
  EXPECT_FALSE(NotServing());
  EXPECT_THAT(client().Release(Acquire().token), IsOk());
}

// As long as can be asked for: ten thousand years, which no clock here counts.
TEST_F(DrainCallTest, AVeryLongTimeoutIsNoNegativeOne) {
  Serve(1, 1);
  const Held held = Acquire();
  v1::DrainRequest request;
  request.mutable_timeout()->set_seconds(315'576'000'000);
  const auto drain = operators().Drain(request);
  ASSERT_THAT(drain, IsOk());
  EXPECT_GT(FromNow(drain.response.deadline_time()), hours(24 * 365 * 100));
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

// The first SIGTERM says again what was said; the next one means it.
TEST_F(DrainCallTest, ASignalDuringItGoesOnWithItAndASecondEndsIt) {
  Serve(1, 1);
  const Held held = Acquire();
  EXPECT_THAT(operators().Drain(hours(1)), IsOk());
  server().process().Signal(SIGTERM);
  EXPECT_THAT(client().Execute(held.token, "SELECT pg_sleep(0.1)"), IsOk());
  EXPECT_THAT(client().Renew(held.token), IsOk());
  server().process().Signal(SIGTERM);
  EXPECT_EQ(server().process().AwaitEnd(), 1);
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
}

TEST_F(DrainCallTest, AfterASignalItTellsOfThatDrain) {
  Serve(1, 1, {"--drain-timeout=2h"});
  const Held held = Acquire();
  server().process().Signal(SIGTERM);
  ASSERT_TRUE(Eventually([&] { return NotServing(); }));
  const auto drain = operators().Drain(seconds(0));
  ASSERT_THAT(drain, IsOk());
  EXPECT_GT(FromNow(drain.response.deadline_time()), hours(1));
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

}  // namespace
}  // namespace pglessor::system

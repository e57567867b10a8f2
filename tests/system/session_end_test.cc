// How a Session's lease ends: with its stream, by others, by time, with the service.
#include <chrono>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/service.h"
#include "tests/system/support/session_stream.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;

class SessionEndTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 1); }
};

TEST_F(SessionEndTest, ALostStreamEndsItsLeaseAtOnce) {
  database().MakeTable("deeds", "deed text");
  for (const char* last : {"INSERT INTO deeds VALUES ('unfinished')", "SELECT pg_sleep(600)",
                           "SELECT repeat('x', 1000), generate_series(1, 100000000)"}) {
    SessionStream stream(client());
    const v1::Lease lease = stream.Begin();
    EXPECT_THAT(stream.Run("BEGIN"), IsOk());
    stream.Execute(8, last);
    EXPECT_TRUE(Eventually([&] { return observer().Activity(lease.backend_pid(), "query") == last; }));
    stream.Break();
    EXPECT_TRUE(AwaitRest()) << last;
  }
  EXPECT_EQ(client().Stats().counters().released(), 3);
}

TEST_F(SessionEndTest, ALostStreamLeavesTheQueue) {
  const Held held = Acquire();
  {
    SessionStream stream(client());
    stream.Acquire(1);
    EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  }
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 0; }));
}

TEST_F(SessionEndTest, ARevocationIsToldAsItHappens) {
  SessionStream stream(client());
  const v1::Lease lease = stream.Begin();
  v1::ExpireRequest expire;
  expire.set_lease_id(lease.lease_id());
  EXPECT_THAT(client().Expire(expire), IsOk());
  const v1::SessionResponse ended = stream.Read();
  EXPECT_EQ(ended.id(), 0);
  EXPECT_EQ(ended.ended().lease().lease_id(), lease.lease_id());
  EXPECT_EQ(ended.ended().lease().end_reason(), v1::END_REASON_REVOKED);
  stream.Execute(2, "SELECT 1");
  EXPECT_THAT(stream.ReadError(2), FailsWith(StatusCode::FAILED_PRECONDITION, "NO_LEASE"));
  EXPECT_NE(stream.Begin().lease_id(), "") << "another may follow";
}

TEST_F(SessionEndTest, ADeadConnectionIsToldToo) {
  SessionStream stream(client());
  const v1::Lease lease = stream.Begin();
  stream.Execute(2, "SELECT pg_sleep(600)");
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  observer().Terminate(lease.backend_pid());
  bool told = false, answered = false;
  for (int i = 0; i < 2; ++i) {  // in either order
    const v1::SessionResponse response = stream.Read();
    if (response.has_ended()) {
      told = true;
      EXPECT_EQ(response.ended().lease().end_reason(), v1::END_REASON_CONNECTION_LOST);
    } else {
      answered = true;
      EXPECT_EQ(response.id(), 2);
      EXPECT_EQ(response.error().code(), StatusCode::UNKNOWN);
    }
  }
  EXPECT_TRUE(told && answered);
}

TEST_F(SessionEndTest, ATtlIsAHardEndThatRenewMoves) {
  SessionStream stream(client());
  stream.Begin(AcquireFor(std::chrono::seconds(3)));
  stream.Renew(3, std::chrono::seconds(60));
  EXPECT_TRUE(stream.Read().has_renewed());
  EXPECT_THAT(stream.Run("SELECT pg_sleep(3.2)"), IsOk());
  stream.Renew(4, milliseconds(200));
  EXPECT_TRUE(stream.Read().has_renewed());
  const v1::SessionResponse ended = stream.Read();
  EXPECT_EQ(ended.ended().lease().end_reason(), v1::END_REASON_EXPIRED);
}

TEST_F(SessionEndTest, ARunningStatementsLeaseThatExpiresHasAnUnknownOutcome) {
  SessionStream stream(client());
  stream.Begin(AcquireFor(std::chrono::seconds(2)));
  stream.Execute(2, "SELECT pg_sleep(600)");
  const Outcome cut = stream.ReadResult(2);
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "LEASE_EXPIRED");
  EXPECT_TRUE(stream.Read().has_ended());
}

TEST_F(SessionEndTest, WhileTheServiceDrainsAcquireIsRefusedAndStatementsGoOn) {
  server_.reset();
  Serve(1, 1, {"--drain-timeout=60s"});
  SessionStream stream(client());
  stream.Begin();
  SessionStream waiting(client());
  waiting.Acquire(1);
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  server().process().Signal(SIGTERM);
  EXPECT_THAT(waiting.ReadError(1), FailsWith(StatusCode::UNAVAILABLE, "DRAINING"));
  waiting.Acquire(2);
  EXPECT_THAT(waiting.ReadError(2), FailsWith(StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_THAT(stream.Run("SELECT 1"), IsOk());
  stream.HalfClose();
  EXPECT_TRUE(stream.Finish().ok());
  waiting.Break();
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST_F(SessionEndTest, AtTheDrainsEndTheLeaseEndsDrained) {
  server_.reset();
  Serve(1, 1, {"--drain-timeout=300ms"});
  SessionStream stream(client());
  stream.Begin();
  server().process().Signal(SIGTERM);
  EXPECT_EQ(stream.Read().ended().lease().end_reason(), v1::END_REASON_DRAINED);
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST(SessionRenewalTest, ALeaseWithoutATtlLivesAsLongAsItsStreamOrItsCall) {
  core::PoolOptions options;
  options.min_connections = options.max_connections = 1;
  options.default_ttl = milliseconds(300);
  Service server(options);
  Client client(server.address());
  {
    SessionStream stream(client);
    const v1::Lease lease = stream.Begin();
    EXPECT_EQ(Nanoseconds(lease.ttl()), milliseconds(300));
    EXPECT_THAT(stream.Run("SELECT pg_sleep(1)"), IsOk()) << "while a statement runs";
    stream.HalfClose();
    EXPECT_TRUE(stream.Finish().ok());
  }
  v1::ExecuteRequest once = Statement("", "SELECT pg_sleep(1)");
  once.mutable_once();
  EXPECT_THAT(client.Execute(once), IsOk());
  EXPECT_EQ(client.Stats().counters().expired(), 0);
}

}  // namespace
}  // namespace pglessor::system

// Leases and statements on one stream.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "pglessor/retry.h"
#include "tests/client/support/client_fixture.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;

class ClientSession : public ClientFixture {
 protected:
  Session Open() {
    absl::StatusOr<Session> session = lessor().NewSession();
    EXPECT_THAT(session, IsOk());
    return *std::move(session);
  }
  Session OpenAndAcquire() {
    Session session = Open();
    EXPECT_THAT(session.Acquire({.holder = "session"}), IsOk());
    return session;
  }
};

TEST_F(ClientSession, LeasesOneAfterAnotherOnOneStream) {
  Session session = OpenAndAcquire();
  const std::string first = session.lease_id();
  const uint64_t token = session.fencing_token();
  EXPECT_EQ(session.Execute("SELECT $1::int4 + 1", 41)->value<int>().value(), 42);
  EXPECT_EQ(session.Execute("SELECT pg_backend_pid()")->value<int>().value(), session.backend_pid());
  ASSERT_THAT(session.Execute("BEGIN"), IsOk());
  const absl::StatusOr<ReleaseResult> released = session.Release();
  ASSERT_THAT(released, IsOk());
  EXPECT_TRUE(released->rolled_back);
  EXPECT_EQ(client().Stats().in_use(), 0);
  EXPECT_THAT(session.Execute("SELECT 1"), FailsWith(StatusCode::kFailedPrecondition, "NO_LEASE"));
  ASSERT_THAT(session.Acquire(), IsOk());
  EXPECT_NE(session.lease_id(), first);
  EXPECT_GT(session.fencing_token(), token);
  EXPECT_EQ(session.Execute("SELECT generate_series(1, 1000)")->size(), 1000U);
}

TEST_F(ClientSession, EachOfManyStatementsHasItsOwnOutcomeInOrder) {
  Session session = OpenAndAcquire();
  std::vector<Statement> statements;
  for (int i = 0; i < 500; ++i) {
    statements.emplace_back(i % 100 == 7 ? "SELECT 1 / ($1::int4 - $1)" : "SELECT $1::int4",
                            std::vector<Value>{i});
  }
  const auto results = session.ExecuteAll(statements);
  ASSERT_EQ(results.size(), statements.size());
  for (int i = 0; i < 500; ++i) {
    const absl::StatusOr<Result>& result = results[static_cast<size_t>(i)];
    if (i % 100 == 7) {
      EXPECT_THAT(result, FailsWith(StatusCode::kInvalidArgument, "SQL_ERROR")) << i;
    } else {
      ASSERT_THAT(result, IsOk()) << i;
      EXPECT_EQ(result->value<int>().value(), i);
    }
  }
  EXPECT_TRUE(session.ExecuteAll({}).empty());
}

// More than fits into what stands between the two sides, both ways at once.
TEST_F(ClientSession, LargeStatementsAndAnswersDoNotBlockEachOther) {
  Session session = OpenAndAcquire();
  const std::string text(300'000, 'x');
  const std::vector<Statement> statements(50, Statement("SELECT $1::text", {text}));
  for (const absl::StatusOr<Result>& result : session.ExecuteAll(statements)) {
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result->value<std::string>()->size(), text.size());
  }
}

TEST_F(ClientSession, ItsEndEndsTheLease) {
  {
    Session session = OpenAndAcquire();
    ASSERT_THAT(session.Execute("BEGIN"), IsOk());
    EXPECT_EQ(client().Stats().in_use(), 1);
  }
  EXPECT_TRUE(AwaitRest());
  Session session = OpenAndAcquire();
  session = Open();
  EXPECT_TRUE(AwaitRest()) << "the one that was replaced";
}

TEST_F(ClientSession, ALeaseThatIsTakenAwayShowsInTheNextCall) {
  Session session = OpenAndAcquire();
  v1::ExpireRequest expire;
  expire.set_lease_id(session.lease_id());
  EXPECT_THAT(client().Expire(expire).status.error_code(), grpc::StatusCode::OK);
  const absl::StatusOr<Result> refused = session.Execute("SELECT 1");
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(session.Acquire(), IsOk()) << "and the session goes on";
  EXPECT_THAT(session.Execute("SELECT 1"), IsOk());
}

TEST_F(ClientSession, ATimeoutCancelsTheStatement) {
  Session session = OpenAndAcquire();
  Statement slow("SELECT pg_sleep(600)");
  slow.timeout = milliseconds(200);
  EXPECT_THAT(session.Execute(slow), FailsWith(StatusCode::kDeadlineExceeded, "SQL_ERROR"));
  EXPECT_THAT(session.Execute("SELECT 1"), IsOk());
}

TEST_F(ClientSession, ABrokenStreamLeavesAnUnknownOutcomeAndRunsNothingMore) {
  Session session = OpenAndAcquire();
  server().Kill();
  const absl::StatusOr<Result> cut = session.Execute("SELECT 1");
  EXPECT_THAT(cut.status().code(), testing::AnyOf(StatusCode::kUnknown, StatusCode::kUnavailable));
  const absl::StatusOr<Result> after = session.Execute("SELECT 1");
  EXPECT_EQ(after.status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(session.Acquire().code(), StatusCode::kUnavailable);
  EXPECT_EQ(session.Release().status().code(), StatusCode::kUnavailable);
}

TEST_F(ClientSession, MovedFromItFails) {
  Session session = OpenAndAcquire();
  const Session other = std::move(session);
  // NOLINTNEXTLINE(bugprone-use-after-move): what is tested
  EXPECT_EQ(session.Execute("SELECT 1").status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(session.Acquire().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(session.lease_id(), "");
}

TEST_F(ClientSession, ARetryWaitsForCapacity) {
  Session session = OpenAndAcquire();
  int attempts = 0;
  const absl::StatusOr<Result> served = Retry({.first_pause = milliseconds(1)}, [&] {
    if (++attempts == 3) {
      EXPECT_THAT(session.Release(), IsOk());
      EXPECT_TRUE(AwaitRest());
    }
    return lessor().Once(Statement("SELECT 7"), {.wait_timeout = milliseconds(0)});
  });
  ASSERT_THAT(served, IsOk());
  EXPECT_EQ(attempts, 3);
}

}  // namespace
}  // namespace pglessor

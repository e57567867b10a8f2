// One statement on a lease that lives no longer.
#include <chrono>
#include <string>

#include "tests/client/support/client_fixture.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;

class ClientOnce : public ClientFixture {};

TEST_F(ClientOnce, RunsAndKeepsNothing) {
  const absl::StatusOr<Result> next = lessor().Once("SELECT $1::int4 + 1", 41);
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->value<int>().value(), 42);
  EXPECT_EQ(client().Stats().in_use(), 0);
  EXPECT_EQ(client().Stats().counters().released(), 1);
  EXPECT_EQ(lessor().Once("SELECT generate_series(1, 1000)")->size(), 1000U);
}

TEST_F(ClientOnce, FailsAsTheStatementOrTheAcquireDoes) {
  EXPECT_THAT(lessor().Once("SELECT 1 / 0"), FailsWith(StatusCode::kInvalidArgument, "SQL_ERROR"));
  EXPECT_THAT(lessor().Once(Statement("SELECT 1"), {.pool = "elsewhere"}),
              FailsWith(StatusCode::kNotFound, "POOL_NOT_FOUND"));
  const Lease held = Acquire();
  EXPECT_THAT(lessor().Once(Statement("SELECT 1"), {.wait_timeout = milliseconds(0)}),
              FailsWith(StatusCode::kResourceExhausted, "NO_IDLE_CONNECTION"));
}

TEST_F(ClientOnce, ItsTimeoutAndItsTtlEndIt) {
  Statement slow("SELECT pg_sleep(600)");
  EXPECT_THAT(lessor().Once(slow, {.ttl = milliseconds(200)}),
              FailsWith(StatusCode::kUnknown, "COMMIT_OUTCOME_UNKNOWN"));
  slow.timeout = milliseconds(200);
  EXPECT_EQ(lessor().Once(slow).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(AwaitRest());
}

TEST_F(ClientOnce, ASlowStatementOutlivesTheTtlThatLeasesHave) {
  absl::StatusOr<Client> impatient =
      Client::Create({.address = server().address(), .acquire = {.ttl = milliseconds(100)}});
  ASSERT_THAT(impatient, IsOk());
  EXPECT_THAT(impatient->Once("SELECT pg_sleep(0.4)"), IsOk());
}

}  // namespace
}  // namespace pglessor

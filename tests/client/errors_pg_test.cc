// What a caller learns when something fails.
#include <chrono>

#include "absl/strings/match.h"

#include "tests/client/support/client_fixture.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::Field;
using testing::Key;

class ClientErrors : public ClientFixture {};

TEST_F(ClientErrors, WrongSqlTellsItsSqlState) {
  Lease lease = Acquire();
  const absl::StatusOr<Result> failed = lease.Execute("SELECT * FROM nowhere");
  EXPECT_THAT(failed, FailsWith(StatusCode::kInvalidArgument, "SQL_ERROR"));
  EXPECT_EQ(SqlState(failed.status()), "42P01");
  EXPECT_THAT(ErrorMetadata(failed.status()), Contains(Key("position")));
  EXPECT_FALSE(lease.lost()) << "the lease lives on";
  EXPECT_THAT(lease.Execute("SELECT 1"), IsOk());
}

TEST_F(ClientErrors, APoolThatIsFullSaysWhenToTryAgain) {
  const Lease held = Acquire();
  const absl::StatusOr<Lease> none = lessor().Acquire({.wait_timeout = milliseconds(50)});
  EXPECT_THAT(none, FailsWith(StatusCode::kResourceExhausted, "POOL_EXHAUSTED"));
  EXPECT_NE(RetryDelay(none.status()), std::nullopt);
  EXPECT_EQ(ErrorMetadata(none.status())["max"], "1");
}

TEST_F(ClientErrors, AWrongFieldIsNamed) {
  const absl::StatusOr<Lease> none = lessor().Acquire({.ttl = seconds(0)});
  EXPECT_THAT(none, FailsWith(StatusCode::kInvalidArgument, "FIELD_INVALID"));
  EXPECT_THAT(FieldViolations(none.status()), Contains(Field(&Violation::subject, "ttl")));
}

TEST_F(ClientErrors, AnUnknownPoolIsSaid) {
  EXPECT_THAT(lessor().Acquire({.pool = "nowhere"}), FailsWith(StatusCode::kNotFound, "POOL_NOT_FOUND"));
}

TEST_F(ClientErrors, AcquireEndsAtItsTimeout) {
  const Lease held = Acquire();
  EXPECT_THAT(lessor().Acquire({.timeout = milliseconds(50)}), FailsWith(StatusCode::kDeadlineExceeded, ""));
}

TEST_F(ClientErrors, AStatementEndsAtItsOwnTimeout) {
  Lease lease = Acquire();
  Statement slow("SELECT pg_sleep(600)");
  slow.statement_timeout = milliseconds(50);
  const absl::StatusOr<Result> failed = lease.Execute(slow);
  EXPECT_THAT(failed, FailsWith(StatusCode::kDeadlineExceeded, "SQL_ERROR"));
  EXPECT_EQ(SqlState(failed.status()), "57014");
}

TEST_F(ClientErrors, ACallEndsAtItsDeadlineAndTheLeaseIsReadyAgain) {
  Lease lease = Acquire();
  Statement slow("SELECT pg_sleep(600)");
  slow.timeout = milliseconds(50);
  EXPECT_THAT(lease.Execute(slow), FailsWith(StatusCode::kDeadlineExceeded, ""));
  EXPECT_FALSE(lease.lost());
  EXPECT_THAT(lease.Execute("SELECT 1"), IsOk()) << "no LEASE_BUSY while the server still cancels";
}

}  // namespace
}  // namespace pglessor

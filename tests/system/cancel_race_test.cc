// Cancels that race with the end of their statement: of the call, by its caller; of the lease, by its holder
// or an operator. None of them may hit what runs next on that connection.
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;

class CancelRaceTest : public SystemTest {
 protected:
  static constexpr char kCancelled[] = "canceling statement due to user request";

  void SetUp() override { Serve(1, 1); }

  // The lease's next statement runs to its end, once the cancelled one has let go of the lease.
  void ExpectUntouched(const Held& held, int round) {
    Result next;
    do {
      next = client().Execute(held.token, "SELECT 7 FROM pg_sleep(0.002)");
    } while (next.reason == "LEASE_BUSY");
    EXPECT_EQ(next.Value(), "int_value: 7") << round;
  }
};

TEST_F(CancelRaceTest, ThreeHundredHitNobodyElse) {
  constexpr int kRounds = 300;
  const int cancelled_before = database().LogLines(kCancelled);
  Held held = Acquire();
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    const Client::Context context = Client::NewContext();
    const auto reader = client().sql().Execute(
        context.get(), Statement(held.token, absl::StrCat("SELECT pg_sleep(", round % 20, " * 0.0002)")));
    switch (round % 3) {
      case 0:
        context->TryCancel();
        break;
      case 1:
        EXPECT_THAT(client().Release(held.token), IsOk());
        held = Acquire();
        break;
      default:
        v1::ExpireRequest expire;
        expire.set_lease_id(held.lease.lease_id());
        EXPECT_EQ(client().Expire(expire).response.leases_ended(), 1);
        held = Acquire();
    }
    ExpectUntouched(held, round);
    for (v1::ExecuteResponse part; reader->Read(&part);) continue;
    const Outcome cut = OutcomeOf(reader->Finish());
    EXPECT_THAT(cut, testing::AnyOf(IsOk(), FailsWith(StatusCode::CANCELLED),
                                    FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_RELEASED"),
                                    FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_REVOKED"),
                                    FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN")))
        << round;
  }
  const int cancelled = database().LogLines(kCancelled) - cancelled_before;
  RecordProperty("cancelled", cancelled);
  EXPECT_GT(cancelled, 0) << "none met its statement, so nothing was tried";
  EXPECT_EQ(client().Stats().counters().connections_closed(), 0) << "one hit a cleaning";
}

}  // namespace
}  // namespace pglessor::system

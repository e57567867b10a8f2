// What no test of the Lessor can bring about at will: that something overtakes a place's giving up.
#include "server/core/request_table.h"

#include <chrono>
#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr Time kStart{};
constexpr Duration kUnclaimedTimeout = 5s;
constexpr LeaseCounter kLease{7};

class RequestTableTest : public testing::Test {
 protected:
  RequestTable::AttemptRef Join(Time since, RequestTable::Joined& joined) {
    AcquireRequest request;
    request.request_id = "7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001";
    // Shared with the table.
    auto attempt = std::make_shared<RequestTable::Attempt>();
    attempt->since = since;
    attempt->deadline = attempt->unqueued_deadline = since + 1min;
    joined = *table_.Join(request, kUnclaimedTimeout, attempt);
    return attempt;
  }

  // An acquire whose caller has gone, and whose place is being given up.
  RequestTable::AttemptRef GivenUp() {
    RequestTable::Joined joined;
    RequestTable::AttemptRef first = Join(kStart, joined);
    EXPECT_TRUE(joined.first);
    EXPECT_FALSE(table_.Queued(first, {}).given_up);
    table_.Over(first, /*delivered=*/false, kStart);
    EXPECT_THAT(table_.TakeDue(kStart + kUnclaimedTimeout).places, SizeIs(1));
    return first;
  }

  RequestTable table_;
};

TEST_F(RequestTableTest, AGrantThatOvertakesTheGivingUpIsGivenUpAndRemembered) {
  const RequestTable::AttemptRef first = GivenUp();
  EXPECT_TRUE(table_.Granted(first, kLease).given_up);
  RequestTable::Joined joined;
  const RequestTable::AttemptRef retry = Join(kStart + 6s, joined);
  EXPECT_FALSE(joined.first) << "never a second lease while the first is remembered";
  EXPECT_EQ(joined.lease, kLease);
  EXPECT_TRUE(joined.giving_up);
  table_.Over(retry, /*delivered=*/false, kStart + 6s);
  table_.Forget(kLease);
  EXPECT_EQ(table_.size(), 0);
}

TEST_F(RequestTableTest, ARetryThatOvertakesItTakesTheGrant) {
  const RequestTable::AttemptRef first = GivenUp();
  RequestTable::Joined joined;
  const RequestTable::AttemptRef retry = Join(kStart + 6s, joined);
  EXPECT_FALSE(joined.first);
  const RequestTable::Answer answer = table_.Granted(first, kLease);
  EXPECT_FALSE(answer.given_up);
  EXPECT_THAT(answer.attempts, ElementsAre(retry));
}

TEST_F(RequestTableTest, ARetryThatOvertakesItQueuesAgainWhereThePlaceIsGone) {
  const RequestTable::AttemptRef first = GivenUp();
  RequestTable::Joined joined;
  const RequestTable::AttemptRef retry = Join(kStart + 6s, joined);
  const RequestTable::Answer cancelled = table_.Failed(first);
  EXPECT_THAT(cancelled.attempts, IsEmpty());
  EXPECT_EQ(cancelled.again, kStart + 6s + 1min);
  EXPECT_FALSE(table_.Queued(first, {}).given_up);
  EXPECT_THAT(table_.Failed(first).attempts, ElementsAre(retry)) << "of what fails then it is told";
  EXPECT_EQ(table_.size(), 0);
}

TEST_F(RequestTableTest, APlaceThatIsFoundAfterTheGivingUpIsToBeCancelled) {
  const RequestTable::AttemptRef first = GivenUp();
  EXPECT_TRUE(table_.Queued(first, {.pool = nullptr, .waiter = {}, .step = 1}).given_up)
      << "in the fallback's queue";
  EXPECT_THAT(table_.Failed(first).attempts, IsEmpty());
  EXPECT_EQ(table_.size(), 0);
}

}  // namespace
}  // namespace pglessor::core

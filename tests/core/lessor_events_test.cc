// What is told of the lives of connections, leases and waiters, and in which order.
#include <chrono>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/lessor.h"
#include "tests/core/lessor_fixture.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

class LessorEventsTest : public LessorTest {
 protected:
  class Recorder : public EventSink {
   public:
    void OnEvent(const Event& event) override { events.push_back(event); }
    std::vector<EventType> Types() const {
      std::vector<EventType> types;
      for (const Event& event : events) types.push_back(event.type);
      return types;
    }
    std::vector<Event> events;
  };

  LessorEventsTest() {
    for (int type = 0; type <= static_cast<int>(EventType::kDrainStarted); ++type) {
      events_.AddSink(recorder_, {static_cast<EventType>(type)});
    }
  }

  Recorder recorder_;
};

TEST_F(LessorEventsTest, FollowAConnectionAndItsLease) {
  StartPool({.min_connections = 1, .max_connections = 1});
  AcquireRequest request;
  request.tenant = "t";
  request.holder = "billing";
  const LeaseView lease = Granted(Acquire(std::move(request)));
  clock_.Advance(2s);
  Execute(lease.grant.counter, "SELECT 1");
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), test::IsOk());
  Release(lease.grant.counter, Disposition::kReturn);
  EXPECT_THAT(recorder_.Types(),
              ElementsAre(EventType::kConnectionOpened, EventType::kLeaseGranted,
                          EventType::kConnectionLeased, EventType::kLeaseRenewed, EventType::kLeaseReleased,
                          EventType::kConnectionReleased, EventType::kConnectionCleaned));
  const Event& opened = recorder_.events[0];
  EXPECT_EQ(opened.pool, "default");
  EXPECT_EQ(opened.connection_id, FormatConnectionId(lease.grant.connection, lease.grant.connection_opened));
  EXPECT_EQ(opened.reason, "for the minimum");
  EXPECT_EQ(opened.total, 1);
  EXPECT_EQ(opened.max, 1);
  EXPECT_EQ(opened.generation, 1U);
  const Event& granted = recorder_.events[1];
  EXPECT_EQ(granted.lease, lease.grant.counter);
  EXPECT_EQ(granted.tenant, "t");
  EXPECT_EQ(granted.holder, "billing");
  EXPECT_EQ(granted.fencing_token, lease.grant.fencing_token);
  const Event& ended = recorder_.events[4];
  EXPECT_EQ(ended.end_reason, EndReason::kReleased);
  EXPECT_EQ(ended.held, 2s);
}

TEST_F(LessorEventsTest, TellOnceThatThePoolIsFull) {
  StartPool({.min_connections = 1, .max_connections = 1});
  Granted(Acquire(WithTtl(1h)));
  recorder_.events.clear();
  Acquire(WithWait(1s));
  Acquire(WithWait(1s));
  EXPECT_THAT(recorder_.Types(),
              ElementsAre(EventType::kWaiterQueued, EventType::kPoolSaturated, EventType::kWaiterQueued));
  recorder_.events.clear();
  clock_.Advance(1s);
  lessor_->Tick();
  EXPECT_THAT(recorder_.Types(), ElementsAre(EventType::kWaiterLeft, EventType::kWaiterLeft));
}

TEST_F(LessorEventsTest, SayWhyAConnectionWasOpenedAndWhyItRetired) {
  StartPool({.min_connections = 0, .max_connections = 1});
  const LeaseView lease = Granted(Acquire());
  EXPECT_EQ(recorder_.events[1].type, EventType::kConnectionOpened);
  EXPECT_EQ(recorder_.events[1].reason, "on demand");
  recorder_.events.clear();
  Release(lease.grant.counter, Disposition::kDiscard);
  EXPECT_THAT(recorder_.Types(), ElementsAre(EventType::kLeaseReleased, EventType::kConnectionReleased,
                                             EventType::kConnectionRetired, EventType::kConnectionClosed));
  EXPECT_EQ(recorder_.events[2].reason, "its lease ended in a way that left it unfit");
  EXPECT_EQ(recorder_.events[3].reason, "its lease ended in a way that left it unfit");
}

TEST_F(LessorEventsTest, SayOfALeasedConnectionThatItsBackendDied) {
  StartPool({.min_connections = 0, .max_connections = 1});
  const LeaseView lease = Granted(Acquire());
  recorder_.events.clear();
  ConnectionOf(lease)->Die();
  executor_.RunDue();
  EXPECT_THAT(recorder_.Types(), ElementsAre(EventType::kLeaseEnded, EventType::kConnectionReleased,
                                             EventType::kConnectionRetired, EventType::kConnectionClosed));
  EXPECT_EQ(recorder_.events[2].reason, "its backend died");
  EXPECT_EQ(recorder_.events[3].reason, "its backend died");
}

TEST_F(LessorEventsTest, TellOfALeaseThatRenewsItself) {
  StartPool({.min_connections = 1, .max_connections = 1});
  AcquireRequest request;
  request.ttl = 30s;
  request.renewal = Renewal::kByItself;
  const LeaseView lease = Granted(Acquire(std::move(request)));
  recorder_.events.clear();
  clock_.Advance(10s - 1ns);
  lessor_->Tick();
  EXPECT_THAT(recorder_.Types(), IsEmpty());
  clock_.Advance(1ns);
  lessor_->Tick();
  ASSERT_THAT(recorder_.Types(), ElementsAre(EventType::kLeaseRenewed));
  EXPECT_EQ(recorder_.events[0].lease, lease.grant.counter);
}

TEST_F(LessorEventsTest, CarryWhatTheOperatorSaid) {
  StartPool({.min_connections = 1, .max_connections = 1});
  const LeaseView lease = Granted(Acquire());
  recorder_.events.clear();
  lessor_->Expire(lease.grant.counter, {EndReason::kRevoked, Disposition::kReturn, "it leaks"},
                  /*validate_only=*/false, [](const absl::StatusOr<Lessor::Expired>&) {});
  EXPECT_EQ(recorder_.events[0].type, EventType::kLeaseEnded);
  EXPECT_EQ(recorder_.events[0].reason, "it leaks");
  lessor_->Reset("default", /*force=*/false, "new password", [](const absl::StatusOr<PoolReport>&) {});
  const auto& reset = *std::find_if(recorder_.events.begin(), recorder_.events.end(),
                                    [](const Event& event) { return event.type == EventType::kPoolReset; });
  EXPECT_EQ(reset.reason, "new password");
  EXPECT_EQ(reset.generation, 2U);
}

TEST_F(LessorEventsTest, AreNotEvenGatheredWhereNobodyWantsThem) {
  Events quiet;
  Recorder recorder;
  quiet.AddSink(recorder, {EventType::kPoolReset});
  EXPECT_TRUE(quiet.Wants(EventType::kPoolReset));
  EXPECT_FALSE(quiet.Wants(EventType::kLeaseGranted));
  quiet.Emit({.type = EventType::kLeaseGranted});
  EXPECT_THAT(recorder.events, IsEmpty());
}

}  // namespace
}  // namespace pglessor::core

// Pools that come and go while others serve.
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/core/lessor_fixture.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;
using testing::ElementsAre;
using testing::IsEmpty;
using Stage = Pool::Stage;

class LessorPoolsTest : public LessorTest {
 protected:
  void SetUp() override { StartPool({.min_connections = 1, .max_connections = 1}); }

  void AddSpare(int32_t max, test::FakeConnector& connector, test::FakeFencingSource& fencing) {
    lessor_->AddPool({.name = "spare", .min_connections = max, .max_connections = max}, connector, fencing);
    executor_.RunDue();
  }
  void AddSpare(int32_t max) { AddSpare(max, spare_connector_, spare_fencing_); }
  void RemoveSpare(Duration timeout = 30s) {
    EXPECT_THAT(lessor_->RemovePool("spare", timeout, [this](Stage stage) { gone_.push_back(stage); }),
                IsOk());
    executor_.RunDue();
  }
  LeaseView HoldSpare(std::optional<Duration> ttl = 1h) {
    AcquireRequest request = OfPool("spare");
    request.ttl = ttl;
    return Granted(Acquire(std::move(request)));
  }
  std::shared_ptr<test::FakeConnection> SpareOf(const LeaseView& lease) const {
    return spare_connector_.WithPid(lease.grant.backend_pid);
  }
  void Tick(Duration span = Duration::zero()) {
    clock_.Advance(span);
    lessor_->Tick();
    executor_.RunDue();
    lessor_->Tick();
  }
  std::vector<std::string> Shown() {
    std::vector<std::string> names;
    const absl::StatusOr<std::vector<PoolView>> views = lessor_->Stats("");
    for (const PoolView& view : views.value()) names.push_back(view.options.name);
    return names;
  }

  test::FakeConnector spare_connector_{executor_};
  test::FakeFencingSource spare_fencing_{executor_};
  std::vector<Stage> gone_;
};

TEST_F(LessorPoolsTest, OneThatIsAddedOpensItsMinimumAndServes) {
  const LeaseView other = Granted(Acquire());
  AddSpare(2);
  EXPECT_EQ(spare_connector_.backends(), 2);
  EXPECT_EQ(HoldSpare().grant.pool, "spare");
  EXPECT_THAT(Shown(), ElementsAre("default", "spare"));
  EXPECT_EQ(connector_.opens_asked(), 1) << "its neighbour is as it was";
  EXPECT_THAT(lessor_->Renew(other.grant.counter, std::nullopt), IsOk());
}

TEST_F(LessorPoolsTest, OneThatIsAddedWhileTheServiceDrainsOpensNothing) {
  lessor_->Drain();
  AddSpare(2);
  EXPECT_EQ(spare_connector_.opens_asked(), 0);
  EXPECT_THAT(*Acquire(OfPool("spare")), HasReason("DRAINING"));
}

TEST_F(LessorPoolsTest, ARemovedOneIsFoundNoMoreAndItsWaitersAreToldAtOnce) {
  AddSpare(1);
  const LeaseView held = HoldSpare();
  const AcquireAnswer waiter = Acquire(OfPool("spare"));
  EXPECT_FALSE(waiter.here());
  RemoveSpare();
  ASSERT_TRUE(waiter.here());
  EXPECT_THAT(*waiter, HasReason("DRAINING"));
  EXPECT_THAT(*Acquire(OfPool("spare")), HasReason("POOL_NOT_FOUND"));
  EXPECT_THAT(lessor_->PausePool("spare", ""), HasReason("POOL_NOT_FOUND"));
  EXPECT_THAT(lessor_->RemovePool("spare", 30s, [](Stage) {}), HasReason("POOL_NOT_FOUND"));
  EXPECT_THAT(Execute(held.grant.counter, "SELECT 1")->end().error, IsOk());
}

TEST_F(LessorPoolsTest, ARemovedOnesConnectionsCloseAtOnceOrWhenTheyComeBack) {
  AddSpare(3);
  const LeaseView used = HoldSpare();
  const LeaseView unused = HoldSpare();
  Execute(used.grant.counter, "SELECT 1");
  RemoveSpare();
  EXPECT_EQ(spare_connector_.backends(), 2) << "the idle one has gone";
  Tick();
  EXPECT_THAT(gone_, IsEmpty());
  EXPECT_THAT(Shown(), ElementsAre("default", "spare"));
  EXPECT_EQ(lessor_->InUse(), 2);
  EXPECT_FALSE(lessor_->Empty());
  EXPECT_THAT(lessor_->ListConnections({}, std::nullopt, 10)->connections, testing::SizeIs(3));

  EXPECT_THAT(*Release(unused.grant.counter), IsOk());
  EXPECT_EQ(spare_connector_.backends(), 1);
  EXPECT_THAT(*Release(used.grant.counter), IsOk());
  EXPECT_EQ(spare_connector_.backends(), 0);
  Tick();
  Tick();
  EXPECT_THAT(gone_, ElementsAre(Stage::kGone));
  EXPECT_THAT(Shown(), ElementsAre("default"));
  EXPECT_THAT(lessor_->Stats("spare"), HasReason("POOL_NOT_FOUND"));
  EXPECT_EQ(spare_connector_.opens_asked(), 3) << "nothing is opened in their place";
}

TEST_F(LessorPoolsTest, OneThatIsOpeningWhenItIsRemovedClosesWhatComes) {
  spare_connector_.HoldOpens();
  AddSpare(1);
  RemoveSpare();
  Tick();
  EXPECT_THAT(gone_, IsEmpty());
  spare_connector_.CompleteOpen();
  executor_.RunDue();
  EXPECT_EQ(spare_connector_.backends(), 0);
  Tick();
  EXPECT_THAT(gone_, ElementsAre(Stage::kGone));
}

TEST_F(LessorPoolsTest, LeasesOfARemovedOneAreRenewedUpToItsTimeout) {
  AddSpare(1);
  const LeaseView other = Granted(Acquire());
  const LeaseView lease = HoldSpare(20s);
  RemoveSpare(30s);
  clock_.Advance(15s);
  EXPECT_EQ(lessor_->Renew(lease.grant.counter, 1h)->ttl, 15s);
  EXPECT_EQ(lessor_->Renew(other.grant.counter, 1h)->ttl, 1h);
  Tick(14s);
  EXPECT_THAT(gone_, IsEmpty());
  Tick(1s);
  EXPECT_EQ(spare_connector_.backends(), 0);
  EXPECT_THAT(gone_, ElementsAre(Stage::kGone));
}

TEST_F(LessorPoolsTest, LeasesOfARemovedOneThatAreLeftAtItsTimeoutEnd) {
  AddSpare(2);
  const LeaseView running = HoldSpare();
  const LeaseView idle = HoldSpare();
  SpareOf(running)->HoldStatements();
  const auto statement = Execute(running.grant.counter, "SELECT pg_sleep(60)");
  RemoveSpare(30s);
  Tick(29s);
  EXPECT_FALSE(statement->ended());
  Tick(1s);
  ASSERT_TRUE(statement->ended());
  EXPECT_EQ(test::MetadataOf(statement->end().error, "lease_reason"), "LEASE_DRAINED");
  EXPECT_THAT(lessor_->Renew(idle.grant.counter, std::nullopt), HasReason("LEASE_DRAINED"));
  Tick();
  EXPECT_THAT(gone_, ElementsAre(Stage::kGone));
  EXPECT_EQ(spare_connector_.backends(), 0);
}

TEST_F(LessorPoolsTest, LeasesThatRenewThemselvesEndWithARemovedOneToo) {
  AddSpare(1);
  AcquireRequest request = OfPool("spare");
  request.renewal = Renewal::kByItself;
  const LeaseView lease = Granted(Acquire(std::move(request)));
  RemoveSpare(1min);
  for (int second = 0; second < 59; ++second) Tick(1s);
  EXPECT_EQ(spare_connector_.backends(), 1);
  Tick(1s);
  EXPECT_EQ(spare_connector_.backends(), 0);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), HasReason("LEASE_DRAINED"));
}

TEST_F(LessorPoolsTest, ADrainOfTheServiceEndsThemSooner) {
  AddSpare(1);
  const LeaseView lease = HoldSpare();
  RemoveSpare(1h);
  lessor_->Drain(clock_.Now() + 10s);
  EXPECT_EQ(lessor_->Renew(lease.grant.counter, 1h)->ttl, 10s);
  lessor_->CloseAll();
  executor_.RunDue();
  EXPECT_TRUE(lessor_->Empty());
  EXPECT_EQ(spare_connector_.backends(), 0);
}

TEST_F(LessorPoolsTest, ARemovedOneIsGivenUpWherePostgresDoesNotConfirmItsEnd) {
  AddSpare(1);
  const LeaseView lease = HoldSpare();
  const auto connection = SpareOf(lease);
  connection->HoldClosings();
  RemoveSpare(1h);
  Tick(kGiveUpAfter * 2);
  EXPECT_THAT(gone_, IsEmpty()) << "it is lent";
  Release(lease.grant.counter);
  Tick(1s);
  connection->ReportStuck();
  executor_.RunDue();
  Tick(kGiveUpAfter - 1s);
  EXPECT_THAT(gone_, IsEmpty());
  Tick(1s);
  EXPECT_THAT(gone_, ElementsAre(Stage::kGivenUp));
  EXPECT_THAT(Shown(), ElementsAre("default"));
  // Confirmed after all, it is told of no more.
  connection->ReleaseClosings();
  executor_.RunDue();
  Tick();
  EXPECT_THAT(gone_, ElementsAre(Stage::kGivenUp));
}

TEST_F(LessorPoolsTest, ARetryStillHasALeaseThatWasGrantedBefore) {
  AddSpare(1);
  AcquireRequest request = OfPool("spare");
  request.request_id = "7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001";
  const LeaseView lease = Granted(Acquire(request));
  RemoveSpare();
  EXPECT_EQ(Granted(Acquire(request)).grant.counter, lease.grant.counter);
  request.request_id = "7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de002";
  EXPECT_THAT(*Acquire(request), HasReason("POOL_NOT_FOUND"));
}

TEST_F(LessorPoolsTest, ARetryStillHasTheLeaseOfAFallbackThoughThePoolThatItAskedHasGone) {
  AddSpare(1);
  ASSERT_THAT(lessor_->Reconfigure("spare",
                                   [](PoolOptions options) {
                                     options.fallback_pool = "default";
                                     return options;
                                   }),
              IsOk());
  const LeaseView held = HoldSpare();
  AcquireRequest request = OfPool("spare");
  request.request_id = "7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de003";
  request.wait = 0s;
  request.allow_fallback = true;
  const LeaseView lease = Granted(Acquire(request));
  ASSERT_EQ(lease.grant.pool, "default");
  Release(held.grant.counter);
  RemoveSpare();
  Tick();
  ASSERT_THAT(gone_, ElementsAre(Stage::kGone));
  EXPECT_EQ(Granted(Acquire(request)).grant.counter, lease.grant.counter);
  request.pool = "default";
  EXPECT_THAT(*Acquire(request), HasReason("REQUEST_ID_REUSED"));
  request.pool = "other";
  EXPECT_THAT(*Acquire(request), HasReason("REQUEST_ID_REUSED"));
}

TEST_F(LessorPoolsTest, ARemovedOneWantsNoMoreFencingTokens) {
  AddSpare(1);
  RemoveSpare();
  Tick();
  spare_fencing_.GiveNext();
  executor_.RunDue();
  EXPECT_FALSE(spare_fencing_.wanted());
}

// --- another of the same name --------------------------------------------------------------------

TEST_F(LessorPoolsTest, ANameIsFreeAtOnceAndTheOldOneEndsByItself) {
  AddSpare(1);
  const LeaseView old = HoldSpare();
  Execute(old.grant.counter, "SELECT 1");
  RemoveSpare(30s);
  test::FakeConnector connector(executor_);
  test::FakeFencingSource fencing(executor_);
  AddSpare(2, connector, fencing);
  EXPECT_EQ(connector.backends(), 2);
  const LeaseView lease = HoldSpare();
  EXPECT_EQ(connector.WithPid(lease.grant.backend_pid)->backend_pid(), lease.grant.backend_pid);
  EXPECT_THAT(Shown(), ElementsAre("default", "spare"));
  EXPECT_EQ(lessor_->Stats("spare")->front().options.max_connections, 2) << "the one that lives";
  EXPECT_THAT(
      lessor_
          ->ListLeases({.filter = {.pool = "spare", .tenant = {}, .tags = {}}, .state = {}}, std::nullopt, 10)
          ->leases,
      testing::SizeIs(2));

  EXPECT_EQ(lessor_->Renew(old.grant.counter, 1h)->ttl, 30s);
  EXPECT_EQ(lessor_->Renew(lease.grant.counter, 1h)->ttl, 1h);
  EXPECT_THAT(*Release(old.grant.counter), IsOk());
  Tick();
  EXPECT_THAT(gone_, ElementsAre(Stage::kGone));
  EXPECT_EQ(spare_connector_.backends(), 0);
  EXPECT_EQ(connector.backends(), 2);
  EXPECT_THAT(lessor_->Renew(lease.grant.counter, std::nullopt), IsOk());
  // Before the fakes go.
  RemoveSpare(0s);
  Tick();
  EXPECT_EQ(connector.backends(), 0);
}

// --- a fallback that comes and goes --------------------------------------------------------------

TEST_F(LessorPoolsTest, OneThatIsAddedMayBeAFallbackAndOneThatIsRemovedIsNoneAnyMore) {
  Granted(Acquire());
  AcquireRequest request = WithWait(0s);
  request.allow_fallback = true;
  ASSERT_THAT(lessor_->Reconfigure("default",
                                   [](PoolOptions options) {
                                     options.fallback_pool = "spare";
                                     return options;
                                   }),
              IsOk());
  EXPECT_THAT(*Acquire(request), HasReason("NO_IDLE_CONNECTION"));
  AddSpare(1);
  const LeaseView lease = Granted(Acquire(request));
  EXPECT_EQ(lease.grant.pool, "spare");
  Release(lease.grant.counter);
  RemoveSpare();
  EXPECT_THAT(*Acquire(request), HasReason("NO_IDLE_CONNECTION"));
}

// --- options that two change ---------------------------------------------------------------------

TEST_F(LessorPoolsTest, OfTwoThatChangeItsOptionsNoneOverwritesTheOther) {
  int asked = 0;
  const auto changed = lessor_->Reconfigure("default", [&](PoolOptions options) {
    options.default_ttl = 7s;
    if (++asked > 1) return options;
    // Between the reading and the writing.
    PoolOptions others = options;
    others.default_ttl = 30s;
    others.max_connections = 5;
    EXPECT_THAT(lessor_->Reconfigure(others), IsOk());
    return options;
  });
  ASSERT_THAT(changed, IsOk());
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(changed->max_connections, 5);
  EXPECT_EQ(View().options.max_connections, 5);
  EXPECT_EQ(View().options.default_ttl, 7s);
}

TEST_F(LessorPoolsTest, AChangeThatFailsChangesNothing) {
  EXPECT_THAT(lessor_->Reconfigure("default",
                                   [](PoolOptions options) {
                                     options.min_connections = options.max_connections + 1;
                                     return options;
                                   }),
              HasReason("FIELD_INVALID"));
  EXPECT_EQ(View().options.min_connections, 1);
  EXPECT_THAT(lessor_->Reconfigure("other", [](PoolOptions options) { return options; }),
              HasReason("POOL_NOT_FOUND"));
}

}  // namespace
}  // namespace pglessor::core

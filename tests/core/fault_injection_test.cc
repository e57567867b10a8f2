// Faults on purpose: which occasions fail, and that what decorates a connection keeps its contract.
#include "server/core/fault_injection.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/faulty_connector.h"
#include "tests/support/answer.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_connector.h"
#include "tests/support/manual_executor.h"
#include "tests/support/recording_sink.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::IsOk;
using test::StatusIs;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using How = StatementEnd::How;

// --- which occasions fail ------------------------------------------------------------------------

std::string Strikes(const Fault& fault, int occasions) {
  Faults faults;
  faults.Set(fault);
  std::string struck;
  for (int i = 0; i < occasions; ++i) struck += faults.Strike(fault.kind) ? 'x' : '.';
  return struck;
}

TEST(Faults, WithoutOneNothingFails) {
  Faults faults;
  for (size_t kind = 0; kind < kFaultKinds; ++kind) {
    EXPECT_EQ(faults.Strike(static_cast<FaultKind>(kind)), std::nullopt);
  }
}

TEST(Faults, OneOfProbabilityOneFailsAlwaysAndOnlyItsKind) {
  Faults faults;
  faults.Set({.kind = FaultKind::kConnectionCut});
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(faults.Strike(FaultKind::kConnectionCut));
  EXPECT_FALSE(faults.Strike(FaultKind::kOpenFails));
}

TEST(Faults, AreGoneAfterTheirCountOfFailures) {
  EXPECT_EQ(Strikes({.kind = FaultKind::kOpenFails, .count = 3}, 6), "xxx...");
  const std::string some = Strikes({.kind = FaultKind::kOpenFails, .probability = 0.5, .count = 3}, 100);
  EXPECT_EQ(std::count(some.begin(), some.end(), 'x'), 3);
  EXPECT_NE(some.substr(0, 3), "xxx");
}

TEST(Faults, TheSameSeedFailsTheSameOccasions) {
  const auto with_seed = [](uint64_t seed) {
    return Strikes({.kind = FaultKind::kOpenFails, .probability = 0.5, .seed = seed}, 200);
  };
  EXPECT_EQ(with_seed(1), with_seed(1));
  EXPECT_NE(with_seed(1), with_seed(2));
}

TEST(Faults, FailAsOftenAsTheirProbabilitySays) {
  for (const double probability : {0.01, 0.3, 0.99}) {
    constexpr int kOccasions = 20'000;
    const std::string struck =
        Strikes({.kind = FaultKind::kOpenFails, .probability = probability, .seed = 5}, kOccasions);
    const auto failures = static_cast<double>(std::count(struck.begin(), struck.end(), 'x'));
    EXPECT_NEAR(failures / kOccasions, probability, 0.01);
  }
}

TEST(Faults, OneReplacesAnotherOfItsKindAndClearRemovesAll) {
  Faults faults;
  faults.Set({.kind = FaultKind::kStatementDelayed, .delay = 1s});
  faults.Set({.kind = FaultKind::kStatementDelayed, .delay = 2s});
  faults.Set({.kind = FaultKind::kOpenFails});
  EXPECT_EQ(faults.Strike(FaultKind::kStatementDelayed)->delay, 2s);
  faults.Clear();
  EXPECT_FALSE(faults.Strike(FaultKind::kStatementDelayed));
  EXPECT_FALSE(faults.Strike(FaultKind::kOpenFails));
}

// --- what fails, and how -------------------------------------------------------------------------

class FaultInjectionTest : public testing::Test {
 protected:
  using Opening = test::Answer<absl::StatusOr<std::shared_ptr<Connection>>>;

  void Set(const Fault& fault) { injection_.Of("default").Set(fault); }

  Opening Open(Duration timeout = 5s) {
    Opening opening;
    connector_.Open({.timeout = timeout, .role = {}}, opening.Callback(), [this] { ++lost_; });
    executor_.RunDue();
    return opening;
  }
  std::shared_ptr<Connection> Opened() {
    const Opening opening = Open();
    EXPECT_TRUE(opening.here());
    EXPECT_THAT(*opening, IsOk());
    return **opening;
  }

  std::shared_ptr<test::RecordingSink> Execute(Connection& connection, StatementKey key,
                                               const std::string& sql = "SELECT 1") {
    auto sink = std::make_shared<test::RecordingSink>();
    Statement statement;
    statement.sql = sql;
    connection.Execute(key, std::move(statement), sink);
    executor_.RunDue();
    return sink;
  }
  static StatementKey Key(uint64_t lease, uint64_t statement = 1) {
    return {LeaseCounter{lease}, StatementId{statement}};
  }
  test::FakeConnection& Real() { return *real_.connections().back(); }

  test::FakeClock clock_;
  test::ManualExecutor executor_{clock_};
  test::FakeConnector real_{executor_};
  FaultInjection injection_{clock_, executor_};
  Connector& connector_ = injection_.Wrap("default", real_);
  int lost_ = 0;
};

TEST_F(FaultInjectionTest, WithoutAFaultEverythingPassesThrough) {
  const auto connection = Opened();
  EXPECT_EQ(connection->backend_pid(), Real().backend_pid());
  EXPECT_EQ(Execute(*connection, Key(1))->end().how, How::kDone);
  EXPECT_THAT(Real().statements(), ElementsAre("SELECT 1"));
  test::Answer<Connection::FenceReport> fenced;
  test::Answer<absl::Status> cleaned, probed;
  connection->Clean(LeaseCounter{1}, fenced.Callback(), cleaned.Callback());
  executor_.RunDue();
  EXPECT_TRUE(fenced.here());
  EXPECT_THAT(*cleaned, IsOk());
  connection->Probe(probed.Callback());
  executor_.RunDue();
  EXPECT_THAT(*probed, IsOk());
  Real().Die();
  executor_.RunDue();
  EXPECT_TRUE(connection->lost());
  EXPECT_EQ(lost_, 1);
  bool gone = false;
  connection->Close({.gone = [&] { gone = true; }, .stuck = [] {}});
  executor_.RunDue();
  EXPECT_TRUE(gone);
}

TEST_F(FaultInjectionTest, ANewPoolOfANameHasFaultsOfItsOwn) {
  test::FakeConnector other(executor_);
  Set({.kind = FaultKind::kOpenFails});
  Connector& another = injection_.Wrap("default", other);
  const auto opens = [&](Connector& connector) {
    Opening opening;
    connector.Open({1s, ""}, opening.Callback(), [] {});
    executor_.RunDue();
    return opening->ok();
  };
  EXPECT_TRUE(opens(another));
  EXPECT_FALSE(opens(connector_)) << "the old one is as it was";
  injection_.Of("default").Set({.kind = FaultKind::kOpenFails});
  EXPECT_FALSE(opens(another));
}

TEST_F(FaultInjectionTest, AnOpeningFailsAndPostgresIsNotEvenAsked) {
  Set({.kind = FaultKind::kOpenFails, .count = 1});
  const Opening failed = Open();
  EXPECT_THAT(*failed, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(real_.opens_asked(), 0);
  EXPECT_THAT(*Open(), IsOk());
}

TEST_F(FaultInjectionTest, AnOpeningHangsForItsDelayOrUntilItTimesOut) {
  Set({.kind = FaultKind::kOpenHangs, .delay = 2s});
  const Opening delayed = Open(5s);
  EXPECT_FALSE(delayed.here());
  executor_.AdvanceBy(1999ms);
  EXPECT_EQ(real_.opens_asked(), 0);
  executor_.AdvanceBy(1ms);
  EXPECT_THAT(*delayed, IsOk());

  Set({.kind = FaultKind::kOpenHangs});
  const Opening hangs = Open(5s);
  executor_.AdvanceBy(4999ms);
  EXPECT_FALSE(hangs.here());
  executor_.AdvanceBy(1ms);
  EXPECT_THAT(*hangs, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(real_.opens_asked(), 1);

  Set({.kind = FaultKind::kOpenHangs, .delay = 1h});
  const Opening longer = Open(5s);
  executor_.AdvanceBy(5s);
  EXPECT_THAT(*longer, StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(FaultInjectionTest, AProbeFails) {
  const auto connection = Opened();
  Set({.kind = FaultKind::kValidationFails, .count = 1});
  test::Answer<absl::Status> failed, sound;
  connection->Probe(failed.Callback());
  EXPECT_FALSE(failed.here());
  executor_.RunDue();
  EXPECT_THAT(*failed, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Real().probes(), 0);
  connection->Probe(sound.Callback());
  executor_.RunDue();
  EXPECT_THAT(*sound, IsOk());
}

TEST_F(FaultInjectionTest, AStatementIsHeldBackForItsDelay) {
  const auto connection = Opened();
  Set({.kind = FaultKind::kStatementDelayed, .delay = 300ms});
  const auto sink = Execute(*connection, Key(1));
  executor_.AdvanceBy(299ms);
  EXPECT_THAT(Real().statements(), IsEmpty());
  executor_.AdvanceBy(1ms);
  EXPECT_EQ(sink->end().how, How::kDone);
  EXPECT_THAT(Real().statements(), ElementsAre("SELECT 1"));
}

TEST_F(FaultInjectionTest, AHeldStatementThatIsCancelledIsSentAndCancelled) {
  const auto connection = Opened();
  Real().HoldStatements();
  Set({.kind = FaultKind::kStatementDelayed, .delay = 1h});
  const auto sink = Execute(*connection, Key(1));
  connection->Cancel(Key(1, 2));  // another one
  executor_.RunDue();
  EXPECT_FALSE(sink->ended());
  connection->Cancel(Key(1));
  executor_.RunDue();
  EXPECT_EQ(sink->end().how, How::kFailed);
  EXPECT_THAT(sink->end().error, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(Real().cancels(), 1);
  executor_.AdvanceBy(2h);
  EXPECT_THAT(Real().statements(), SizeIs(1));
}

TEST_F(FaultInjectionTest, AHeldStatementEndsUnsentBeforeItsLeasesFenceStands) {
  for (const bool clean : {false, true}) {
    const auto connection = Opened();
    Set({.kind = FaultKind::kStatementDelayed, .delay = 1s});
    const auto sink = Execute(*connection, Key(1));
    bool ended_before_fence = false;
    const auto fenced = [&](Connection::FenceReport) { ended_before_fence = sink->ended(); };
    if (clean) {
      connection->Clean(LeaseCounter{1}, fenced, [](const absl::Status&) {});
    } else {
      connection->Fence(LeaseCounter{1}, fenced);
    }
    executor_.RunDue();
    EXPECT_TRUE(ended_before_fence);
    EXPECT_EQ(sink->end().how, How::kFenced);
    EXPECT_FALSE(sink->end().sent);
    executor_.AdvanceBy(1s);
    EXPECT_THAT(Real().statements(), IsEmpty());
  }
}

// One that took its permit in time and comes late, when the next holder's is held back already.
TEST_F(FaultInjectionTest, AStatementOfAFencedLeaseIsNotHeldBack) {
  const auto connection = Opened();
  connection->Clean(
      LeaseCounter{1}, [](Connection::FenceReport) {}, [](const absl::Status&) {});
  executor_.RunDue();
  Set({.kind = FaultKind::kStatementDelayed, .delay = 1s});
  const auto next = Execute(*connection, Key(2), "SELECT 2");
  const auto late = Execute(*connection, Key(1));
  EXPECT_EQ(late->end().how, How::kFenced);
  EXPECT_FALSE(next->ended());
  executor_.AdvanceBy(1s);
  EXPECT_EQ(next->end().how, How::kDone);
  EXPECT_THAT(Real().statements(), ElementsAre("SELECT 2"));
}

TEST_F(FaultInjectionTest, AConnectionIsCutUnderAStatementThatWasSent) {
  const auto connection = Opened();
  Set({.kind = FaultKind::kConnectionCut, .count = 1});
  const auto sink = Execute(*connection, Key(1));
  EXPECT_EQ(sink->end().how, How::kConnectionLost);
  EXPECT_TRUE(sink->end().sent);
  EXPECT_THAT(Real().statements(), ElementsAre("SELECT 1"));
  EXPECT_TRUE(connection->lost());
  EXPECT_EQ(lost_, 1);
}

TEST_F(FaultInjectionTest, ADelayedStatementMayBeCutToo) {
  const auto connection = Opened();
  Set({.kind = FaultKind::kStatementDelayed, .delay = 1s});
  Set({.kind = FaultKind::kConnectionCut});
  const auto sink = Execute(*connection, Key(1));
  EXPECT_FALSE(connection->lost());
  executor_.AdvanceBy(1s);
  EXPECT_EQ(sink->end().how, How::kConnectionLost);
}

}  // namespace
}  // namespace pglessor::core

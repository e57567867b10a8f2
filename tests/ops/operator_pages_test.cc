#include "server/ops/operator_pages.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/exposition.h"
#include "tests/support/fake_clock.h"
#include "tests/support/toy_token_key.h"

namespace pglessor::ops {
namespace {

using core::PoolView;
using core::SlotState;
using core::Warmup;
using testing::ElementsAre;
using testing::IsEmpty;

PoolView Pool(const char* name, Warmup warmup, int32_t available, int32_t in_use) {
  PoolView pool;
  pool.options.name = name;
  pool.options.warmup = warmup;
  pool.options.min_connections = 10;
  pool.options.max_connections = 20;
  pool.snapshot.slots_in[static_cast<size_t>(SlotState::kAvailable)] = available;
  pool.snapshot.slots_in[static_cast<size_t>(SlotState::kInUse)] = in_use;
  return pool;
}

TEST(WhyNotReady, NamesEachPoolThatIsNotWarm) {
  EXPECT_THAT(WhyNotReady(Phase::kStarting,
                          {Pool("orders", Warmup::kMinimum, 2, 1), Pool("warm", Warmup::kMinimum, 9, 1),
                           Pool("full", Warmup::kMaximum, 19, 0), Pool("lazy", Warmup::kLazy, 0, 0)}),
              ElementsAre("pool orders: 3 of 10 connections", "pool full: 19 of 20 connections"));
}

TEST(WhyNotReady, WarmPoolsAreNotYetServed) {
  EXPECT_THAT(WhyNotReady(Phase::kStarting, {Pool("p", Warmup::kMinimum, 10, 0)}), ElementsAre("starting"));
}

TEST(WhyNotReady, OnceServedAPoolMayShrink) {
  EXPECT_THAT(WhyNotReady(Phase::kServing, {Pool("p", Warmup::kMinimum, 0, 0)}), IsEmpty());
}

TEST(WhyNotReady, ADrainIsTheOneReason) {
  EXPECT_THAT(WhyNotReady(Phase::kDraining, {Pool("p", Warmup::kMinimum, 0, 0)}), ElementsAre("draining"));
}

class OperatorPagesTest : public testing::Test {
 protected:
  HttpPage Page(const char* path) { return pages_.Pages().at(path)(); }

  test::FakeClock clock_;
  test::ToyTokenKey key_;
  core::Events events_;
  core::Lessor lessor_{
      {.replica = {"replica", 7}, .server_address = "here", .leases = {}}, clock_, key_, events_};
  OperatorPages pages_{lessor_, clock_, "1.2.3"};
};

TEST_F(OperatorPagesTest, IsReadyWhileItServes) {
  EXPECT_EQ(Page("/readyz").status, 503);
  EXPECT_EQ(Page("/readyz").body, "starting\n");
  pages_.Enter(Phase::kServing);
  EXPECT_EQ(Page("/readyz").status, 200);
  EXPECT_EQ(Page("/readyz").body, "ready\n");
  pages_.Enter(Phase::kDraining);
  EXPECT_EQ(Page("/readyz").status, 503);
  EXPECT_EQ(Page("/readyz").body, "draining\n");
}

TEST_F(OperatorPagesTest, IsHealthyThroughout) {
  for (const Phase phase : {Phase::kStarting, Phase::kServing, Phase::kDraining}) {
    pages_.Enter(phase);
    EXPECT_EQ(Page("/healthz").status, 200);
    EXPECT_EQ(Page("/healthz").body, "ok\n");
  }
}

TEST_F(OperatorPagesTest, ShowsMetricsInPrometheusFormat) {
  const HttpPage metrics = Page("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_EQ(metrics.content_type, "text/plain; version=0.0.4; charset=utf-8");
  const test::Exposition shown(metrics.body);
  EXPECT_THAT(shown.faults(), IsEmpty());
  EXPECT_EQ(shown.Value("pglessor_build_info{version=\"1.2.3\",replica=\"replica\"}"), 1);
}

}  // namespace
}  // namespace pglessor::ops

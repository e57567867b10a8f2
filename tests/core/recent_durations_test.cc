#include "server/core/recent_durations.h"

#include <chrono>

#include "gtest/gtest.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;

constexpr Time kNow{std::chrono::hours(5)};

TEST(RecentDurations, KnowsNothingAtFirst) {
  const DurationSummary summary = RecentDurations().Summary(kNow);
  EXPECT_EQ(summary.count, 0);
  EXPECT_EQ(summary.max, 0ns);
}

TEST(RecentDurations, GivesPercentilesWithinAnEighth) {
  RecentDurations durations;
  for (int i = 1; i <= 1'000; ++i) durations.Record(kNow, i * 1us);
  const DurationSummary summary = durations.Summary(kNow);
  EXPECT_EQ(summary.count, 1'000);
  EXPECT_GE(summary.p50, 500us);
  EXPECT_LE(summary.p50, 500us * 9 / 8);
  EXPECT_GE(summary.p90, 900us);
  EXPECT_LE(summary.p90, 1'000us) << "never above the maximum";
  EXPECT_GE(summary.p99, 990us);
  EXPECT_EQ(summary.max, 1'000us);
}

TEST(RecentDurations, TakesAnyLength) {
  RecentDurations durations;
  durations.Record(kNow, 0ns);
  durations.Record(kNow, -5ns);
  durations.Record(kNow, Duration::max());
  EXPECT_EQ(durations.Summary(kNow).p50, 0ns);
  EXPECT_EQ(durations.Summary(kNow).p99, Duration::max());
}

TEST(RecentDurations, ForgetsAfterAMinute) {
  RecentDurations durations;
  durations.Record(kNow, 1s);
  EXPECT_EQ(durations.Summary(kNow + 50s).count, 1);
  EXPECT_EQ(durations.Summary(kNow + 60s).count, 0);
  durations.Record(kNow + 60s, 2s);  // into the slice that the first was in
  EXPECT_EQ(durations.Summary(kNow + 60s).count, 1);
  EXPECT_EQ(durations.Summary(kNow + 60s).max, 2s);
}

TEST(RecentDurations, RemembersCountAndSumForEver) {
  RecentDurations durations;
  durations.Record(kNow, 1500ms);
  durations.Record(kNow, -5s);  // a clock that went back adds nothing
  durations.Record(kNow + 1h, 2s);
  const DurationSummary summary = durations.Summary(kNow + 2h);
  EXPECT_EQ(summary.count, 0);
  EXPECT_EQ(summary.ever_count, 3);
  EXPECT_DOUBLE_EQ(summary.ever_seconds, 3.5);
}

}  // namespace
}  // namespace pglessor::core

#include "server/core/event_history.h"

#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;
using testing::ElementsAre;
using testing::IsEmpty;

class EventHistoryTest : public testing::Test {
 protected:
  void Emit(EventType type = EventType::kLeaseRenewed, const std::string& pool = "default",
            const std::string& tenant = "t") {
    if (!events_.Wants(type)) return;
    Event event;
    event.type = type;
    event.pool = pool;
    event.tenant = tenant;
    events_.Emit(event);
  }
  void EmitMany(size_t count) {
    for (size_t i = 0; i < count; ++i) Emit();
  }

  EventWatch Watch(EventFilter filter = {}, uint64_t after = 0) {
    const absl::StatusOr<uint64_t> next = history_.Begin(after);
    EXPECT_THAT(next, IsOk());
    return {history_, std::move(filter), *next};
  }
  // "sequence", or "sequence-missed", of all there is.
  static std::vector<std::string> Tell(EventWatch& watch) {
    std::vector<std::string> told;
    for (;;) {
      const EventWatch::Next next = watch.Take();
      if (next.event == nullptr) return told;
      const std::string missed = next.missed == 0 ? "" : "-" + std::to_string(next.missed);
      told.push_back(std::to_string(next.event->sequence) + missed);
    }
  }

  test::FakeClock clock_;
  Events events_;
  EventHistory history_{clock_, events_};
};

TEST_F(EventHistoryTest, SleepsUntilTheFirstWatchAndStaysAwake) {
  EXPECT_FALSE(events_.Wants(EventType::kLeaseGranted));
  Emit();
  {
    EventWatch watch = Watch();
    for (int type = 0; type <= static_cast<int>(EventType::kDrainStarted); ++type) {
      EXPECT_TRUE(events_.Wants(static_cast<EventType>(type))) << type;
    }
    Emit();
    EXPECT_THAT(Tell(watch), ElementsAre("1"));
  }
  Emit();
  Emit();
  EventWatch resumed = Watch({}, 1);
  EXPECT_THAT(Tell(resumed), ElementsAre("2", "3"));
}

TEST_F(EventHistoryTest, AWatchBeginsBehindWhatHasHappened) {
  EventWatch first = Watch();
  Emit();
  EventWatch second = Watch();
  Emit();
  EXPECT_THAT(Tell(first), ElementsAre("1", "2"));
  EXPECT_THAT(Tell(second), ElementsAre("2"));
  EXPECT_THAT(Tell(second), IsEmpty());
}

TEST_F(EventHistoryTest, KeepsTheTimeOfTheEventNotOfItsTelling) {
  EventWatch watch = Watch();
  const WallTime then = clock_.WallNow();
  Emit();
  clock_.Advance(5s);
  EXPECT_EQ(watch.Take().event->at, then);
}

TEST_F(EventHistoryTest, FiltersByPoolTenantAndType) {
  EventWatch by_pool = Watch({.pool = "other", .tenant = {}, .types = {}});
  EventWatch by_tenant = Watch({.pool = {}, .tenant = "u", .types = {}});
  EventWatch by_type =
      Watch({.pool = {}, .tenant = {}, .types = {{EventType::kLeaseReleased, EventType::kLeaseEnded}}});
  EventWatch by_none = Watch({.pool = {}, .tenant = {}, .types = std::vector<EventType>()});
  Emit(EventType::kLeaseGranted, "other", "t");
  Emit(EventType::kLeaseReleased, "default", "u");
  Emit(EventType::kLeaseEnded, "default", "t");
  Emit(EventType::kDrainStarted, "", "");
  EXPECT_THAT(Tell(by_pool), ElementsAre("1"));
  EXPECT_THAT(Tell(by_tenant), ElementsAre("2"));
  EXPECT_THAT(Tell(by_type), ElementsAre("2", "3"));
  EXPECT_THAT(Tell(by_none), IsEmpty());
}

TEST_F(EventHistoryTest, WhoSeesOneTenantOnlyIsToldNothingElse) {
  EventFilter of_u;
  of_u.sees = [](absl::string_view tenant) { return tenant == "u"; };
  EventWatch watch = Watch(of_u);
  Emit(EventType::kLeaseGranted, "default", "t");
  Emit(EventType::kLeaseGranted, "default", "u");
  Emit(EventType::kPoolReset, "default", "");
  EXPECT_THAT(Tell(watch), ElementsAre("2"));
}

TEST_F(EventHistoryTest, ASlowWatchLosesTheOldestAndIsToldHowMany) {
  EventWatch watch = Watch();
  EmitMany(1);
  EXPECT_THAT(Tell(watch), ElementsAre("1"));
  EmitMany(EventHistory::kKept + 10);
  const EventWatch::Next first = watch.Take();
  EXPECT_EQ(first.missed, 10);
  EXPECT_EQ(first.event->sequence, 12U);
  const EventWatch::Next second = watch.Take();
  EXPECT_EQ(second.missed, 0);
  EXPECT_EQ(second.event->sequence, 13U);
  EXPECT_EQ(Tell(watch).size(), EventHistory::kKept - 2);
}

TEST_F(EventHistoryTest, WhatWasMissedIsToldWithTheNextThatMatches) {
  EventWatch watch = Watch({.pool = "rare", .tenant = {}, .types = {}});
  EmitMany(EventHistory::kKept + 5);
  EXPECT_THAT(Tell(watch), IsEmpty());
  EmitMany(EventHistory::kKept + 7);
  Emit(EventType::kLeaseGranted, "rare");
  // 5, and then 8: the last event has overwritten one more.
  EXPECT_THAT(Tell(watch), ElementsAre(std::to_string(2 * EventHistory::kKept + 13) + "-13"));
}

TEST_F(EventHistoryTest, AWatchThatResumesTooLateIsToldSo) {
  Watch();
  EmitMany(EventHistory::kKept + 3);
  EventWatch in_time = Watch({}, EventHistory::kKept);
  EXPECT_EQ(in_time.Take().missed, 0);
  EventWatch late = Watch({}, 1);
  const EventWatch::Next next = late.Take();
  EXPECT_EQ(next.missed, 2);
  EXPECT_EQ(next.event->sequence, 4U);
}

TEST_F(EventHistoryTest, ASequenceThatIsNotReachedIsRefused) {
  EXPECT_THAT(history_.Begin(1), HasReason("FIELD_INVALID"));
  Watch();
  EmitMany(3);
  EXPECT_THAT(history_.Begin(3), IsOk());
  EXPECT_THAT(history_.Begin(4), HasReason("FIELD_INVALID"));
  EXPECT_THAT(history_.Begin(UINT64_MAX), HasReason("FIELD_INVALID"));
}

TEST_F(EventHistoryTest, WakesOnceForEachArm) {
  int wakes = 0;
  history_.SetWake([&] { ++wakes; });
  Watch();
  Emit();
  EXPECT_EQ(wakes, 0);
  EXPECT_TRUE(history_.Arm());
  Emit();
  Emit();
  EXPECT_EQ(wakes, 1);
  EXPECT_TRUE(history_.Arm());
  EXPECT_FALSE(history_.closed());
  history_.Close();
  EXPECT_EQ(wakes, 2);
  EXPECT_TRUE(history_.closed());
  EXPECT_FALSE(history_.Arm());
  Emit();
  EXPECT_EQ(wakes, 2);
}

}  // namespace
}  // namespace pglessor::core

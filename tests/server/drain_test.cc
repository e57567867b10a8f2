#include "server/drain.h"

#include <atomic>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/fake_clock.h"

namespace pglessor {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

TEST(Drain, TheFirstToBeginDecidesTheDeadline) {
  test::FakeClock clock;
  std::vector<core::Time> begun;
  Drain drain(clock, [&](core::Time deadline) { begun.push_back(deadline); });
  const core::Time start = clock.Now();
  const core::WallTime start_wall = clock.WallNow();
  const Drain::Begun first = drain.Begin(30s);
  EXPECT_TRUE(first.by_this_call);
  EXPECT_EQ(first.deadline, start + 30s);
  EXPECT_EQ(first.deadline_wall, start_wall + 30s);

  clock.Advance(10s);
  const Drain::Begun second = drain.Begin(0s);
  EXPECT_FALSE(second.by_this_call);
  EXPECT_EQ(second.deadline, first.deadline);
  EXPECT_EQ(second.deadline_wall, first.deadline_wall);
  EXPECT_THAT(begun, ElementsAre(start + 30s));
}

// Whoever is second goes on as if it had begun it, so nothing may be granted any more.
TEST(Drain, ASecondWaitsUntilItHasBegun) {
  test::FakeClock clock;
  absl::Notification asked, go_on;
  std::atomic<bool> begun{false};
  Drain drain(clock, [&](core::Time) {
    asked.Notify();
    go_on.WaitForNotification();
    begun = true;
  });
  std::thread first([&] { drain.Begin(30s); });
  asked.WaitForNotification();
  std::thread second([&] {
    drain.Begin(0s);
    EXPECT_TRUE(begun);
  });
  std::this_thread::sleep_for(20ms);  // so that it is caught where it does not wait
  go_on.Notify();
  first.join();
  second.join();
}

TEST(Drain, ATimeoutWithoutEndIsAsLongAsCanBe) {
  test::FakeClock clock;
  Drain drain(clock, [](core::Time) {});
  const Drain::Begun begun = drain.Begin(core::Duration::max());
  EXPECT_EQ(begun.deadline, core::Time::max());
  EXPECT_EQ(begun.deadline_wall, core::WallTime::max());
}

}  // namespace
}  // namespace pglessor

#include "server/drain.h"

#include <vector>

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

TEST(Drain, ATimeoutWithoutEndIsAsLongAsCanBe) {
  test::FakeClock clock;
  Drain drain(clock, [](core::Time) {});
  const Drain::Begun begun = drain.Begin(core::Duration::max());
  EXPECT_EQ(begun.deadline, core::Time::max());
  EXPECT_EQ(begun.deadline_wall, core::WallTime::max());
}

}  // namespace
}  // namespace pglessor

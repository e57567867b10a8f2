#include "server/executor/event_loop.h"

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/executor/loop_thread.h"

namespace pglessor::executor {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// --- posted tasks --------------------------------------------------------------------------------

TEST(EventLoop, RunsTasksInTheOrderOfTheirPosting) {
  LoopThread thread;
  std::vector<int> ran;
  for (int i = 0; i < 1000; ++i) thread.loop().Post([&, i] { ran.push_back(i); });
  thread.Do([] {});
  ASSERT_EQ(ran.size(), 1000U);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST(EventLoop, RunsTasksOnItsThreadAndNeverInsideTheCallThatPosts) {
  LoopThread thread;
  std::vector<int> order;
  Happening inner;
  std::thread::id where;
  thread.Do([&] {
    where = std::this_thread::get_id();
    thread.loop().Post([&] {
      order.push_back(2);
      inner.Happened();
    });
    order.push_back(1);
  });
  ASSERT_TRUE(inner.Came());
  EXPECT_EQ(where, thread.id());
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TEST(EventLoop, RunsEveryTaskOfManyThreadsOnceAndEachThreadsInOrder) {
  constexpr int kThreads = 8;
  constexpr int kTasks = 2000;
  LoopThread thread;
  std::vector<std::vector<int>> ran(kThreads);  // written on the loop only
  {
    std::vector<std::jthread> posters;
    for (size_t poster = 0; poster < kThreads; ++poster) {
      posters.emplace_back([&, poster] {
        for (int i = 0; i < kTasks; ++i) thread.loop().Post([&, poster, i] { ran[poster].push_back(i); });
      });
    }
  }
  thread.Do([] {});
  for (const auto& of_one : ran) {
    ASSERT_EQ(of_one.size(), static_cast<size_t>(kTasks));
    for (int i = 0; i < kTasks; ++i) ASSERT_EQ(of_one[static_cast<size_t>(i)], i);
  }
}

TEST(EventLoop, RunsWhatWasPostedBeforeItRan) {
  const BootClock clock;
  EventLoop loop(clock);
  bool ran = false;
  loop.Post([&] { ran = true; });
  loop.Post([&] { loop.Stop(); });
  loop.Run();
  EXPECT_TRUE(ran);
}

// --- timers --------------------------------------------------------------------------------------

TEST(EventLoop, RunsTimersInTheOrderOfTheirTimesThenOfTheirPosting) {
  LoopThread thread;
  std::vector<int> ran;
  Happening last;
  thread.Do([&] {
    const core::Time soon = thread.loop().Now() + 10ms;
    thread.loop().PostAt(soon + 2ms, [&] {
      ran.push_back(4);
      last.Happened();
    });
    thread.loop().PostAt(soon, [&] { ran.push_back(1); });
    thread.loop().PostAt(soon, [&] { ran.push_back(2); });
    thread.loop().PostAt(soon + 1ms, [&] { ran.push_back(3); });
  });
  ASSERT_TRUE(last.Came());
  EXPECT_THAT(ran, ElementsAre(1, 2, 3, 4));
}

TEST(EventLoop, RunsNoTimerBeforeItsTime) {
  LoopThread thread;
  for (const auto span : {0us, 1us, 999us, 1000us, 1001us, 20'500us}) {
    core::Time ran_at;
    Happening ran;
    const core::Time at = thread.clock().Now() + span;
    thread.loop().PostAt(at, [&] {
      ran_at = thread.clock().Now();
      ran.Happened();
    });
    ASSERT_TRUE(ran.Came());
    EXPECT_GE(ran_at, at) << span.count();
  }
}

TEST(EventLoop, TakesATimeThatHasPassedForNow) {
  LoopThread thread;
  Happening ran;
  thread.loop().PostAt(core::Time::min(), [&] { ran.Happened(); });
  EXPECT_TRUE(ran.Came());
}

TEST(EventLoop, WaitsForTheEndOfTimeWithoutHarm) {
  LoopThread thread;
  bool ran = false;
  thread.loop().PostAt(core::Time::max(), [&] { ran = true; });
  thread.Do([&] { thread.loop().RunAfter(core::Duration::max(), [&] { ran = true; }); });
  thread.Do([] {});
  EXPECT_FALSE(ran);
}

TEST(EventLoop, WakesForATimerThatIsSoonerThanTheOneItWaitsFor) {
  LoopThread thread;
  Happening sooner;
  thread.loop().PostAt(thread.clock().Now() + 1h, [] {});
  thread.Do([] {});
  thread.loop().PostAt(thread.clock().Now() + 1ms, [&] { sooner.Happened(); });
  EXPECT_TRUE(sooner.Came());
}

TEST(EventLoop, RunsNoTimerThatWasCancelled) {
  LoopThread thread;
  bool ran = false;
  Happening later;
  thread.Do([&] {
    const core::Time soon = thread.loop().Now() + 5ms;
    const auto timer = thread.loop().RunAt(soon, [&] { ran = true; });
    thread.loop().RunAt(soon + 1ms, [&] { later.Happened(); });
    thread.loop().Cancel(timer);
    thread.loop().Cancel(timer);  // nothing
  });
  ASSERT_TRUE(later.Came());
  EXPECT_FALSE(ran);
}

TEST(EventLoop, LetsATimerCancelOneThatIsDueWithIt) {
  LoopThread thread;
  bool ran = false;
  Happening later;
  thread.Do([&] {
    const core::Time due = thread.loop().Now();
    // They share the second one's name.
    auto second = std::make_shared<EventLoop::TimerId>();
    thread.loop().RunAt(due, [&, second] { thread.loop().Cancel(*second); });
    *second = thread.loop().RunAt(due, [&] { ran = true; });
    thread.loop().RunAt(due, [&] { later.Happened(); });
  });
  ASSERT_TRUE(later.Came());
  EXPECT_FALSE(ran);
}

TEST(EventLoop, TakesTheCancelOfATimerThatHasRunForNothing) {
  LoopThread thread;
  EventLoop::TimerId first;
  Happening ran;
  Happening second;
  thread.Do([&] { first = thread.loop().RunAfter(0ns, [&] { ran.Happened(); }); });
  ASSERT_TRUE(ran.Came());
  thread.Do([&] {
    thread.loop().RunAfter(1ms, [&] { second.Happened(); });
    thread.loop().Cancel(first);
  });
  EXPECT_TRUE(second.Came());
}

TEST(EventLoop, LetsATimerSetItselfAgainWithoutKeepingOthersOut) {
  LoopThread thread;
  int left = 100;
  Happening done;
  std::function<void()> again = [&] {
    if (--left > 0) {
      thread.loop().RunAfter(0ns, [&] { again(); });
    } else {
      done.Happened();
    }
  };
  thread.loop().Post([&] { again(); });
  EXPECT_TRUE(done.Came());
}

// --- its end -------------------------------------------------------------------------------------

TEST(EventLoop, StopsFromAnotherThreadWhileItWaitsForNothing) {
  LoopThread thread;
  thread.Do([] {});
  thread.Stop();  // returns
}

TEST(EventLoop, StopsFromItsOwnTask) {
  const BootClock clock;
  EventLoop loop(clock);
  std::vector<int> ran;
  loop.Post([&] {
    ran.push_back(1);
    loop.Stop();
    loop.Post([&] { ran.push_back(2); });
  });
  loop.Run();
  EXPECT_THAT(ran, ElementsAre(1));
}

TEST(EventLoop, StopsBeforeItsFirstTaskIfItWasToldSoBefore) {
  const BootClock clock;
  EventLoop loop(clock);
  std::vector<int> ran;
  loop.Post([&] { ran.push_back(1); });
  loop.Stop();
  loop.Run();
  EXPECT_THAT(ran, IsEmpty());
}

TEST(EventLoop, DropsWhatIsLeftWithAllThatItHolds) {
  const auto held = std::make_shared<int>(1);
  {
    const BootClock clock;
    EventLoop loop(clock);
    loop.Post([held] {});
    loop.PostAt(core::Time::max(), [held] {});
    loop.RunAt(core::Time::max(), [held] {});
    EXPECT_EQ(held.use_count(), 4);
  }
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace pglessor::executor

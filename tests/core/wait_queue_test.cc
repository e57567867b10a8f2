#include "server/core/wait_queue.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;

Waiter NewWaiter(uint64_t id, Duration deadline, bool queues = true) {
  Waiter waiter;
  waiter.id = {id};
  waiter.since = Time(id * 1s);
  waiter.deadline = Time(deadline);
  waiter.queues = queues;
  return waiter;
}

TEST(WaitQueue, ServesFirstComeFirst) {
  WaitQueue queue;
  queue.Push(NewWaiter(1, 30s));
  queue.Push(NewWaiter(2, 10s));
  queue.Push(NewWaiter(3, 20s));
  EXPECT_EQ(queue.PopFront().id.value, 1U);
  EXPECT_EQ(queue.PopFront().id.value, 2U);
  EXPECT_EQ(queue.PopFront().id.value, 3U);
  EXPECT_TRUE(queue.empty());
}

TEST(WaitQueue, GivesOneThatComesBackItsOldPlace) {
  WaitQueue queue;
  queue.Push(NewWaiter(1, 30s));
  queue.Push(NewWaiter(2, 30s));
  Waiter first = queue.PopFront();
  queue.Push(NewWaiter(3, 30s));
  queue.Push(std::move(first));
  EXPECT_EQ(queue.PopFront().id.value, 1U);
  EXPECT_EQ(queue.PopFront().id.value, 2U);
}

TEST(WaitQueue, ExpiresTheMostOverdueFirstAtTheVeryInstant) {
  WaitQueue queue;
  queue.Push(NewWaiter(1, 30s));
  queue.Push(NewWaiter(2, 10s));
  queue.Push(NewWaiter(3, 20s));
  EXPECT_FALSE(queue.PopExpired(Time(10s) - 1ns).has_value());
  EXPECT_EQ(queue.PopExpired(Time(20s))->id.value, 2U);
  EXPECT_EQ(queue.PopExpired(Time(20s))->id.value, 3U);
  EXPECT_FALSE(queue.PopExpired(Time(20s)).has_value());
  EXPECT_EQ(queue.PopFront().id.value, 1U);
}

TEST(WaitQueue, KnowsSinceWhenTheLongestWaits) {
  WaitQueue queue;
  queue.Push(NewWaiter(2, 10s));
  queue.Push(NewWaiter(5, 10s));
  EXPECT_EQ(queue.oldest(), Time(2s));
  queue.Remove({2});
  EXPECT_EQ(queue.oldest(), Time(5s));
}

TEST(WaitQueue, GivesUpTheYoungestThatDoesNotQueue) {
  WaitQueue queue;
  queue.Push(NewWaiter(1, 10s, false));
  queue.Push(NewWaiter(2, 10s, false));
  queue.Push(NewWaiter(3, 10s, true));
  EXPECT_EQ(queue.PopLastUnqueued()->id.value, 2U);
  EXPECT_EQ(queue.PopLastUnqueued()->id.value, 1U);
  EXPECT_FALSE(queue.PopLastUnqueued().has_value());
  EXPECT_EQ(queue.size(), 1U);
}

TEST(WaitQueueDeathTest, ServesOnlyWhereSomebodyWaits) {
  WaitQueue queue;
  EXPECT_DEATH(queue.PopFront(), "with waiters");
}

TEST(WaitQueueDeathTest, HasEachWaiterOnce) {
  WaitQueue queue;
  queue.Push(NewWaiter(1, 10s));
  EXPECT_DEATH(queue.Push(NewWaiter(1, 20s)), "once");
}

// The queue as one would write it without a thought for cost.
class NaiveQueue {
 public:
  struct Entry {
    uint64_t id;
    Time deadline;
    bool queues;
  };

  void Push(Entry entry) { entries_.push_back(entry); }
  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }

  template <typename Better>
  std::optional<uint64_t> Pop(Better better) {
    auto best = entries_.end();
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (better(*entry, best == entries_.end() ? nullptr : &*best)) best = entry;
    }
    if (best == entries_.end()) return std::nullopt;
    const uint64_t id = best->id;
    entries_.erase(best);
    return id;
  }

 private:
  std::vector<Entry> entries_;
};

std::optional<uint64_t> IdOf(const std::optional<Waiter>& waiter) {
  return waiter ? std::optional(waiter->id.value) : std::nullopt;
}

TEST(WaitQueue, AgreesWithANaiveModel) {
  using Entry = NaiveQueue::Entry;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 random(seed);
    const auto below = [&random](uint64_t bound) { return random() % bound; };
    WaitQueue queue;
    NaiveQueue model;
    uint64_t last_id = 0;
    for (int step = 0; step < 500; ++step) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << " step " << step);
      std::optional<uint64_t> got;
      std::optional<uint64_t> expected;
      switch (below(7)) {
        case 0:
        case 1:
        case 2: {
          const Entry entry{++last_id, Time(below(50) * 1s), below(3) != 0};
          queue.Push(NewWaiter(entry.id, entry.deadline.time_since_epoch(), entry.queues));
          model.Push(entry);
          break;
        }
        case 3:
          if (model.empty()) break;
          got = queue.PopFront().id.value;
          expected = model.Pop([](const Entry& a, const Entry* b) { return !b || a.id < b->id; });
          break;
        case 4: {
          const uint64_t id = below(last_id + 2);
          got = IdOf(queue.Remove({id}));
          expected = model.Pop([id](const Entry& a, const Entry*) { return a.id == id; });
          break;
        }
        case 5: {
          const Time now(below(50) * 1s);
          got = IdOf(queue.PopExpired(now));
          expected = model.Pop([now](const Entry& a, const Entry* b) {
            return a.deadline <= now && (!b || std::pair(a.deadline, a.id) < std::pair(b->deadline, b->id));
          });
          break;
        }
        default:
          got = IdOf(queue.PopLastUnqueued());
          expected =
              model.Pop([](const Entry& a, const Entry* b) { return !a.queues && (!b || a.id > b->id); });
      }
      ASSERT_EQ(got, expected);
      ASSERT_EQ(queue.size(), model.size());
      ASSERT_EQ(queue.empty(), model.empty());
    }
  }
}

}  // namespace
}  // namespace pglessor::core

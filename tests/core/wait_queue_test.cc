#include "server/core/wait_queue.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

Waiter NewWaiter(uint64_t id, Duration deadline, bool queues = true) {
  Waiter waiter;
  waiter.id = {id};
  waiter.since = Time(id * 1s);
  waiter.deadline = Time(deadline);
  waiter.queues = queues;
  return waiter;
}

Waiter Of(uint64_t id, uint64_t tenant, Priority priority = Priority::kNormal) {
  Waiter waiter = NewWaiter(id, 1h);
  waiter.tenant = {tenant};
  waiter.priority = priority;
  return waiter;
}

bool Anybody(TenantId) { return true; }

// The next to be served at `now`, which is before anybody has risen.
Waiter PopFront(WaitQueue& queue, Time now = Time{}) {
  const std::optional<WaiterId> next = queue.Next(now, Anybody);
  if (!next) {
    ADD_FAILURE() << "nobody waits";
    return {};
  }
  return queue.Serve(*next);
}

std::vector<uint64_t> PopAll(WaitQueue& queue, Time now = Time{}) {
  std::vector<uint64_t> order;
  while (!queue.empty()) order.push_back(PopFront(queue, now).id.value);
  return order;
}

TEST(WaitQueue, ServesFirstComeFirst) {
  WaitQueue queue(5s);
  queue.Push(NewWaiter(1, 30s));
  queue.Push(NewWaiter(2, 10s));
  queue.Push(NewWaiter(3, 20s));
  EXPECT_EQ(PopFront(queue).id.value, 1U);
  EXPECT_EQ(PopFront(queue).id.value, 2U);
  EXPECT_EQ(PopFront(queue).id.value, 3U);
  EXPECT_TRUE(queue.empty());
}

TEST(WaitQueue, GivesOneThatComesBackItsOldPlace) {
  WaitQueue queue(5s);
  queue.Push(NewWaiter(1, 30s));
  queue.Push(NewWaiter(2, 30s));
  Waiter first = PopFront(queue);
  queue.Push(NewWaiter(3, 30s));
  queue.Push(std::move(first));
  EXPECT_EQ(PopFront(queue).id.value, 1U);
  EXPECT_EQ(PopFront(queue).id.value, 2U);
}

TEST(WaitQueue, ExpiresTheMostOverdueFirstAtTheVeryInstant) {
  WaitQueue queue(5s);
  queue.Push(NewWaiter(1, 30s));
  queue.Push(NewWaiter(2, 10s));
  queue.Push(NewWaiter(3, 20s));
  EXPECT_FALSE(queue.PopExpired(Time(10s) - 1ns).has_value());
  EXPECT_EQ(queue.PopExpired(Time(20s))->id.value, 2U);
  EXPECT_EQ(queue.PopExpired(Time(20s))->id.value, 3U);
  EXPECT_FALSE(queue.PopExpired(Time(20s)).has_value());
  EXPECT_EQ(PopFront(queue).id.value, 1U);
}

TEST(WaitQueue, KnowsSinceWhenTheLongestWaits) {
  WaitQueue queue(5s);
  queue.Push(NewWaiter(2, 10s));
  queue.Push(NewWaiter(5, 10s));
  EXPECT_EQ(queue.oldest(), Time(2s));
  queue.Remove({2});
  EXPECT_EQ(queue.oldest(), Time(5s));
}

TEST(WaitQueue, GivesUpTheYoungestThatDoesNotQueue) {
  WaitQueue queue(5s);
  queue.Push(NewWaiter(1, 10s, false));
  queue.Push(NewWaiter(2, 10s, false));
  queue.Push(NewWaiter(3, 10s, true));
  EXPECT_EQ(queue.PopLastUnqueued([](TenantId) { return true; })->id.value, 2U);
  EXPECT_EQ(queue.PopLastUnqueued([](TenantId) { return true; })->id.value, 1U);
  EXPECT_FALSE(queue.PopLastUnqueued([](TenantId) { return true; }).has_value());
  EXPECT_EQ(queue.size(), 1U);
}

TEST(WaitQueue, NamesNobodyWhereNobodyWaits) {
  WaitQueue queue(5s);
  EXPECT_FALSE(queue.Next(Time{}, Anybody).has_value());
  EXPECT_FALSE(queue.PopOldest().has_value());
}

TEST(WaitQueue, ServesAHigherPriorityFirst) {
  WaitQueue queue(0s);
  queue.Push(Of(1, 1, Priority::kLow));
  queue.Push(Of(2, 1, Priority::kNormal));
  queue.Push(Of(3, 1, Priority::kHigh));
  queue.Push(Of(4, 1, Priority::kHigh));
  EXPECT_THAT(PopAll(queue), ElementsAre(3, 4, 2, 1));
}

TEST(WaitQueue, LetsTenantsTakeTurnsHoweverManyOfOneWait) {
  WaitQueue queue(5s);
  for (uint64_t id = 1; id <= 4; ++id) queue.Push(Of(id, 1));
  queue.Push(Of(5, 2));
  queue.Push(Of(6, 2));
  queue.Push(Of(7, 3));
  EXPECT_THAT(PopAll(queue), ElementsAre(1, 5, 7, 2, 6, 3, 4));
}

TEST(WaitQueue, GivesATenantAsManyTurnsAsItWeighs) {
  WaitQueue queue(5s);
  queue.SetWeight({1}, 3);
  for (uint64_t id = 1; id <= 40; ++id) queue.Push(Of(id, 1));
  for (uint64_t id = 41; id <= 80; ++id) queue.Push(Of(id, 2));
  int heavy = 0;
  for (int i = 0; i < 40; ++i) heavy += PopFront(queue).tenant.value == 1 ? 1 : 0;
  EXPECT_GE(heavy, 29);
  EXPECT_LE(heavy, 31);
}

TEST(WaitQueue, SavesUpNoTurnsForOneThatHadNothingWaiting) {
  WaitQueue queue(5s);
  uint64_t id = 0;
  for (int i = 0; i < 100; ++i) queue.Push(Of(++id, 1));
  for (int i = 0; i < 50; ++i) PopFront(queue);
  for (int i = 0; i < 10; ++i) queue.Push(Of(++id, 2));
  int newcomer = 0;
  for (int i = 0; i < 10; ++i) newcomer += PopFront(queue).tenant.value == 2 ? 1 : 0;
  EXPECT_EQ(newcomer, 5);
}

TEST(WaitQueue, PassesOverATenantThatMayNotAndKeepsItsTurnButNoMore) {
  WaitQueue queue(5s);
  uint64_t id = 0;
  for (int i = 0; i < 50; ++i) queue.Push(Of(++id, 1));
  for (int i = 0; i < 50; ++i) queue.Push(Of(++id, 2));
  for (int i = 0; i < 20; ++i) {
    const auto next = queue.Next(Time{}, [](TenantId tenant) { return tenant.value == 2; });
    EXPECT_EQ(queue.Serve(*next).tenant.value, 2U);
  }
  EXPECT_EQ(PopFront(queue).tenant.value, 1U);
  int first = 0;
  for (int i = 0; i < 10; ++i) first += PopFront(queue).tenant.value == 1 ? 1 : 0;
  EXPECT_EQ(first, 5);
}

TEST(WaitQueue, RaisesAWaiterByOnePriorityEachAgeStep) {
  WaitQueue queue(5s);
  queue.Push(Of(1, 1, Priority::kLow));  // since second 1
  queue.Push(Of(2, 1, Priority::kNormal));
  queue.Push(Of(10, 1, Priority::kHigh));
  const auto first_at = [&](Time now) { return queue.Next(now, Anybody)->value; };
  EXPECT_EQ(first_at(Time(6s)), 10U);
  EXPECT_EQ(first_at(Time(7s) - 1ns), 10U);
  EXPECT_EQ(first_at(Time(7s)), 2U) << "the normal one has risen, and is older";
  EXPECT_EQ(first_at(Time(11s) - 1ns), 2U);
  EXPECT_EQ(first_at(Time(11s)), 1U) << "the low one has risen twice, and is the oldest";
}

// L3: within its tenant it is overtaken only by what arrived before it reached the highest priority.
TEST(WaitQueue, LetsNobodyStarve) {
  WaitQueue queue(5s);
  queue.Push(Of(1, 1, Priority::kLow));
  uint64_t id = 1;
  uint64_t overtakes = 0;
  for (int second = 1; second < 100; ++second) {
    const Time now(second * 1s);
    Waiter high = Of(++id, 1, Priority::kHigh);
    high.since = now;
    queue.Push(std::move(high));
    if (PopFront(queue, now).id.value == 1) break;
    ++overtakes;
  }
  EXPECT_EQ(overtakes, 10U);
}

TEST(WaitQueue, KeepsAPlaceThroughARiseAndACancel) {
  WaitQueue queue(5s);
  queue.Push(Of(1, 1, Priority::kLow));
  queue.Push(Of(2, 1, Priority::kNormal));
  EXPECT_EQ(queue.Next(Time(20s), Anybody)->value, 1U);
  EXPECT_EQ(queue.Remove({1})->id.value, 1U);
  EXPECT_EQ(PopFront(queue, Time(20s)).id.value, 2U);
}

TEST(WaitQueue, VisitsLinesInTheOrderOfService) {
  WaitQueue queue(0s);
  queue.Push(Of(1, 1));
  queue.Push(Of(2, 1));
  queue.Push(Of(3, 2, Priority::kHigh));
  std::vector<std::pair<uint64_t, size_t>> seen;
  queue.Visit(Time{}, [&](TenantId tenant, size_t waiting) {
    seen.emplace_back(tenant.value, waiting);
    return true;
  });
  EXPECT_THAT(seen, ElementsAre(std::pair(2U, 1U), std::pair(1U, 2U)));
}

TEST(WaitQueueDeathTest, HasEachWaiterOnce) {
  WaitQueue queue(5s);
  queue.Push(NewWaiter(1, 10s));
  EXPECT_DEATH(queue.Push(NewWaiter(1, 20s)), "once");
}

// Fair, written as the definition reads and without a thought for cost: every question looks at everybody.
class NaiveQueue {
 public:
  struct Entry {
    uint64_t id;
    Time since;
    Time deadline;
    bool queues;
    uint64_t tenant;
    int priority;
  };

  explicit NaiveQueue(Duration age_step) : age_step_(age_step) {}

  // Whoever has risen since the last look joins its new line; among those, the earliest to rise first.
  void Look(Time now) {
    while (true) {
      Standing* next = nullptr;
      for (Standing& one : entries_) {
        if (one.priority == 3 || RisesAt(one) > now) continue;
        if (next == nullptr ||
            std::pair(RisesAt(one), one.entry.id) < std::pair(RisesAt(*next), next->entry.id)) {
          next = &one;
        }
      }
      if (next == nullptr) return;
      ++next->priority;
      Join(*next);
    }
  }

  void Push(const Entry& entry) {
    entries_.push_back({entry, entry.priority});
    Join(entries_.back());
  }

  std::optional<uint64_t> Serve(Time now, uint64_t barred) {
    Look(now);
    const Standing* best = nullptr;
    for (const Standing& one : entries_) {
      if (one.entry.tenant != barred && (best == nullptr || Before(one, *best))) best = &one;
    }
    if (best == nullptr) return std::nullopt;
    Turns& turns = turns_[best->priority];
    Turn& turn = turns.of[best->entry.tenant];
    turns.served = std::max(turns.served, turn.at);
    turn = {turns.served + (1 << 20), ++order_};
    return Take([id = best->entry.id](const Entry& a, const Entry*) { return a.id == id; });
  }

  template <typename Better>
  std::optional<uint64_t> Take(Better better) {
    auto best = entries_.end();
    for (auto one = entries_.begin(); one != entries_.end(); ++one) {
      if (better(one->entry, best == entries_.end() ? nullptr : &best->entry)) best = one;
    }
    if (best == entries_.end()) return std::nullopt;
    const uint64_t id = best->entry.id;
    entries_.erase(best);
    return id;
  }

  size_t size() const { return entries_.size(); }

 private:
  struct Standing {
    Entry entry;
    int priority;
  };
  struct Turn {
    uint64_t at = 0;
    uint64_t order = 0;
  };
  struct Turns {
    std::map<uint64_t, Turn> of;
    uint64_t served = 0;
  };

  Time RisesAt(const Standing& one) const {
    return one.entry.since + age_step_ * (one.priority - one.entry.priority + 1);
  }
  void Join(const Standing& joined) {
    Turns& turns = turns_[joined.priority];
    const auto beside = std::count_if(entries_.begin(), entries_.end(), [&](const Standing& one) {
      return one.priority == joined.priority && one.entry.tenant == joined.entry.tenant;
    });
    if (beside > 1) return;
    Turn& turn = turns.of[joined.entry.tenant];
    turn = {std::max(turn.at, turns.served), ++order_};
  }
  bool Before(const Standing& a, const Standing& b) {
    if (a.priority != b.priority) return a.priority > b.priority;
    if (a.entry.tenant == b.entry.tenant) return a.entry.id < b.entry.id;
    const Turn& turn_a = turns_[a.priority].of[a.entry.tenant];
    const Turn& turn_b = turns_[b.priority].of[b.entry.tenant];
    return std::pair(turn_a.at, turn_a.order) < std::pair(turn_b.at, turn_b.order);
  }

  const Duration age_step_;
  std::vector<Standing> entries_;
  std::map<int, Turns> turns_;
  uint64_t order_ = 0;
};

std::optional<uint64_t> IdOf(const std::optional<Waiter>& waiter) {
  return waiter ? std::optional(waiter->id.value) : std::nullopt;
}

TEST(WaitQueue, AgreesWithANaiveModel) {
  using Entry = NaiveQueue::Entry;
  constexpr Duration kAgeStep = 3s;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    const auto below = [&random](uint64_t bound) { return random() % bound; };
    WaitQueue queue(kAgeStep);
    NaiveQueue model(kAgeStep);
    uint64_t last_id = 0;
    Time now(1h);
    for (int step = 0; step < 400; ++step) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << " step " << step);
      now += below(3) * 500ms;
      std::optional<uint64_t> got;
      std::optional<uint64_t> expected;
      switch (below(7)) {
        case 0:
        case 1:
        case 2: {
          const Entry entry{++last_id,     now,          now + below(30) * 1s,
                            below(3) != 0, 1 + below(4), static_cast<int>(1 + below(3))};
          Waiter waiter = Of(entry.id, entry.tenant, static_cast<Priority>(entry.priority));
          waiter.since = entry.since;
          waiter.deadline = entry.deadline;
          waiter.queues = entry.queues;
          queue.Push(std::move(waiter));
          model.Push(entry);
          break;
        }
        case 3: {
          const uint64_t barred = below(6);
          const auto next = queue.Next(now, [&](TenantId tenant) { return tenant.value != barred; });
          if (next) got = queue.Serve(*next).id.value;
          expected = model.Serve(now, barred);
          break;
        }
        case 4: {
          const uint64_t id = below(last_id + 2);
          got = IdOf(queue.Remove({id}));
          expected = model.Take([id](const Entry& a, const Entry*) { return a.id == id; });
          break;
        }
        case 5:
          got = IdOf(queue.PopExpired(now));
          expected = model.Take([now](const Entry& a, const Entry* b) {
            return a.deadline <= now && (!b || std::pair(a.deadline, a.id) < std::pair(b->deadline, b->id));
          });
          break;
        default:
          got = IdOf(queue.PopLastUnqueued([](TenantId) { return true; }));
          expected =
              model.Take([](const Entry& a, const Entry* b) { return !a.queues && (!b || a.id > b->id); });
      }
      ASSERT_EQ(got, expected);
      ASSERT_EQ(queue.size(), model.size());
    }
  }
}

}  // namespace
}  // namespace pglessor::core

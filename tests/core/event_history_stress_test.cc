// Many emit and many read at once: each reader sees rising numbers, and all of them or how many it missed.
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "server/core/event_history.h"
#include "tests/support/fake_clock.h"

namespace pglessor::core {
namespace {

TEST(EventHistoryStress, EveryReaderSeesAllOrHowManyItMissed) {
  constexpr int kEmitters = 2, kReaders = 2;
  constexpr uint64_t kEach = 20'000;
  const test::FakeClock clock;
  Events events;
  EventHistory history(clock, events);
  std::atomic<uint64_t> wakes = 0;
  history.SetWake([&] { ++wakes; });

  std::vector<EventWatch> watches;
  for (int i = 0; i < kReaders; ++i) watches.emplace_back(history, EventFilter(), *history.Begin(0));
  std::atomic<int> emitting = kEmitters;
  std::vector<std::thread> threads;
  for (int i = 0; i < kEmitters; ++i) {
    threads.emplace_back([&] {
      for (uint64_t n = 0; n < kEach; ++n) {
        history.Arm();
        events.Emit({.type = EventType::kLeaseRenewed});
      }
      --emitting;
    });
  }
  for (EventWatch& watch : watches) {
    threads.emplace_back([&] {
      uint64_t last = 0;
      for (;;) {
        const bool over = emitting == 0;
        const EventWatch::Next next = watch.Take();
        if (next.event == nullptr) {
          if (over) break;
          continue;
        }
        ASSERT_EQ(next.event->sequence, last + 1 + static_cast<uint64_t>(next.missed));
        last = next.event->sequence;
      }
      EXPECT_EQ(last, kEmitters * kEach);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(wakes, 0U);
  EXPECT_LE(wakes, kEmitters * kEach);
}

}  // namespace
}  // namespace pglessor::core

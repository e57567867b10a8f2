#include "server/core/expiry_queue.h"

#include <chrono>
#include <cstdint>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr size_t kAll = SIZE_MAX;
constexpr Time At(Duration since_start) { return Time(since_start); }

TEST(ExpiryQueue, RemindsAtTheVeryInstantAndNotBefore) {
  ExpiryQueue queue;
  queue.Schedule({1}, At(10s));
  EXPECT_THAT(queue.TakeDue(At(10s) - 1ns, kAll), IsEmpty());
  EXPECT_THAT(queue.TakeDue(At(10s), kAll), ElementsAre(LeaseCounter{1}));
}

TEST(ExpiryQueue, RemindsOnce) {
  ExpiryQueue queue;
  queue.Schedule({1}, At(1s));
  EXPECT_THAT(queue.TakeDue(At(1s), kAll), ElementsAre(LeaseCounter{1}));
  EXPECT_THAT(queue.TakeDue(At(100s), kAll), IsEmpty());
}

TEST(ExpiryQueue, RemindsEarliestFirst) {
  ExpiryQueue queue;
  queue.Schedule({1}, At(3s));
  queue.Schedule({2}, At(1s));
  queue.Schedule({3}, At(2s));
  queue.Schedule({4}, At(9s));
  EXPECT_THAT(queue.TakeDue(At(5s), kAll), ElementsAre(LeaseCounter{2}, LeaseCounter{3}, LeaseCounter{1}));
}

TEST(ExpiryQueue, TakesNoMoreThanAskedFor) {
  ExpiryQueue queue;
  for (uint64_t i = 1; i <= 5; ++i) queue.Schedule({i}, At(i * 1s));
  EXPECT_THAT(queue.TakeDue(At(9s), 2), ElementsAre(LeaseCounter{1}, LeaseCounter{2}));
  EXPECT_THAT(queue.TakeDue(At(9s), 2), ElementsAre(LeaseCounter{3}, LeaseCounter{4}));
  EXPECT_THAT(queue.TakeDue(At(9s), 2), ElementsAre(LeaseCounter{5}));
}

TEST(ExpiryQueue, MovesAReminderForward) {
  ExpiryQueue queue;
  queue.Schedule({1}, At(9s));
  queue.Schedule({1}, At(1s));
  EXPECT_THAT(queue.TakeDue(At(1s), kAll), ElementsAre(LeaseCounter{1}));
  EXPECT_THAT(queue.TakeDue(At(9s), kAll), IsEmpty());
}

TEST(ExpiryQueue, NeverMovesAReminderBack) {
  ExpiryQueue queue;
  queue.Schedule({1}, At(1s));
  queue.Schedule({1}, At(9s));
  EXPECT_THAT(queue.TakeDue(At(1s), kAll), ElementsAre(LeaseCounter{1}));
}

TEST(ExpiryQueue, SchedulesAnewWhatWasTaken) {
  ExpiryQueue queue;
  queue.Schedule({1}, At(1s));
  EXPECT_THAT(queue.TakeDue(At(1s), kAll), ElementsAre(LeaseCounter{1}));
  queue.Schedule({1}, At(9s));
  EXPECT_THAT(queue.TakeDue(At(8s), kAll), IsEmpty());
  EXPECT_THAT(queue.TakeDue(At(9s), kAll), ElementsAre(LeaseCounter{1}));
}

TEST(ExpiryQueue, ForgetsWhatWasRemoved) {
  ExpiryQueue queue;
  queue.Schedule({1}, At(1s));
  queue.Schedule({2}, At(1s));
  queue.Remove({1});
  queue.Remove({3});  // never there
  EXPECT_THAT(queue.TakeDue(At(9s), kAll), ElementsAre(LeaseCounter{2}));
}

TEST(ExpiryQueue, KeepsLeasesOfOneInstantApart) {
  ExpiryQueue queue;
  for (uint64_t i = 1; i <= 3; ++i) queue.Schedule({i}, At(1s));
  EXPECT_THAT(queue.TakeDue(At(1s), kAll), ElementsAre(LeaseCounter{1}, LeaseCounter{2}, LeaseCounter{3}));
}

TEST(ExpiryQueue, TakesTheEndsOfTime) {
  ExpiryQueue queue;
  queue.Schedule({1}, Time::max());
  queue.Schedule({2}, Time::min());
  EXPECT_THAT(queue.TakeDue(Time::min(), kAll), ElementsAre(LeaseCounter{2}));
  EXPECT_THAT(queue.TakeDue(Time::max(), kAll), ElementsAre(LeaseCounter{1}));
}

}  // namespace
}  // namespace pglessor::core

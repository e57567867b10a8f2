// Random operations from a seed. After each, PoolStateDriver checks the sums, the exact maximum,
// the order of service, the fencing tokens, and that nobody waits beside an idle connection.
#include <chrono>
#include <cstdint>
#include <iterator>
#include <optional>
#include <random>
#include <vector>

#include "gtest/gtest.h"

#include "server/core/pool_state.h"
#include "tests/core/pool_state_driver.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;

class RandomRun {
 public:
  explicit RandomRun(uint64_t seed) : random_(seed), pool_(RandomOptions()) {}

  void Run(int steps) {
    pool_.Tick();
    for (step_ = 0; step_ < steps && !testing::Test::HasFailure(); ++step_) {
      SCOPED_TRACE(testing::Message() << "step " << step_);
      Step();
      ExpectNobodyWaitsForWhatCouldBeOpened();
    }
    WindDown();
  }

 private:
  PoolOptions RandomOptions() {
    options_.max_connections = static_cast<int32_t>(1 + Below(8));
    options_.min_connections =
        static_cast<int32_t>(Below(static_cast<uint64_t>(options_.max_connections) + 1));
    options_.max_concurrent_opens = static_cast<int32_t>(1 + Below(4));
    options_.max_waiters = 1 + Below(20);
    options_.validate_after = Below(3) * 50ms;
    options_.keepalive = Below(3) * 200ms;
    options_.idle_timeout = Below(3) * 300ms;
    options_.max_lifetime = Below(3) * 1s;
    return options_;
  }

  uint64_t Below(uint64_t bound) { return random_() % bound; }
  template <typename Container>
  auto Any(const Container& container) {
    return *std::next(container.begin(), static_cast<int64_t>(Below(container.size())));
  }

  void Step() {
    pool_.now += Below(5) * 10ms;
    switch (Below(19)) {
      case 0:
      case 1:
      case 2:
        pool_.Acquire(Below(4) == 0 ? 0s : (1 + Below(10)) * 100ms);
        break;
      case 3:
        pool_.Cancel({Below(30 + static_cast<uint64_t>(step_))});
        break;
      case 4:
      case 5:
        if (!pool_.opening.empty()) pool_.Opened(Any(pool_.opening));
        break;
      case 6:
        if (!pool_.opening.empty()) {
          last_failure_ = pool_.now;
          pool_.OpenFailed(Any(pool_.opening));
        }
        break;
      case 7:
        if (const auto lent = pool_.Lent(); !lent.empty()) pool_.Return(Any(lent), AnyReason());
        break;
      case 8:
      case 9:
        if (const auto lent = pool_.Lent(); !lent.empty()) pool_.BeginClean(Any(lent), AnyReason());
        break;
      case 10:
        if (const auto lent = pool_.Lent(); !lent.empty()) {
          if (Below(2) == 0) {
            pool_.Discard(Any(lent), AnyReason());
          } else {
            pool_.Regret(Any(lent));
          }
        }
        break;
      case 11:
      case 12:
        if (!pool_.cleaning.empty()) {
          if (Below(4) == 0) {
            pool_.Retire(Any(pool_.cleaning));
          } else {
            pool_.Cleaned(Any(pool_.cleaning));
          }
        }
        break;
      case 13:
        if (!pool_.closing.empty()) pool_.Gone(Any(pool_.closing));
        break;
      case 14:
        LoseOrStick();
        break;
      case 15:
      case 16:
        if (!pool_.probing.empty()) pool_.Probed(Any(pool_.probing), Below(4) > 0);
        break;
      case 17:
        if (Below(4) == 0) Operate();
        break;
      default:
        if (Below(3) == 0) AddBlock();
        pool_.Tick();
        last_tick_ = pool_.now;
    }
  }

  void Operate() {
    switch (Below(3)) {
      case 0:
        pool_.Reset(Below(2) == 0, answers_.emplace_back());
        break;
      case 1:
        pool_.Expire(Below(3) * 100ms, Below(2) == 0, answers_.emplace_back());
        break;
      default:
        pool_.Renew(static_cast<int32_t>(Below(10)), answers_.emplace_back());
    }
  }

  EndReason AnyReason() { return static_cast<EndReason>(Below(kEndReasons)); }

  void LoseOrStick() {
    const auto slots = pool_.Snapshot().slots;
    if (slots.empty()) return;
    const PoolSnapshot::Slot row = Any(slots);
    if (row.state == SlotState::kRetiring) {
      for (const SlotRef slot : pool_.closing) {
        if (slot.index == row.index) return pool_.Stuck(slot);
      }
    } else if (row.state != SlotState::kOpening) {
      pool_.Lost(pool_.slots.at(row.index));
    }
  }

  void AddBlock() {
    next_block_ += Below(10);
    const uint64_t count = Below(10);
    pool_.AddBlock({next_block_, count});
    next_block_ += count;
  }

  // Where a waiter has nothing coming, there is no room, or the database is being left alone.
  void ExpectNobodyWaitsForWhatCouldBeOpened() {
    const PoolSnapshot snapshot = pool_.Snapshot();
    if (snapshot.waiting == 0 || snapshot.in(SlotState::kAvailable) > 0) return;
    if (last_failure_ && last_tick_ < *last_failure_ + options_.max_open_backoff) return;
    EXPECT_TRUE(snapshot.total == options_.max_connections ||
                snapshot.in(SlotState::kOpening) == options_.max_concurrent_opens ||
                snapshot.in(SlotState::kOpening) + snapshot.in(SlotState::kCleaning) >= snapshot.waiting);
  }

  void WindDown() {
    pool_.Drain();
    EXPECT_EQ(pool_.Snapshot().waiting, 0);
    pool_.CloseAll();
    for (const SlotRef slot : pool_.Lent()) pool_.Discard(slot, EndReason::kDrained);
    while (!pool_.cleaning.empty()) pool_.Cleaned(pool_.cleaning.front());
    while (!pool_.probing.empty()) pool_.Probed(pool_.probing.front());
    pool_.OpenAll();
    while (!pool_.closing.empty()) pool_.Gone(pool_.closing.front());
    EXPECT_EQ(pool_.state().total(), 0);
    for (const auto& answer : answers_) EXPECT_TRUE(answer.here()) << "an operation that nobody answered";
  }

  std::mt19937_64 random_;
  PoolOptions options_;
  PoolStateDriver pool_;  // after what RandomOptions uses
  std::vector<test::Answer<absl::StatusOr<PoolReport>>> answers_;
  int step_ = 0;
  std::optional<Time> last_failure_;
  Time last_tick_{};
  uint64_t next_block_ = 1;
};

TEST(PoolStateProperty, HoldsItsInvariantsInRandomRuns) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomRun(seed).Run(400);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace pglessor::core

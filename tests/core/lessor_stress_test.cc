// Many threads at once, for ThreadSanitizer; bounded by counts, not by time. The fakes watch for a
// session that two leases share.
#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/lessor.h"
#include "tests/core/lessor_fixture.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;

constexpr int kThreads = 4;

class LessorStressTest : public LessorTest {
 protected:
  // Runs tasks, or lets another thread do so, until the answer is here.
  template <typename T>
  const T& Await(const test::Answer<T>& answer) {
    while (!answer.here()) Pump();
    return *answer;
  }
  void Pump() {
    if (executor_.RunDue() == 0) std::this_thread::yield();
  }

  // Fencing tokens are given under the pool's lock: of one thread's own grants, each is above the
  // last.
  void Note(const LeaseView& lease) {
    const std::lock_guard lock(seen_mutex_);
    EXPECT_TRUE(tokens_.insert(lease.grant.fencing_token).second) << "a fencing token came again";
    EXPECT_TRUE(leases_.insert(lease.grant.counter).second) << "a lease's counter came again";
  }

  // Nothing is under way any more: every sum is exact and the pool is whole.
  void ExpectQuiet(int32_t max) {
    executor_.RunDue();
    EXPECT_EQ(executor_.pending(), 0U);
    const PoolView view = View();
    ExpectSums(view);
    EXPECT_EQ(view.snapshot.waiting, 0);
    EXPECT_EQ(view.snapshot.in(SlotState::kInUse), 0);
    EXPECT_EQ(view.snapshot.in(SlotState::kCleaning), 0);
    EXPECT_EQ(view.snapshot.total, view.snapshot.in(SlotState::kAvailable));
    EXPECT_EQ(view.snapshot.counters.granted, static_cast<int64_t>(tokens_.size()));
    EXPECT_LE(connector_.peak(), max);
    for (const PoolView::Row& row : view.connections) EXPECT_FALSE(row.lease.has_value());
    lessor_->Drain();
    lessor_->CloseAll();
    executor_.RunDue();
    EXPECT_TRUE(lessor_->Empty());
    EXPECT_EQ(connector_.backends(), 0);
  }

  std::mutex seen_mutex_;
  std::set<FencingToken> tokens_;
  std::set<LeaseCounter> leases_;
};

// One caller: acquires, perhaps runs something, perhaps renews, and ends it in one of the ways.
TEST_F(LessorStressTest, EndsWithEverySumExact) {
  constexpr int kRounds = 1'000;
  StartPool({.min_connections = 2, .max_connections = 3});
  std::atomic<int> working{kThreads};
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) {
    threads.emplace_back([&, number] {
      std::mt19937_64 random(static_cast<uint64_t>(number));
      for (int round = 0; round < kRounds; ++round) {
        AcquireRequest request;
        request.ttl = random() % 4 == 0 ? 100ms : Duration(1h);
        if (random() % 8 == 0) request.wait = 0s;
        AcquireAnswer answer;
        const Lessor::AttemptRef attempt = lessor_->Acquire(std::move(request), answer.Callback());
        if (random() % 8 == 0) lessor_->Over(attempt, /*delivered=*/false);
        const auto& lease = Await(answer);
        if (!lease.ok()) continue;
        Note(*lease);
        const LeaseCounter id = lease->grant.counter;
        if (random() % 2 == 0) {
          const auto sink = std::make_shared<test::RecordingSink>();
          const auto running = lessor_->Execute(id, {}, sink);
          if (running.ok() && random() % 4 == 0) running->Cancel();
          while (running.ok() && random() % 4 != 0 && !sink->ended()) Pump();
        }
        if (random() % 4 == 0)
          lessor_->Renew(id, random() % 2 == 0 ? std::optional<Duration>(1h) : std::nullopt).IgnoreError();
        switch (random() % 4) {
          case 0: {
            ExpireAnswer expired;
            lessor_->Expire(id, {EndReason::kRevoked}, /*validate_only=*/false, expired.Callback());
            EXPECT_THAT(Await(expired), IsOk());
            break;
          }
          default: {
            ReleaseAnswer released;
            lessor_->Release(id, random() % 4 == 0 ? Disposition::kDiscard : Disposition::kReturn,
                             released.Callback());
            Await(released);
          }
        }
        EXPECT_FALSE(lessor_->Renew(id, std::nullopt).ok()) << "whoever ended it";
      }
      --working;
    });
  }
  threads.emplace_back([&] {
    while (working > 0) {
      clock_.Advance(1ms);
      lessor_->Tick();
      ExpectSums(View());
      Pump();
    }
  });
  for (std::thread& thread : threads) thread.join();
  ExpectQuiet(3);
}

// The same connection is never in two hands: each holder puts his mark on it and finds it
// untouched.
TEST_F(LessorStressTest, GivesEachConnectionToOneHolderAtATime) {
  constexpr int kRounds = 2'000;
  StartPool({.min_connections = 3, .max_connections = 3});
  std::array<std::atomic<int>, 3> marks{};
  std::vector<std::thread> threads;
  for (int number = 1; number <= kThreads; ++number) {
    threads.emplace_back([&, number] {
      for (int round = 0; round < kRounds; ++round) {
        AcquireAnswer answer;
        lessor_->Acquire(WithTtl(1h), answer.Callback());
        const auto& lease = Await(answer);
        ASSERT_THAT(lease, IsOk());
        Note(*lease);
        std::atomic<int>& mark = marks.at(static_cast<size_t>(lease->grant.backend_pid) % marks.size());
        EXPECT_EQ(mark.exchange(number), 0);
        std::this_thread::yield();
        EXPECT_EQ(mark.exchange(0), number);
        ReleaseAnswer released;
        lessor_->Release(lease->grant.counter, Disposition::kReturn, released.Callback());
        EXPECT_THAT(Await(released), IsOk());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectQuiet(3);
}

// Backends die at any point of a grant: the lease hears of it every time, with no help from time.
TEST_F(LessorStressTest, ALossReachesItsLeaseWheneverItComes) {
  constexpr int kRounds = 500;
  StartPool({.min_connections = 1, .max_connections = 1});
  std::barrier meet(2);
  std::shared_ptr<test::FakeConnection> victim;
  AcquireAnswer answer;
  std::thread killer([&] {
    for (int round = 0; round < kRounds; ++round) {
      meet.arrive_and_wait();
      for (int i = 0; i < round % 16; ++i) std::this_thread::yield();
      victim->Die();
      Pump();
      meet.arrive_and_wait();
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    executor_.RunDue();
    victim = connector_.connections().back();
    answer = {};
    meet.arrive_and_wait();
    lessor_->Acquire(WithTtl(1h), answer.Callback());
    meet.arrive_and_wait();
    executor_.RunDue();
    const auto& lease = Await(answer);
    ASSERT_THAT(lease, IsOk());
    Note(*lease);
    const LeaseCounter id = lease->grant.counter;
    if (ConnectionOf(*lease) == victim) {
      EXPECT_THAT(lessor_->Renew(id, std::nullopt), HasReason("CONNECTION_LOST"));
      Release(id);  // else a loss that was missed would leave the next round waiting for ever
    } else {
      EXPECT_THAT(*Release(id), IsOk()) << "he was given its replacement";
    }
  }
  killer.join();
  ExpectQuiet(1);
}

// S9: attempts with one request_id, that race and that vanish, are one lease or its one end.
TEST_F(LessorStressTest, RacingRetriesGetOneLease) {
  constexpr int kRounds = 300;
  StartPool({.min_connections = 1, .max_connections = 2, .unclaimed_timeout = 5ms});
  std::barrier meet(kThreads);
  std::atomic<int> working{kThreads};
  std::array<std::atomic<uint64_t>, kRounds> lease_of{};
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) {
    threads.emplace_back([&, number] {
      std::mt19937_64 random(static_cast<uint64_t>(number));
      for (size_t round = 0; round < kRounds; ++round) {
        meet.arrive_and_wait();
        AcquireRequest request;
        request.request_id = std::to_string(round);
        request.ttl = 1h;
        AcquireAnswer answer;
        const Lessor::AttemptRef attempt = lessor_->Acquire(std::move(request), answer.Callback());
        const bool vanishes = random() % 3 == 0;
        if (vanishes) lessor_->Over(attempt, /*delivered=*/false);
        const auto& lease = Await(answer);
        if (lease.ok()) {
          uint64_t none = 0;
          const uint64_t its = lease->grant.counter.value;
          if (!lease_of[round].compare_exchange_strong(none, its)) {
            EXPECT_EQ(none, its);
          } else {
            Note(*lease);
          }
        }
        if (!vanishes) lessor_->Over(attempt, /*delivered=*/random() % 2 == 0);
        meet.arrive_and_wait();
        if (const uint64_t its = lease_of[round]; number == 0 && its != 0) {
          ReleaseAnswer released;  // it may have ended unclaimed
          lessor_->Release(LeaseCounter{its}, Disposition::kReturn, released.Callback());
          Await(released);
        }
      }
      --working;
    });
  }
  threads.emplace_back([&] {
    while (working > 0) {
      clock_.Advance(1ms);
      lessor_->Tick();
      ExpectSums(View());
      Pump();
    }
  });
  for (std::thread& thread : threads) thread.join();
  executor_.RunDue();
  clock_.Advance(1h);
  lessor_->Tick();
  executor_.RunDue();
  EXPECT_EQ(InUse(), 0);
}

// S16, in the lessor's own threads: of a renewal and an expiry at one instant exactly one wins.
TEST_F(LessorStressTest, RenewalAndExpiryNeverBothWin) {
  constexpr int kRounds = 500;
  StartPool({.min_connections = 1, .max_connections = 1});
  std::barrier meet(2);
  LeaseView lease;
  std::atomic<bool> renewed{false};
  std::thread renewer([&] {
    for (int round = 0; round < kRounds; ++round) {
      meet.arrive_and_wait();
      renewed = lessor_->Renew(lease.grant.counter, std::nullopt).ok();
      meet.arrive_and_wait();
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    lease = Granted(Acquire(WithTtl(10s)));
    Note(lease);
    clock_.Advance(10s - 1ns);
    meet.arrive_and_wait();
    clock_.Advance(1ns);
    lessor_->Tick();
    meet.arrive_and_wait();
    executor_.RunDue();
    EXPECT_EQ(InUse(), renewed ? 1 : 0);
    if (renewed) Release(lease.grant.counter);
  }
  renewer.join();
  ExpectQuiet(1);
}

// Each pool serves while it is there, and takes all that it has with it when it goes.
TEST_F(LessorStressTest, PoolsComeAndGoWhileOthersUseThem) {
  constexpr int kPools = 50;
  constexpr int kGrantsEach = 40;
  test::FakeConnector connector(executor_);
  std::deque<test::FakeFencingSource> fencing;  // each pool's own
  std::atomic<int> granted{0};
  std::atomic<int> gone{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) {
    threads.emplace_back([&, number] {
      std::mt19937_64 random(static_cast<uint64_t>(number));
      while (!over) {
        AcquireRequest request = OfPool("spare");
        request.ttl = 1h;
        request.wait = 10ms;
        AcquireAnswer answer;
        const Lessor::AttemptRef attempt = lessor_->Acquire(std::move(request), answer.Callback());
        const auto& lease = Await(answer);
        lessor_->Over(attempt, /*delivered=*/true);
        if (!lease.ok()) continue;
        ++granted;
        const LeaseCounter id = lease->grant.counter;
        if (random() % 2 == 0) {
          lessor_->Execute(id, {}, std::make_shared<test::RecordingSink>()).status().IgnoreError();
        }
        lessor_->Renew(id, 1h).status().IgnoreError();
        if (random() % 4 == 0) continue;  // it ends with its pool
        ReleaseAnswer released;
        lessor_->Release(id, Disposition::kReturn, released.Callback());
        Await(released);
      }
    });
  }
  threads.emplace_back([&] {
    while (gone < kPools) {
      clock_.Advance(1ms);
      lessor_->Tick();
      lessor_->Stats("").status().IgnoreError();
      Pump();
    }
    over = true;
  });
  for (int i = 0; i < kPools; ++i) {
    PoolOptions options;
    options.name = "spare";
    options.min_connections = options.max_connections = 100;
    // Counted from before it is there: what is not released uses it up, while this thread may not run.
    const int enough = granted + kGrantsEach;
    lessor_->AddPool(options, connector, fencing.emplace_back(executor_));
    while (granted < enough) Pump();
    EXPECT_THAT(lessor_->RemovePool("spare", 5ms,
                                    [&](Pool::Stage stage) {
                                      EXPECT_EQ(stage, Pool::Stage::kGone);
                                      ++gone;
                                    }),
                IsOk());
  }
  for (std::thread& thread : threads) thread.join();
  executor_.RunDue();
  EXPECT_EQ(connector.backends(), 0);
  EXPECT_EQ(lessor_->InUse(), 0);
}

}  // namespace
}  // namespace pglessor::core

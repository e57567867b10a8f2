// Callers of a pool, each of which acquires and releases again and again; and how they are carried.
//
//   continuations   as in the server: a caller that waits is an object and holds no thread; as many threads
//                   as there are processors carry them all. What a goroutine is in Go.
//   threads         each caller is a thread, which sleeps until it is granted.
//
// A pool under test is any type with
//   using Held = ...;                                    // default-constructible
//   template <typename Granted> void Acquire(Granted);   // calls granted(Held) once, perhaps inside
//   void Release(Held&);
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "bench/support/figures.h"

namespace pglessor::bench {

inline constexpr std::chrono::milliseconds kCellTime(300);

// What a caller does while it holds.
enum class Hold {
  kNothing,  // releases at once
  kYield,    // lets the other callers go first: so where there are more of them than connections, all but
             // the first wait in the pool's queue
};

template <typename Pool>
class Continuations {
 public:
  Continuations(Pool& pool, int callers, Hold hold)
      : pool_(pool), hold_(hold), crew_(std::min<size_t>(callers, std::thread::hardware_concurrency())) {
    for (int i = 0; i < callers; ++i) {
      callers_.push_back(std::make_unique<Caller>());
      crew_[static_cast<size_t>(i) % crew_.size()].ready.push_back(callers_.back().get());
    }
  }

  // Nanoseconds a pair.
  double Run() {
    const auto start = Clock::now();
    std::vector<std::thread> threads;
    for (Worker& worker : crew_) threads.emplace_back([&] { Carry(worker); });
    std::this_thread::sleep_for(kCellTime);
    stop_ = true;
    for (std::thread& thread : threads) thread.join();
    const double took = NanosecondsSince(start);
    int64_t pairs = 0;
    for (const Worker& worker : crew_) pairs += worker.pairs;
    GiveBack();
    return took / static_cast<double>(pairs);
  }

 private:
  enum State : int { kResting, kAsking, kWaiting, kHolding };
  struct Caller {
    std::atomic<int> state{kResting};
    typename Pool::Held held;
  };
  struct alignas(64) Worker {
    std::deque<Caller*> ready;
    int64_t pairs = 0;
  };
  // A turn of one that is granted at once every time.
  static constexpr int kTurn = 100;

  void Carry(Worker& worker) {
    own_ = &worker;
    while (!stop_.load(std::memory_order_relaxed)) {
      if (worker.ready.empty()) {
        ++idle_;
        TakeShared(worker);
        --idle_;
        continue;
      }
      if (idle_.load(std::memory_order_relaxed) > 0 && worker.ready.size() > 1) Share(worker);
      Caller& caller = *worker.ready.front();
      worker.ready.pop_front();
      int steps = 0;
      while (steps < kTurn && Step(worker, caller)) ++steps;
      if (steps == kTurn) worker.ready.push_back(&caller);
    }
  }

  // Those that hold release, and so those that wait are granted, until nobody does.
  void GiveBack() {
    own_ = &crew_.front();
    for (bool somebody = true; somebody;) {
      somebody = false;
      for (const auto& caller : callers_) {
        if (caller->state != kHolding) continue;
        caller->state = kResting;
        pool_.Release(caller->held);
        somebody = true;
      }
    }
  }

  // False if it goes on later.
  bool Step(Worker& worker, Caller& caller) {
    if (caller.state.load(std::memory_order_relaxed) == kHolding) Release(worker, caller);
    caller.state.store(kAsking, std::memory_order_relaxed);
    pool_.Acquire([&caller](typename Pool::Held held) {
      caller.held = std::move(held);
      // One that waits already goes on where its grant was made possible.
      if (caller.state.exchange(kHolding) == kWaiting) own_->ready.push_back(&caller);
    });
    int asking = kAsking;
    if (caller.state.compare_exchange_strong(asking, kWaiting)) return false;
    if (hold_ == Hold::kYield) {
      worker.ready.push_back(&caller);
      return false;
    }
    Release(worker, caller);
    return true;
  }

  void Release(Worker& worker, Caller& caller) {
    caller.state.store(kResting, std::memory_order_relaxed);
    pool_.Release(caller.held);
    ++worker.pairs;
  }

  void Share(Worker& worker) {
    const std::scoped_lock lock(shared_mutex_);
    for (size_t half = worker.ready.size() / 2; half > 0; --half) {
      shared_.push_back(worker.ready.back());
      worker.ready.pop_back();
    }
  }
  void TakeShared(Worker& worker) {
    std::this_thread::yield();
    const std::scoped_lock lock(shared_mutex_);
    worker.ready.swap(shared_);
  }

  static inline thread_local Worker* own_ = nullptr;

  Pool& pool_;
  const Hold hold_;
  std::vector<std::unique_ptr<Caller>> callers_;
  std::vector<Worker> crew_;
  std::atomic<bool> stop_{false};
  std::atomic<int> idle_{0};
  std::mutex shared_mutex_;
  std::deque<Caller*> shared_;
};

// One acquire of a thread that sleeps until it is granted.
template <typename Pool>
typename Pool::Held AcquireAndSleep(Pool& pool) {
  // Shared: whoever grants may still be in notify_one when the one that was woken has gone.
  struct Place {
    std::atomic<bool> granted{false};
    typename Pool::Held held;
  };
  thread_local const auto place = std::make_shared<Place>();
  place->granted = false;
  pool.Acquire([place = place](typename Pool::Held held) {
    place->held = std::move(held);
    place->granted = true;
    place->granted.notify_one();
  });
  place->granted.wait(false);
  return std::move(place->held);
}

// Nanoseconds a pair.
template <typename Pair>
double RunThreads(int threads, Pair pair) {
  struct alignas(64) Count {
    int64_t pairs = 0;
  };
  std::vector<Count> counts(static_cast<size_t>(threads));
  std::atomic<bool> stop{false};
  std::vector<std::thread> running;
  const auto start = Clock::now();
  for (Count& count : counts) {
    running.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        pair();
        ++count.pairs;
      }
    });
  }
  std::this_thread::sleep_for(kCellTime);
  stop = true;
  for (std::thread& thread : running) thread.join();
  const double took = NanosecondsSince(start);
  int64_t pairs = 0;
  for (const Count& count : counts) pairs += count.pairs;
  return took / static_cast<double>(pairs);
}

}  // namespace pglessor::bench

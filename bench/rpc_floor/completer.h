#ifndef PGLESSOR_BENCH_RPC_FLOOR_COMPLETER_H_
#define PGLESSOR_BENCH_RPC_FLOOR_COMPLETER_H_

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace pglessor::bench {

// Decides which thread completes an answer: the caller's or, while it is in Run, a second one;
// there in order, and not before the hold is over.
//
// Threads: any may complete; one runs. The queue is as long as there are calls in flight.
class Completer {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Where { kInline, kOtherThread };

  Completer(Where where, Clock::duration hold) : where_(where), hold_(hold) {}

  template <typename Completion>
  void Complete(Completion completion) {
    if (where_ == Where::kInline) {
      completion();
    } else {
      Enqueue(std::move(completion));
    }
  }

  // Returns after Stop, once the queue is empty.
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      std::deque<Waiting> batch = std::exchange(waiting_, {});
      lock.unlock();
      for (const Waiting& waiting : batch) {
        std::this_thread::sleep_until(waiting.due);
        waiting.completion();
      }
      lock.lock();
    }
  }

  void Stop() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_one();
  }

 private:
  struct Waiting {
    Clock::time_point due;
    std::function<void()> completion;
  };

  void Enqueue(std::function<void()> completion) {
    {
      std::lock_guard lock(mutex_);
      waiting_.push_back({Clock::now() + hold_, std::move(completion)});
    }
    changed_.notify_one();
  }

  const Where where_;
  const Clock::duration hold_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;         // Guarded by mutex_.
  std::deque<Waiting> waiting_;  // Guarded by mutex_; in order of `due`.
};

}  // namespace pglessor::bench

#endif  // PGLESSOR_BENCH_RPC_FLOOR_COMPLETER_H_

// Fencing blocks without a database.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "server/core/connection.h"
#include "server/core/executor.h"
#include "server/core/mutex.h"

namespace pglessor::test {

// Gives one block unasked and one for each TakeBlock, when the executor runs; or, after Hold, when
// the test says so.
class FakeFencingSource : public core::FencingSource {
 public:
  static constexpr uint64_t kBlock = 1 << 20;

  explicit FakeFencingSource(core::Executor& executor) : executor_(executor) {}

  void Subscribe(Taken taken) override {
    taken_ = std::move(taken);
    TakeBlock();
  }

  void TakeBlock() override {
    {
      const core::MutexLock lock(mutex_);
      ++asked_;
      if (held_) return;
    }
    GiveNext();
  }

  void Hold() {
    const core::MutexLock lock(mutex_);
    held_ = true;
  }

  // The next block, above all before it.
  void GiveNext() {
    const core::MutexLock lock(mutex_);
    last_ += kBlock;
    executor_.Post([this, block = Block{last_, kBlock}] { Tell(block); });
  }

  // Any block, as of a database that was restored or forgot.
  void Give(Block block) {
    executor_.Post([this, block] { Tell(block); });
  }

  // A block was given, or is on its way.
  bool given() const {
    const core::MutexLock lock(mutex_);
    return last_ > 0;
  }

  int asked() const {
    const core::MutexLock lock(mutex_);
    return asked_;
  }

  // Whoever subscribed wants more.
  bool wanted() const { return wanted_; }

 private:
  void Tell(Block block) {
    if (wanted_) wanted_ = taken_(block);
  }

  core::Executor& executor_;
  Taken taken_;
  std::atomic<bool> wanted_{true};
  mutable core::Mutex mutex_;
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  int asked_ ABSL_GUARDED_BY(mutex_) = 0;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace pglessor::test

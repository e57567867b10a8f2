// An executor whose tasks run when the test says so, on the thread that says it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "server/core/executor.h"
#include "server/core/mutex.h"
#include "tests/support/fake_clock.h"

namespace pglessor::test {

class ManualExecutor : public core::Executor {
 public:
  explicit ManualExecutor(FakeClock& clock) : clock_(clock) {}

  void Post(Task task) override;
  void PostAt(core::Time at, Task task) override;

  // Runs what is due, and what that posts, until nothing is; says how many ran. While another
  // thread is at it, or from inside a task, it runs nothing: tasks run one at a time.
  size_t RunDue();

  // Moves the clock on by `span`, stopping at the time of each task to run it.
  void AdvanceBy(core::Duration span);

  // Moves the clock on to the time of the next task and runs that one alone: false, with the clock at `end`,
  // if there is none before.
  bool RunNext(core::Time end);

  size_t pending() const;

 private:
  bool RunOne() ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<core::Time> NextTime() const ABSL_LOCKS_EXCLUDED(mutex_);

  FakeClock& clock_;
  mutable core::Mutex mutex_;
  std::map<std::pair<core::Time, uint64_t>, Task> tasks_ ABSL_GUARDED_BY(mutex_);
  uint64_t posted_ ABSL_GUARDED_BY(mutex_) = 0;
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace pglessor::test

// The one loop that waits on time: every kReaperTick it collects what is due.
#pragma once

#include "server/core/clock.h"
#include "server/core/executor.h"
#include "server/core/lessor.h"

namespace pglessor::core {

// Threads: Start once, from any thread. `lessor`, `clock` and `executor` must outlive the executor's last
//   task.
class Reaper {
 public:
  Reaper(Lessor& lessor, const Clock& clock, Executor& executor)
      : lessor_(lessor), clock_(clock), executor_(executor) {}

  void Start() { Next(); }

 private:
  void Next() {
    executor_.PostAt(SaturatingAdd(clock_.Now(), kReaperTick), [this] {
      lessor_.Tick();
      Next();
    });
  }

  Lessor& lessor_;
  const Clock& clock_;
  Executor& executor_;
};

}  // namespace pglessor::core

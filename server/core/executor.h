// Where work that must not run here and now is run: the core's only way to another thread or time.
#pragma once

#include "absl/functional/any_invocable.h"

#include "server/core/clock.h"

namespace pglessor::core {

// Threads: any thread may call. Tasks run one at a time, in the order of their times and then of their
// posting, with no lock held, and never inside the call that posts them.
class Executor {
 public:
  using Task = absl::AnyInvocable<void()>;

  virtual ~Executor() = default;
  virtual void Post(Task task) = 0;
  // Runs `task` at `at`, or soon after; a time that has passed is as good as now.
  virtual void PostAt(Time at, Task task) = 0;
};

}  // namespace pglessor::core

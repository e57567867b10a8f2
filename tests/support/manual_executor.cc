#include "tests/support/manual_executor.h"

#include <algorithm>

#include "server/core/check.h"

namespace pglessor::test {
namespace {

// Far above what any test needs: tasks that post one another for ever fail instead of hanging.
constexpr size_t kEndless = 10'000'000;

}  // namespace

void ManualExecutor::Post(Task task) { PostAt(clock_.Now(), std::move(task)); }

void ManualExecutor::PostAt(core::Time at, Task task) {
  const core::Time due = std::max(at, clock_.Now());
  const core::MutexLock lock(mutex_);
  tasks_.emplace(std::pair(due, ++posted_), std::move(task));
}

size_t ManualExecutor::RunDue() {
  size_t ran = 0;
  while (RunOne()) {
    ++ran;
    PGLESSOR_CHECK(ran < kEndless, "tasks post one another for ever");
  }
  return ran;
}

bool ManualExecutor::RunOne() {
  Task task;
  {
    const core::MutexLock lock(mutex_);
    if (running_ || tasks_.empty() || tasks_.begin()->first.first > clock_.Now()) return false;
    running_ = true;
    task = std::move(tasks_.begin()->second);
    tasks_.erase(tasks_.begin());
  }
  task();
  task = nullptr;  // what it owns goes before the next one runs
  const core::MutexLock lock(mutex_);
  running_ = false;
  return true;
}

void ManualExecutor::AdvanceBy(core::Duration span) {
  const core::Time end = core::SaturatingAdd(clock_.Now(), span);
  RunDue();
  for (;;) {
    const std::optional<core::Time> next = NextTime();
    if (!next || *next > end) break;
    clock_.AdvanceTo(*next);
    RunDue();
  }
  clock_.AdvanceTo(end);
}

bool ManualExecutor::RunNext(core::Time end) {
  const std::optional<core::Time> next = NextTime();
  if (!next || *next > end) {
    clock_.AdvanceTo(end);
    return false;
  }
  clock_.AdvanceTo(*next);
  return RunOne();
}

std::optional<core::Time> ManualExecutor::NextTime() const {
  const core::MutexLock lock(mutex_);
  if (tasks_.empty()) return std::nullopt;
  return tasks_.begin()->first.first;
}

size_t ManualExecutor::pending() const {
  const core::MutexLock lock(mutex_);
  return tasks_.size();
}

}  // namespace pglessor::test

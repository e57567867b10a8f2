// What everybody in a run shares: time, chance, and the record of what happens.
#pragma once

#include <cstdint>
#include <utility>

#include "server/core/executor.h"
#include "tests/sim/history.h"
#include "tests/sim/random.h"
#include "tests/support/fake_clock.h"
#include "tests/support/manual_executor.h"

namespace pglessor::core::sim {

struct Stage {
  explicit Stage(uint64_t seed) : random(seed), history(seed, clock) {}

  Time Now() const { return clock.Now(); }
  void Later(Duration span, Executor::Task task) {
    executor.PostAt(SaturatingAdd(clock.Now(), span), std::move(task));
  }

  test::FakeClock clock;
  test::ManualExecutor executor{clock};
  Random random;
  History history;
};

}  // namespace pglessor::core::sim

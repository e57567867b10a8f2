// A clock that stands still until the test moves it.
#pragma once

#include <atomic>
#include <chrono>

#include "server/core/clock.h"

namespace pglessor::test {

// Threads: any thread may call.
class FakeClock : public core::Clock {
 public:
  core::Time Now() const override { return core::Time(core::Duration(now_.load())); }

  // Runs alongside, from an instant of its own: nobody may take one for the other.
  core::WallTime WallNow() const override {
    return core::WallTime(std::chrono::seconds(1'700'000'000)) + core::Duration(now_.load());
  }

  void Advance(core::Duration span) { now_ += span.count(); }

  // Never back.
  void AdvanceTo(core::Time time) {
    const int64_t to = time.time_since_epoch().count();
    int64_t now = now_.load();
    while (now < to && !now_.compare_exchange_weak(now, to)) {
    }
  }

 private:
  std::atomic<int64_t> now_{core::Duration(std::chrono::hours(1)).count()};
};

}  // namespace pglessor::test

// Time as leases count it: nanoseconds of CLOCK_BOOTTIME, which no wall-clock step moves and which counts
// while the host is suspended, so that nobody trusts a lease that ended while he slept.
#pragma once

#include <time.h>

#include <chrono>

namespace pglessor::internal {

using Duration = std::chrono::nanoseconds;

struct BootClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock, duration>;
  static constexpr bool is_steady = true;
};

using Time = BootClock::time_point;

inline Time BootNow() {
  timespec now = {};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return Time(std::chrono::seconds(now.tv_sec) + Duration(now.tv_nsec));
}

// `time + span` that stops at the far end instead of overflowing.
constexpr Time SaturatingAdd(Time time, Duration span) {
  return span > Duration::zero() && time > Time::max() - span ? Time::max() : time + span;
}

}  // namespace pglessor::internal

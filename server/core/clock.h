// Time, as the core sees it: values that somebody else reads off a clock.
//
// Deadlines and expiries are `Time`: nanoseconds of CLOCK_BOOTTIME, which no wall-clock step moves and
// which counts while the host is suspended, so that a lease does not outlive its ttl in a sleeping
// machine. `WallTime` is for display only and decides nothing.
#pragma once

#include <chrono>
#include <string>

namespace pglessor::core {

using Duration = std::chrono::nanoseconds;

// The tag of `Time`. It has no now(): the core is handed the time, it never reads it.
struct BootTime {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootTime, duration>;
  static constexpr bool is_steady = true;
};

using Time = BootTime::time_point;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

// Threads: any thread may call; implementations do not block.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time Now() const = 0;
  virtual WallTime WallNow() const = 0;
};

// `time + span` that stops at the far end of the range instead of overflowing.
constexpr Time SaturatingAdd(Time time, Duration span) {
  if (span > Duration::zero() && time > Time::max() - span) return Time::max();
  if (span < Duration::zero() && time < Time::min() - span) return Time::min();
  return time + span;
}

// For people: "1.25" is 1,250 microseconds, and what is shorter than one is dropped.
std::string Milliseconds(Duration span);

}  // namespace pglessor::core

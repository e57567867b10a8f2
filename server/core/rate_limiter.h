// How often somebody may do something: a token bucket. Plain state.
//
// Over any span of time, at most `burst` plus `per_second` times that span.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "server/core/clock.h"

namespace pglessor::core {

class RateLimiter {
 public:
  // `per_second` 0: no limit. `burst` 0: a second's worth, at least 1. Begins with a full bucket.
  RateLimiter(double per_second, int32_t burst)
      : per_second_(per_second), burst_(burst > 0 ? burst : std::max(1.0, per_second)), level_(burst_) {}

  // Nothing: it may. Else after how long it may be tried again.
  std::optional<Duration> Take(Time now) {
    if (per_second_ <= 0) return std::nullopt;
    const std::chrono::duration<double> since = now - last_.value_or(now);
    level_ = std::min(burst_, level_ + since.count() * per_second_);
    last_ = now;
    if (level_ >= 1) {
      level_ -= 1;
      return std::nullopt;
    }
    const double seconds = std::min((1 - level_) / per_second_, kLongestRetrySeconds);
    return std::chrono::ceil<Duration>(std::chrono::duration<double>(seconds));
  }

 private:
  static constexpr double kLongestRetrySeconds = 3600;

  double per_second_;
  double burst_;
  double level_;
  std::optional<Time> last_;
};

}  // namespace pglessor::core

#include "server/core/breaker.h"

#include <algorithm>

namespace pglessor::core {

BreakerState Breaker::state(Time now) const {
  if (!tripped_) return BreakerState::kClosed;
  return now < not_before_ ? BreakerState::kOpen : BreakerState::kHalfOpen;
}

bool Breaker::MayOpen(Time now, int32_t opening) const {
  return now >= not_before_ && (!tripped_ || opening == 0);
}

Duration Breaker::RetryAfter(Time now) const {
  return now < not_before_ ? not_before_ - now : Duration::zero();
}

void Breaker::Succeeded(Time now) {
  failures_in_a_row_ = 0;
  tripped_ = false;
  not_before_ = Time::min();
  last_success_ = now;
  error_ = absl::OkStatus();
}

void Breaker::Failed(Time now, const absl::Status& why) {
  last_failure_ = now;
  error_ = why;
  // Several openings that failed together are one failure: it is the database that is asked less often.
  if (now < not_before_) return;
  ++failures_in_a_row_;
  if (pressed_back()) {
    tripped_ = false;
  } else if (absl::IsFailedPrecondition(why) || failures_in_a_row_ >= options_.breaker_failures) {
    tripped_ = true;
  }
  not_before_ = SaturatingAdd(now, Backoff());
}

Duration Breaker::Backoff() const {
  const int doublings = std::clamp(failures_in_a_row_ - 1, 0, 20);
  const Duration span =
      tripped_ ? options_.breaker_probe_interval
               : std::min(options_.max_open_backoff, options_.first_open_backoff * (int64_t{1} << doublings));
  // Up to a tenth less, so that replicas that failed together do not all come back together. The golden ratio
  // spreads neighbours evenly, and the same run gives the same times.
  return span - span / 10'000 * ((failures_in_a_row_ * 618) % 1'000);
}

}  // namespace pglessor::core

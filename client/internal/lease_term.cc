#include "client/internal/lease_term.h"

#include <algorithm>

namespace pglessor::internal {
namespace {

using std::chrono::milliseconds;

// Near the end of what the server allows (its longest lifetime, a drain) each renewal brings less than the
// one before: this bounds how many there are.
constexpr Duration kShortestPause = milliseconds(10);
// A failed attempt is followed by the next one sooner than a successful one, but never in a tight loop.
constexpr int kPausesOfRetry = 4;
constexpr Duration kLongestRetryPause = std::chrono::seconds(1);
constexpr Duration kShortestAttempt = milliseconds(50);

}  // namespace

void LeaseTerm::Take(const Promise& promise) {
  ttl_ = promise.ttl;
  renew_after_ = std::max(promise.renew_after, kShortestPause);
  trusted_until_ = SaturatingAdd(promise.from, ttl_);
  renew_at_ = SaturatingAdd(promise.from, renew_after_);
}

bool LeaseTerm::StartRenewal(Time now) {
  if (renewing_ || now < renew_at_ || Lost(now)) return false;
  renewing_ = true;
  return true;
}

Time LeaseTerm::AttemptEnd(Time now) const {
  return std::min(trusted_until_, SaturatingAdd(now, std::max(renew_after_, kShortestAttempt)));
}

void LeaseTerm::Renewed(Time now, const Promise& promise) {
  renewing_ = false;
  if (Lost(now)) {
    End();
    return;
  }
  Take(promise);
}

bool LeaseTerm::RenewalFailed(Time now, const absl::Status& why) {
  renewing_ = false;
  if (why.code() == absl::StatusCode::kFailedPrecondition || why.code() == absl::StatusCode::kNotFound) {
    End();
    return true;
  }
  renew_at_ =
      SaturatingAdd(now, std::clamp(renew_after_ / kPausesOfRetry, kShortestPause, kLongestRetryPause));
  return false;
}

}  // namespace pglessor::internal

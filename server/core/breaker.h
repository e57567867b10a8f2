// Whether a pool may open connections: waits longer after each failure in a row, and after many of them, or
// where the database refuses our credentials, only tries one now and then. Plain state.
//
//              `breaker_failures` in a row,           breaker_probe_interval
//              or refused credentials                 is over
//     kClosed ───────────────────────────► kOpen ◄───────────────────────► kHalfOpen
//        ▲                                            an opening fails         │
//        └─────────────────────────────────────────────────────────────────────┘
//                           an opening succeeds, or is told "too many connections"
//
// It gates openings only, and nothing but openings moves it: what a holder's statement answers says nothing
// of the database's health. "Too many connections" (53300) is no failure but back-pressure: openings pause,
// and who waits goes on waiting.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

#include "server/core/clock.h"
#include "server/core/options.h"

namespace pglessor::core {

enum class BreakerState { kClosed, kOpen, kHalfOpen };

class Breaker {
 public:
  // `options` outlives it, and may change.
  explicit Breaker(const PoolOptions& options) : options_(options) {}

  BreakerState state(Time now) const;
  // Whether one more may be opened while `opening` are under way.
  bool MayOpen(Time now, int32_t opening) const;
  // How long until one may; zero if one may.
  Duration RetryAfter(Time now) const;
  // How long nothing was opened after the last failure.
  Duration Backoff() const;

  void Succeeded(Time now);
  void Failed(Time now, const absl::Status& why);
  // An operator wants it tried at once: what made openings fail may be what he has mended.
  void TryAtOnce() { not_before_ = Time::min(); }

  // Nothing has been opened since this failure; OK if something was, or nothing has failed.
  const absl::Status& failing() const { return error_; }
  Time last_failure() const { return last_failure_; }
  Time last_success() const { return last_success_; }
  // That will pass by itself: the database has no room for us now.
  bool pressed_back() const { return absl::IsResourceExhausted(error_); }

 private:
  const PoolOptions& options_;
  int32_t failures_in_a_row_ = 0;
  bool tripped_ = false;
  Time not_before_ = Time::min();
  Time last_failure_ = Time::min();
  Time last_success_ = Time::min();
  absl::Status error_;
};

}  // namespace pglessor::core

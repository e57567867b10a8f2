// How long a lease can be trusted, and when to renew it. Plain state: `now` is an argument.
//
// What the server promises runs from the instant at which it handled a request. That instant we do not know,
// but it was not before the request was sent; so a promise counts from there.
//
// Invariants:
//   1. Once Lost at one instant, lost at every later one: a renewal that comes too late revives nothing.
//   2. At most one renewal is under way.
//   3. NextWake is never later than the instant of the loss.
//
// Threads: none of its own; its owner guards it. Time: CLOCK_BOOTTIME; at its end it is lost.
#pragma once

#include "absl/status/status.h"

#include "client/internal/time.h"

namespace pglessor::internal {

class LeaseTerm {
 public:
  // What one answer promises: `ttl` from an instant that was not before `from`.
  struct Promise {
    Time from = {};
    Duration ttl = {};
    Duration renew_after = {};
  };

  explicit LeaseTerm(const Promise& granted) { Take(granted); }

  // Whether somebody else may have the connection.
  bool Lost(Time now) const { return over_ || now >= trusted_until_; }
  // Lost from now on, whatever the time: the server said so, or it was given back.
  void End() { over_ = true; }

  // True if a renewal is to be sent now; it is under way from then until one of the two below is called.
  bool StartRenewal(Time now);
  // An attempt that has no answer by then is given up, so that another may be made.
  Time AttemptEnd(Time now) const;
  void Renewed(Time now, const Promise& promise);
  // FAILED_PRECONDITION and NOT_FOUND: the lease is gone, and the answer true. All else may pass, and is
  // tried again.
  bool RenewalFailed(Time now, const absl::Status& why);

  // When to look again: a renewal is due, or the lease is lost.
  Time NextWake() const { return renewing_ || renew_at_ > trusted_until_ ? trusted_until_ : renew_at_; }

  Duration ttl() const { return ttl_; }
  // From when on the lease ends by itself, whatever else happens.
  Time trusted_until() const { return trusted_until_; }

 private:
  void Take(const Promise& promise);

  Time trusted_until_;
  Time renew_at_;
  Duration ttl_;
  Duration renew_after_;
  bool renewing_ = false;
  bool over_ = false;
};

}  // namespace pglessor::internal

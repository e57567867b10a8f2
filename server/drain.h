// The one drain of the process: begun by a signal or by an operator's call, whoever comes first.
//
// Threads: any.
#pragma once

#include <functional>
#include <mutex>
#include <utility>

#include "server/core/clock.h"

namespace pglessor {

class Drain {
 public:
  struct Begun {
    // When the leases that are left end.
    core::Time deadline{};
    core::WallTime deadline_wall{};
    bool by_this_call = false;
  };

  // `begin` is called once, by the first Begin, with the deadline: from then on nothing is granted.
  Drain(const core::Clock& clock, std::function<void(core::Time)> begin)
      : clock_(clock), begin_(std::move(begin)) {}

  // Leases may live on for `timeout` from now. Where it has begun already, its deadline stands; either way
  // nothing is granted any more when this returns.
  Begun Begin(core::Duration timeout);

 private:
  const core::Clock& clock_;
  const std::function<void(core::Time)> begin_;

  std::once_flag once_;
  Begun begun_;  // written once
};

}  // namespace pglessor

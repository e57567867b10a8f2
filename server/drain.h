// The one drain of the process: begun by a signal or by an operator's call, whoever comes first.
//
// Threads: any.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "server/core/clock.h"
#include "server/core/mutex.h"

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

  // Leases may live on for `timeout` from now. Where it has begun already, its deadline stands.
  Begun Begin(core::Duration timeout);

 private:
  const core::Clock& clock_;
  const std::function<void(core::Time)> begin_;

  core::Mutex mutex_;
  std::optional<Begun> begun_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pglessor

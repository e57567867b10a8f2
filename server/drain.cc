#include "server/drain.h"

namespace pglessor {

Drain::Begun Drain::Begin(core::Duration timeout) {
  Begun begun;
  {
    const core::MutexLock lock(mutex_);
    if (begun_) return *begun_;
    const core::WallTime now = clock_.WallNow();
    const bool for_ever = timeout > core::WallTime::max() - now;
    begun.deadline = core::SaturatingAdd(clock_.Now(), timeout);
    begun.deadline_wall = for_ever ? core::WallTime::max() : now + timeout;
    begun_ = begun;
  }
  begin_(begun.deadline);
  begun.by_this_call = true;
  return begun;
}

}  // namespace pglessor

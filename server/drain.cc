#include "server/drain.h"

namespace pglessor {

Drain::Begun Drain::Begin(core::Duration timeout) {
  bool by_this_call = false;
  // Others wait here for the first.
  std::call_once(once_, [&] {
    const core::WallTime now = clock_.WallNow();
    const bool for_ever = timeout > core::WallTime::max() - now;
    begun_.deadline = core::SaturatingAdd(clock_.Now(), timeout);
    begun_.deadline_wall = for_ever ? core::WallTime::max() : now + timeout;
    begin_(begun_.deadline);
    by_this_call = true;
  });
  Begun begun = begun_;
  begun.by_this_call = by_this_call;
  return begun;
}

}  // namespace pglessor

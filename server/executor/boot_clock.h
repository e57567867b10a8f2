// The real clock: CLOCK_BOOTTIME, and the wall for display.
#pragma once

#include "server/core/clock.h"

namespace pglessor::executor {

class BootClock : public core::Clock {
 public:
  core::Time Now() const override;
  core::WallTime WallNow() const override;
};

}  // namespace pglessor::executor

#include "server/executor/boot_clock.h"

#include <ctime>

#include "server/core/check.h"

namespace pglessor::executor {

core::Time BootClock::Now() const {
  timespec now{};
  PGLESSOR_CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0, "Linux has CLOCK_BOOTTIME");
  return core::Time(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

core::WallTime BootClock::WallNow() const {
  return std::chrono::time_point_cast<core::Duration>(std::chrono::system_clock::now());
}

}  // namespace pglessor::executor

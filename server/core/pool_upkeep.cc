// What keeps idle connections sound: PoolState's probes, keepalives, idle timeouts and lifetimes.
#include <utility>

#include "server/core/check.h"
#include "server/core/pool_state.h"

namespace pglessor::core {

bool PoolState::Fresh(Time now, const Slot& slot) const {
  return now < slot.retire_at && now - slot.last_checked <= options_.validate_after;
}

void PoolState::StartProbe(Slot& slot, Actions& actions) {
  Move(slot, SlotState::kCleaning);
  slot.probing = true;
  ++probing_;
  ++roles_[slot.role].probing;
  actions.probes.push_back(RefOf(slot));
}

void PoolState::Probed(Time now, SlotRef ref, bool sound, Actions& actions) {
  Slot& slot = At(ref);
  PGLESSOR_CHECK(slot.probing, "only what is being probed answers a probe");
  slot.probing = false;
  ++counters_.validations;
  if (!slot.doomed) {
    --probing_;
    --roles_[slot.role].probing;
    for (PoolOperation& operation : operations_) {
      if (operation.probes_awaited == 0) continue;
      // Whoever began the probe: it is as good as one of its own.
      --operation.probes_awaited;
      ++operation.report.validated;
      operation.report.replaced += sound ? 0 : 1;
    }
  }
  if (sound) {
    slot.last_checked = now;
    MakeAvailable(now, slot, actions);
  } else {
    ++counters_.validation_failures;
    StartClosing(slot, RetireReason::kInvalid, actions);
  }
  Conclude(now, actions);
}

void PoolState::KeepHouse(Time now, Actions& actions) {
  next_housekeeping_ = SaturatingAdd(now, kHousekeepingPeriod);
  if (options_.warmup == Warmup::kForecast) forecast_ = peak_.Peak(now);
  // The longest idle first.
  for (const uint32_t position : TakeAllAvailable()) {
    Slot& slot = slots_[position];
    const Duration none = Duration::zero();
    if (now >= slot.retire_at) {
      StartClosing(slot, RetireReason::kLifetime, actions);
    } else if (options_.idle_timeout > none && now - slot.last_use >= options_.idle_timeout &&
               Lasting() > Wanted()) {
      StartClosing(slot, RetireReason::kIdle, actions);
    } else if (options_.keepalive > none && now - slot.last_checked >= options_.keepalive) {
      StartProbe(slot, actions);
    } else {
      roles_[slot.role].available.push_back(position);
    }
  }
}

}  // namespace pglessor::core

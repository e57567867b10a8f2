// core::Pool on idle connections: a slot is handed over, with queue, counts and fencing number, and no lease.
#pragma once

#include <chrono>
#include <utility>

#include "absl/status/statusor.h"

#include "bench/support/idle_connection.h"
#include "server/core/check.h"
#include "server/core/events.h"
#include "server/core/pool.h"
#include "server/executor/boot_clock.h"

namespace pglessor::bench {

// As bench/support/callers.h wants it.
class IdlePool {
 public:
  using Held = core::SlotRef;

  explicit IdlePool(core::PoolOptions options)
      : pool_(options, {clock_, events_}, connector_, fencing_, [](core::LeaseCounter) {}) {
    pool_.Start();
  }

  template <typename Granted>
  void Acquire(Granted granted) {
    core::Arrival arrival;
    arrival.wait = std::chrono::minutes(1);
    arrival.done = [granted = std::move(granted)](absl::StatusOr<core::Granted> answer) mutable {
      PGLESSOR_CHECK(answer.ok(), "everybody is served in a minute");
      granted(answer->slot.slot);
    };
    pool_.Acquire(std::move(arrival));
  }
  void Release(Held held) { pool_.Return(held, core::EndReason::kReleased); }

 private:
  const executor::BootClock clock_;
  const core::Events events_;
  IdleConnector connector_;
  EndlessFencing fencing_;
  core::Pool pool_;
};

// A pool whose connections are all open from the start.
inline core::PoolOptions FixedSize(int connections) {
  core::PoolOptions options;
  options.min_connections = connections;
  options.max_connections = connections;
  options.max_concurrent_opens = connections;
  options.max_waiters = 1'000'000;
  return options;
}

}  // namespace pglessor::bench

// core::Lessor on idle connections, as the server sets it up by default: leases with tokens that can be
// signed, the log's events of level info, the history of events asleep, and the reaper's ticks.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"

#include "bench/support/idle_connection.h"
#include "server/core/check.h"
#include "server/core/event_history.h"
#include "server/core/events.h"
#include "server/core/lessor.h"
#include "server/executor/boot_clock.h"

namespace pglessor::bench {

// As bench/support/callers.h wants it.
class IdleLessor {
 public:
  using Held = core::LeaseView;

  IdleLessor(const core::PoolOptions& options, const core::TokenKey& key)
      : history_(clock_, events_), lessor_({{"replica", 1}, "127.0.0.1:7432", {}}, clock_, key, events_) {
    using core::EventType;
    events_.AddSink(log_, {EventType::kConnectionOpened, EventType::kConnectionClosed, EventType::kLeaseEnded,
                           EventType::kPoolSaturated});
    lessor_.AddPool(options, connector_, fencing_);
  }

  template <typename Granted>
  void Acquire(Granted granted) {
    core::AcquireRequest request;
    request.tenant = "default";
    request.holder = "benchmark";
    request.wait = std::chrono::minutes(1);
    lessor_.Acquire(std::move(request),
                    [granted = std::move(granted)](absl::StatusOr<core::LeaseView> lease) mutable {
                      PGLESSOR_CHECK(lease.ok(), "everybody is served in a minute");
                      granted(*std::move(lease));
                    });
  }
  void Release(const Held& held) {
    lessor_.Release(held.grant.counter, core::Disposition::kReturn,
                    [](absl::StatusOr<core::Lessor::Released> released) {
                      PGLESSOR_CHECK(released.ok(), "its holder has it");
                    });
  }

  core::Lessor& lessor() { return lessor_; }

 private:
  // A log to which nothing is written: what it would write is rare here.
  class Log : public core::EventSink {
    void OnEvent(const core::Event&) override {}
  };

  const executor::BootClock clock_;
  core::Events events_;
  Log log_;
  core::EventHistory history_;
  IdleConnector connector_;
  EndlessFencing fencing_;
  core::Lessor lessor_;
};

// Ticks as the server's loop does, while it lives.
class Reaping {
 public:
  explicit Reaping(core::Lessor& lessor)
      : thread_([this, &lessor] {
          while (!stop_) {
            std::this_thread::sleep_for(core::kReaperTick);
            lessor.Tick();
          }
        }) {}
  ~Reaping() {
    stop_ = true;
    thread_.join();
  }
  Reaping(const Reaping&) = delete;
  Reaping& operator=(const Reaping&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace pglessor::bench

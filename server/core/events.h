// What happens in the lives of pools, connections, leases and waiters: one source of it, for the log,
// metrics and whoever watches.
//
// Emitting costs one test of a bit where nobody wants that type: callers ask Wants before they gather the
// facts.
//
// Threads: AddSink and AddSleeping before anything is emitted; everything else from any thread.
// Order: what one connection or one lease goes through is told in that order.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>

#include "server/core/breaker.h"
#include "server/core/clock.h"
#include "server/core/ids.h"
#include "server/core/lease.h"

namespace pglessor::core {

enum class EventType : uint8_t {
  kConnectionOpened,
  kConnectionOpenFailed,
  kConnectionValidated,
  kConnectionLeased,
  kConnectionReleased,
  kConnectionCleaned,
  kConnectionRetired,
  kConnectionClosed,
  kConnectionStuck,
  kLeaseGranted,
  kLeaseRenewed,
  kLeaseReleased,  // by its holder
  kLeaseEnded,     // by time, by an operator, or because its connection died
  kWaiterQueued,
  kWaiterLeft,
  kPoolSaturated,
  kPoolReset,
  kPoolPaused,
  kPoolResumed,
  kPoolUpdated,
  kBreakerChanged,
  kLeaseLeakSuspected,  // it is held for longer than leak_warning
  kDrainStarted,
};

// All of them, for those who filter or describe.
inline constexpr std::array kAllEventTypes = {
    EventType::kConnectionOpened,    EventType::kConnectionOpenFailed,
    EventType::kConnectionValidated, EventType::kConnectionLeased,
    EventType::kConnectionReleased,  EventType::kConnectionCleaned,
    EventType::kConnectionRetired,   EventType::kConnectionClosed,
    EventType::kConnectionStuck,     EventType::kLeaseGranted,
    EventType::kLeaseRenewed,        EventType::kLeaseReleased,
    EventType::kLeaseEnded,          EventType::kWaiterQueued,
    EventType::kWaiterLeft,          EventType::kPoolSaturated,
    EventType::kPoolReset,           EventType::kPoolPaused,
    EventType::kPoolResumed,         EventType::kPoolUpdated,
    EventType::kBreakerChanged,      EventType::kLeaseLeakSuspected,
    EventType::kDrainStarted,
};

// Fields that do not belong to its type are unset. Never holds a secret.
struct Event {
  EventType type = EventType::kConnectionOpened;
  std::string pool = {};
  std::string connection_id = {};
  int32_t backend_pid = 0;
  std::optional<LeaseCounter> lease = std::nullopt;
  std::string tenant = {};
  std::string holder = {};
  std::string reason = {};  // in English, for people
  std::optional<EndReason> end_reason = std::nullopt;
  FencingToken fencing_token = {};
  uint64_t generation = 0;
  std::optional<BreakerState> breaker = std::nullopt;
  std::map<std::string, std::string> tags = {};  // of a lease whose leak is suspected
  // How old the connection is, how long the lease was held or its acquire waited; by type.
  std::optional<Duration> age = std::nullopt;
  std::optional<Duration> held = std::nullopt;
  std::optional<Duration> waited = std::nullopt;
  // Of the pool, then.
  std::optional<int32_t> total = std::nullopt;
  int32_t max = 0;
};

// Threads: called on the thread on which it happened, with no lock held. Must not block.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void OnEvent(const Event& event) = 0;
};

class Events {
 public:
  // `sink` outlives this.
  void AddSink(EventSink& sink, std::initializer_list<EventType> types) {
    uint32_t mask = 0;
    for (const EventType type : types) mask |= Bit(type);
    Add(sink, mask);
  }
  // One that wants nothing, until WakeSink: from then on everything.
  void AddSleeping(EventSink& sink) { Add(sink, 0); }
  void WakeSink(const EventSink& sink) {
    for (Subscription& subscription : sinks_) {
      if (subscription.sink == &sink) subscription.mask.store(kEveryType, std::memory_order_relaxed);
    }
    wanted_.store(kEveryType, std::memory_order_relaxed);
  }

  // Relaxed: whoever is told that a sink is awake is told so under a lock, or on the same thread.
  bool Wants(EventType type) const { return (wanted_.load(std::memory_order_relaxed) & Bit(type)) != 0; }
  void Emit(const Event& event) const {
    for (const Subscription& subscription : sinks_) {
      if ((subscription.mask.load(std::memory_order_relaxed) & Bit(event.type)) != 0) {
        subscription.sink->OnEvent(event);
      }
    }
  }

 private:
  struct Subscription {
    Subscription(EventSink& its_sink, uint32_t its_mask) : sink(&its_sink), mask(its_mask) {}

    EventSink* const sink;
    std::atomic<uint32_t> mask;
  };

  static constexpr uint32_t kEveryType = UINT32_MAX;

  static constexpr uint32_t Bit(EventType type) { return uint32_t{1} << static_cast<uint8_t>(type); }

  void Add(EventSink& sink, uint32_t mask) {
    sinks_.emplace_back(sink, mask);
    wanted_.store(wanted_.load(std::memory_order_relaxed) | mask, std::memory_order_relaxed);
  }

  std::deque<Subscription> sinks_;  // which stay where they are
  std::atomic<uint32_t> wanted_{0};
};

}  // namespace pglessor::core
